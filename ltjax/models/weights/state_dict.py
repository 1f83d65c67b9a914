"""A network's variables as a PyTorch state_dict: the inverse of ``torch_resnet``, for every network.

Names: a ResNet's backbone has torchvision's (``conv1.weight``, ``layer1.0.bn2.running_var``,
``layer2.0.downsample.0.weight``); so have the parts of other backbones behind the names of those parts
(``expert0.layer3.0.conv1.weight``). A head's arrays are ``head.`` and their path (``head.classifier.weight``).
Layout: convolutions [out, in, h, w], linear layers [out, in].
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import traverse_util

BLOCK = re.compile(r"stage(\d+)_block(\d+)")
LAYER = re.compile(r"(conv|norm)(\d*)")
SHORTCUT = {"shortcut_conv": "downsample.0", "shortcut_norm": "downsample.1"}
STATISTICS = {"mean": "running_mean", "var": "running_var"}


def state_dict_of(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """{"params", "batch_stats"} of a network -> names and arrays in PyTorch's layout, float arrays as they are.

    Example:
      >>> kernel = np.zeros([1, 1, 64, 256], np.float32)
      >>> tree = {"params": {"backbone": {"stage1_block0": {"shortcut_conv": {"kernel": kernel}}}}}
      >>> {name: array.shape for name, array in state_dict_of(tree).items()}
      {'layer1.0.downsample.0.weight': (256, 64, 1, 1)}
    """
    flat = {path: np.asarray(array) for path, array in traverse_util.flatten_dict(dict(variables)).items()}
    norms = {path[1:-1] for path in flat if path[0] == "batch_stats" and path[-1] == "mean"}
    found: dict[str, np.ndarray] = {}
    for path, array in flat.items():
        name = ".".join([*_module(path[1:-1]), _leaf(path, path[1:-1] in norms)])
        assert name not in found, f"two arrays are called {name}"
        found[name] = np.ascontiguousarray(_layout(path[-1], array))
    return found


def _module(path: tuple[str, ...]) -> list[str]:
    """The parts of the name before its last one."""
    if path[:1] != ("backbone",):
        return list(path)
    named = []
    in_block = False
    for part in path[1:]:
        if block := BLOCK.fullmatch(part):
            named.append(f"layer{block[1]}.{block[2]}")
            in_block = True
        elif part in SHORTCUT:
            named.append(SHORTCUT[part])
        elif (layer := LAYER.fullmatch(part)) and bool(layer[2]) == in_block:
            named.append(f"{'bn' if layer[1] == 'norm' else 'conv'}{layer[2] or 1}")
        else:
            named.append(part)
    return named


def _leaf(path: tuple[str, ...], of_norm: bool) -> str:
    leaf = path[-1]
    if path[0] == "batch_stats":
        return STATISTICS.get(leaf, leaf)
    return "weight" if leaf == "kernel" or (of_norm and leaf == "scale") else leaf


def _layout(leaf: str, array: np.ndarray) -> np.ndarray:
    if leaf != "kernel":
        return array
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
