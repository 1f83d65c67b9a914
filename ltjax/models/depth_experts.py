"""SHIKE's networks: experts with common stages up to the last, each joined to another depth of them.

Jin et al., "Long-tailed visual recognition via self-heterogeneous integration with knowledge excavation", CVPR 2023,
section 3.2 (depth-wise knowledge fusion). Expert e has its own last stage, multiplied by what strided convolutions make
of the output of common stage 1 + e modulo their number.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from ltjax.models.conv import Conv
from ltjax.models.experts import expert_names, shared_settings
from ltjax.models.norm import BatchNorm, stored_dtype
from ltjax.models.resnet import ResNet, convolution
from ltjax.models.resnet_cifar import BasicBlock, ResNetCifar, conv3x3, kaiming_normal


class ProjectingBlock(BasicBlock):
    """The CIFAR block, with a 1x1 convolution and a norm where its shape changes (shortcut option B)."""

    def shortcut(self, x: jax.Array, train: bool, frozen_norm: bool) -> jax.Array:
        if self.stride == 1 and x.shape[-1] == self.features:
            return x
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        conv = Conv(
            self.features, (1, 1), strides=self.stride, use_bias=False, **types, kernel_init=kaiming_normal,
            name="shortcut_conv",
        )  # fmt: skip
        norm = BatchNorm(**types, group=self.norm_group, fused=self.fused_norm, name="shortcut_norm")
        return norm(conv(x), train, frozen_norm)


class ProjectingResNetCifar(ResNetCifar):
    """The CIFAR ResNet with shortcuts of option B, as SHIKE's authors have it."""

    block_type: ClassVar[type[BasicBlock]] = ProjectingBlock


class CifarDepthExpert(ProjectingResNetCifar):
    """The last stage of one expert times the map that ``steps`` strided convolutions make of a shallower one."""

    steps: int = 1

    @nn.compact
    def __call__(
        self, x: jax.Array, train: bool, frozen_norm: bool = False, shallow: jax.Array | None = None
    ) -> jax.Array:
        assert shallow is not None
        x = self.stage(x, 3, 64 * self.width, train, frozen_norm, last=True)
        for step in range(self.steps):
            shallow = conv3x3(self, f"shallow_conv{step}", 2 * shallow.shape[-1], stride=2)(shallow)
            types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": stored_dtype(self)}
            norm = BatchNorm(**types, group=self.norm_group, fused=self.fused_norm, name=f"shallow_norm{step}")
            shallow = activated(norm(shallow, train, frozen_norm), step)
        return x * shallow


class DepthExpertBackbone(ProjectingResNetCifar):
    """The CIFAR ResNet with the stem, stages 1 and 2 in common, and ``experts`` copies of stage 3 joined to them.

    Input: [B, H, W, channels]. Output: feature maps [E, B, ceil(H/4), ceil(W/4), 64 * width] in ``dtype``.
    Parameters: ``conv``, ``norm``, ``stage1_block0``, ..., ``stage2_block0``, ..., then ``expert0/stage3_block0``, ...,
    ``expert0/shallow_conv0``, ...

    Shortcuts are of option B. The other settings are those of ``ResNetCifar``.

    Raises:
      InputError: if ``experts`` is below 1, and as ``ResNetCifar`` does.

    Example:
      >>> net = DepthExpertBackbone(depth=8, experts=3)
      >>> images = jnp.zeros([4, 32, 32, 3])
      >>> jax.eval_shape(lambda: net.init_with_output(jax.random.key(0), images, train=False)[0]).shape
      (3, 4, 8, 8, 64)
    """

    depth: int = 32
    experts: int = 3

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, frozen_norm: bool = False) -> jax.Array:
        x = self.stem(x, train, frozen_norm)
        first = self.stage(x, 1, 16 * self.width, train, frozen_norm)
        second = self.stage(first, 2, 32 * self.width, train, frozen_norm)
        shallow, settings = (first, second), shared_settings(self, ResNetCifar)
        return jnp.stack(
            [
                CifarDepthExpert(**settings, steps=2 - e % 2, name=name)(second, train, frozen_norm, shallow[e % 2])
                for e, name in enumerate(expert_names(self.experts))
            ]
        )

    def trainable_parts(self) -> Mapping[str, tuple[str, ...]]:
        """Those of all experts."""
        return of_all(ResNetCifar.trainable_parts(self), self.experts)


class LargeDepthExpert(ResNet):
    """The last stage of one expert times the map that ``steps`` strided convolutions make of a shallower one."""

    steps: int = 1

    @nn.compact
    def __call__(
        self, x: jax.Array, train: bool, frozen_norm: bool = False, shallow: jax.Array | None = None
    ) -> jax.Array:
        assert shallow is not None
        x = self.stage(x, 4, 512, train, frozen_norm, last=True)
        stored = stored_dtype(self)
        for step in range(self.steps):
            channels = 2 * shallow.shape[-1]
            shallow = convolution(f"shallow_conv{step}", channels, 3, 2, 1, self.dtype, stored)(shallow)
            norm = BatchNorm(dtype=self.dtype, param_dtype=stored, group=self.norm_group, name=f"shallow_norm{step}")
            shallow = activated(norm(shallow, train, frozen_norm), step)
        return x * shallow


class LargeDepthExpertBackbone(ResNet):
    """The ImageNet ResNet or ResNeXt with the stem and stages 1 to 3 in common, and copies of stage 4 joined to them.

    Input: [B, H, W, channels]. Output: feature maps [E, B, ceil(H/32), ceil(W/32), d] in ``dtype``; d is 2048 with
    bottlenecks and 512 without.
    Parameters: ``conv``, ``norm``, ``stage1_block0``, ..., then ``expert0/stage4_block0``, ...,
    ``expert0/shallow_conv0``, ...

    The authors published no code of it; the activations between the strided convolutions are those of their CIFAR
    network. The settings are those of ``ResNet``.

    Raises:
      InputError: if ``experts`` is below 1, and as ``ResNet`` does.

    Example:
      >>> net = LargeDepthExpertBackbone(depth=50, experts=3)
      >>> images = jnp.zeros([4, 64, 64, 3])
      >>> jax.eval_shape(lambda: net.init_with_output(jax.random.key(0), images, train=False)[0]).shape
      (3, 4, 2, 2, 2048)
    """

    depth: int = 50
    experts: int = 3

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, frozen_norm: bool = False) -> jax.Array:
        x = self.stem(x, train, frozen_norm)
        shallow = []
        for number, features in enumerate((64, 128, 256), start=1):
            x = self.stage(x, number, features, train, frozen_norm)
            shallow.append(x)
        settings = shared_settings(self, ResNet)
        return jnp.stack(
            [
                LargeDepthExpert(**settings, steps=3 - e % 3, name=name)(x, train, frozen_norm, shallow[e % 3])
                for e, name in enumerate(expert_names(self.experts))
            ]
        )

    def trainable_parts(self) -> Mapping[str, tuple[str, ...]]:
        """Those of all experts."""
        return of_all(ResNet.trainable_parts(self), self.experts)


def activated(x: jax.Array, step: int) -> jax.Array:
    """A ReLU after every strided convolution but the second, as in the authors' code."""
    return x if step == 1 else nn.relu(x)


def of_all(of_one: Mapping[str, tuple[str, ...]], experts: int) -> Mapping[str, tuple[str, ...]]:
    """The paths of one expert's parts, in every expert."""
    return {name: tuple(f"{e}/{path}" for e in expert_names(experts) for path in of_one[name]) for name in of_one}
