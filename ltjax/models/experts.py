"""RIDE's networks: experts with common first stages and two stages each (Wang et al., ICLR 2021, section 3)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ltjax.errors import InputError
from ltjax.models.heads.cosine import CosineHead
from ltjax.models.heads.linear import LinearHead
from ltjax.models.heads.reslt import ResLTHead
from ltjax.models.layers import classifier_weights
from ltjax.models.norm import Dtype
from ltjax.models.outputs import Outputs, pool
from ltjax.models.resnet import ResNet
from ltjax.models.resnet_cifar import ResNetCifar

HEADS = ("cosine", "linear", "reslt")


class CifarExpert(ResNetCifar):
    """Stages 2 and 3, of ``channels`` each, of one expert."""

    channels: tuple[int, int] = (32, 64)

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, frozen_norm: bool = False) -> jax.Array:
        x = self.stage(x, 2, self.channels[0], train, frozen_norm)
        return self.stage(x, 3, self.channels[1], train, frozen_norm, last=True)


class ExpertBackbone(ResNetCifar):
    """The CIFAR ResNet with the stem and stage 1 in common and ``experts`` copies of stages 2 and 3.

    Input: [B, H, W, channels]. Output: feature maps [E, B, ceil(H/4), ceil(W/4), d] in ``dtype``.
    Parameters: ``conv``, ``norm``, ``stage1_block0``, ..., then ``expert0/stage2_block0``, ...

    reduce: the experts have three quarters of the channels: 24 and 48 (d) times width, else 32 and 64.
    The other settings are those of ``ResNetCifar``.

    Raises:
      InputError: if ``experts`` is below 1, and as ``ResNetCifar`` does.

    Example:
      >>> net = ExpertBackbone(depth=8, experts=2)
      >>> images = jnp.zeros([4, 32, 32, 3])
      >>> jax.eval_shape(lambda: net.init_with_output(jax.random.key(0), images, train=False)[0]).shape
      (2, 4, 8, 8, 48)
    """

    depth: int = 32
    experts: int = 3
    reduce: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, frozen_norm: bool = False) -> jax.Array:
        x = self.stem(x, train, frozen_norm)
        x = self.stage(x, 1, 16 * self.width, train, frozen_norm)
        channels = (24 * self.width, 48 * self.width) if self.reduce else (32 * self.width, 64 * self.width)
        settings = {**shared_settings(self, ResNetCifar), "channels": channels}
        maps = [CifarExpert(**settings, name=name)(x, train, frozen_norm) for name in expert_names(self.experts)]
        return jnp.stack(maps)

    def trainable_parts(self) -> Mapping[str, tuple[str, ...]]:
        """Those of all experts."""
        of_one = ResNetCifar.trainable_parts(self)
        return {
            name: tuple(f"{e}/{path}" for e in expert_names(self.experts) for path in of_one[name]) for name in of_one
        }


class LargeExpert(ResNet):
    """Stages 3 and 4, of ``channels`` each before a bottleneck's expansion, of one expert."""

    channels: tuple[int, int] = (256, 512)

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, frozen_norm: bool = False) -> jax.Array:
        x = self.stage(x, 3, self.channels[0], train, frozen_norm)
        return self.stage(x, 4, self.channels[1], train, frozen_norm, last=True)


class LargeExpertBackbone(ResNet):
    """The ImageNet ResNet or ResNeXt with the stem and stages 1 and 2 in common and copies of stages 3 and 4.

    Input: [B, H, W, channels]. Output: feature maps [E, B, ceil(H/32), ceil(W/32), d] in ``dtype``.
    Parameters: ``conv``, ``norm``, ``stage1_block0``, ..., ``stage2_block0``, ..., then ``expert0/stage3_block0``, ...

    reduce: the experts have three quarters of the channels: 192 and 384 before the expansion, d = 1536 with
      bottlenecks, else 256, 512 and 2048.
    The other settings are those of ``ResNet``.

    Raises:
      InputError: if ``experts`` is below 1, and as ``ResNet`` does.

    Example:
      >>> net = LargeExpertBackbone(depth=50, experts=3)
      >>> images = jnp.zeros([4, 64, 64, 3])
      >>> jax.eval_shape(lambda: net.init_with_output(jax.random.key(0), images, train=False)[0]).shape
      (3, 4, 2, 2, 1536)
    """

    depth: int = 50
    experts: int = 3
    reduce: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, frozen_norm: bool = False) -> jax.Array:
        x = self.stem(x, train, frozen_norm)
        x = self.stage(x, 1, 64, train, frozen_norm)
        x = self.stage(x, 2, 128, train, frozen_norm)
        settings = {**shared_settings(self, ResNet), "channels": (192, 384) if self.reduce else (256, 512)}
        maps = [LargeExpert(**settings, name=name)(x, train, frozen_norm) for name in expert_names(self.experts)]
        return jnp.stack(maps)

    def trainable_parts(self) -> Mapping[str, tuple[str, ...]]:
        """Those of all experts."""
        of_one = ResNet.trainable_parts(self)
        return {
            name: tuple(f"{e}/{path}" for e in expert_names(self.experts) for path in of_one[name]) for name in of_one
        }


