"""Weights in PyTorch's layout (a state_dict of a CIFAR ResNet as numpy arrays) as variables of a Network."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ltjax.errors import InputError

NORM_LEAVES = {
    "weight": ("params", "scale"),
    "bias": ("params", "bias"),
    "running_mean": ("batch_stats", "mean"),
    "running_var": ("batch_stats", "var"),
}
NAME = re.compile(r"(?:layer(?P<stage>\d+)\.(?P<block>\d+)\.)?(?P<kind>conv|bn)(?P<number>\d)\.(?P<leaf>\w+)")


def import_resnet_cifar(state_dict: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """State_dict of a CIFAR ResNet with a linear layer -> {"params", "batch_stats"} of ``Network(_, LinearHead)``.

    Names are those of the public implementations: ``conv1.weight``, ``bn1.running_mean``, ``layer3.4.conv2.weight``,
    ``linear.bias`` (or ``fc.bias``); a leading ``module.`` and ``num_batches_tracked`` are ignored. Convolutions come
    as [out, in, h, w] and leave as [h, w, in, out], linear weights as [C, d] and leave as [d, C]; dtypes stay.

    Raises:
      InputError: on a name that this family does not have.

    Example:
      >>> import_resnet_cifar({"linear.weight": np.zeros([10, 64])})["params"]["head"]["classifier"]["kernel"].shape
      (64, 10)
    """
    variables: dict[str, Any] = {"params": {}, "batch_stats": {}}
    for name, value in state_dict.items():
        if name.endswith("num_batches_tracked"):
            continue
        path, array = _translate(name.removeprefix("module."), np.asarray(value))
        node = variables
        for key in path[:-1]:
            node = node.setdefault(key, {})
        node[path[-1]] = array
    return variables


def _translate(name: str, value: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """The path of one array in the Flax variables, and the array in Flax's layout."""
    if name in ("linear.weight", "fc.weight"):
        return ("params", "head", "classifier", "kernel"), value.T
    if name in ("linear.bias", "fc.bias"):
        return ("params", "head", "classifier", "bias"), value
    match = NAME.fullmatch(name)
    if match:
        in_block = match["stage"] is not None
        where = ("backbone", f"stage{match['stage']}_block{match['block']}") if in_block else ("backbone",)
        number = match["number"] if in_block else ""
        if match["kind"] == "conv" and match["leaf"] == "weight":
            return ("params", *where, f"conv{number}", "kernel"), value.transpose(2, 3, 1, 0)
        if match["kind"] == "bn" and match["leaf"] in NORM_LEAVES:
            collection, leaf = NORM_LEAVES[match["leaf"]]
            return (collection, *where, f"norm{number}", leaf), value
    raise InputError(f"state_dict: '{name}' is no array of a CIFAR ResNet with parameter-free shortcuts")
