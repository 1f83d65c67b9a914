"""From a state_dict of PyTorch to the variables of a ``Network``, by a map of the names of its modules."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ltjax.errors import InputError

LISTED = 5  # names in an error
CLASSIFIER = "head/classifier"
STATISTICS = {"running_mean": "mean", "running_var": "var"}
SCALES = ("gamma", "layer_scale")  # parameters of a block itself, such as the factor on its branch


def translated(state_dict: Mapping[str, np.ndarray], place: Callable[[str], str | None], family: str) -> dict[str, Any]:
    """{"params", "batch_stats"} of ``Network(_, LinearHead)``, whose layout follows from the shapes.

    Convolutions [out, in, h, w] become [h, w, in, out] and linear weights [out, in] become [in, out], both ``kernel``;
    vectors called ``weight`` are the ``scale`` of a normalisation. dtypes stay. ``num_batches_tracked`` is left out.

    Args:
      state_dict: arrays by their names in PyTorch.
      place: the name of a module, such as "blocks.0.bn1" -> its path, such as "backbone/stage1_block0/depthwise_norm";
        None for a module that the network does not have.
      family: of networks, for the error.

    Raises:
      InputError: on a name that the family does not have.

    Example:
      >>> tree = translated({"fc.weight": np.zeros([10, 64])}, {"fc": CLASSIFIER}.get, "network")
      >>> tree["params"]["head"]["classifier"]["kernel"].shape
      (64, 10)
    """
    variables: dict[str, Any] = {"params": {}, "batch_stats": {}}
    unknown = []
    for name, value in state_dict.items():
        module, _, leaf = name.removeprefix("module.").rpartition(".")
        if leaf == "num_batches_tracked":
            continue
        path = place(module)
        if path is None:
            unknown.append(name)
            continue
        collection, leaf, array = _leaf(leaf, np.asarray(value))
        node = variables[collection]
        for key in path.split("/"):
            node = node.setdefault(key, {})
        node[leaf] = array
    if unknown:
        more = f" and {len(unknown) - LISTED} more" if len(unknown) > LISTED else ""
        are = "is no array" if len(unknown) == 1 else "are no arrays"
        raise InputError(f"state_dict: {', '.join(map(repr, unknown[:LISTED]))}{more} {are} of a {family}")
    return variables


def _leaf(leaf: str, value: np.ndarray) -> tuple[str, str, np.ndarray]:
    """The collection of an array, its name and its layout in Flax."""
    if leaf in STATISTICS:
        return "batch_stats", STATISTICS[leaf], value
    if leaf in SCALES:
        return "params", "gamma", value.reshape(-1)
    if leaf == "weight" and value.ndim == 4:
        return "params", "kernel", value.transpose(2, 3, 1, 0)
    if leaf == "weight" and value.ndim == 2:
        return "params", "kernel", value.T
    return "params", "scale" if leaf == "weight" else leaf, value
