"""The one-stage baselines: their loss is the formula's, weights and samplers change when they should."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import losses, models
from ltjax.class_counts import effective_number_weights, inverse_frequency_weights
from ltjax.errors import InputError
from ltjax.methods import METHODS, configure
from ltjax.methods.baselines import BASELINES
from ltjax.methods.common import evaluate_network
from ltjax.methods.stage import Context
from tests import recipes
from tests.training import toy

COUNTS = np.array(toy.COUNTS)


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)


def config_of(name, **changes):
    return toy.config(name, **changes)


def terms(name, epoch, epochs=10):
    """The stage, its logits on a batch, the labels and what its objective makes of them at this epoch."""
    config = config_of(name, epochs=epochs)
    (stage,) = METHODS[name](config, toy.build(None))
    variables = toy.start_of(stage).variables
    data = toy.build(None).train
    rows = np.array([0, 25, 40, 7, 1, 38])
    labels = jnp.asarray(data.labels[rows])
    logits = jax.jit(stage.network.apply)(variables, np.stack([data.read(i) for i in rows])).logits
    context = Context(jnp.int32(0), jnp.int32(epoch), epochs, jnp.float32(0), jax.random.key(0), {}, {})
    state = {k: v for k, v in variables.items() if k != "params"}

    def apply(params, model_state, images):
        return models.Outputs(logits, logits), model_state

    batch = {"image": {"image": rows, "label": labels}}
    outcome = stage.objective(apply, variables["params"], state, batch, context)
    return stage, logits, labels, sum(term.scale * term.mean() for term in outcome.terms.values())


def weighted(values, weights):
    return np.sum(values * weights) / np.sum(weights)


ce = losses.cross_entropy
EFFECTIVE = effective_number_weights(COUNTS, 0.9999)
# name -> (epoch, the loss of these logits and labels)
EXPECTED = {
    "ce": (0, lambda x, y: ce(x, y).mean()),
    "focal": (0, lambda x, y: losses.focal_loss(x, y, gamma=1.0).mean()),
    "cb_ce": (0, lambda x, y: weighted(ce(x, y), EFFECTIVE[y])),
    "cb_focal": (0, lambda x, y: losses.sigmoid_focal_loss(x, y, gamma=1.0, class_weights=EFFECTIVE).mean()),
    "cost_sensitive": (0, lambda x, y: weighted(ce(x, y), inverse_frequency_weights(COUNTS)[y])),
    "ldam": (9, lambda x, y: losses.ldam_loss(x, y, class_counts=COUNTS).mean()),
    "ldam_drw": (7, lambda x, y: losses.ldam_loss(x, y, class_counts=COUNTS).mean()),
    "ldam_drw late": (8, lambda x, y: weighted(losses.ldam_loss(x, y, class_counts=COUNTS), EFFECTIVE[y])),
    "ce_drw": (7, lambda x, y: ce(x, y).mean()),
    "ce_drw late": (8, lambda x, y: weighted(ce(x, y), EFFECTIVE[y])),
    "ce_drs": (9, lambda x, y: ce(x, y).mean()),
    "balanced_softmax": (0, lambda x, y: ce(x + np.log(COUNTS), y).mean()),
    "logit_adjustment": (0, lambda x, y: ce(x + np.log(COUNTS / COUNTS.sum()), y).mean()),
}


@pytest.mark.parametrize("case", EXPECTED)
def test_the_loss_is_the_formula(case):
    epoch, expected = EXPECTED[case]
    _, logits, labels, loss = terms(case.split()[0], epoch)
    np.testing.assert_allclose(loss, expected(np.asarray(logits), np.asarray(labels)), rtol=1e-5)


def test_ldam_has_a_cosine_classifier_and_no_bias():
    stage, logits, _, _ = terms("ldam", 0)
    variables = toy.start_of(stage).variables
    assert set(variables["params"]["head"]) == {"classifier"} and set(variables["params"]["head"]["classifier"]) == {
        "kernel"
    }
    np.testing.assert_allclose(
        np.linalg.norm(variables["params"]["head"]["classifier"]["kernel"], axis=0), 1, rtol=1e-5
    )
    assert np.abs(np.asarray(logits)).max() <= 1 + 1e-6


def test_ldam_predicts_what_its_loss_compares_and_not_plain_cosines():
    stage, *_ = terms("ldam", 0)
    variables, images = toy.start_of(stage).variables, toy.build(None).train.images(np.arange(9))
    cosines = evaluate_network(stage.network, variables, images).logits
    np.testing.assert_allclose(stage.predict(variables, images), 30 * cosines, rtol=1e-6)


def test_the_classes_of_the_class_balanced_focal_loss_start_rare_and_the_bias_is_not_decayed():
    stage, *_ = terms("cb_focal", 0)
    bias = toy.start_of(stage).variables["params"]["head"]["classifier"]["bias"]
    np.testing.assert_allclose(bias, -np.log(2), rtol=1e-6)
    assert stage.updates.undecayed == ("head/classifier/bias",)


def test_deferred_resampling_draws_every_image_once_and_class_balanced_at_the_end():
    (stage,) = METHODS["ce_drs"](config_of("ce_drs", epochs=10), toy.build(None))
    labels, sampler = toy.build(None).train.labels, stage.streams["image"]
    tables = sampler.tables(labels, 3)
    early = sampler.draw(tables, 0, 1, 7, np.arange(len(labels)))
    late = sampler.draw(tables, 0, 1, 8, np.arange(3000))
    assert sorted(early.tolist()) == list(range(len(labels)))
    assert np.abs(np.bincount(labels[late]) / 3000 - 1 / 3).max() < 0.04


def test_every_name_of_the_issue_is_a_baseline_and_a_method():
    named = "focal cb_ce cb_focal cost_sensitive ldam ldam_drw ce_drw ce_drs mixup cutmix bbn causal_norm ride"
    named += " balanced_softmax logit_adjustment seql lifted range triplet proxy oltr lfme fslwf fsa"
    for name in named.split():
        assert name == "oltr" or name in BASELINES, name
        assert name in METHODS, name
        assert recipes.build("cifar100", "baselines", name).method == name
        assert recipes.build("mnist5k", "baselines", f"{name},epochs=1").epochs == 1
    assert {*BASELINES, "oltr"} == set(named.split())


@pytest.mark.parametrize(
    "name, setting, value", [("focal", "gamma", -1.0), ("cb_ce", "beta", 1.0), ("ldam_drw", "deferred_part", 2.0)]
)
def test_an_impossible_setting_is_one_line(name, setting, value):
    config = toy.recipe(name)
    config.baseline[setting] = value
    with pytest.raises(InputError, match=rf"config.baseline.{setting}: impossible value"):
        configure.resolve(config)
    del config["baseline"]
    with pytest.raises(InputError, match=r"config.baseline is missing"):
        configure.resolve(config)
