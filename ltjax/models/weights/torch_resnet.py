"""Weights in PyTorch's layout (a state_dict of a ResNet as numpy arrays) as variables of a Network."""

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
LAYER = r"(?:layer(?P<stage>\d+)\.(?P<block>\d+)\.)?(?:(?P<kind>conv|bn)(?P<number>\d))\.(?P<leaf>\w+)"
SHORTCUT = r"layer(?P<stage>\d+)\.(?P<block>\d+)\.downsample\.(?P<part>[01])\.(?P<leaf>\w+)"
LISTED = 5  # names in an error
HEAD = ("fc.", "linear.", "BN")  # how the names begin of what is not the backbone's
BRANCH = r"BN(?P<branch>[HMT])\.(?P<leaf>\w+)"

Place = tuple[tuple[str, ...], np.ndarray]  # the path of one array in the Flax variables, the array in Flax's layout


def import_resnet_cifar(state_dict: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """State_dict of a CIFAR ResNet -> {"params", "batch_stats"} of ``Network(_, LinearHead or ResLTHead of form bn)``.

    Names are those of the public implementations: ``conv1.weight``, ``bn1.running_mean``, ``layer3.4.conv2.weight``,
    ``linear.bias`` (or ``fc.bias``), and ``BNH.weight``, ``BNM...``, ``BNT...`` for the branches of ResLT; a leading
    ``module.`` and ``num_batches_tracked`` are ignored. Convolutions come as [out, in, h, w] and leave as
    [h, w, in, out], linear weights as [C, d] and leave as [d, C]; dtypes stay.

    Raises:
      InputError: on a name that this family does not have, or a convolution that is not [out, in, h, w].

    Example:
      >>> import_resnet_cifar({"linear.weight": np.zeros([10, 64])})["params"]["head"]["classifier"]["kernel"].shape
      (64, 10)
    """
    return _variables(state_dict, "CIFAR ResNet with parameter-free shortcuts", shortcuts=False)


def import_resnet(state_dict: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """State_dict of an ImageNet ResNet or ResNeXt -> {"params", "batch_stats"} of ``Network(ResNet(...), LinearHead)``.

    As ``import_resnet_cifar``, with projections ``layer2.0.downsample.0.weight``, ``layer2.0.downsample.1.bias``.

    Raises:
      InputError: on a name that this family does not have, or a convolution that is not [out, in, h, w].

    Example:
      >>> variables = import_resnet({"layer1.0.downsample.0.weight": np.zeros([256, 64, 1, 1])})
      >>> variables["params"]["backbone"]["stage1_block0"]["shortcut_conv"]["kernel"].shape
      (1, 1, 64, 256)
    """
    return _variables(state_dict, "ResNet or ResNeXt", shortcuts=True)


def _variables(state_dict: Mapping[str, np.ndarray], family: str, shortcuts: bool) -> dict[str, Any]:
    variables: dict[str, Any] = {"params": {}, "batch_stats": {}}
    unknown = []
    for name, value in state_dict.items():
        if name.endswith("num_batches_tracked"):
            continue
        found = _translate(name.removeprefix("module."), np.asarray(value), shortcuts)
        if found is None:
            unknown.append(name)
            continue
        path, array = found
        node = variables
        for key in path[:-1]:
            node = node.setdefault(key, {})
        node[path[-1]] = array
    if unknown:
        more = f" and {len(unknown) - LISTED} more" if len(unknown) > LISTED else ""
        are = "is no array" if len(unknown) == 1 else "are no arrays"
        raise InputError(f"state_dict: {', '.join(map(repr, unknown[:LISTED]))}{more} {are} of a {family}")
    return variables


def _translate(name: str, value: np.ndarray, shortcuts: bool) -> Place | None:
    """Where this array goes; None where it is no part of such a network."""
    if name in ("linear.weight", "fc.weight"):
        return ("params", "head", "classifier", "kernel"), value.T
    if name in ("linear.bias", "fc.bias"):
        return ("params", "head", "classifier", "bias"), value
    if match := re.fullmatch(BRANCH, name):
        return _norm(("head", f"norm{'HMT'.index(match['branch'])}"), match["leaf"], value)
    if shortcuts and (match := re.fullmatch(SHORTCUT, name)):
        block = ("backbone", f"stage{match['stage']}_block{match['block']}")
        if match["part"] == "0":
            return _conv((*block, "shortcut_conv"), match["leaf"], value)
        return _norm((*block, "shortcut_norm"), match["leaf"], value)
    if match := re.fullmatch(LAYER, name):
        in_block = match["stage"] is not None
        where = ("backbone", f"stage{match['stage']}_block{match['block']}") if in_block else ("backbone",)
        number = match["number"] if in_block else ""
        if match["kind"] == "conv":
            return _conv((*where, f"conv{number}"), match["leaf"], value)
        return _norm((*where, f"norm{number}"), match["leaf"], value)
    return None


def _conv(where: tuple[str, ...], leaf: str, value: np.ndarray) -> Place | None:
    if leaf != "weight":
        return None
    if value.ndim != 4:
        raise InputError(f"state_dict: the convolution {'/'.join(where)} is {list(value.shape)}, not [out, in, h, w]")
    return ("params", *where, "kernel"), value.transpose(2, 3, 1, 0)


def _norm(where: tuple[str, ...], leaf: str, value: np.ndarray) -> Place | None:
    if leaf not in NORM_LEAVES:
        return None
    collection, name = NORM_LEAVES[leaf]
    return (collection, *where, name), value
