"""Batch normalisation with an unbiased running variance and a mode that leaves the statistics alone."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ltjax.arrays import at_least_float32
from ltjax.errors import InputError

Dtype = Any


def stored_dtype(module: Any) -> Dtype:
    """The dtype of a module's parameters: its ``param_dtype``, or what its ``dtype`` asks for where that is None.

    Example:
      >>> stored_dtype(BatchNorm(dtype=jnp.bfloat16)), stored_dtype(BatchNorm(param_dtype=jnp.bfloat16)).__name__
      (dtype('float32'), 'bfloat16')
    """
    return at_least_float32(module.dtype) if module.param_dtype is None else module.param_dtype


class BatchNorm(nn.Module):
    """Normalises the last axis over all others (Ioffe & Szegedy, 2015, algorithms 1 and 2).

    Flax's own layer keeps the biased variance n as running variance; the published long-tailed results were made with
    the unbiased n/(n-1), and differ at small maps. Inside ``jit`` the statistics are those of the global batch.

    Variables: params ``scale``, ``bias`` and batch_stats ``mean``, ``var``, each [d], float32 (float64 under float64).
    With ``train`` and not ``frozen_norm`` it uses the batch's statistics and moves the running ones towards them
    (collection ``batch_stats`` must be mutable); otherwise it uses the running statistics and leaves them.

    group: images (rows of the first axis) that share statistics, those that follow one another; 0 = all of the batch.
      The running statistics move towards the mean of the groups'. Where every device holds whole groups, nothing is
      reduced over devices in the forward pass: PyTorch's DataParallel with ``group`` images a device.

    Input: [..., d] of any float dtype. Output: the same shape in ``dtype``.

    Raises:
      InputError: if the batch is not made of whole groups.

    Example:
      >>> x = jnp.array([[0.0], [2.0]])
      >>> norm = BatchNorm(momentum=0.0)
      >>> variables = norm.init(jax.random.key(0), x, train=False)
      >>> y, after = norm.apply(variables, x, train=True, mutable=["batch_stats"])
      >>> y.ravel().round(3).tolist(), after["batch_stats"]["var"].tolist()
      ([-1.0, 1.0], [2.0])
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None
    group: int = 0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, frozen_norm: bool = False) -> jax.Array:
        size = x.shape[-1]
        stored = stored_dtype(self)
        scale = self.param("scale", nn.initializers.ones_init(), (size,), stored)
        bias = self.param("bias", nn.initializers.zeros_init(), (size,), stored)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (size,), at_least_float32(stored))
        running_var = self.variable("batch_stats", "var", jnp.ones, (size,), at_least_float32(stored))

        shape = x.shape
        x = x.astype(at_least_float32(x.dtype))
        if train and not frozen_norm:
            x = in_groups(x, 0 if self.is_initializing() else self.group)
            mean, var = batch_moments(x) if x.shape == shape else group_moments(x)
            if not self.is_initializing():
                count = x.size // mean.size
                # a single value per channel has no unbiased variance: its (zero) biased one is kept
                unbiased = var * (count / max(count - 1, 1))
                running_mean.value = _towards(running_mean.value, _over_groups(mean), self.momentum)
                running_var.value = _towards(running_var.value, _over_groups(unbiased), self.momentum)
        else:
            mean, var = running_mean.value, running_var.value
        y = (x - mean) * (scale * jax.lax.rsqrt(var + self.epsilon)) + bias
        return y.reshape(shape).astype(self.dtype)


class ZeroScaleNorm(BatchNorm):
    """BatchNorm whose scale starts at 0, so that its block starts as the identity."""

    @nn.nowrap
    def param(self, name: str, init_fn: Callable[..., Any], *init_args: Any, **kwargs: Any) -> Any:
        return super().param(name, nn.initializers.zeros_init() if name == "scale" else init_fn, *init_args, **kwargs)


def batch_moments(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and biased variance [d] of x [..., d] over all but the last axis, in the dtype of x.

    The variance is the mean of squared deviations: E[x^2] - E[x]^2 has no correct digit left in float32 once the mean
    is some thousand standard deviations.

    Example:
      >>> [float(m[0]) for m in batch_moments(jnp.array([[1e4 - 1], [1e4 + 1]]))]
      [10000.0, 1.0]
    """
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axes)
    return mean, jnp.square(x - mean).mean(axes)


def in_groups(x: jax.Array, size: int) -> jax.Array:
    """[B, ..., d] -> [B / size, size, ..., d]; as it is with size 0 or B.

    Raises:
      InputError: if B is not a multiple of ``size``.

    Example:
      >>> in_groups(jnp.zeros([6, 8, 8, 3]), 2).shape
      (3, 2, 8, 8, 3)
    """
    rows = len(x)
    if size in (0, rows):
        return x
    if rows % size:
        raise InputError(
            f"config.model.norm_group: a batch of {rows} images is not made of groups of {size}; use a divisor, or 0"
        )
    return x.reshape(rows // size, size, *x.shape[1:])


def group_moments(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and biased variance of each group of x [n, size, ..., d], shaped [n, 1, ..., d].

    Example:
      >>> [m.ravel().tolist() for m in group_moments(jnp.array([[[0.0], [2.0]], [[5.0], [5.0]]]))]
      [[1.0, 5.0], [1.0, 0.0]]
    """
    axes = tuple(range(1, x.ndim - 1))
    mean = x.mean(axes, keepdims=True)
    return mean, jnp.square(x - mean).mean(axes, keepdims=True)


def _over_groups(moment: jax.Array) -> jax.Array:
    """[d] of the moments of the groups; those of one batch as they are."""
    return moment.mean(tuple(range(moment.ndim - 1))) if moment.ndim > 1 else moment


def _towards(old: jax.Array, new: jax.Array, momentum: float) -> jax.Array:
    return (momentum * old + (1 - momentum) * new).astype(old.dtype)
