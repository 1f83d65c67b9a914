"""FSLwF: base classes, generated weights against slow numpy, an episode by hand, and what the last stage keeps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import models
from ltjax.errors import InputError
from ltjax.methods import METHODS
from ltjax.methods.fslwf import drop, novel_of_episode
from ltjax.methods.stage import Context, Previous
from ltjax.methods.two_stages import frequent_enough
from ltjax.models import GeneratorHead, generated_weights
from ltjax.training import loop, prepare
from tests.methods.asynchronous import toy as four
from tests.training import toy

# labels 0 to 3 have 6, 30, 22 and 8 images
BASE = np.array([False, True, True, False])


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(prepare, "build", four.data)
    monkeypatch.setitem(models.BACKBONES, "toy", four.Backbone)


def config_of(**changes):
    return toy.config("fslwf", second_stage=True, **({"epochs": 1, "second_stage_epochs": 1} | changes))


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def slow_weights(head, features, labels, base, num_classes):
    made = np.zeros((features.shape[1], num_classes))
    for c in set(labels.tolist()):
        of_class = []
        for x in features[labels == c]:
            z = unit(x)
            query = unit(z @ head["query"] + head["query_bias"])
            odds = {k: np.exp(head["attention_scale"] * query @ unit(head["keys"][k])) for k in np.flatnonzero(base)}
            borrowed = sum(v * unit(head["classifier"]["kernel"][:, k]) for k, v in odds.items()) / sum(odds.values())
            of_class.append(head["average_factor"] * z + head["attention_factor"] * borrowed)
        made[:, c] = np.mean(of_class, axis=0)
    return made


def test_generated_weights_are_the_equations():
    rng = np.random.RandomState(0)
    head = GeneratorHead(4).init(jax.random.key(0), jnp.zeros((1, 1, 1, 5)), train=False)["params"]
    head = jax.tree.map(lambda a: np.asarray(a) + rng.normal(size=np.shape(a)) / 3, head)
    features, labels = rng.normal(size=(6, 5)), np.array([0, 3, 3, 0, 3, 1])
    found = generated_weights(head, features, labels, jnp.asarray(BASE), 4)
    np.testing.assert_allclose(found, slow_weights(head, features, labels, BASE, 4), rtol=1e-4, atol=1e-5)
    assert not np.asarray(found)[:, 2].any(), "no image"


def test_base_classes_are_those_with_twenty_images_or_the_most_frequent():
    assert frequent_enough(0, four.data(), "key").tolist() == BASE.tolist()
    assert frequent_enough(3, four.data(), "key").tolist() == [False, True, True, True]
    for number in (1, 4):
        with pytest.raises(InputError, match=r"config\.baseline\.base_classes: impossible value"):
            METHODS["fslwf"](config_of(baseline__base_classes=number), four.data())


def test_some_base_classes_of_the_support_play_novel_ones_and_never_all():
    base, support = np.array([False, True, True, True]), jnp.array([1, 3, 3])
    drawn = np.stack([novel_of_episode(jax.random.key(k), base, support, 0.64) for k in range(30)])
    assert not drawn[:, [0, 2]].any() and drawn[:, 1].any() and drawn[:, 3].any()
    assert (drawn.sum(1) <= 2).all() and len(np.unique(drawn, axis=0)) == 3
    all_of_two = [novel_of_episode(jax.random.key(k), BASE, jnp.array([1, 2]), 0.99).sum() for k in range(5)]
    assert all_of_two == [1] * 5


def test_dropout_keeps_the_mean():
    features = jnp.ones((200, 50))
    dropped = drop(jax.random.key(0), features, 0.5)
    assert set(np.unique(dropped).tolist()) == {0, 2} and abs(float(dropped.mean()) - 1) < 0.03
    assert drop(jax.random.key(0), features, 0.0) is features


def test_an_episode_classifies_by_generated_and_by_own_weights():
    stages = METHODS["fslwf"](config_of(baseline__dropout=0.0, baseline__base_classes=3), four.data())
    stage, base = stages[1], np.array([False, True, True, True])
    head = stage.network.init(jax.random.key(1), jnp.zeros((1, 8, 8, 1), jnp.uint8))["params"]["head"]
    rng = np.random.RandomState(2)
    support = {"image": rng.normal(size=(6, 4)).astype(np.float32), "label": np.array([1, 1, 2, 2, 3, 3])}
    query = {"image": rng.normal(size=(3, 4)).astype(np.float32), "label": np.array([1, 2, 3])}
    key = jax.random.key(5)
    context = Context(jnp.int32(0), jnp.int32(0), 1, jnp.float32(0), key, {}, {})

    def apply(params, model_state, images):
        return models.Outputs(None, images), model_state

    outcome = stage.objective(apply, {"head": head}, {}, {"support": support, "query": query}, context)
    novel = np.asarray(novel_of_episode(jax.random.split(key, 3)[0], base, support["label"], 0.64))
    kernel = np.where(novel, slow_weights(head, support["image"], support["label"], base & ~novel, 4),
                      head["classifier"]["kernel"])  # fmt: skip
    logits = 10 * unit(query["image"]) @ unit(kernel.T).T
    logits = logits[:, base]
    expected = np.log(np.exp(logits).sum(1)) - logits[np.arange(3), query["label"] - 1]
    np.testing.assert_allclose(outcome.terms["classification"].values, expected, rtol=1e-4)


def test_the_last_stage_generates_the_novel_classes_and_keeps_the_base():
    stage = METHODS["fslwf"](config_of(), four.data())[2]
    variables = stage.network.init(jax.random.key(1), jnp.zeros((1, 8, 8, 1), jnp.uint8))
    labels = four.data().train.labels
    rng = np.random.RandomState(3)
    rows = rng.normal(size=(len(labels), 4)).astype(np.float32)
    start = stage.init(
        jax.random.key(0), Previous("generator", variables, {}), lambda variables, records: rows[records]
    )
    kept = ~BASE[labels]
    head = variables["params"]["head"]
    expected = np.where(BASE, head["classifier"]["kernel"], slow_weights(head, rows[kept], labels[kept], BASE, 4))
    np.testing.assert_allclose(
        start.variables["params"]["head"]["classifier"]["kernel"], expected, rtol=1e-4, atol=1e-5
    )


@pytest.mark.slow
def test_a_run_trains_and_ends_with_all_classes(tmp_path):
    results = loop.train(config_of(baseline__images_per_class=2, watch_classes=(1,)), str(tmp_path))
    assert results["method"] == "fslwf" and 0 <= results["accuracy"]["all"] <= 1
