"""Many small arrays as a few: the leaves of a tree that have one shape and dtype, stacked.

A loop over training steps carries hundreds of small arrays. A GPU updates each with a kernel of its own, which takes
longer to start than to run. Stacked, all parameters of one shape are updated by one kernel.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp

from ltjax.methods.stage import Tree

State = TypeVar("State")
Result = TypeVar("Result")
FEWEST = 4  # leaves worth stacking; fewer stay as they are


def pack(tree: Tree) -> list[jax.Array]:
    """The leaves of ``tree``, those of one shape and dtype stacked: [leaves, ...] for each such group.

    Example:
      >>> [x.shape for x in pack({"a": jnp.zeros(3), "b": [jnp.ones(3)] * 4, "c": jnp.zeros(2)})]
      [(5, 3), (2,)]
    """
    leaves = jax.tree.leaves(tree)
    return [leaves[group[0]] if len(group) == 1 else jnp.stack([leaves[i] for i in group]) for group in groups(tree)]


def unpack(packed: Sequence[jax.Array], like: Tree) -> Tree:
    """The tree that ``pack`` made ``packed`` of.

    Args:
      packed: from ``pack``.
      like: a tree of the same structure, shapes and dtypes; only these are used.

    Example:
      >>> tree = {"a": jnp.zeros(2), "b": [jnp.ones(2)] * 4}
      >>> unpack(pack(tree), tree)["b"][3].tolist()
      [1.0, 1.0]
    """
    leaves, structure = jax.tree.flatten(like)
    for group, array in zip(groups(like), packed, strict=True):
        for position, i in enumerate(group):
            leaves[i] = array if len(group) == 1 else array[position]
    return jax.tree.unflatten(structure, leaves)


def groups(tree: Tree) -> list[list[int]]:
    """The positions, among the leaves of ``tree``, of the leaves that ``pack`` stacks; a single one stays as it is.

    Example:
      >>> groups([jnp.zeros(2), jnp.zeros(1), jnp.zeros(2), jnp.zeros(2), jnp.zeros(2), jnp.zeros(1)])
      [[0, 2, 3, 4], [1], [5]]
    """
    alike: dict[tuple, list[int]] = {}
    for i, leaf in enumerate(jax.tree.leaves(tree)):
        alike.setdefault((leaf.shape, leaf.dtype), []).append(i)
    return [part for group in alike.values() for part in ([group] if len(group) >= FEWEST else [[i] for i in group])]


def scan_steps(
    step: Callable[[State], tuple[State, Result]], state: State, count: int, unroll: int = 1
) -> tuple[State, Result]:
    """``jax.lax.scan`` of ``step`` for ``count`` steps; arguments and results as in ``scan_packed``."""
    return jax.lax.scan(lambda state, _: step(state), state, length=count, unroll=unroll)


def scan_packed(
    step: Callable[[State], tuple[State, Result]], state: State, count: int, unroll: int = 1
) -> tuple[State, Result]:
    """``jax.lax.scan`` of ``step`` for ``count`` steps, whose carry is packed inside the loop.

    Args:
      step: state -> (state of the same shapes, results).
      state: before the first step.
      count: steps.
      unroll: the scan's.

    Returns:
      The last state, and the results of all steps: each has a leading axis [count].

    Example:
      >>> state, doubled = scan_packed(lambda x: (x + 1, {"double": 2 * x}), jnp.int32(3), count=2)
      >>> state.tolist(), doubled["double"].tolist()
      (5, [6, 8])
    """

    def body(carry: list[jax.Array], _: None) -> tuple[list[jax.Array], Result]:
        new, result = step(unpack(carry, state))
        return pack(new), result

    carry, results = jax.lax.scan(body, pack(state), length=count, unroll=unroll)
    return unpack(carry, state), results
