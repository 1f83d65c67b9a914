"""Many small arrays as a few: the leaves of a tree that have one shape and dtype, stacked.

A loop over training steps carries hundreds of small arrays. A GPU updates each with a kernel of its own, which takes
longer to start than to run. Stacked, all parameters of one shape are updated by one kernel.
"""

import functools
from collections.abc import Callable, Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp

from ltjax.methods.stage import Tree

State = TypeVar("State")
Result = TypeVar("Result")
FEWEST = 4  # leaves worth stacking; fewer stay as they are
RESULTS = 2  # the same of a step's results


def pack(tree: Tree, fewest: int = FEWEST) -> list[jax.Array]:
    """The leaves of ``tree``, those of one shape and dtype stacked: [leaves, ...] for each such group.

    Example:
      >>> [x.shape for x in pack({"a": jnp.zeros(3), "b": [jnp.ones(3)] * 4, "c": jnp.zeros(2)})]
      [(5, 3), (2,)]
    """
    leaves = jax.tree.leaves(tree)
    alike = groups(tree, fewest)
    return [leaves[group[0]] if len(group) == 1 else jnp.stack([leaves[i] for i in group]) for group in alike]


def unpack(packed: Sequence[jax.Array], like: Tree, fewest: int = FEWEST) -> Tree:
    """The tree that ``pack`` made ``packed`` of.

    Args:
      packed: from ``pack`` with the same ``fewest``.
      like: a tree of the same structure, shapes and dtypes; only these are used.

    Example:
      >>> tree = {"a": jnp.zeros(2), "b": [jnp.ones(2)] * 4}
      >>> unpack(pack(tree), tree)["b"][3].tolist()
      [1.0, 1.0]
    """
    leaves, structure = jax.tree.flatten(like)
    for group, array in zip(groups(like, fewest), packed, strict=True):
        for position, i in enumerate(group):
            leaves[i] = array if len(group) == 1 else array[position]
    return jax.tree.unflatten(structure, leaves)


def groups(tree: Tree, fewest: int = FEWEST) -> list[list[int]]:
    """The positions, among the leaves of ``tree``, of the leaves that ``pack`` stacks; a single one stays as it is.

    Example:
      >>> groups([jnp.zeros(2), jnp.zeros(1), jnp.zeros(2), jnp.zeros(2), jnp.zeros(2), jnp.zeros(1)])
      [[0, 2, 3, 4], [1], [5]]
    """
    alike: dict[tuple, list[int]] = {}
    for i, leaf in enumerate(jax.tree.leaves(tree)):
        alike.setdefault((leaf.shape, leaf.dtype), []).append(i)
    return [part for group in alike.values() for part in ([group] if len(group) >= fewest else [[i] for i in group])]


def scan_steps(
    step: Callable[[list[State]], tuple[list[State], list[Result]]], states: list[State], count: int, unroll: int = 1
) -> tuple[list[State], list[Result]]:
    """``jax.lax.scan`` of ``step`` for ``count`` steps; arguments and results as in ``scan_packed``."""
    return jax.lax.scan(lambda states, _: step(states), states, length=count, unroll=unroll)


def scan_packed(
    step: Callable[[list[State]], tuple[list[State], list[Result]]], states: list[State], count: int, unroll: int = 1
) -> tuple[list[State], list[Result]]:
    """``jax.lax.scan`` of ``step`` for ``count`` steps, whose carry is packed inside the loop.

    Each state is packed by itself. Packed together, the states of several seeds were operands of the same kernels, so
    that the compiler merged other kernels of theirs, too, and made a chain of what could run side by side.

    So are results, from two of one shape on: one kernel writes them to the place of their step. A number that the step
    needs elsewhere, too, such as the learning rate, would be copied there, and XLA leaves a loop with such a copy to
    the host (jaxlib 0.10 to 0.12).

    Args:
      step: states, one for each seed -> (states of the same shapes, results, one for each seed).
      states: before the first step.
      count: steps.
      unroll: the scan's.

    Returns:
      The last states, and the results of all steps: each has a leading axis [count].

    Example:
      >>> def step(xs):
      ...     return [x + 1 for x in xs], [{"x": x, "twice": 2 * x} for x in xs]
      >>> states, results = scan_packed(step, [jnp.int32(3), jnp.int32(7)], 2)
      >>> [x.tolist() for x in states], [one["twice"].tolist() for one in results]
      ([5, 9], [[6, 8], [14, 16]])
    """
    shapes: list[Tree] = []  # of each seed's results, which the trace of ``body`` finds

    def body(carry: list[list[jax.Array]], _: None) -> tuple[list[list[jax.Array]], list[list[jax.Array]]]:
        new, results = step([unpack(packed, state) for packed, state in zip(carry, states, strict=True)])
        shapes[:] = [jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), result) for result in results]
        return [pack(state) for state in new], [pack(result, RESULTS) for result in results]

    carry, history = jax.lax.scan(body, [pack(state) for state in states], length=count, unroll=unroll)
    results = [
        jax.vmap(functools.partial(unpack, like=like, fewest=RESULTS))(rows)
        for rows, like in zip(history, shapes, strict=True)
    ]
    return [unpack(packed, state) for packed, state in zip(carry, states, strict=True)], results
