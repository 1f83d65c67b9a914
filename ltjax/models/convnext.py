"""ConvNeXt: a convolutional network with the proportions of a vision transformer."""

from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ltjax.models.conv import Conv
from ltjax.models.drop_path import drop_path, rate_of
from ltjax.models.norm import Dtype, stored_dtype
from ltjax.models.outputs import pool
from ltjax.models.recomputed import recomputed


class Size(NamedTuple):
    """Blocks and channels of each of the four stages."""

    blocks: tuple[int, int, int, int]
    channels: tuple[int, int, int, int]


SIZES = {
    "tiny": Size((3, 3, 9, 3), (96, 192, 384, 768)),
    "small": Size((3, 3, 27, 3), (96, 192, 384, 768)),
    "base": Size((3, 3, 27, 3), (128, 256, 512, 1024)),
    "large": Size((3, 3, 27, 3), (192, 384, 768, 1536)),
}
EPSILON = 1e-6  # of the layer norms
FIRST_SCALE = 1e-6  # of the branches of the blocks
truncated = nn.initializers.truncated_normal(0.02)


class ConvNeXtBlock(nn.Module):
    """Depthwise 7x7 convolution, layer norm, two linear layers with a GELU between; scaled and added to the input."""

    dtype: Dtype
    param_dtype: Dtype
    drop_rate: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        channels, types = x.shape[-1], {"dtype": self.dtype, "param_dtype": self.param_dtype}
        conv = Conv(
            channels, (7, 7), padding=3, feature_group_count=channels, kernel_init=truncated, name="conv", **types
        )
        y = layer_norm("norm", self.dtype, self.param_dtype)(conv(x))
        y = nn.Dense(4 * channels, kernel_init=truncated, name="fc1", **types)(y)
        y = nn.gelu(y, approximate=False)
        y = nn.Dense(channels, kernel_init=truncated, name="fc2", **types)(y)
        gamma = self.param("gamma", nn.initializers.constant(FIRST_SCALE), (channels,), self.param_dtype)
        return x + drop_path(self, y * gamma.astype(self.dtype), self.drop_rate, train)


class ConvNeXt(nn.Module):
    """ConvNeXt (Liu et al., "A ConvNet for the 2020s", CVPR 2022), of one of four sizes or of a ``Size`` given.

    Input: [B, H, W, channels]; 224 in the paper, any size from 32 on works.
    Output: [B, 1, 1, d] in ``dtype``, d = 768 (tiny, small), 1024 (base), 1536 (large): the last layer norm is that of
    the pooled map, so the map is pooled here. Parameters are float32 (float64 under float64) whatever ``dtype`` is.

    remat: blocks are computed again in the backward pass instead of kept: less memory, about a third more time.
    drop_path: the rate of the last block in stochastic depth, as in ``ltjax.models.drop_path``; 0 = off.

    Example:
      >>> net = ConvNeXt("tiny")
      >>> images = jnp.zeros([1, 224, 224, 3])
      >>> made, variables = jax.eval_shape(lambda: net.init_with_output(jax.random.key(0), images, train=False))
      >>> made.shape, sum(p.size for p in jax.tree.leaves(variables["params"]))
      ((1, 1, 1, 768), 27820128)
    """

    size: str | Size = "tiny"
    remat: bool = False
    drop_path: float = 0.0
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, frozen_norm: bool = False) -> jax.Array:
        del frozen_norm  # layer norm has no running statistics
        blocks, channels = self._size()
        stored = stored_dtype(self)
        # the flag (argument 2, behind self and x) decides what is traced
        block = recomputed(ConvNeXtBlock, static=(2,)) if self.remat else ConvNeXtBlock
        x = self._patches("stem_conv", channels[0], 4)(x.astype(self.dtype))
        x = layer_norm("stem_norm", self.dtype, stored)(x)
        done = 0
        for number, (depth, width) in enumerate(zip(blocks, channels, strict=True), start=1):
            if number > 1:
                x = layer_norm(f"stage{number}_norm", self.dtype, stored)(x)
                x = self._patches(f"stage{number}_conv", width, 2)(x)
            for index in range(depth):
                done += 1
                rate = rate_of(self.drop_path, done, sum(blocks))
                x = block(self.dtype, stored, rate, name=f"stage{number}_block{index}")(x, train)
        x = pool(x)[:, None, None, :].astype(self.dtype)
        return layer_norm("norm", self.dtype, stored)(x)

    def trainable_parts(self) -> Mapping[str, tuple[str, ...]]:
        """See ``HasTrainableParts``."""
        blocks = [f"stage4_block{index}" for index in range(self._size().blocks[3])]
        return {"last_block": (blocks[-1], "norm"), "last_stage": ("stage4_norm", "stage4_conv", *blocks, "norm")}

    def _size(self) -> Size:
        return SIZES[self.size] if isinstance(self.size, str) else Size(*self.size)

    def _patches(self, name: str, features: int, side: int) -> Conv:
        """The convolution of patches that do not overlap; pixels at the end that fill none are left out."""
        return Conv(
            features,
            (side, side),
            strides=side,
            padding="VALID",
            dtype=self.dtype,
            param_dtype=stored_dtype(self),
            kernel_init=truncated,
            name=name,
        )


def layer_norm(name: str, dtype: Dtype, param_dtype: Dtype) -> nn.LayerNorm:
    """Of the channels at each position, computed in float32 at least."""
    return nn.LayerNorm(EPSILON, dtype=dtype, param_dtype=param_dtype, use_fast_variance=False, name=name)
