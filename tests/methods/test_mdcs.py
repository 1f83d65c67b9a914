"""MDCS: experts under priors of different strengths, and strong views that follow the weak ones which are right."""

import numpy as np
import pytest
from scipy.special import log_softmax

from ltjax import models
from ltjax.errors import InputError
from ltjax.methods import METHODS
from tests.methods.expert_toys import BACKBONES, Step
from tests.training import toy


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    for name, backbone in BACKBONES.items():
        monkeypatch.setitem(models.BACKBONES, name, backbone)


def config_of(**settings):
    own = {f"mdcs__{name}": value for name, value in settings.items()}
    return toy.config("mdcs", model__backbone="ride_toy", **own)


def test_the_loss_by_hand():
    """In numpy from the network's logits: cross-entropy of both views, divergence of the strong from the right weak."""
    step = Step(config_of(strengths=(-1.0, 0.5), distillation=0.3, distillation_warmup=10), epoch=3)
    step.batch = {"image": {"image": step.images, "label": step.labels}}
    step.batch["strong"] = {"image": step.images[:, ::-1], "label": step.labels}
    both = np.stack([step.images, step.images[:, ::-1]], 1).reshape(12, *step.images.shape[1:])
    outputs, _ = step.apply(step.state.params, step.state.model_state, both)
    logits = np.asarray(outputs.logits, np.float64).reshape(2, 6, 2, 3)  # expert, image, view, class
    labels, share = np.asarray(step.labels), np.array(toy.COUNTS) / sum(toy.COUNTS)
    classification, distillation = 0.0, []
    for expert, strength in enumerate((-1.0, 0.5)):
        log_p = log_softmax(logits[expert] + strength * np.log(share), axis=-1)
        classification -= np.mean([log_p[i, view, labels[i]] for i in range(6) for view in (0, 1)])
        weak, strong = log_p[:, 0], log_p[:, 1]
        right = weak.argmax(-1) == labels
        divergence = np.sum(np.exp(weak) * (weak - strong), -1)
        distillation.append(divergence[right].mean() if right.any() else 0.0)
    means = step.means()
    assert means["classification"] == pytest.approx(classification, rel=1e-4)
    np.testing.assert_allclose([means[f"distillation_{e}"] for e in (0, 1)], distillation, rtol=1e-3, atol=1e-6)
    assert any(distillation)
    assert float(step.outcome().terms["distillation_0"].scale) == pytest.approx(0.3 * 4 / 10)


def test_the_published_strengths_make_the_mean_unbiased():
    """-0.5, 1 and 2.5: their mean is 1, so the mean of the experts goes with equal classes."""
    prior = METHODS["mdcs"](config_of(), toy.build(None))[-1].prior
    np.testing.assert_allclose(prior / prior.sum(), np.full(3, 1 / 3), rtol=1e-12)


@pytest.mark.parametrize("strengths", [(1.0,), (1.0, float("nan"))])
def test_impossible_strengths_are_one_line(strengths):
    with pytest.raises(InputError, match=r"config\.mdcs\.strengths: impossible value"):
        config_of(strengths=strengths)


def test_the_strong_view_has_its_own_augmentation():
    (stage,) = METHODS["mdcs"](config_of(augment="autoaugment_flip"), toy.build(None))
    assert dict(stage.augment) == {"strong": "autoaugment_flip"}
    assert stage.streams["strong"].same_as == "image" and not stage.whole_batch
