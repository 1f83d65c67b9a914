"""LADE: the optimum of its regularizer is the log density of each class."""

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.losses import lade_regularizer

SHARES = np.array([[2, 0, 0], [2, 2, 0], [2, 1, 1]]) / np.array([6, 3, 1])  # of each kind of image (row) in a class
COUNTS = np.array([6, 3, 1])


def test_the_optimum_is_the_log_density_ratio_of_each_class():
    """With the share of each kind in a class known, the gradient vanishes at log p(kind | class) / p_uniform(kind)."""
    kinds, labels = np.nonzero(SHARES)
    repeats = np.round(SHARES * COUNTS)[kinds, labels].astype(int)
    kinds, labels = np.repeat(kinds, repeats), np.repeat(labels, repeats)
    with np.errstate(divide="ignore"):
        optimum = jnp.asarray(np.maximum(np.log(SHARES / SHARES.mean(1, keepdims=True)), -30))

    def loss(table):
        return lade_regularizer(table[kinds], labels, class_counts=COUNTS, penalty=0.1)

    np.testing.assert_allclose(jax.grad(loss)(optimum), 0, atol=1e-6)
    moved = jax.grad(loss)(optimum + jnp.array([0.0, 0.5, 0.0]))
    assert float(jnp.abs(moved).max()) > 1e-3  # no constant is free
