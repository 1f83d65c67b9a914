"""Metric learning beside classification: what is added, on which images, with which settings."""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from ltjax import models
from ltjax.data.sampling.counter_rng import name_id
from ltjax.errors import InputError
from ltjax.methods import METHODS, configure
from ltjax.models import Outputs
from ltjax.training import loop, prepare
from ltjax.training.step.gradient_conflict import make_split_gradients
from ltjax.training.step.state import create_state
from tests import recipes
from tests.training import toy

NAMES = ("lifted", "range", "triplet", "proxy")
PAIRS = NAMES[:3]
FEATURES = np.array([[3.0, 0.5], [1.0, 0.0], [0.5, 2.0], [0.0, 1.5], [2.0, 2.5]])
LABELS = np.array([0, 0, 1, 1, 2])
LOGITS = np.array([[2.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 3.0], [0.0, 4.0, 0.0], [1.0, 2.0, 3.0]])
PROXIES = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(prepare, "build", toy.build)
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)


def config_of(name, **changes):
    return toy.config(name, **({"data__sampler": "class_cycle"} | changes))


def stage_of(name, **changes):
    (stage,) = METHODS[name](config_of(name, **changes), toy.build(None))
    return stage


def outcome_of(name, **changes):
    """The objective on a network that gives FEATURES and LOGITS."""

    def apply(params, model_state, images):
        logits = {"classifier": jnp.asarray(LOGITS), "proxies": None} if name == "proxy" else jnp.asarray(LOGITS)
        return Outputs(logits, jnp.asarray(FEATURES)), model_state

    batch = {"image": {"image": np.zeros((5, 8, 8, 1), np.uint8), "label": LABELS}}
    stage = stage_of(name, **changes)
    return stage.objective(apply, {"head": {"proxies": PROXIES}}, {}, batch, None)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def squared(a, b):
    return float(np.sum((a - b) ** 2))


def same_class(labels):
    return [(i, j) for i, j in itertools.combinations(range(len(labels)), 2) if labels[i] == labels[j]]


def lifted_by_hand(x, margin):
    """Oh Song et al., eq. 4, loop by loop."""
    total = 0.0
    for i, j in same_class(LABELS):
        far = [
            np.exp(margin - np.sqrt(squared(x[a], x[k]))) for a in (i, j) for k in range(5) if LABELS[k] != LABELS[a]
        ]
        total += max(0.0, np.log(sum(far)) + np.sqrt(squared(x[i], x[j]))) ** 2
    return total / (2 * len(same_class(LABELS)))


def range_by_hand(x, margin, alpha, beta):
    """Two images a class: one range each, so its own harmonic mean."""
    ranges = sum(squared(x[i], x[j]) for i, j in same_class(LABELS))
    centres = [x[np.equal(LABELS, c)].mean(0) for c in range(3)]
    nearest = min(squared(a, b) for a, b in itertools.combinations(centres, 2))
    return alpha * ranges + beta * max(0.0, margin - nearest)


def triplet_by_hand(x, of_triplet):
    losses = [
        of_triplet(squared(x[a], x[p]), squared(x[a], x[n]))
        for a, p, n in itertools.permutations(range(5), 3)
        if LABELS[a] == LABELS[p] != LABELS[n]
    ]
    return np.mean(losses)


def ratio(positive, negative):
    positive, negative = np.exp(np.sqrt(positive)), np.exp(np.sqrt(negative))
    return (positive / (positive + negative)) ** 2


def proxy_by_hand(x, proxies):
    losses = []
    for row, label in zip(x, LABELS, strict=True):
        near = [np.exp(-squared(row, proxy)) for proxy in proxies]
        losses.append(-np.log(near[label] / (sum(near) - near[label])))
    return np.mean(losses)


@pytest.mark.parametrize(
    ("name", "settings", "by_hand"),
    [
        ("lifted", {"normalize": False, "margin": 1.0}, lifted_by_hand(FEATURES, 1.0)),
        ("lifted", {"normalize": True, "margin": 0.5}, lifted_by_hand(unit(FEATURES), 0.5)),
        (
            "range",
            {"normalize": True, "margin": 3.0, "alpha": 0.3, "beta": 0.7, "k": 1},
            range_by_hand(unit(FEATURES), 3.0, 0.3, 0.7),
        ),
        (
            "range",
            {"normalize": False, "margin": 9.0, "alpha": 1.0, "beta": 0.5},
            range_by_hand(FEATURES, 9.0, 1.0, 0.5),
        ),
        ("triplet", {"form": "ratio", "normalize": False}, triplet_by_hand(FEATURES, ratio)),
        (
            "triplet",
            {"form": "margin", "normalize": True, "margin": 0.4},
            triplet_by_hand(unit(FEATURES), lambda positive, negative: max(0.0, positive - negative + 0.4)),
        ),
        ("proxy", {"normalize": True}, proxy_by_hand(unit(FEATURES), unit(PROXIES))),
        ("proxy", {"normalize": False}, proxy_by_hand(FEATURES, PROXIES)),
    ],
)
def test_the_embedding_loss_is_its_papers_on_the_features_of_the_batch(name, settings, by_hand):
    outcome = outcome_of(name, baseline__weight=0.3, **{f"baseline__{key}": value for key, value in settings.items()})
    assert list(outcome.terms) == ["classification", name]
    assert float(outcome.terms[name].mean()) == pytest.approx(by_hand, rel=1e-5)
    assert abs(by_hand) > 0.02 and outcome.terms[name].scale == 0.3
    cross_entropy = np.log(np.exp(LOGITS).sum(1)) - LOGITS[np.arange(5), LABELS]
    assert float(outcome.terms["classification"].mean()) == pytest.approx(cross_entropy.mean(), rel=1e-5)
    assert outcome.terms["classification"].scale == 1.0
    assert float(outcome.metrics["accuracy"]) == pytest.approx(4 / 5)


