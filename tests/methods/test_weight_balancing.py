"""Weight balancing: the radius is of the first stage's classifier, and no step ends outside it."""

import numpy as np
import pytest

from ltjax import losses, models
from ltjax.class_counts import effective_number_weights
from ltjax.methods.weight_balancing import KERNEL, within_radius
from tests.methods.asynchronous import toy as asynchronous_toy
from tests.methods.test_disalign import one_step, second_stage
from tests.training import toy
from tests.training.step.test_micro_batches import batch_of


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setitem(models.BACKBONES, "toy", asynchronous_toy.Backbone)


def lengths(params):
    return np.linalg.norm(np.asarray(params["head"]["classifier"]["kernel"]), axis=0)


@pytest.mark.parametrize(
    ("name", "loss"), [("cross_entropy", losses.cross_entropy), ("binary", losses.softmax_binary_loss)]
)
def test_a_step_of_the_classifier_ends_within_the_radius(name, loss):
    first, second, previous, start = second_stage("weight_balancing", weight_balancing__loss=name)
    old = lengths(start.variables["params"])
    radius = old.min() + 0.1 * (old.max() - old.min())
    assert float(start.frozen["radius"]) == pytest.approx(radius, rel=1e-6)
    batch = batch_of(second)
    labels = batch["image"]["label"]
    new, metrics = one_step(second, start, batch)
    weights = effective_number_weights(toy.COUNTS, 0.9999)[labels]
    of_each = loss(first.predict(previous.variables, batch["image"]["image"]), labels)
    # the paper's cross-entropy is PyTorch's weighted mean; the authors' code divides by the batch size
    divisor = weights.sum() if name == "cross_entropy" else len(labels)
    assert float(metrics["loss"]) == pytest.approx(float(np.sum(of_each * weights) / divisor), rel=1e-5)
    assert lengths(new.params).max() <= radius * (1 + 1e-6)
    for part in ("backbone",):
        np.testing.assert_array_equal(
            new.params[part]["conv"]["kernel"], start.variables["params"][part]["conv"]["kernel"]
        )


def test_shorter_weights_and_the_bias_stay():
    kernel, bias = np.array([[3.0, 0.3, 0.0], [4.0, 0.4, 0.0]], np.float32), np.array([9.0, 9.0, 9.0])
    params = within_radius({KERNEL: kernel, "head/classifier/bias": bias}, {"radius": np.float32(1.0)})
    np.testing.assert_allclose(params[KERNEL], [[0.6, 0.3, 0], [0.8, 0.4, 0]], rtol=1e-6)
    np.testing.assert_array_equal(params["head/classifier/bias"], bias)
