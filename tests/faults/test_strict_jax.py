"""Losses, classifiers and metrics under the strict settings of JAX that a user may have, values and gradients."""

import contextlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import classifiers, metrics, models
from ltjax.training import loop, prepare
from tests.losses.catalogue import FIRST, ids
from tests.training import toy

WHERE = np.array([True, False, True, True, False, True])


@contextlib.contextmanager
def strict():
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"), jax.debug_nans(True):
        yield


def same(strictly, usual):
    np.testing.assert_array_equal(np.asarray(strictly, np.float32), np.asarray(usual, np.float32))


@pytest.mark.parametrize("entry", FIRST, ids=ids(FIRST))
def test_a_loss_and_its_gradient_are_the_same(entry):
    x, y = entry.inputs()
    where = jnp.asarray(WHERE)

    def computed(dtype):
        value, back = jax.vjp(lambda x: entry.loss(x, y, where), x.astype(dtype))
        return value, back(jnp.ones_like(value))[0]

    for dtype in (jnp.float32, jnp.bfloat16):
        usual = computed(dtype)
        with strict():
            found = computed(dtype)
        for one, other in zip(found, usual, strict=True):
            same(one, other)


@pytest.mark.parametrize("entry", FIRST, ids=ids(FIRST))
def test_a_gradient_of_a_compiled_function_can_be_traced(entry):
    """Rules of differentiation run after the function has returned; no other test has traced a batch of seven."""
    x, y = entry.inputs((7,))
    where = np.array([*WHERE, True])
    with strict():
        jax.make_jaxpr(jax.grad(jax.jit(lambda x: jnp.sum(entry.loss(x, y, jnp.asarray(where))))))(x)


def test_classifiers_and_metrics():
    rng = np.random.default_rng(0)
    features, labels = jnp.asarray(rng.normal(size=(12, 4)), jnp.float32), jnp.arange(12) % 3
    kernel = jnp.asarray(rng.normal(size=(4, 3)), jnp.float32)

    def computed():
        means = classifiers.class_means(features, labels, 3)
        logits = classifiers.ncm_logits(features, means)
        counters = metrics.update(metrics.create(3), logits, labels)
        return (
            classifiers.tau_normalize(kernel, 0.7), classifiers.cosine_logits(features, kernel, 16.0),
            classifiers.adjust_logits(logits, class_counts=np.array([9, 3, 1]), tau=1.0),
            classifiers.select_exemplars(features, labels, 2), metrics.per_class_accuracy(counters),
            metrics.mean_class_accuracy(counters),
        )  # fmt: skip

    usual = computed()
    with strict():
        found = computed()
    for one, other in zip(found, usual, strict=True):
        same(one, other)


def test_a_run_whose_batches_lack_a_class(tmp_path, monkeypatch):
    """Values that a step does not have, of a class or between two gradients, are no NaN on the device."""
    monkeypatch.setattr(prepare, "build", toy.build)
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)
    config = toy.config(epochs=1, batch_size=4, watch_classes=(2,), log_every_steps=1, gradients__every_steps=3)
    with jax.debug_nans(True):
        loop.train(config, str(tmp_path))
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    watched = [row["class_loss/2"] for row in rows if "class_loss/2" in row]
    assert 0 < len(watched) < len(rows) and all(0 < loss < 10 for loss in watched)
    assert 0 < sum("gradient/norm" in row for row in rows) < len(rows)