class ExpertsHead(nn.Module):
    """One head an expert: feature maps [E, B, h, w, d] -> ``Outputs``: logits [E, B, C], features [E, B, d].

    Parameters: ``expert0/classifier/...``, ``expert1/classifier/...``, ...

    head: "cosine", ``scale`` times the cosine with a kernel of unit columns at the start, as the authors have it;
      "linear"; or "reslt", a ``ResLTHead`` of the settings of that name, logits [E, K, B, C].

    Raises:
      InputError: if ``head`` is none of them, or the map has another number of experts.

    Example:
      >>> head = ExpertsHead(10, experts=2, head="reslt")
      >>> maps = jnp.zeros([2, 4, 8, 8, 48])
      >>> outputs, _ = jax.eval_shape(lambda: head.init_with_output(jax.random.key(0), maps, train=False))
      >>> outputs.logits.shape, outputs.features.shape
      ((2, 3, 4, 10), (2, 4, 48))
    """

    num_classes: int
    experts: int = 3
    head: str = "cosine"
    scale: float = 30.0
    branches: int = 3
    form: str = "bn"
    conv_before_pool_in_training: bool = True
    gamma: float | None = None
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None
    norm_group: int = 0
    init_family: str = "cifar"

    @nn.compact
    def __call__(self, feature_map: jax.Array, train: bool, frozen_norm: bool = False) -> Outputs:
        if len(feature_map) != self.experts or feature_map.ndim != 5:
            raise InputError(
                f"experts of the head: {self.experts}, but the feature map is {list(feature_map.shape)} instead of "
                "[experts, B, h, w, d]; take a backbone of as many experts"
            )
        made = [
            self.head_of(name)(one_map, train, frozen_norm)
            for name, one_map in zip(expert_names(self.experts), feature_map, strict=True)
        ]
        logits = [one.logits if isinstance(one, Outputs) else one for one in made]
        return Outputs(jnp.stack(logits), pool(feature_map))

    @nn.nowrap
    def classifier_weights(self, params: Mapping[str, Any]) -> jax.Array:
        """See ``HasClassifierWeights``: [E, d, C]."""
        of_each = [classifier_weights(self.head_of(name), params[name]) for name in expert_names(self.experts)]
        return jnp.stack([weights for weights in of_each if weights is not None])

    @nn.nowrap
    def head_of(self, name: str) -> nn.Module:
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        if self.head == "cosine":
            return CosineHead(self.num_classes, self.scale, learn_scale=False, normed_init=True, **types, name=name)
        if self.head == "linear":
            return LinearHead(self.num_classes, **types, init_family=self.init_family, name=name)
        if self.head == "reslt":
            conv_first = self.conv_before_pool_in_training
            types |= {"norm_group": self.norm_group, "init_family": self.init_family, "name": name}
            return ResLTHead(self.num_classes, self.branches, self.form, conv_first, self.gamma, **types)
        raise InputError(f"head of the experts: unknown value '{self.head}'; allowed: {', '.join(HEADS)}")


def expert_names(experts: int) -> list[str]:
    """The names under which the experts have their parameters: ``expert0``, ``expert1``, ...

    Raises:
      InputError: if there is none.
    """
    if experts < 1:
        raise InputError(f"experts of a network: {experts} is below 1; RIDE has 2 to 4")
    return [f"expert{k}" for k in range(experts)]


def shared_settings(module: nn.Module, family: type[nn.Module]) -> dict[str, Any]:
    """The fields of a network that belong to ``family``: the settings that its experts take over."""
    fields = [field.name for field in dataclasses.fields(family) if field.name not in ("parent", "name")]
    return {name: getattr(module, name) for name in fields}
