"""The bilateral-branch networks of BBN: one last block for each of two samplers (Zhou et al., CVPR 2020, section 4)."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ltjax.errors import InputError
from ltjax.models.network import Network, normalised
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
        last = [self.block(name, 64 * self.width, stride, last=True) for name in branches_of(branch)]
        return jnp.concatenate([block(x, train, frozen_norm) for block in last], -1)

    def trainable_parts(self) -> Mapping[str, tuple[str, ...]]:
        """The last block is that of both branches."""
        common = ResNetCifar.trainable_parts(self)["last_stage"][:-1]
        return {"last_block": BRANCHES, "last_stage": (*common, *BRANCHES)}


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
        last = [self.block(name, 512, stride, last=True) for name in branches_of(branch)]
        return jnp.concatenate([block(x, train, frozen_norm) for block in last], -1)

    def trainable_parts(self) -> Mapping[str, tuple[str, ...]]:
        """The last block is that of both branches."""
        common = ResNet.trainable_parts(self)["last_stage"][:-1]
        return {"last_block": BRANCHES, "last_stage": (*common, *BRANCHES)}


class BBNNetwork(Network):
    """A ``Network`` of a two-branch backbone and a linear head, which can compute one branch alone.

    branch None: as ``Network``: logits [B, C] of the features [B, 2d] of both branches.
    branch "conventional" or "rebalancing": features [B, d] of that branch and its share of the logits, made by its part
      of the kernel and half of the bias; the two shares sum to the logits. The batch statistics of the other branch
      stay as they are.

    Raises:
      InputError: if ``branch`` is unknown, and as ``Network`` does.

    Example:
      >>> from ltjax.models.heads.linear import LinearHead
      >>> net = BBNNetwork(TwoBranchBackbone(depth=8), LinearHead(10), mean=(0.13,), std=(0.31,))
      >>> images = jnp.zeros([2, 28, 28, 1], jnp.uint8)
      >>> outputs, variables = jax.eval_shape(lambda: net.init_with_output(jax.random.key(0), images))
      >>> outputs.logits.shape, outputs.features.shape, sorted(variables["params"])
      ((2, 10), (2, 128), ['backbone', 'head'])
    """

    def __call__(self, images: jax.Array, train: bool = False, frozen_norm: bool = False, **options: Any) -> Outputs:
        branch = options.pop("branch", None)
        pixels = normalised(images, self.mean, self.std, self.dtype)
        features = pool(self.backbone(pixels, train, frozen_norm, branch=branch))

        def classified(features: jax.Array) -> jax.Array:
            return self.head(features[:, None, None, :], train, frozen_norm, **options)

        if branch is None:
            return Outputs(classified(features), features)
        nothing = jnp.zeros_like(features)
        halves = [features if name == branch else nothing for name in BRANCHES]
        bias = classified(jnp.zeros_like(features, shape=(1, 2 * features.shape[-1])))
        return Outputs(classified(jnp.concatenate(halves, -1)) - bias / 2, features)


def branches_of(branch: str | None) -> tuple[str, ...]:
    """The branches to compute: both for None.

    Raises:
      InputError: if there is no such branch.
    """
    if branch is not None and branch not in BRANCHES:
        raise InputError(f"branch of BBN: unknown value '{branch}'; allowed: {', '.join(BRANCHES)}, or None for both")
    return BRANCHES if branch is None else (branch,)
