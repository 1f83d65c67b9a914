"""FSA: activation maps, confusing classes and mixed copies by hand, and what a step trains and counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import losses, models
from ltjax.errors import InputError
from ltjax.methods import METHODS
from ltjax.methods.fsa import activation_map, confusing_classes, mixed
from ltjax.methods.stage import Context
from ltjax.training import loop, prepare
from tests.methods.asynchronous import toy as four
from tests.training import toy

# labels 0 to 3 have 6, 30, 22 and 8 images: 1 and 2 are frequent
FREQUENT = np.array([False, True, True, False])


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(prepare, "build", four.data)
    monkeypatch.setitem(models.BACKBONES, "toy", four.Backbone)


def config_of(**changes):
    return toy.config("fsa", second_stage=True, **({"epochs": 1, "second_stage_epochs": 1} | changes))


def test_the_activation_map_is_the_class_s_part_of_the_logit_from_0_to_1():
    rng = np.random.RandomState(0)
    features, kernel, labels = rng.normal(size=(5, 3, 4)), rng.normal(size=(4, 2)), np.array([0, 1, 1])
    found = activation_map(jnp.asarray(features), jnp.asarray(kernel), labels)
    for image, label in enumerate(labels):
        raw = features[:, image] @ kernel[:, label]
        np.testing.assert_allclose(found[:, image], (raw - raw.min()) / (raw.max() - raw.min()), rtol=1e-4, atol=1e-5)
    assert not np.asarray(activation_map(jnp.ones((5, 1, 4)), jnp.asarray(kernel), labels[:1])).any()


def test_confusing_classes_are_the_frequent_ones_that_a_rare_class_is_taken_for():
    head = {"classifier": {"kernel": np.eye(4, dtype=np.float32), "bias": np.zeros(4, np.float32)}}
    features = np.array([[9, 0, 1, 0], [0, 0, 1, 0], [0, 3, 0, 9]], np.float32)
    found = confusing_classes(features, np.array([0, 0, 3]), {"params": {"head": head}}, FREQUENT, 1)
    assert np.argwhere(found).tolist() == [[0, 2], [3, 1]]
    both = confusing_classes(features, np.array([0, 0, 3]), {"params": {"head": head}}, FREQUENT, 15)
    assert both[[0, 3]].tolist() == [FREQUENT.tolist()] * 2


def test_a_copy_takes_each_place_from_one_of_both_with_a_chance_of_its_own():
    rng = np.random.RandomState(1)
    specific, generic = rng.normal(size=(2, 3, 4)), 100 + rng.normal(size=(2, 5, 4))  # two places
    partners = np.array([[4, 0, 2]] * 40)
    found = np.asarray(mixed(jax.random.key(0), jnp.asarray(specific), jnp.asarray(generic), jnp.asarray(partners)))
    for image, partner in enumerate((4, 0, 2)):
        pair = [[specific[place, image], generic[place, partner]] for place in (0, 1)]
        possible = np.array([(pair[0][a] + pair[1][b]) / 2 for a in (0, 1) for b in (0, 1)])
        near = np.abs(found[:, image, None] - possible).max(-1) < 1e-3
        assert (near.sum(1) == 1).all() and near.any(0).all(), "each is one of the four, and all occur"


def test_a_step_trains_the_classifier_on_images_copies_and_as_many_frequent_ones():
    stage = METHODS["fsa"](config_of(baseline__copies=2, baseline__confusing=1), four.data())[1]
    variables = stage.network.init(jax.random.key(1), jnp.zeros((1, 8, 8, 1), jnp.uint8))
    rng = np.random.RandomState(2)
    features = {"rare": rng.normal(size=(3, 2, 4)), "frequent": rng.normal(size=(3, 2, 4))}
    logits = {"rare": rng.normal(size=(2, 4)), "frequent": rng.normal(size=(2, 4))}
    batch = {"rare": {"image": "rare", "label": np.array([0, 3])},
             "frequent": {"image": "frequent", "label": np.array([1, 1])}}  # fmt: skip
    confusing = np.zeros((4, 4), bool)
    confusing[0, 1] = confusing[3, 2] = True  # no image of 2 is in the batch, so that 3 has no partner

    def apply(params, model_state, images):
        return models.Outputs(jnp.asarray(logits[images]), jnp.asarray(features[images])), model_state

    frozen = {"confusing": confusing}
    context = Context(jnp.int32(0), jnp.int32(0), 1, jnp.float32(0), jax.random.key(3), frozen, {})
    outcome = stage.objective(apply, variables["params"], {}, batch, context)
    rare, frequent = outcome.terms["rare"], outcome.terms["frequent"]
    assert rare.values.shape == (3, 2) and (rare.scale, frequent.scale) == (0.5, 0.5)
    assert np.asarray(rare.weights).tolist() == [[1, 1], [1, 0], [1, 0]]
    np.testing.assert_allclose(rare.values[0], losses.cross_entropy(logits["rare"], np.array([0, 3])), rtol=1e-5)
    assert [stage.updates.trains(path) for path in ("head/classifier/kernel", "backbone/conv/kernel")] == [True, False]
    assert float(outcome.metrics["with_partner"]) == 0.5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"baseline__head_classes": 4}, "config.baseline.head_classes: impossible value 4"),
        ({"model__features": 8}, "config.model.features: impossible value 8"),
    ],
)
def test_impossible_settings_are_one_line(changes, words):
    with pytest.raises(InputError, match=words):
        METHODS["fsa"](config_of(**changes), four.data())


@pytest.mark.slow
def test_a_run_trains(tmp_path):
    results = loop.train(config_of(baseline__copies=2, watch_classes=(1,)), str(tmp_path))
    assert results["method"] == "fsa" and 0 <= results["accuracy"]["all"] <= 1
