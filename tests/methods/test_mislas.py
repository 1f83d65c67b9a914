"""MiSLAS: the second stage begins with the first one's classifier; what it trains, at which rate, and what shifts."""

import numpy as np
import pytest

from ltjax import losses, models
from tests.methods.asynchronous import toy as asynchronous_toy
from tests.methods.test_disalign import one_step, second_stage
from tests.training import toy
from tests.training.step.test_micro_batches import batch_of


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setitem(models.BACKBONES, "toy", asynchronous_toy.Backbone)


def moves(**changes):
    """What a step changes of the classifier, its scales, the backbone's kernel and its running mean; and the loss."""
    first, second, previous, start = second_stage("mislas", **changes)
    batch = batch_of(second)
    new, metrics = one_step(second, start, batch)

    def change(*path):
        before, after = start.variables, {"params": new.params, **new.model_state}
        for key in path:
            before, after = before[key], after[key]
        return np.asarray(after) - np.asarray(before)

    logits = first.predict(previous.variables, batch["image"]["image"])
    np.testing.assert_allclose(second.predict(start.variables, batch["image"]["image"]), logits, rtol=1e-6)
    return {
        "classifier": change("params", "head", "classifier", "kernel"),
        "scale": change("params", "head", "scale"),
        "backbone": change("params", "backbone", "conv", "kernel"),
        "mean": change("batch_stats", "backbone", "norm", "mean"),
    }, (metrics, logits, batch["image"]["label"])


def test_classifier_and_scales_are_trained_and_statistics_shift():
    moved, _ = moves()
    assert np.abs(moved["classifier"]).min() > 0 and np.abs(moved["scale"]).min() > 0
    assert np.abs(moved["mean"]).max() > 0 and not moved["backbone"].any()


def test_without_shift_the_classifier_has_a_part_of_the_rate_and_the_loss_is_label_aware():
    moved, (metrics, logits, labels) = moves(mislas__shift_norm=False)
    whole, _ = moves(mislas__shift_norm=False, mislas__classifier_rate=1.0)
    assert not moved["mean"].any()
    np.testing.assert_allclose(moved["classifier"], 0.2 * whole["classifier"], rtol=1e-3, atol=1e-8)
    np.testing.assert_allclose(moved["scale"], whole["scale"], rtol=1e-5)
    expected = losses.label_aware_smoothing_loss(logits, labels, class_counts=toy.COUNTS, head=0.4, tail=0.1)
    assert float(metrics["loss"]) == pytest.approx(float(expected.mean()), rel=1e-5)
