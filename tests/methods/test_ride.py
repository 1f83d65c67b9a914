"""RIDE: the loss on the experts' own logits, the re-weighted epochs, the special case of factor 0, means at test."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import models
from ltjax.errors import InputError
from ltjax.losses import ride_loss
from ltjax.methods import METHODS
from ltjax.methods.stage import Context
from ltjax.training import loop, prepare
from tests.methods.expert_toys import BACKBONES, Step
from tests.training import toy
from tests.training.test_loop import lines

LABELS = np.array([0, 1, 2, 0, 0, 2])
LOGITS = np.random.RandomState(0).standard_normal((3, 6, 3)).astype(np.float32) * 5


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(prepare, "build", toy.build)
    for name, backbone in BACKBONES.items():
        monkeypatch.setitem(models.BACKBONES, name, backbone)


def config_of(epochs=10, backbone="ride_toy", **settings):
    own = {f"baseline__{name}": value for name, value in settings.items()}
    return toy.config("ride", epochs=epochs, model__backbone=backbone, **own)


def outcome(config, epoch):
    (stage,) = METHODS["ride"](config, toy.build(None))

    def apply(params, model_state, images):
        return models.Outputs(LOGITS, None), model_state

    context = Context(jnp.int32(0), jnp.int32(epoch), config.epochs, jnp.float32(0), jax.random.key(0), {}, {})
    return stage.objective(apply, {}, {}, {"image": {"image": None, "label": LABELS}}, context)


@pytest.mark.parametrize("epoch, reweight", [(0, False), (7, False), (8, True)])
@pytest.mark.parametrize("settings", [{}, {"diversity": -0.45, "reweight_factor": 0.02}, {"use_ldam": False}])
def test_the_terms_are_ride_loss_and_reweighting_begins_at_its_epoch(epoch, reweight, settings):
    made = outcome(config_of(**settings), epoch)
    expected = ride_loss(LOGITS, LABELS, class_counts=toy.COUNTS, reweight=reweight, **({"diversity": -0.2} | settings))
    total = sum(term.scale * term.mean() for term in made.terms.values())
    assert float(total) == pytest.approx(float(expected.total), rel=1e-5)
    assert float(made.terms["individual"].mean()) == pytest.approx(float(expected.individual), rel=1e-5)
    assert float(made.terms["diversity"].mean()) == pytest.approx(float(expected.diversity), rel=1e-5)


def test_a_factor_of_0_trains_the_experts_mean():
    made = outcome(config_of(diversity=0.0), 0)
    mean = np.broadcast_to(LOGITS.mean(0), LOGITS.shape)
    expected = ride_loss(mean, LABELS, class_counts=toy.COUNTS, diversity=-1.0)
    assert float(made.terms["individual"].mean()) == pytest.approx(float(expected.individual), rel=1e-5)
    assert made.terms["diversity"].scale == 0


def test_margins_have_the_scale_of_the_head():
    """A linear head's logits are not scaled, so its margins are not either."""
    made = outcome(config_of(head="linear"), 0)
    expected = ride_loss(LOGITS, LABELS, class_counts=toy.COUNTS, scale=1.0)
    assert float(made.terms["individual"].mean()) == pytest.approx(float(expected.individual), rel=1e-5)


def test_a_run_averages_the_experts_and_reports_each(tmp_path):
    config = config_of(epochs=1, experts=2)
    step = Step(config)
    logits = np.asarray(jax.jit(step.stage.network.apply)(step.variables, step.images).logits)
    assert logits.shape == (2, 6, 3) and np.abs(logits).max() <= 30.001  # cosines times 30
    predicted = jax.jit(step.stage.predict)(step.variables, step.images)
    np.testing.assert_allclose(predicted, logits.mean(0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        step.stage.views["expert_1"](step.variables, step.images), logits[1], rtol=1e-4, atol=1e-4
    )
    results = loop.train(config, str(tmp_path))
    assert set(results["views"]) == {"expert_0", "expert_1"}
    assert {"loss/individual", "loss/diversity"} <= set(lines(tmp_path)[0])


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"experts": 0}, "config.baseline.experts: impossible value 0"),
        ({"head": "mlp"}, "config.baseline.head: impossible value 'mlp'; allowed: one of cosine, linear"),
        ({"diversity": float("inf")}, "config.baseline.diversity"),
        ({"reweighted_from": 1.5}, "config.baseline.reweighted_from"),
        ({"backbone": "toy"}, "config.model.backbone: 'toy' does not fit here.*ride_resnet32"),
    ],
)
def test_impossible_settings_are_one_line(settings, words):
    with pytest.raises(InputError, match=words):
        METHODS["ride"](config_of(**settings), toy.build(None))
