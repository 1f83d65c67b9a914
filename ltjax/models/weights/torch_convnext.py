"""Weights of a ConvNeXt in PyTorch, of timm or of torchvision, as variables of a ``Network``."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ltjax.models.weights.translate import CLASSIFIER, translated

# the whole name of a module -> its path in our network, with the number of the stage first
TIMM = (
    (r"stem\.0", "backbone/stem_conv"),
    (r"stem\.1", "backbone/stem_norm"),
    (r"stages\.(\d)\.downsample\.0", "backbone/stage{0}_norm"),
    (r"stages\.(\d)\.downsample\.1", "backbone/stage{0}_conv"),
    (r"stages\.(\d)\.blocks\.(\d+)\.conv_dw", "backbone/stage{0}_block{1}/conv"),
    (r"stages\.(\d)\.blocks\.(\d+)\.norm", "backbone/stage{0}_block{1}/norm"),
    (r"stages\.(\d)\.blocks\.(\d+)\.mlp\.(fc[12])", "backbone/stage{0}_block{1}/{2}"),
    (r"stages\.(\d)\.blocks\.(\d+)", "backbone/stage{0}_block{1}"),
    (r"head\.norm", "backbone/norm"),
    (r"head\.fc", CLASSIFIER),
)
OF_TIMM = {"0": 1, "1": 2, "2": 3, "3": 4}  # its number of a stage -> ours
TORCHVISION = (
    (r"features\.0\.0", "backbone/stem_conv"),
    (r"features\.0\.1", "backbone/stem_norm"),
    (r"features\.([246])\.0", "backbone/stage{0}_norm"),
    (r"features\.([246])\.1", "backbone/stage{0}_conv"),
    (r"features\.([1357])\.(\d+)\.block\.0", "backbone/stage{0}_block{1}/conv"),
    (r"features\.([1357])\.(\d+)\.block\.2", "backbone/stage{0}_block{1}/norm"),
    (r"features\.([1357])\.(\d+)\.block\.3", "backbone/stage{0}_block{1}/fc1"),
    (r"features\.([1357])\.(\d+)\.block\.5", "backbone/stage{0}_block{1}/fc2"),
    (r"features\.([1357])\.(\d+)", "backbone/stage{0}_block{1}"),
    (r"classifier\.0", "backbone/norm"),
    (r"classifier\.2", CLASSIFIER),
)
OF_TORCHVISION = {"1": 1, "2": 2, "3": 2, "4": 3, "5": 3, "6": 4, "7": 4}  # what is before a stage belongs to it


def is_convnext(state_dict: Mapping[str, np.ndarray]) -> bool:
    """Whether these are names of a ConvNeXt.

    Example:
      >>> is_convnext({"stages.0.blocks.0.conv_dw.weight": np.zeros(1)}), is_convnext({"conv1.weight": np.zeros(1)})
      (True, False)
    """
    return any(
        re.match(r"stages\.\d\.blocks\.\d+\.conv_dw|features\.\d\.\d+\.layer_scale", name) for name in state_dict
    )


def import_convnext(state_dict: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """State_dict of timm's or torchvision's ConvNeXt -> the params of ``Network(ConvNeXt(...), LinearHead)``.

    Raises:
      InputError: on a name that this family does not have.

    Example:
      >>> found = import_convnext({"stages.2.blocks.8.gamma": np.zeros([384])})
      >>> found["params"]["backbone"]["stage3_block8"]["gamma"].shape
      (384,)
    """
    of_torchvision = any(name.startswith("features.") for name in state_dict)
    names, stages = (TORCHVISION, OF_TORCHVISION) if of_torchvision else (TIMM, OF_TIMM)

    def place(module: str) -> str | None:
        for pattern, path in names:
            if match := re.fullmatch(pattern, module):
                stage, *others = match.groups() or ("",)
                return path.format(stages.get(stage), *others)
        return None

    return translated(state_dict, place, "ConvNeXt of timm or torchvision")
