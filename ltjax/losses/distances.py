"""Unit vectors and distances between all pairs, exact enough for float32 and with gradients that stay finite."""

import jax
import jax.numpy as jnp

from ltjax.losses.arrays import Array

# Below this share of |a|^2 + |b|^2 a squared distance is rounding (float32 has 1e-7 of it), and so is its gradient.
COINCIDENT = 1e-6


def dot_all(a: Array, b: Array) -> Array:
    """``a @ b.T`` ``[n, m]`` at the highest precision: bfloat16 or TF32 products are not exact enough."""
    return jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST)


def l2_normalize(features: Array) -> Array:
    """``x / |x|`` along the last axis; zero stays zero. Neither overflows nor underflows in the square."""
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(features), axis=-1, keepdims=True))
    scaled = features / jnp.where(largest > 0, largest, 1)
    square = jnp.sum(scaled**2, axis=-1, keepdims=True)
    return scaled * jax.lax.rsqrt(jnp.where(square > 0, square, 1))


def squared_distances(dots: Array, squares_a: Array, squares_b: Array) -> Array:
    """``|a_i - b_j|^2`` from dot products ``[n, m]`` and squared norms ``[n]``, ``[m]``; 0 where they coincide."""
    total = squares_a[:, None] + squares_b
    squared = total - 2 * dots
    return jnp.where(squared <= COINCIDENT * total, 0, squared)


def square_root(squared: Array) -> Array:
    """The square root, with gradient 0 at 0."""
    zero = squared == 0
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, squared)))


def pairwise_squared_distances(a: Array, b: Array) -> Array:
    """``|a_i - b_j|^2`` ``[n, m]`` of rows ``[n, d]`` and ``[m, d]``."""
    return squared_distances(dot_all(a, b), jnp.sum(a**2, axis=-1), jnp.sum(b**2, axis=-1))
