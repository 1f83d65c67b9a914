"""From a loss per example to the scalar that is minimised."""

from typing import Any

import jax
import jax.numpy as jnp

from ltjax.losses.arrays import Array, as_float, check_mask


def weighted_mean(losses: Any, weights: Any, where: Any = None) -> Array:
    """The mean of losses in which a class weighs more: ``sum_i w_i l_i / sum_i w_i``.

    The divisor is the sum of the weights, as in the class-weighted cross-entropy of the LDAM, RIDE and decoupling
    code, not the number of examples (the focal losses divide by that: ``jnp.mean``). Under a sharded jit both sums
    are global.

    Args:
      losses: ``[...]``, any float dtype; computed in at least float32.
      weights: broadcasts to ``[...]``; for class weights pass ``class_weights[labels]``.
      where: broadcasts to ``[...]``, bool; masked examples count neither above nor below, whatever they hold.

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
    """
    losses, weights = as_float(losses), as_float(weights)
    if jnp.broadcast_shapes(losses.shape, weights.shape) != losses.shape:
        raise ValueError(f"weights: expected to fit losses of shape {list(losses.shape)}, not {list(weights.shape)}")
    if where is not None:
        check_mask(where, losses.shape)
    return _weighted_mean(losses, weights, where)


@jax.jit
def _weighted_mean(losses: Array, weights: Array, where: Any) -> Array:
    dtype = jnp.promote_types(losses.dtype, weights.dtype)
    losses, weights = losses.astype(dtype), jnp.broadcast_to(weights, losses.shape).astype(dtype)
    if where is not None:
        mask = jnp.asarray(where, bool)
        losses, weights = jnp.where(mask, losses, 0), jnp.where(mask, weights, 0)
    # An example of weight 0 has no part, even with an infinite loss.
    losses = jnp.where((weights == 0) & ~jnp.isfinite(losses), 0, losses)
    divisor = jnp.sum(weights)
    return jnp.where(divisor == 0, 0, jnp.sum(weights * losses) / jnp.where(divisor == 0, 1, divisor))
