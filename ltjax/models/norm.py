"""Batch normalisation with an unbiased running variance and a mode that leaves the statistics alone."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import AxisType, PartitionSpec

from ltjax.arrays import at_least_float32
from ltjax.errors import InputError
from ltjax.models.recomputed import KEPT
from ltjax.models.spread import fused_sums, spread

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
    fused: whether the sums of a pass are one reduction, as in ``normalized``; None: on CUDA.

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
    fused: bool | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, frozen_norm: bool = False) -> jax.Array:
        size = x.shape[-1]
        stored = stored_dtype(self)
        scale = self.param("scale", nn.initializers.ones_init(), (size,), stored)
        bias = self.param("bias", nn.initializers.zeros_init(), (size,), stored)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (size,), at_least_float32(stored))
        running_var = self.variable("batch_stats", "var", jnp.ones, (size,), at_least_float32(stored))

        if not train or frozen_norm:
            wide = x.astype(at_least_float32(x.dtype))
            mean, var = running_mean.value, running_var.value
            return _standardized(wide, mean, var, scale, bias, self.epsilon).astype(self.dtype)
        grouped = in_groups(x, 0 if self.is_initializing() else self.group)
        axes = moment_axes(grouped, x)
        y, mean, var = normalized(grouped, scale, bias, axes, self.epsilon, self.dtype, self.fused)
        if not self.is_initializing():
            count = x.size // mean.size
            # a single value per channel has no unbiased variance: its (zero) biased one is kept
            unbiased = var * (count / max(count - 1, 1))
            running_mean.value = _towards(running_mean.value, _over_groups(mean), self.momentum)
            running_var.value = _towards(running_var.value, _over_groups(unbiased), self.momentum)
        return y.reshape(x.shape)


class ZeroScaleNorm(BatchNorm):
    """BatchNorm whose scale starts at 0, so that its block starts as the identity."""

    @nn.nowrap
    def param(self, name: str, init_fn: Callable[..., Any], *init_args: Any, **kwargs: Any) -> Any:
        return super().param(name, nn.initializers.zeros_init() if name == "scale" else init_fn, *init_args, **kwargs)


@functools.partial(jax.custom_jvp, nondiff_argnums=(3, 4, 5, 6))
def normalized(
    x: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    axes: Sequence[int],
    epsilon: float,
    dtype: Dtype,
    fused: bool | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """x [..., d] with mean 0 and variance 1 over ``axes``, times ``scale`` [d] plus ``bias`` [d].

    Its backward pass is the closed form (Ioffe & Szegedy, 2015, section 3): two sums over the map that are made at
    once, where differentiating each operation gives three, one of them after the others.

    Args:
      fused: whether the two sums of each pass are one reduction, as ``moments`` takes it.

    Returns:
      (y of the shape of x in ``dtype``, mean, biased variance), the last two with sides of 1 for ``axes``, at least
      float32. All three have derivatives, forward and reverse, of any order.

    Example:
      >>> y, mean, var = normalized(jnp.array([[0.0], [2.0]]), jnp.ones(1), jnp.zeros(1), (0,), 0.0, jnp.float32)
      >>> y.ravel().tolist(), mean.tolist(), var.tolist()
      ([-1.0, 1.0], [[1.0]], [[1.0]])
    """
    wide = x.astype(at_least_float32(x.dtype))
    # kept where a block is computed again
    mean, var = checkpoint_name(moments(wide, axes, fused), KEPT)
    return _standardized(wide, mean, var, scale, bias, epsilon).astype(dtype), mean, var


@normalized.defjvp
def _normalized_jvp(
    axes: Sequence[int], epsilon: float, dtype: Dtype, fused: bool | None, primals: Any, tangents: Any
) -> Any:
    """The derivative, written so that its transpose, the backward pass, is the closed form.

    Only ``offset`` and ``factor`` are spread over the map. Transposed, they are the sums of dy and of dy * standard.
    """
    x, scale, bias = primals
    # the function itself: higher orders differentiate its operations, and remat finds the moments by their name
    y, mean, var = inspect.unwrap(normalized)(x, scale, bias, axes, epsilon, dtype, fused)
    dx, dscale, dbias = tangents
    dx, inverse = dx.astype(mean.dtype), jax.lax.rsqrt(var + epsilon)
    standard = (x.astype(mean.dtype) - mean) * inverse
    dmean, along = dx.mean(axes, keepdims=True), (standard * dx).mean(axes, keepdims=True)
    slope = scale * inverse
    offset, factor = dbias - slope * dmean, dscale - slope * along
    offset, factor = _over_the_map(offset, factor, x.shape, fused)
    dy = slope * dx + (standard * factor + offset)
    return (y, mean, var), (dy.astype(dtype), dmean, 2 * along / inverse)


def _standardized(
    x: jax.Array, mean: jax.Array, var: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float
) -> jax.Array:
    return (x - mean) * (scale * jax.lax.rsqrt(var + epsilon)) + bias


def moments(x: jax.Array, axes: Sequence[int], fused: bool | None = None) -> tuple[jax.Array, jax.Array]:
    """Mean and biased variance of x [..., d] over ``axes``, which stay with sides of 1, in the dtype of x.

    fused: in one pass, as ``shifted_moments``, or ``gathered_moments`` where a mesh around this call splits the batch
      over devices; false: in two, as ``centered_moments``; None: in one on CUDA, where every pass is launched on its
      own and reads the map again.

    Example:
      >>> x = jnp.array([[[0.0], [2.0]], [[5.0], [5.0]]])
      >>> [m.ravel().tolist() for m in moments(x, (0, 1))]
      [[3.0], [4.5]]
    """
    two = functools.partial(centered_moments, axes=axes)
    shares = _shares()
    one: Callable[..., Any] = functools.partial(shifted_moments, axes=axes)
    if len(x) % shares:  # such as groups of more images than a device has
        one = two
    elif shares > 1 and 0 in axes:
        one = functools.partial(gathered_moments, axes=axes, shares=shares)
    if fused is None:
        return jax.lax.platform_dependent(x, cuda=one, default=two)
    return one(x) if fused else two(x)


def _shares() -> int:
    """Devices of the mesh that is set around the call, whose compiler splits arrays as it likes; 1 if there is none."""
    mesh = jax.sharding.get_abstract_mesh()
    return mesh.size if set(mesh.axis_types) == {AxisType.Auto} else 1


def centered_moments(x: jax.Array, axes: Sequence[int]) -> tuple[jax.Array, jax.Array]:
    """The mean, then the mean of squared deviations.

    E[x^2] - E[x]^2 has no correct digit left in float32 once the mean is some thousand standard deviations.

    Example:
      >>> [float(m[0, 0]) for m in centered_moments(jnp.array([[1e4 - 1], [1e4 + 1]]), (0,))]
      [10000.0, 1.0]
    """
    mean = x.mean(axes, keepdims=True)
    return mean, jnp.square(x - mean).mean(axes, keepdims=True)


def shifted_moments(x: jax.Array, axes: Sequence[int]) -> tuple[jax.Array, jax.Array]:
    """By the sums of d and d^2, d = x minus the first value of the channel, in one pass.

    The rounding of the variance is that of d: it grows with the square of the distance, in standard deviations, of the
    first value from the mean, but not with the mean. (A running mean as shift is far away at the start.)

    Example:
      >>> [float(m[0, 0]) for m in shifted_moments(jnp.array([[1e4 - 1], [1e4 + 1]]), (0,))]
      [10000.0, 1.0]
    """
    first = jax.lax.stop_gradient(x[tuple(slice(0, 1) if axis in axes else slice(None) for axis in range(x.ndim))])
    distance = x - first
    total, squares = fused_sums(distance, jnp.square(distance), axes)
    count = x.size // first.size
    mean = total / count
    return first + mean, jnp.maximum(squares / count - jnp.square(mean), 0)


def gathered_moments(x: jax.Array, axes: Sequence[int], shares: int) -> tuple[jax.Array, jax.Array]:
    """By the moments of equal shares of the first axis, one on each device, combined (Chan et al., 1979).

    On several devices ``shifted_moments`` would send the first value and then each sum on its own, ``centered_moments``
    the mean and then the squares. Here each device sends its two moments once.

    Args:
      shares: the devices of the mesh that is set around this call.

    Example:
      >>> one_device = jax.sharding.Mesh(jax.devices()[:1], ["data"]).abstract_mesh
      >>> two_halves = jax.jit(functools.partial(gathered_moments, axes=(0,), shares=2))
      >>> with jax.sharding.use_abstract_mesh(one_device):
      ...     [float(m[0, 0]) for m in two_halves(jnp.array([[1.0], [5.0]]))]
      [3.0, 4.0]
    """
    parts = x.reshape(shares, len(x) // shares, *x.shape[1:])
    each = jnp.stack(shifted_moments(parts, [axis + 1 for axis in axes]))
    means, variances = jax.lax.with_sharding_constraint(each, PartitionSpec())
    mean = means.mean(0)
    return mean, (variances + jnp.square(means - mean)).mean(0)


def _over_the_map(
    offset: jax.Array, factor: jax.Array, shape: Sequence[int], fused: bool | None
) -> tuple[jax.Array, jax.Array]:
    """Both broadcast to ``shape``. The transpose sums over the map: as one reduction where ``fused`` moments are one.

    On several devices it is two: the compiler sends two sums at once, but what a reduction of two has on its own.
    """

    def apart(offset: jax.Array, factor: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.broadcast_to(offset, shape), jnp.broadcast_to(factor, shape)

    together = functools.partial(spread, shape=shape) if _shares() == 1 else apart
    if fused is None:
        return jax.lax.platform_dependent(offset, factor, cuda=together, default=apart)
    return together(offset, factor) if fused else apart(offset, factor)


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


def moment_axes(grouped: jax.Array, x: jax.Array) -> tuple[int, ...]:
    """The axes of ``grouped``, made of x by ``in_groups``, that share statistics: all but the groups' and the last.

    Example:
      >>> x = jnp.zeros([6, 8, 8, 3])
      >>> moment_axes(x, x), moment_axes(in_groups(x, 2), x)
      ((0, 1, 2), (1, 2, 3))
    """
    return tuple(range(grouped.ndim - x.ndim, grouped.ndim - 1))


def _over_groups(moment: jax.Array) -> jax.Array:
    """[..., d] of the moments of the groups, one group or several -> their mean [d]."""
    return moment.mean(tuple(range(moment.ndim - 1)))


def _towards(old: jax.Array, new: jax.Array, momentum: float) -> jax.Array:
    return (momentum * old + (1 - momentum) * new).astype(old.dtype)
