"""Whether weights from somewhere else are those of this network, and if not, every difference in one line."""

from collections.abc import Mapping
from typing import Any

from ltjax.training.workdir.checksums import LISTED, listed

Shapes = Mapping[str, tuple[Any, ...]]  # by path, such as "params/backbone/conv/kernel"; with or without a dtype


def difference(expected: Shapes, given: Shapes) -> str:
    """In words what differs between the arrays that a network needs and those that there are; "" if nothing does.

    Many missing or additional arrays are named by their blocks.

    Example:
      >>> difference({"params/a": (3,), "params/b": (1,)}, {"params/a": (4,), "params/c": (1,)})
      'params/a is [4] there and [3] here; params/b is missing there; left over, without a place here: params/c'
    """
    both = sorted(expected.keys() & given.keys())
    shapes = [f"{p} is {list(given[p])} there and {list(expected[p])} here" for p in both if given[p] != expected[p]]
    parts = [listed(shapes)] if shapes else []
    if missing := expected.keys() - given.keys():
        parts.append(f"{_arrays(missing)} {'is' if len(missing) == 1 else 'are'} missing there")
    if left := given.keys() - expected.keys():
        parts.append(f"left over, without a place here: {_arrays(left)}")
    return "; ".join(parts)


def _arrays(paths: set[str]) -> str:
    """The paths; if there are many, the blocks that they are in."""
    if len(paths) <= LISTED:
        return listed(sorted(paths))
    blocks = sorted({"/".join(path.split("/")[1:3]) for path in paths})
    return f"{len(paths)} arrays in {listed(blocks, 2 * LISTED)}"
