"""What the classifiers share: dtypes, exact products, norms with finite gradients."""

from typing import Any

import jax
import jax.numpy as jnp

Array = jax.Array


def as_float(values: Any) -> Array:
    array = jnp.asarray(values)
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))


def product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def norm(values: Array, axis: int = -1, at_zero: int = 1) -> Array:
    """The L2 norm, its axis kept; ``at_zero`` for zeros, with finite gradients."""
    squares = jnp.sum(values**2, axis=axis, keepdims=True)
    zero = squares == 0
    return jnp.where(zero, at_zero, jnp.sqrt(jnp.where(zero, 1, squares)))


def unit(values: Array, axis: int = -1) -> Array:
    return values / norm(values, axis)


def check_examples(features: Any, labels: Any) -> tuple[Array, Array]:
    features, labels = as_float(features), jnp.asarray(labels)
    if features.ndim != 2 or labels.shape != features.shape[:1] or not jnp.issubdtype(labels.dtype, jnp.integer):
        shapes = f"{list(features.shape)} and {labels.dtype} {list(labels.shape)}"
        raise ValueError(f"features, labels: expected [N, d] and integers [N], not {shapes}")
    return features, labels.astype(jnp.int32)
