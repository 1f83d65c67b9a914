"""Arrays that devices share, each holding a piece, and that are put together where they are used: config.fsdp.

"Fully sharded data parallel", as PyTorch calls it, or ZeRO's third stage (Rajbhandari et al., 2020): parameters,
gradients and the optimizer's state are split over the mesh axis ``fsdp``, and so is the batch. A layer's parameters are
gathered before it is computed, and their gradient is reduced to the piece that a device holds.
"""

from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import PartitionSpec

AXIS = "fsdp"
LEAST = 4096  # numbers of an array that is worth splitting: of smaller ones each device has all


def split_spec(shape: Sequence[int], parts: int) -> PartitionSpec:
    """How an array is split: along its longest side that divides by ``parts``, if it is large enough.

    Example:
      >>> [tuple(split_spec(shape, 8)) for shape in ((3, 3, 256, 1024), (1024,), (770, 769))]
      [(None, None, None, 'fsdp'), (), ()]
    """
    size = 1
    for side in shape:
        size *= side
    sides = [axis for axis, side in enumerate(shape) if side % parts == 0]
    if parts == 1 or size < LEAST or not sides:
        return PartitionSpec()
    longest = max(sides, key=lambda axis: shape[axis])
    return PartitionSpec(*[None] * longest, AXIS)


def parts() -> int:
    """The devices that share an array, in the program that is being traced; 1 = nothing is shared."""
    return int(dict(jax.sharding.get_abstract_mesh().shape).get(AXIS, 1))


@jax.custom_vjp
def _whole(x: jax.Array) -> jax.Array:
    return jax.lax.with_sharding_constraint(x, PartitionSpec())


def _forward(x: jax.Array) -> tuple[jax.Array, None]:
    return _whole(x), None


def _backward(_: None, gradient: jax.Array) -> tuple[jax.Array]:
    return (as_split(gradient),)


_whole.defvjp(_forward, _backward)


def as_split(x: jax.Array) -> jax.Array:
    """x in the pieces of ``split_spec``."""
    return jax.lax.with_sharding_constraint(x, split_spec(x.shape, parts()))


def gathered(tree: Any) -> Any:
    """The arrays, whole on every device; their gradients are split. The same where nothing is shared."""
    return tree if parts() == 1 else jax.tree.map(_whole, tree)


def kept_split(tree: Any) -> Any:
    """The arrays, in pieces. The same where nothing is shared."""
    return tree if parts() == 1 else jax.tree.map(as_split, tree)
