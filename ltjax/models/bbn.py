"""The bilateral-branch networks of BBN: one last block for each of two samplers (Zhou et al., CVPR 2020, section 4)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ltjax.errors import InputError
from ltjax.models.heads import LinearHead
from ltjax.models.network import normalised
from ltjax.models.norm import Dtype
from ltjax.models.outputs import Outputs, pool
from ltjax.models.resnet import STAGES, ResNet
from ltjax.models.resnet_cifar import ResNetCifar

BRANCHES = ("conventional", "rebalancing")


class TwoBranchBackbone(ResNetCifar):
    """The CIFAR ResNet whose last block exists twice, ``conventional`` and ``rebalancing``.

    Input: [B, H, W, channels]. Output: the maps of both branches one after the other, [B, ceil(H/4), ceil(W/4),
    128 * width], in ``dtype``; with ``branch`` the map of that branch alone, half the channels, and only the batch
    statistics of the common part and of that branch move.

    Raises:
      InputError: if ``branch`` is unknown, and as ``ResNetCifar`` does.

    Example:
      >>> net = TwoBranchBackbone(depth=8)
      >>> images = jnp.zeros([4, 32, 32, 3])
      >>> jax.eval_shape(lambda: net.init_with_output(jax.random.key(0), images, train=False)[0]).shape
      (4, 8, 8, 128)
    """

    depth: int = 32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, frozen_norm: bool = False, branch: str | None = None) -> jax.Array:
        x = self.stem(x, train, frozen_norm)
        x = self.stage(x, 1, 16 * self.width, train, frozen_norm)
        x = self.stage(x, 2, 32 * self.width, train, frozen_norm)
        common = (self.depth - 2) // 6 - 1
        x = self.stage(x, 3, 64 * self.width, train, frozen_norm, blocks=common)
        stride = 1 if common else 2
        last = [self.block(name, 64 * self.width, stride, last=True) for name in asked(branch)]
        return jnp.concatenate([block(x, train, frozen_norm) for block in last], -1)


class LargeTwoBranchBackbone(ResNet):
    """The ImageNet ResNet or ResNeXt whose last block exists twice; see ``TwoBranchBackbone``.

    Output: [B, ceil(H/32), ceil(W/32), 4096], below 50 layers 1024 channels; one branch has half of them.

    Example:
      >>> net = LargeTwoBranchBackbone(depth=50)
      >>> images = jnp.zeros([4, 64, 64, 3])
      >>> jax.eval_shape(lambda: net.init_with_output(jax.random.key(0), images, train=False)[0]).shape
      (4, 2, 2, 4096)
    """

    depth: int = 50

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, frozen_norm: bool = False, branch: str | None = None) -> jax.Array:
        x = self.stem(x, train, frozen_norm)
        for number, features in enumerate((64, 128, 256), start=1):
            x = self.stage(x, number, features, train, frozen_norm)
        common = STAGES[self.depth][3] - 1
        x = self.stage(x, 4, 512, train, frozen_norm, blocks=common)
        stride = 1 if common else 2
        last = [self.block(name, 512, stride, last=True) for name in asked(branch)]
        return jnp.concatenate([block(x, train, frozen_norm) for block in last], -1)


class BBNNetwork(nn.Module):
    """Both branches, joined by one linear classifier on their features: images as of ``Network`` -> ``Outputs``.

    branch None: logits [B, C] of the features [B, 2d] of both branches, as ``Network`` of a two-branch backbone and a
      ``LinearHead`` with the same variables.
    branch "conventional" or "rebalancing": features [B, d] of that branch, logits None. The batch statistics of the
      other branch stand still.
    mixed [B, 2d]: logits of these features; the images are not looked at and may be None.

    large: the two-branch form of the ImageNet ResNet of this ``depth``; else of the CIFAR ResNet.

    Variables: {"params": {"backbone": ..., "head": {"classifier": {"kernel" [2d, C], "bias" [C]}}},
      "batch_stats": {"backbone": ...}}.

    Raises:
      InputError: if ``branch`` is unknown, and as ``Network`` does.

    Example:
      >>> net = BBNNetwork(10, mean=(0.13,), std=(0.31,), depth=8)
      >>> images = jnp.zeros([2, 28, 28, 1], jnp.uint8)
      >>> outputs, variables = jax.eval_shape(lambda: net.init_with_output(jax.random.key(0), images))
      >>> outputs.logits.shape, outputs.features.shape, sorted(variables["params"])
      ((2, 10), (2, 128), ['backbone', 'head'])
    """

    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    depth: int = 32
    width: int = 1
    large: bool = False
    zero_init: bool = False
    remat: bool = False
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None

    def setup(self) -> None:
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        settings = {"depth": self.depth, "zero_init": self.zero_init, "remat": self.remat, **types}
        if self.large and self.width != 1:
            raise InputError(f"width of BBN: {self.width} is for the CIFAR ResNets; take 1 with the ImageNet ResNets")
        self.backbone = (
            LargeTwoBranchBackbone(**settings) if self.large else TwoBranchBackbone(width=self.width, **settings)
        )
        self.head = LinearHead(self.num_classes, **types)

    def __call__(
        self,
        images: Any,
        train: bool = False,
        frozen_norm: bool = False,
        branch: str | None = None,
        mixed: jax.Array | None = None,
    ) -> Outputs:
        if mixed is not None:
            return Outputs(self.head(mixed[:, None, None, :], train, frozen_norm), mixed)
        feature_map = self.backbone(
            normalised(images, self.mean, self.std, self.dtype), train, frozen_norm, branch=branch
        )
        logits = None if branch is not None else self.head(feature_map, train, frozen_norm)
        return Outputs(logits, pool(feature_map))


def asked(branch: str | None) -> tuple[str, ...]:
    if branch is not None and branch not in BRANCHES:
        raise InputError(f"branch of BBN: unknown value '{branch}'; allowed: {', '.join(BRANCHES)}, or None for both")
    return BRANCHES if branch is None else (branch,)
