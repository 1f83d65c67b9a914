"""The ResNet of the CIFAR experiments: three stages of 16, 32 and 64 channels, shortcuts without parameters."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from ltjax.errors import InputError
from ltjax.models.backbone import last_parts
from ltjax.models.conv import Conv
from ltjax.models.drop_path import drop_path, rate_of
from ltjax.models.norm import BatchNorm, Dtype, ZeroScaleNorm, stored_dtype
from ltjax.models.recomputed import recomputed

# He et al. (2015): a normal distribution that keeps the variance through ReLU; not truncated, unlike nn's he_normal
kaiming_normal = nn.initializers.variance_scaling(2.0, "fan_in", "normal")


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; ``features`` channels out, the map is subsampled by ``stride``."""

    features: int
    stride: int
    dtype: Dtype
    param_dtype: Dtype
    zero_init: bool = False
    final_relu: bool = True
    norm_group: int = 0
    fused_norm: bool | None = None
    drop_rate: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, frozen_norm: bool = False) -> jax.Array:
        y = conv3x3(self, "conv1", self.features, self.stride)(x)
        norm = {
            "dtype": self.dtype, "param_dtype": self.param_dtype, "group": self.norm_group, "fused": self.fused_norm
        }  # fmt: skip
        y = BatchNorm(**norm, name="norm1")(y, train, frozen_norm)
        y = conv3x3(self, "conv2", self.features)(nn.relu(y))
        last_norm = ZeroScaleNorm if self.zero_init else BatchNorm
        y = last_norm(**norm, name="norm2")(y, train, frozen_norm)
        y = drop_path(self, y, self.drop_rate, train) + self.shortcut(x, train, frozen_norm)
        return nn.relu(y) if self.final_relu else y

    def shortcut(self, x: jax.Array, train: bool, frozen_norm: bool) -> jax.Array:
        """Option A, without parameters."""
        return pad_shortcut(x, self.features, self.stride)


class ResNetCifar(nn.Module):
    """ResNet-(6n+2) for small images (He et al., "Deep residual learning", 2016, section 4.2, shortcut option A).

    Input: [B, H, W, channels] of any size (28x28x1 as well as 32x32x3).
    Output: the feature map after the last ReLU, [B, ceil(H/4), ceil(W/4), 64 * width], in ``dtype``.
    Parameters and batch statistics are float32 (float64 under float64) whatever the compute ``dtype`` is.

    final_relu: false leaves out the ReLU after the last block alone: signed features for a cosine classifier.
    zero_init: the last scale of every block starts at 0 (Goyal et al., 2017, section 5.1).
    remat: blocks are computed again in the backward pass instead of kept: less memory, about a third more time.
    drop_path: the rate of the last block in stochastic depth, as in ``ltjax.models.drop_path``; 0 = off.
    norm_group: images that share batch statistics, as in ``BatchNorm``; 0 = all of the batch.
    fused_norm: whether batch norm makes one reduction a pass, as in ``BatchNorm``; None: on CUDA.

    Raises:
      InputError: if ``depth`` is not 6n+2 with n >= 1, or ``width`` is below 1.

    Example:
      >>> net = ResNetCifar(depth=32)
      >>> images = jnp.zeros([1, 32, 32, 3])
      >>> variables = jax.eval_shape(lambda: net.init(jax.random.key(0), images, train=False))
      >>> sum(p.size for p in jax.tree.leaves(variables["params"]))
      463504
    """

    depth: int
    width: int = 1
    final_relu: bool = True
    zero_init: bool = False
    remat: bool = False
    norm_group: int = 0
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None
    fused_norm: bool | None = None
    drop_path: float = 0.0

    block_type: ClassVar[type[BasicBlock]] = BasicBlock

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, frozen_norm: bool = False) -> jax.Array:
        x = self.stem(x, train, frozen_norm)
        for number, channels in enumerate((16, 32, 64), start=1):
            x = self.stage(x, number, channels * self.width, train, frozen_norm, last=number == 3)
        return x

    def stem(self, x: jax.Array, train: bool, frozen_norm: bool) -> jax.Array:
        """Convolution, norm and ReLU before the stages, after checking the options."""
        if self.depth < 8 or (self.depth - 2) % 6:
            raise InputError(f"depth of a CIFAR ResNet: {self.depth} is not 6n+2; take 8, 14, 20, 32, 44, 56, ...")
        if self.width < 1:
            raise InputError(f"width of a CIFAR ResNet: {self.width} is below 1; it multiplies 16, 32 and 64 channels")
        x = conv3x3(self, "conv", 16 * self.width)(x.astype(self.dtype))
        types = {"dtype": self.dtype, "param_dtype": stored_dtype(self)}
        norm = BatchNorm(**types, group=self.norm_group, fused=self.fused_norm, name="norm")
        return nn.relu(norm(x, train, frozen_norm))

    def stage(
        self,
        x: jax.Array,
        number: int,
        channels: int,
        train: bool,
        frozen_norm: bool,
        blocks: int | None = None,
        last: bool = False,
    ) -> jax.Array:
        """Stage ``number`` (1 to 3): ``blocks`` of its blocks (None: all); ``last`` if the network ends with it."""
        of_all = (self.depth - 2) // 6
        blocks = of_all if blocks is None else blocks
        for index in range(blocks):
            stride = 2 if number > 1 and index == 0 else 1
            name, position = f"stage{number}_block{index}", (number - 1) * of_all + index + 1
            block = self.block(name, channels, stride, last and index == blocks - 1, position)
            x = block(x, train, frozen_norm)
        return x

    def trainable_parts(self) -> Mapping[str, tuple[str, ...]]:
        """See ``HasTrainableParts``."""
        return last_parts([f"stage3_block{index}" for index in range((self.depth - 2) // 6)])

    def block(self, name: str, channels: int, stride: int, last: bool, position: int | None = None) -> BasicBlock:
        """``position`` is that among all blocks, from 1 on; None: the last."""
        blocks = (self.depth - 2) // 2
        drop_rate = rate_of(self.drop_path, blocks if position is None else position, blocks)
        # the two flags (arguments 2 and 3, behind self and x) decide what is traced
        kind = recomputed(self.block_type, static=(2, 3)) if self.remat else self.block_type
        final_relu = self.final_relu or not last
        options = (self.dtype, stored_dtype(self), self.zero_init, final_relu, self.norm_group, self.fused_norm)
        return kind(channels, stride, *options, drop_rate, name=name)


def conv3x3(module: BasicBlock | ResNetCifar, name: str, features: int, stride: int = 1) -> Conv:
    """A bias-free 3x3 convolution with one pixel of zeros around the map, in the dtypes of ``module``."""
    return Conv(
        features,
        (3, 3),
        strides=stride,
        padding=1,
        use_bias=False,
        dtype=module.dtype,
        param_dtype=stored_dtype(module),
        kernel_init=kaiming_normal,
        name=name,
    )


def pad_shortcut(x: jax.Array, features: int, stride: int) -> jax.Array:
    """Shortcut option A: every ``stride``-th pixel, and zeros for half of the new channels on each side.

    Example:
      >>> pad_shortcut(jnp.ones([1, 4, 4, 2]), features=4, stride=2)[0, 0, 0].tolist()
      [0.0, 1.0, 1.0, 0.0]
    """
    missing = (features - x.shape[-1]) // 2
    return jnp.pad(x[:, ::stride, ::stride], [(0, 0), (0, 0), (0, 0), (missing, missing)])
