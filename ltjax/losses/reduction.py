"""From a loss per example to the scalar that is minimised."""

from typing import Any

import jax
import jax.numpy as jnp

from ltjax.arrays import Array, ArrayLike, any_promotion, as_float, jit
from ltjax.losses.examples import check_broadcast, check_mask


@any_promotion
def weighted_mean(
    losses: ArrayLike, weights: ArrayLike, where: ArrayLike | None = None, *, axis_name: str | None = None
) -> Array:
    """The mean of losses in which a class weighs more: ``sum_i w_i l_i / sum_i w_i``.

    The divisor is the sum of the weights, as in the class-weighted cross-entropy of the LDAM, RIDE and decoupling
    code, not the number of examples (the focal losses divide by that: ``jnp.mean``). Under a sharded jit both sums
    are global; under ``shard_map`` they are so with ``axis_name``.

    Args:
      losses: ``[...]``, any float dtype; computed in at least float32.
      weights: broadcasts to ``[...]``; for class weights pass ``class_weights[labels]``.
      where: broadcasts to ``[...]``, bool; masked examples count neither above nor below, whatever they hold.
      axis_name: inside ``shard_map``, the mesh axis that the batch lies on: the result is that of the whole batch.
        So are gradients taken inside with ``check_vma=True``, shard_map's default; without it they are multiplied by
        the number of devices.

    Returns:
      A scalar; 0, with finite gradients, when the weights sum to 0 or everything is masked.

    Raises:
      ValueError: if the shapes do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> print(weighted_mean(jnp.array([1.0, 3.0]), jnp.array([3.0, 1.0])))
      1.5
      >>> print(weighted_mean(jnp.array([1.0, jnp.nan]), jnp.ones(2), where=jnp.array([True, False])))
      1.0

    Elsewhere: PyTorch's class-weighted cross-entropy is this; the original class-balanced code divides by B.
    """
    return _weighted_mean(*_checked(losses, weights, where), axis_name=axis_name)


def weighted_sums(losses: ArrayLike, weights: ArrayLike, where: ArrayLike | None = None) -> tuple[Array, Array]:
    """What ``weighted_mean`` divides: ``(sum_i w_i l_i, sum_i w_i)``, which add up over the parts of a batch.

    Arguments and errors are those of ``weighted_mean``.

    Example:
      >>> import jax.numpy as jnp
      >>> print(*weighted_sums(jnp.array([1.0, 3.0]), jnp.array([3.0, 1.0])))
      6.0 4.0
    """
    return _weighted_sums(*_checked(losses, weights, where))


def _checked(losses: Any, weights: Any, where: Any) -> tuple[Array, Array, Any]:
    losses, weights = as_float(losses), as_float(weights)
    check_broadcast("weights", weights.shape, losses.shape)
    return losses, weights, check_mask(where, losses.shape)


@jit(static_argnames=("axis_name",))
def _weighted_mean(losses: Array, weights: Array, where: Any, axis_name: str | None) -> Array:
    total, weight = _weighted_sums(losses, weights, where)
    return divide_or_zero(summed(total, axis_name), summed(weight, axis_name))


def _weighted_sums(losses: Array, weights: Array, where: Any) -> tuple[Array, Array]:
    dtype = jnp.promote_types(losses.dtype, weights.dtype)
    losses, weights = losses.astype(dtype), jnp.broadcast_to(weights, losses.shape).astype(dtype)
    if where is not None:
        losses, weights = jnp.where(where, losses, 0), jnp.where(where, weights, 0)
    # An example of weight 0 has no part, even with an infinite loss.
    losses = jnp.where((weights == 0) & ~jnp.isfinite(losses), 0, losses)
    return jnp.sum(weights * losses), jnp.sum(weights)


def summed(value: Array, axis_name: str | None) -> Array:
    """The sum over the devices of a mesh axis; the value itself without an axis.

    Its gradient is multiplied by the number of devices under ``shard_map(..., check_vma=False)``.
    """
    if axis_name is None:
        return value
    total: Array = jax.lax.psum(value, axis_name)  # type: ignore[no-untyped-call]
    return total


def gathered(axis_name: str | None, *arrays: Any) -> tuple[Any, ...]:
    """The arrays ``[b, ...]`` of all devices as ``[B, ...]``; None and scalars as they are, without an axis all."""
    if axis_name is None:
        return arrays
    return tuple(
        array if array is None or not jnp.ndim(array) else jax.lax.all_gather(array, axis_name, axis=0, tiled=True)
        for array in arrays
    )


def replicated(value: Array, axis_name: str | None) -> Array:
    """A scalar that every device has computed from the gathered batch, as one value.

    Gradients add up to its own, with the reservation of ``summed``.
    """
    return value if axis_name is None else summed(value, axis_name) / jax.lax.axis_size(axis_name)


def divide_or_zero(total: Array, divisor: Array) -> Array:
    """``total / divisor``, and 0 with finite gradients where the divisor is 0."""
    return jnp.where(divisor == 0, 0, total / jnp.where(divisor == 0, 1, divisor))
