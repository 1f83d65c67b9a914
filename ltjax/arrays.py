"""The array arithmetic that losses, classifiers and models share: dtypes, exact products, lengths, distances.

Everything is computed in at least float32, products at full float32 precision, and every gradient is finite, at zero
vectors and at points that coincide too.
"""

import functools
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, ParamSpec, TypeGuard, TypeVar, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import DTypeLike

from ltjax import class_counts as counts_of
from ltjax.class_counts import PerClass

__all__ = [
    "COINCIDENT",
    "Array",
    "ArrayLike",
    "Scalar",
    "any_promotion",
    "as_float",
    "at_least_float32",
    "causal_norm_cosines",
    "causal_norm_weights",
    "check_features",
    "cosines",
    "is_traced",
    "jit",
    "l2_normalize",
    "norm",
    "pairwise_squared_distances",
    "per_class",
    "product",
    "rescale_columns",
    "square_root",
    "squared_distances",
    "squared_distances_from_products",
    "unit",
]

Array = jax.Array
# Whatever an array of numbers can be made of, lists included; traced too. Not npt.ArrayLike, which takes any string.
_Item = jax.typing.ArrayLike
ArrayLike = _Item | Sequence[_Item] | Sequence[Sequence[_Item]] | Sequence[Sequence[Sequence[_Item]]]
Scalar = float | Array  # an option, which may be traced
P = ParamSpec("P")
R = TypeVar("R")

# Below this share of |a|^2 + |b|^2 a squared distance is rounding (float32 has 1e-7 of it), and so is its gradient.
COINCIDENT = 1e-6


def any_promotion(function: Callable[P, R]) -> Callable[P, R]:
    """The function under JAX's default promotion of ranks and dtypes, whatever the caller has set.

    So it works under ``jax_numpy_rank_promotion="raise"`` and ``jax_numpy_dtype_promotion="strict"``.
    """

    @functools.wraps(function)
    def promoting(*args: P.args, **kwargs: P.kwargs) -> R:
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            return function(*args, **kwargs)

    return promoting


@overload
def jit(function: Callable[P, R]) -> Callable[P, R]: ...
@overload
def jit(*, static_argnames: tuple[str, ...]) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def jit(function: Callable[..., Any] | None = None, *, static_argnames: tuple[str, ...] = ()) -> Any:
    """``jax.jit`` as a decorator that keeps the types of the function, which ``jax.jit`` forgets."""
    if function is None:
        return lambda function: jax.jit(function, static_argnames=static_argnames)
    return jax.jit(function)


def at_least_float32(dtype: DTypeLike) -> np.dtype[Any]:
    """The dtype to compute in: float32 for half precision, float64 stays.

    Example:
      >>> at_least_float32(jnp.bfloat16)
      dtype('float32')
    """
    return jnp.promote_types(dtype, jnp.float32)


def as_float(values: ArrayLike) -> Array:
    """A jax array in at least float32: half precision and integers are widened, float64 stays."""
    array = jnp.asarray(values)
    return array.astype(at_least_float32(array.dtype))


def is_traced(value: object) -> TypeGuard[Array]:
    """Whether the value is only known inside the caller's jit, grad or vmap."""
    return isinstance(value, Tracer)


def per_class(class_counts: PerClass, num_classes: int, formula: Callable[[Any, ModuleType], Any]) -> Any:
    """``formula(counts [C], numpy)`` in float64 for concrete counts, validated; in jax, unchecked, for traced ones.

    Raises:
      ValueError: naming the class that concrete counts are wrong in, or the shape that traced ones should have.
    """
    if is_traced(class_counts):
        if class_counts.shape != (num_classes,):
            raise ValueError(f"class_counts: expected shape [{num_classes}], not {list(class_counts.shape)}")
        return formula(as_float(class_counts), jnp)
    counts = counts_of.validate(class_counts, num_classes=num_classes, positive=True)
    return formula(counts.astype(np.float64), np)


def check_features(features: ArrayLike, labels: ArrayLike) -> tuple[Array, Array]:
    """Features ``[B, d]`` in at least float32 and int32 labels ``[B]``, once they fit.

    Raises:
      ValueError: naming the argument whose shape or dtype is wrong.
    """
    features, labels = as_float(features), jnp.asarray(labels)
    if features.ndim != 2:
        raise ValueError(f"features: expected shape [B, d], not {list(features.shape)}")
    if labels.shape != features.shape[:1] or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"labels: expected integers [{len(features)}], not {labels.dtype} {list(labels.shape)}")
    return features, labels.astype(jnp.int32)


