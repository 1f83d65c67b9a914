"""Networks (Flax Linen): a table of backbones by name, heads, and the network that joins them."""

import functools
from collections.abc import Callable

import flax.linen as nn

from ltjax.models.heads import LinearHead, ResLTHead
from ltjax.models.network import Network, Outputs
from ltjax.models.norm import BatchNorm
from ltjax.models.resnet_cifar import ResNetCifar

# name in a config -> constructor; every one takes dtype and param_dtype, this family also width
BACKBONES: dict[str, Callable[..., nn.Module]] = {
    f"resnet{depth}": functools.partial(ResNetCifar, depth=depth) for depth in (8, 14, 20, 32, 44, 56)
}

__all__ = ["BACKBONES", "BatchNorm", "LinearHead", "Network", "Outputs", "ResLTHead", "ResNetCifar"]
