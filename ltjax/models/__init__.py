"""Networks (Flax Linen): a table of backbones by name, heads, and the network that joins them."""

import functools
from collections.abc import Callable

import flax.linen as nn

from ltjax.models.heads import LinearHead, ResLTHead
from ltjax.models.network import Network, Outputs
from ltjax.models.norm import BatchNorm
from ltjax.models.rebalanced_heads import MeanHead, TauHead
from ltjax.models.resnet import ResNet
from ltjax.models.resnet_cifar import ResNetCifar

# name in a config -> constructor; every one takes dtype and param_dtype, the CIFAR family also width
BACKBONES: dict[str, Callable[..., nn.Module]] = {
    # images of about 32 pixels
    **{f"resnet{depth}": functools.partial(ResNetCifar, depth=depth) for depth in (8, 14, 20, 32, 44, 56)},
    # images of about 224 pixels
    **{f"resnet{depth}": functools.partial(ResNet, depth=depth) for depth in (10, 18, 34, 50, 101, 152)},
    **{
        f"resnext{depth}_32x4d": functools.partial(ResNet, depth=depth, groups=32, group_width=4)
        for depth in (50, 101, 152)
    },
}

__all__ = [
    "BACKBONES",
    "BatchNorm",
    "LinearHead",
    "MeanHead",
    "Network",
    "Outputs",
    "ResLTHead",
    "ResNet",
    "ResNetCifar",
    "TauHead",
]
