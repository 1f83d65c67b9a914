"""EfficientNet-Lite0: a small network for CPUs and phones."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ltjax.models.conv import Conv
from ltjax.models.drop_path import drop_path, rate_of
from ltjax.models.norm import BatchNorm, Dtype, stored_dtype
from ltjax.models.recomputed import recomputed
from ltjax.models.resnet import kaiming_fan_out

Padding = Literal["same", "symmetric"]  # TensorFlow's, an odd pixel at the end; PyTorch's, the same on every side


class Stage(NamedTuple):
    """Blocks in a row; the first of them has the stride."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


# EfficientNet-B0's (Tan & Le, 2019, table 1)
STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
STEM, TOP = 32, 1280  # channels before and after the stages
MOMENTUM = 0.99  # of the running statistics
# what follows a depthwise convolution has one input a channel: N(0, sqrt(2 / (k * k)))
kaiming_depthwise = nn.initializers.variance_scaling(2.0, "fan_in", "normal")


class InvertedResidual(nn.Module):
    """1x1 convolution to more channels, depthwise convolution, 1x1 convolution back; added to its input if it fits."""

    of: Stage
    stride: int
    padding: Padding
    epsilon: float
    norm_group: int
    drop_rate: float
    dtype: Dtype
    param_dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, frozen_norm: bool = False) -> jax.Array:
        def norm(name: str, y: jax.Array) -> jax.Array:
            types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
            layer = BatchNorm(MOMENTUM, self.epsilon, group=self.norm_group, name=name, **types)
            return layer(y, train, frozen_norm)

        y = x
        if self.of.expansion > 1:
            y = pointwise("expand_conv", self.of.expansion * x.shape[-1], self.dtype, self.param_dtype)(y)
            y = nn.relu6(norm("expand_norm", y))
        y = Conv(
            y.shape[-1], (self.of.kernel, self.of.kernel), strides=self.stride,
            padding=around(self.padding, self.of.kernel), feature_group_count=y.shape[-1], use_bias=False,
            dtype=self.dtype, param_dtype=self.param_dtype, kernel_init=kaiming_depthwise, name="depthwise_conv",
        )(y)  # fmt: skip
        y = nn.relu6(norm("depthwise_norm", y))
        y = norm("project_norm", pointwise("project_conv", self.of.channels, self.dtype, self.param_dtype)(y))
        return x + drop_path(self, y, self.drop_rate, train) if y.shape == x.shape else y


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite0 (Google, 2020): EfficientNet-B0 with ReLU6 and without squeeze-and-excitation.

    Input: [B, H, W, channels]; 224 in the original, any size works.
    Output: the feature map after the last ReLU6, [B, ceil(H/32), ceil(W/32), 1280], in ``dtype``.
    Parameters and batch statistics are float32 (float64 under float64) whatever the compute ``dtype`` is.

    padding, epsilon: of the convolutions that stride, and of batch normalisation: "same" and 1e-3 in the original
      (TensorFlow), "symmetric" and 1e-5 in the network that timm trained itself.
    remat: blocks are computed again in the backward pass instead of kept: less memory, about a third more time.
    norm_group: images that share batch statistics, as in ``BatchNorm``; 0 = all of the batch.
    drop_path: the rate of the last block in stochastic depth, as in ``ltjax.models.drop_path``; 0 = off.

    Example:
      >>> net = EfficientNetLite()
      >>> images = jnp.zeros([1, 224, 224, 3])
      >>> made, variables = jax.eval_shape(lambda: net.init_with_output(jax.random.key(0), images, train=False))
      >>> made.shape, sum(p.size for p in jax.tree.leaves(variables["params"]))
      ((1, 7, 7, 1280), 3371008)
    """

    padding: Padding = "same"
    epsilon: float = 1e-3
    remat: bool = False
    norm_group: int = 0
    drop_path: float = 0.0
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, frozen_norm: bool = False) -> jax.Array:
        stored = stored_dtype(self)

        def norm(name: str, x: jax.Array) -> jax.Array:
            types = {"dtype": self.dtype, "param_dtype": stored}
            layer = BatchNorm(MOMENTUM, self.epsilon, group=self.norm_group, name=name, **types)
            return layer(x, train, frozen_norm)

        stem = Conv(
            STEM, (3, 3), strides=2, padding=around(self.padding, 3), use_bias=False,
            dtype=self.dtype, param_dtype=stored, kernel_init=kaiming_fan_out, name="stem_conv",
        )  # fmt: skip
        x = nn.relu6(norm("stem_norm", stem(x.astype(self.dtype))))
        # the two flags (arguments 2 and 3, behind self and x) decide what is traced
        block = recomputed(InvertedResidual, static=(2, 3)) if self.remat else InvertedResidual
        done, total = 0, sum(stage.blocks for stage in STAGES)
        for number, stage in enumerate(STAGES, start=1):
            for index in range(stage.blocks):
                done += 1
                options = (self.padding, self.epsilon, self.norm_group, rate_of(self.drop_path, done, total))
                layer = block(
                    stage, 1 if index else stage.stride, *options, self.dtype, stored,
                    name=f"stage{number}_block{index}",
                )  # fmt: skip
                x = layer(x, train, frozen_norm)
        return nn.relu6(norm("top_norm", pointwise("top_conv", TOP, self.dtype, stored)(x)))

    def trainable_parts(self) -> Mapping[str, tuple[str, ...]]:
        """See ``HasTrainableParts``. The last stage is all that has the smallest map: two of the table."""
        last = ("stage7_block0", "top_conv", "top_norm")
        return {"last_block": last, "last_stage": (*(f"stage6_block{i}" for i in range(STAGES[5].blocks)), *last)}


def around(padding: Padding, kernel: int) -> str | int:
    """What Flax calls the padding."""
    return "SAME" if padding == "same" else (kernel - 1) // 2


def pointwise(name: str, features: int, dtype: Dtype, param_dtype: Dtype) -> Conv:
    """A 1x1 convolution without bias."""
    return Conv(
        features, (1, 1), use_bias=False, dtype=dtype, param_dtype=param_dtype, kernel_init=kaiming_fan_out, name=name
    )
