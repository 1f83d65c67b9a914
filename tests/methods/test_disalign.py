"""DisAlign: the second stage begins with the first one's classifier, and moves its alignment alone."""

import jax
import numpy as np
import pytest
from flax import traverse_util

from ltjax import losses, models
from ltjax.methods import METHODS
from ltjax.methods.disalign import TRAINED
from ltjax.methods.stage import Previous, under
from ltjax.training.step.state import create_state
from ltjax.training.step.step import make_train_step
from tests.methods.asynchronous import toy as asynchronous_toy
from tests.training import toy
from tests.training.step.test_micro_batches import batch_of


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setitem(models.BACKBONES, "toy", asynchronous_toy.Backbone)


def second_stage(method, **changes):
    """The second stage of the method and its start, after a first stage of random weights."""
    config = toy.config(method, second_stage=True, second_stage_epochs=1, **changes)
    first, second = METHODS[method](config, toy.build(None))
    previous = Previous(first.name, toy.start_of(first).variables, {})
    return first, second, previous, second.init(jax.random.key(1), previous, None)


def one_step(stage, start, batch):
    frozen = dict(start.frozen)
    return jax.jit(make_train_step(stage, 5))(create_state(stage, start, 0), frozen, batch)


def test_it_begins_with_the_classifier_and_trains_the_alignment_alone():
    first, second, previous, start = second_stage("disalign")
    batch = batch_of(second)
    images, labels = batch["image"]["image"], batch["image"]["label"]
    logits = first.predict(previous.variables, images)
    np.testing.assert_allclose(second.predict(start.variables, images), logits, rtol=1e-6)
    new, metrics = one_step(second, start, batch)
    weights = (1 / np.array(toy.COUNTS) ** 1.2)[labels]
    expected = np.sum(losses.cross_entropy(logits, labels) * weights) / weights.sum()
    assert float(metrics["loss"]) == pytest.approx(float(expected), rel=1e-5)
    before = traverse_util.flatten_dict(start.variables["params"], sep="/")
    after = traverse_util.flatten_dict(new.params, sep="/")
    moved = {path for path in before if not np.array_equal(before[path], after[path])}
    assert moved and all(any(under(path, prefix) for prefix in TRAINED) for path in moved)
    assert {"head/magnitude", "head/margin"} <= moved


def test_the_magnitudes_of_the_authors_start_at_two():
    first, second, previous, start = second_stage("disalign", disalign__start=2.0)
    images = batch_of(second)["image"]["image"]
    ratio = second.predict(start.variables, images) / first.predict(previous.variables, images)
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :1], ratio.shape), rtol=1e-5)
    assert np.all((ratio > 1) & (ratio < 2))  # 1 + the confidence
