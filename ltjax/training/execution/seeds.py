"""Several seeds in one program: trees with a leading seed axis, and functions over them. One seed has no such axis."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.errors import InputError
from ltjax.methods.stage import Tree
from ltjax.settings import Settings

# How a function is applied to all seeds with config.seeds_by=auto. vmap turns convolutions into grouped ones: on a CPU
# they are slower than separate convolutions (`python -m ltjax.bench seeds` measures both). On a GPU they are refused:
# weight gradients become convolutions with windows as large as the image, a known slow case of CUDA's libraries.
AUTO = {"cpu": "unroll", "gpu": "unroll", "tpu": "vmap"}
SEPARATELY = "run such seeds one by one (config.num_seeds=1)"


def seeds_of(config: Settings) -> tuple[int, ...]:
    """seed, seed + 1, ...: config.num_seeds of them."""
    return tuple(range(config.seed, config.seed + config.num_seeds))


def seed_axis(config: Settings, platform: str) -> tuple[int, str]:
    """(number of seeds, "vmap" or "unroll"), as ``over_seeds`` takes them, on "cpu", "gpu" or "tpu".

    A finished run is evaluated on any of them, whatever it was trained on; ``check_seeds`` is for training.
    """
    how = config.seeds_by
    return config.num_seeds, AUTO.get(platform, "unroll") if how == "auto" or platform == "gpu" else how


def check_seeds(config: Settings, platform: str) -> None:
    """Raises InputError if the seeds cannot be trained on "cpu", "gpu" or "tpu" as ``config.seeds_by`` asks."""
    if (platform, config.seeds_by) == ("gpu", "vmap") and config.num_seeds > 1:
        raise InputError(
            "config.seeds_by: vmap makes grouped convolutions, which are slow on GPUs; use unroll or auto there"
        )


def over_seeds(function: Callable, axis: tuple[int, str], in_axes: Sequence[int | None]) -> Callable:
    """``function`` for every seed at once, inside one program.

    Args:
      function: of trees, for one seed.
      axis: (number of seeds, "vmap" or "unroll"); with one seed the function is returned as it is.
      in_axes: for each argument 0 (it has a leading seed axis) or None (all seeds share it).

    Returns:
      A function whose results have a leading seed axis.

    Example:
      >>> over_seeds(lambda x, y: x + y, (2, "unroll"), (0, None))(jnp.arange(2), 10).tolist()
      [10, 11]
    """
    seeds, how = axis
    each = of_part(function, axis, in_axes)
    if seeds == 1 or how == "vmap":
        return each

    def unrolled(*arguments: Tree) -> Tree:
        given = [
            [a] * seeds if axis is None else split_seeds(a, seeds) for a, axis in zip(arguments, in_axes, strict=True)
        ]
        return join([each(*one) for one in zip(*given, strict=True)], axis)

    return unrolled


def apart(tree: Tree, axis: tuple[int, str]) -> list[Tree]:
    """The trees that a program keeps apart: one for each seed with "unroll", one with all seeds' axis with "vmap".

    Slicing and stacking every leaf takes as many kernels as training on it, so a loop over steps does it outside.
    """
    return split_seeds(tree, axis[0]) if axis[1] == "unroll" else [tree]


def join(trees: Sequence[Tree], axis: tuple[int, str], position: int = 0) -> Tree:
    """The inverse of ``apart``; ``position`` is that of the seeds' axis.

    Example:
      >>> join(apart(jnp.arange(2), (2, "unroll")), (2, "unroll")).tolist()
      [0, 1]
    """
    if axis[0] == 1 or axis[1] == "vmap":
        return trees[0]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves, position), *trees)


def of_part(function: Callable, axis: tuple[int, str], in_axes: Sequence[int | None]) -> Callable:
    """``function``, of one seed's trees, for a tree that ``apart`` returns; ``in_axes`` as in ``over_seeds``.

    It is called once for each tree, but traced only once.
    """
    if axis[0] == 1:
        return function
    return jax.vmap(function, in_axes=tuple(in_axes)) if axis[1] == "vmap" else jax.jit(function)


def pick(tree: Tree, seed: int) -> Tree:
    """The tree of one seed (by position)."""
    return jax.tree.map(lambda x: x[seed], tree)


def split_seeds(tree: Tree, seeds: int) -> list[Tree]:
    """A tree for each seed."""
    return [tree] if seeds == 1 else [pick(tree, s) for s in range(seeds)]


def stack_seeds(trees: Sequence[Tree], what: str) -> Tree:
    """Host trees, one for each seed, as one tree with a leading seed axis; a single tree stays as it is.

    Raises:
      InputError: if the seeds differ in structure or shapes; the message says where.
    """
    if len(trees) == 1:
        return trees[0]
    first = jax.tree_util.tree_leaves_with_path(trees[0])
    for s, tree in enumerate(trees):
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        for (path, x), (other_path, y) in zip(first, leaves, strict=False):
            if path != other_path or np.shape(x) != np.shape(y):
                raise InputError(
                    f"config.num_seeds: {what}{jax.tree_util.keystr(path)} has shape {list(np.shape(x))} for the first "
                    f"seed and {list(np.shape(y))} for the one at position {s}; {SEPARATELY}"
                )
        if len(leaves) != len(first):
            raise InputError(
                f"config.num_seeds: {what} has another structure for the seed at position {s}; {SEPARATELY}"
            )
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(x) for x in leaves]), *trees)