def product(a: Array, b: Array) -> Array:
    """``a @ b`` at the highest precision: bfloat16 or TF32 products are not exact enough to rank near ties."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def square_root(squared: Array) -> Array:
    """The square root, with gradient 0 at 0."""
    zero = squared == 0
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, squared)))


def norm(vectors: Array, axis: int = -1, *, at_zero: int = 0) -> Array:
    """The L2 norm along ``axis``, which is kept; ``at_zero`` for zero vectors (1: a divisor), with gradient 0 there.

    Example:
      >>> norm(jnp.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
      [[5.0], [0.0]]
    """
    squares = jnp.sum(vectors**2, axis=axis, keepdims=True)
    zero = squares == 0
    root = jnp.sqrt(jnp.where(zero, 1, squares))
    return root if at_zero == 1 else jnp.where(zero, at_zero, root)


def unit(vectors: Array, axis: int = -1) -> Array:
    """``x / |x|`` along ``axis``; zero stays zero."""
    return vectors / norm(vectors, axis, at_zero=1)


def l2_normalize(features: Array) -> Array:
    """``unit`` along the last axis for features of any size: neither overflows nor underflows in the square."""
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(features), axis=-1, keepdims=True))
    scaled = features / jnp.where(largest > 0, largest, 1)
    square = jnp.sum(scaled**2, axis=-1, keepdims=True)
    return scaled * jax.lax.rsqrt(jnp.where(square > 0, square, 1))


def cosines(features: Array, kernel: Array) -> Array:
    """Cosines of features ``[..., d]`` with the columns of a kernel ``[d, C]``: ``[..., C]``; 0 where one is zero.

    Example:
      >>> cosines(jnp.array([3.0, 4.0]), jnp.eye(2)).round(3).tolist()
      [0.6..., 0.8...]
    """
    return product(unit(features), unit(kernel, axis=0))


def rescale_columns(kernel: Array, power: Scalar) -> Array:
    """Each column w of the kernel ``[d, C]`` divided by ``|w|^power``; a column of zeros stays zero.

    Example:
      >>> rescale_columns(jnp.array([[4.0, -9.0]]), 0.5).tolist()
      [[2.0, -3.0]]
    """
    return kernel / norm(kernel, axis=0, at_zero=1) ** power


def causal_norm_cosines(
    features: Array, kernel: Array, num_heads: int, gamma: Scalar, mean_feature: Array | None, alpha: Scalar
) -> Array:
    """The sum over heads h of ``<x^h / |x^h| - alpha cos(x^h, c^h) c^h / |c^h|, w^h / (|w^h| + gamma)>``: ``[..., C]``.

    ``features [..., d]``, ``kernel [d, C]`` and the mean feature c ``[d]`` are split into ``num_heads`` parts of d;
    without a mean feature nothing is subtracted.
    """
    directions = unit(features.reshape(*features.shape[:-1], num_heads, -1))
    weights = causal_norm_weights(kernel, num_heads, gamma)
    if mean_feature is not None:
        common = unit(mean_feature.reshape(num_heads, -1))
        directions = directions - alpha * jnp.sum(directions * common, axis=-1, keepdims=True) * common
    return jnp.einsum("...hd,hdc->...c", directions, weights, precision=jax.lax.Precision.HIGHEST)


def causal_norm_weights(kernel: Array, num_heads: int, gamma: Scalar) -> Array:
    """``w^h / (|w^h| + gamma)``, w^h the h-th part of a column of the kernel ``[d, C]``: ``[heads, d / heads, C]``.

    Example:
      >>> causal_norm_weights(jnp.array([[1.0], [3.0]]), 2, 1.0)[:, 0, 0].tolist()
      [0.5, 0.75]
    """
    weights = kernel.reshape(num_heads, -1, kernel.shape[1])
    return weights / (norm(weights, axis=1) + gamma)


def squared_distances(points: Array, centres: Array) -> Array:
    """``|x - c|^2`` of points ``[..., d]`` and centres ``[C, d]``: ``[..., C]``, without an array of ``[..., C, d]``.

    Example:
      >>> squared_distances(jnp.array([[1.0, 0.0]]), jnp.array([[2.0, 0.0], [0.0, 1.0]])).tolist()
      [[1.0, 2.0]]
    """
    # Distances do not move with the origin; near the centres, less is lost to cancellation.
    origin = jnp.mean(centres, axis=0)
    points, centres = points - origin, centres - origin
    squares = jnp.sum(points**2, axis=-1, keepdims=True) + jnp.sum(centres**2, axis=-1)
    return jnp.maximum(squares - 2 * product(points, centres.T), 0)


def pairwise_squared_distances(a: Array, b: Array) -> Array:
    """``|a_i - b_j|^2`` ``[n, m]`` of rows ``[n, d]`` and ``[m, d]`` that may coincide: then 0, with gradient 0."""
    return squared_distances_from_products(product(a, b.T), jnp.sum(a**2, axis=-1), jnp.sum(b**2, axis=-1))


def squared_distances_from_products(dots: Array, squares_a: Array, squares_b: Array) -> Array:
    """``|a_i - b_j|^2`` from the products ``[n, m]`` and the squared norms ``[n]``, ``[m]``; 0 where they coincide."""
    total = squares_a[:, None] + squares_b
    squared = total - 2 * dots
    return jnp.where(squared <= COINCIDENT * total, 0, squared)
