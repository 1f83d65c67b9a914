"""Two arrays spread over a map, whose transpose is one reduction with two sums.

JAX transposes each broadcast to a sum of its own, and XLA's compiler for GPUs does not join such two: the backward pass
of a batch norm would have two kernels where one is enough. No public transformation has another transpose and can be
mapped (``linear_call`` cannot), so this is a primitive.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir


def spread(a: jax.Array, b: jax.Array, shape: Sequence[int]) -> tuple[jax.Array, jax.Array]:
    """a and b, of one dtype and of sides of 1 or those of ``shape``, broadcast to ``shape``; linear in both.

    Example:
      >>> a, b = spread(jnp.ones((1, 2)), jnp.zeros((1, 2)), (3, 2))
      >>> a.shape, b.shape
      ((3, 2), (3, 2))
      >>> both, = jax.linear_transpose(lambda x: spread(x, 2 * x, (3, 2)), jnp.ones((1, 2)))((a, a))
      >>> both.tolist()
      [[9.0, 9.0]]
    """
    return tuple(spread_p.bind(a, b, shape=tuple(shape)))


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def fused_sums(a: jax.Array, b: jax.Array, axes: Sequence[int]) -> tuple[jax.Array, jax.Array]:
    """The sums of a and b, of one shape and dtype, as one reduction; a GPU's compiler doesn't always join two.

    The axes stay with sides of 1. The transpose of ``spread``.

    Example:
      >>> [s.tolist() for s in fused_sums(jnp.array([[1.0], [2.0]]), jnp.array([[3.0], [5.0]]), (0,))]
      [[[3.0]], [[8.0]]]
    """
    zero = jnp.zeros((), a.dtype)
    sums = jax.lax.reduce((a, b), (zero, zero), lambda x, y: (x[0] + y[0], x[1] + y[1]), tuple(axes))
    return jnp.expand_dims(sums[0], axes), jnp.expand_dims(sums[1], axes)


@fused_sums.defjvp
def _fused_sums_jvp(axes: Sequence[int], primals: Any, tangents: Any) -> Any:
    da, db = tangents  # sums are their own derivative
    return fused_sums(*primals, axes), (da.sum(axes, keepdims=True), db.sum(axes, keepdims=True))


def _broadcast(a: jax.Array, b: jax.Array, *, shape: tuple[int, ...]) -> list[jax.Array]:
    return [jnp.broadcast_to(a, shape), jnp.broadcast_to(b, shape)]


def _jvp(primals: Any, tangents: Any, *, shape: tuple[int, ...]) -> Any:
    tangents = [ad.instantiate_zeros(tangent) for tangent in tangents]
    return spread_p.bind(*primals, shape=shape), spread_p.bind(*tangents, shape=shape)


def _transpose(cotangents: Any, a: Any, b: Any, *, shape: tuple[int, ...]) -> Any:
    axes = tuple(i for i, side in enumerate(a.aval.shape) if side != shape[i])
    sums = fused_sums(*(ad.instantiate_zeros(one) for one in cotangents), axes)
    return [total if ad.is_undefined_primal(one) else None for total, one in zip(sums, (a, b), strict=True)]


def _batch(arguments: Any, positions: Any, *, shape: tuple[int, ...]) -> Any:
    (size,) = {x.shape[p] for x, p in zip(arguments, positions, strict=True) if p is not None}
    moved = [batching.bdim_at_front(x, p, size) for x, p in zip(arguments, positions, strict=True)]
    return spread_p.bind(*moved, shape=(size, *shape)), [0, 0]


spread_p = Primitive("spread")
spread_p.multiple_results = True
spread_p.def_impl(jax.jit(_broadcast, static_argnames="shape"))
spread_p.def_abstract_eval(lambda a, b, *, shape: [a.update(shape=shape), b.update(shape=shape)])
ad.primitive_jvps[spread_p] = _jvp
ad.primitive_transposes[spread_p] = _transpose
batching.primitive_batchers[spread_p] = _batch
mlir.register_lowering(spread_p, mlir.lower_fun(_broadcast, multiple_results=True))
