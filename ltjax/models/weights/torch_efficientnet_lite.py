"""Weights of an EfficientNet-Lite0 in PyTorch, of timm or efficientnet_lite_pytorch, as variables of a ``Network``."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ltjax.models.efficientnet_lite import STAGES
from ltjax.models.weights.translate import CLASSIFIER, translated

# blocks counted through -> their names in our network
BLOCKS = [f"stage{number}_block{index}" for number, stage in enumerate(STAGES, 1) for index in range(stage.blocks)]
# efficientnet_lite_pytorch
SINGLE = {
    "_conv_stem": "backbone/stem_conv",
    "_bn0": "backbone/stem_norm",
    "_conv_head": "backbone/top_conv",
    "_bn1": "backbone/top_norm",
    "_fc": CLASSIFIER,
    # timm
    "conv_stem": "backbone/stem_conv",
    "bn1": "backbone/stem_norm",
    "conv_head": "backbone/top_conv",
    "bn2": "backbone/top_norm",
    "classifier": CLASSIFIER,
}
IN_BLOCK = {
    "_expand_conv": "expand_conv",
    "_bn0": "expand_norm",
    "_depthwise_conv": "depthwise_conv",
    "_bn1": "depthwise_norm",
    "_project_conv": "project_conv",
    "_bn2": "project_norm",
}
IN_BLOCK_OF_TIMM = {
    "conv_pw": "expand_conv",
    "bn1": "expand_norm",
    "conv_dw": "depthwise_conv",
    "bn2": "depthwise_norm",
    "conv_pwl": "project_conv",
    "bn3": "project_norm",
}
IN_FIRST_BLOCK_OF_TIMM = {  # which does not expand
    "conv_dw": "depthwise_conv",
    "bn1": "depthwise_norm",
    "conv_pw": "project_conv",
    "bn2": "project_norm",
}


def is_efficientnet_lite(state_dict: Mapping[str, np.ndarray]) -> bool:
    """Whether these are names of an EfficientNet.

    Example:
      >>> is_efficientnet_lite({"_conv_stem.weight": np.zeros(1)}), is_efficientnet_lite({"conv1.weight": np.zeros(1)})
      (True, False)
    """
    return any(name in state_dict for name in ("_conv_stem.weight", "conv_stem.weight"))


def import_efficientnet_lite(state_dict: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """State_dict of an EfficientNet-Lite0 -> {"params", "batch_stats"} of ``Network(EfficientNetLite(), LinearHead)``.

    Names are those of the package efficientnet_lite_pytorch (``_blocks.3._bn0.weight``) or of timm
    (``blocks.2.0.bn1.weight``).

    Raises:
      InputError: on a name that this network does not have, such as those of squeeze-and-excitation.

    Example:
      >>> found = import_efficientnet_lite({"_blocks.15._depthwise_conv.weight": np.zeros([1152, 1, 3, 3])})
      >>> found["params"]["backbone"]["stage7_block0"]["depthwise_conv"]["kernel"].shape
      (3, 3, 1, 1152)
    """
    return translated(state_dict, _place, "EfficientNet-Lite0")


def _place(module: str) -> str | None:
    if match := re.fullmatch(r"_blocks\.(\d+)\.(\w+)", module):
        block = BLOCKS[int(match[1])] if int(match[1]) < len(BLOCKS) else None
        part = IN_BLOCK.get(match[2])
    elif match := re.fullmatch(r"blocks\.(\d+)\.(\d+)\.(\w+)", module):
        block = f"stage{int(match[1]) + 1}_block{match[2]}"
        part = (IN_BLOCK_OF_TIMM if int(match[1]) else IN_FIRST_BLOCK_OF_TIMM).get(match[3])
    else:
        return SINGLE.get(module)
    return f"backbone/{block}/{part}" if block in BLOCKS and part else None