def test_watched_classes_are_those_of_the_classification():
    outcome = outcome_of("lifted", watch_classes=(1, 2))
    by_class = np.log(np.exp(LOGITS).sum(1)) - LOGITS[np.arange(5), LABELS]
    assert float(outcome.metrics["class_loss/1"].value()) == pytest.approx(by_class[2:4].mean(), rel=1e-5)
    assert float(outcome.metrics["class_loss/2"].value()) == pytest.approx(by_class[4], rel=1e-5)


@pytest.mark.parametrize("dataset", recipes.BENCHMARKS)
@pytest.mark.parametrize("name", NAMES)
def test_every_data_set_has_them_with_class_aware_batches(name, dataset):
    config = recipes.build(dataset, "baselines", name)
    assert config.method == name and config.data.sampler == "class_cycle" and config.baseline.weight > 0


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_has_several_images_of_a_class(name):
    """Four in a row of one class; the rarest class of the toy has six."""
    sampler = stage_of(name).streams["image"]
    labels = toy.build(None).train.labels
    records = sampler.draw(sampler.tables(labels, 3), 0, name_id("image"), 0, np.arange(48))
    visits = labels[records].reshape(-1, 4)
    assert (visits == visits[:, :1]).all() and np.bincount(visits[:, 0]).tolist() == [4, 4, 4]
    assert all(len(set(visit)) == 4 for visit in records.reshape(-1, 4).tolist())


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        *((name, "weight", value) for name in NAMES for value in (-1.0, float("nan"))),
        *((name, "margin", float("inf")) for name in PAIRS),
        ("range", "k", 0),
        ("range", "alpha", -0.1),
        ("range", "beta", -0.1),
        ("triplet", "form", "hard"),
    ],
)
def test_an_impossible_setting_is_one_line(name, key, value):
    with pytest.raises(InputError, match=rf"^config\.baseline\.{key}: impossible value .*; allowed: [^\n]*$"):
        stage_of(name, **{f"baseline__{key}": value})


@pytest.mark.parametrize("name", NAMES)
def test_without_its_settings_it_says_so(name):
    with pytest.raises(InputError, match=r"config\.baseline is missing"):
        missing = toy.recipe(name)
        del missing["baseline"]
        configure.resolve(missing)


def test_the_gradient_diagnostic_leaves_the_proxies_aside():
    """Also where there are as many images as classes: the proxies are no rows of images. All else sums to the whole."""
    stage, data = stage_of("proxy"), toy.build(None)
    state = create_state(stage, toy.start_of(stage), 0)
    records = np.array([0, 24, 36])
    images = jnp.stack([data.train.read(i) for i in records])
    batch = {"image": {"image": images, "label": jnp.asarray(data.train.labels[records])}}

    def whole(params):
        def apply(params, model_state, images):
            return stage.network.apply({"params": params, **model_state}, images, train=True, mutable=[*model_state])

        outcome = stage.objective(apply, params, state.model_state, batch, None)
        return sum(term.scale * term.mean() for term in outcome.terms.values())

    expected = traverse_util.flatten_dict(jax.jit(jax.grad(whole))(state.params), sep="/")
    frequent, rare = jax.jit(make_split_gradients(stage, 5, np.array([True, False, False])))(state, {}, batch)
    assert np.abs(expected["head/proxies"]).max() > 0.1
    for path, values in expected.items():
        parts = [np.asarray(side[path]) for side in (frequent, rare)]
        if path == "head/proxies":
            np.testing.assert_allclose(parts, np.zeros_like(parts), atol=1e-6)
        else:
            np.testing.assert_allclose(sum(parts), values, rtol=1e-3, atol=1e-4, err_msg=path)


@pytest.mark.slow
def test_proxies_learn_and_take_no_part_in_the_answer(tmp_path):
    results = loop.train(config_of("proxy"), str(tmp_path))
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        assert row["loss"] == pytest.approx(row["loss/classification"] + row["loss/proxy"], rel=1e-5)
    assert rows[-1]["loss/proxy"] < rows[0]["loss/proxy"]
    assert results["accuracy"]["all"] is not None

    stage = stage_of("proxy")
    variables = toy.start_of(stage).variables
    images = np.stack([toy.build(None).test.read(i) for i in range(4)])
    logits = stage.predict(variables, images)
    head = variables["params"]["head"]
    moved = {**variables, "params": {**variables["params"], "head": {**head, "proxies": head["proxies"] + 1}}}
    assert logits.shape == (4, 3)
    np.testing.assert_array_equal(stage.predict(moved, images), logits)
