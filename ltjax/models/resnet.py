"""The ResNets of the ImageNet experiments: a 7x7 stem, four stages, projections where the shape changes."""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from ltjax.errors import InputError
from ltjax.models.backbone import last_parts
from ltjax.models.conv import PLAIN, Conv
from ltjax.models.drop_path import drop_path, rate_of
from ltjax.models.norm import BatchNorm, Dtype, ZeroScaleNorm, stored_dtype
from ltjax.models.recomputed import recomputed

# depth -> blocks in each stage; from 50 layers on they are bottlenecks
STAGES = {
    10: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}

# He et al. (2015), the variant that keeps the variance of the gradients: N(0, sqrt(2 / (k * k * out)))
kaiming_fan_out = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


class Block(nn.Module):
    """A residual block: what both kinds share. ``features`` counts channels before the bottleneck's expansion."""

    features: int
    stride: int
    groups: int
    group_width: int
    zero_init: bool
    dtype: Dtype
    param_dtype: Dtype
    final_relu: bool = True
    norm_group: int = 0
    drop_rate: float = 0.0

    def conv(self, name: str, features: int, kernel: int, stride: int = 1, groups: int = 1) -> Conv:
        return convolution(name, features, kernel, stride, groups, self.dtype, self.param_dtype)

    def norm(self, name: str, last: bool = False) -> BatchNorm:
        kind = ZeroScaleNorm if last and self.zero_init else BatchNorm
        return kind(dtype=self.dtype, param_dtype=self.param_dtype, group=self.norm_group, name=name)

    def shortcut(self, x: jax.Array, features: int, train: bool, frozen_norm: bool) -> jax.Array:
        """x itself, or projected by a 1x1 convolution where the block changes the shape (option B)."""
        if self.stride == 1 and x.shape[-1] == features:
            return x
        x = self.conv("shortcut_conv", features, 1, self.stride)(x)
        return self.norm("shortcut_norm")(x, train, frozen_norm)

    def add_shortcut(self, y: jax.Array, shortcut: jax.Array, train: bool) -> jax.Array:
        """The sum, through a ReLU unless the network ends without one."""
        y = drop_path(self, y, self.drop_rate, train) + shortcut
        return nn.relu(y) if self.final_relu else y


class BasicBlock(Block):
    """Two 3x3 convolutions; ``features`` channels out."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, frozen_norm: bool = False) -> jax.Array:
        y = self.conv("conv1", self.features, 3, self.stride)(x)
        y = nn.relu(self.norm("norm1")(y, train, frozen_norm))
        y = self.norm("norm2", last=True)(self.conv("conv2", self.features, 3)(y), train, frozen_norm)
        return self.add_shortcut(y, self.shortcut(x, self.features, train, frozen_norm), train)


class Bottleneck(Block):
    """1x1, 3x3 with the stride and the groups, 1x1; 4 * ``features`` channels out."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, frozen_norm: bool = False) -> jax.Array:
        inner = self.features * self.group_width // 64 * self.groups
        y = nn.relu(self.norm("norm1")(self.conv("conv1", inner, 1)(x), train, frozen_norm))
        y = self.conv("conv2", inner, 3, self.stride, self.groups)(y)
        y = nn.relu(self.norm("norm2")(y, train, frozen_norm))
        y = self.norm("norm3", last=True)(self.conv("conv3", 4 * self.features, 1)(y), train, frozen_norm)
        return self.add_shortcut(y, self.shortcut(x, 4 * self.features, train, frozen_norm), train)


class ResNet(nn.Module):
    """ResNet (He et al., "Deep residual learning", 2016, table 1) and ResNeXt (Xie et al., 2017) for large images.

    It is the "v1.5" of the public implementations: a bottleneck strides in its 3x3 convolution, not in its first 1x1.
    ResNeXt-D (32x4d) is ``groups=32, group_width=4``. ResNet-10 has one basic block a stage.

    Input: [B, H, W, channels]; 224 in the papers, any size works.
    Output: the feature map after the last ReLU, [B, ceil(H/32), ceil(W/32), 512] for 10, 18 and 34 layers and 2048
    channels from 50 layers on, in ``dtype``.
    Parameters and batch statistics are float32 (float64 under float64) whatever the compute ``dtype`` is.

    final_relu: false leaves out the ReLU after the last block alone: signed features for a cosine classifier.
    zero_init: the last scale of every block starts at 0 (Goyal et al., 2017, section 5.1).
    remat: blocks are computed again in the backward pass instead of kept: less memory, about a third more time.
    norm_group: images that share batch statistics, as in ``BatchNorm``; 0 = all of the batch.
    drop_path: the rate of the last block in stochastic depth, as in ``ltjax.models.drop_path``; 0 = off.

    Raises:
      InputError: if there is no network of this ``depth``, or basic blocks (below 50 layers) are asked for groups.

    Example:
      >>> net = ResNet(depth=50)
      >>> images = jnp.zeros([1, 224, 224, 3])
      >>> variables = jax.eval_shape(lambda: net.init(jax.random.key(0), images, train=False))
      >>> sum(p.size for p in jax.tree.leaves(variables["params"]))
      23508032
    """

    depth: int
    groups: int = 1
    group_width: int = 64
    final_relu: bool = True
    zero_init: bool = False
    remat: bool = False
    norm_group: int = 0
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None
    drop_path: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, frozen_norm: bool = False) -> jax.Array:
        x = self.stem(x, train, frozen_norm)
        for number, features in enumerate((64, 128, 256, 512), start=1):
            x = self.stage(x, number, features, train, frozen_norm, last=number == 4)
        return x

    def stem(self, x: jax.Array, train: bool, frozen_norm: bool) -> jax.Array:
        """Convolution, norm, ReLU and pooling before the stages, after checking the options."""
        if self.depth not in STAGES:
            raise InputError(
                f"depth of a ResNet: {self.depth} has no table of blocks; take {', '.join(map(str, STAGES))}"
            )
        if self.depth < 50 and (self.groups, self.group_width) != (1, 64):
            raise InputError(
                f"groups of a ResNet: basic blocks (depth {self.depth}) have none; take depth 50, 101 or 152"
            )
        stored = stored_dtype(self)
        x = convolution("conv", 64, 7, 2, 1, self.dtype, stored)(x.astype(self.dtype))
        norm = BatchNorm(dtype=self.dtype, param_dtype=stored, group=self.norm_group, name="norm")
        x = nn.relu(norm(x, train, frozen_norm))
        if PLAIN.get():  # the converter to ONNX knows no other padding; after a ReLU zeros are as good as -inf
            x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
            return nn.max_pool(x, window_shape=(3, 3), strides=(2, 2), padding="VALID")
        return nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))

    def stage(
        self,
        x: jax.Array,
        number: int,
        features: int,
        train: bool,
        frozen_norm: bool,
        blocks: int | None = None,
        last: bool = False,
    ) -> jax.Array:
        """Stage ``number`` (1 to 4): ``blocks`` of its blocks (None: all); ``last`` if the network ends with it."""
        blocks = STAGES[self.depth][number - 1] if blocks is None else blocks
        before = sum(STAGES[self.depth][: number - 1])
        for index in range(blocks):
            stride = 2 if number > 1 and index == 0 else 1
            name = f"stage{number}_block{index}"
            block = self.block(name, features, stride, last and index == blocks - 1, before + index + 1)
            x = block(x, train, frozen_norm)
        return x

    def trainable_parts(self) -> Mapping[str, tuple[str, ...]]:
        """See ``HasTrainableParts``."""
        return last_parts([f"stage4_block{index}" for index in range(STAGES[self.depth][3])])

    def block(self, name: str, features: int, stride: int, last: bool, position: int | None = None) -> Block:
        """``position`` is that among all blocks, from 1 on; None: the last."""
        blocks = sum(STAGES[self.depth])
        drop_rate = rate_of(self.drop_path, blocks if position is None else position, blocks)
        kind = BasicBlock if self.depth < 50 else Bottleneck
        # the two flags (arguments 2 and 3, behind self and x) decide what is traced
        kind = recomputed(kind, static=(2, 3)) if self.remat else kind
        options = (self.groups, self.group_width, self.zero_init, self.dtype, stored_dtype(self))
        final_relu = self.final_relu or not last
        return kind(features, stride, *options, final_relu, self.norm_group, drop_rate, name=name)


def convolution(
    name: str, features: int, kernel: int, stride: int, groups: int, dtype: Dtype, param_dtype: Dtype
) -> Conv:
    """A bias-free square convolution with (kernel - 1) / 2 pixels of zeros around the map."""
    return Conv(
        features,
        (kernel, kernel),
        strides=stride,
        padding=(kernel - 1) // 2,
        feature_group_count=groups,
        use_bias=False,
        dtype=dtype,
        param_dtype=param_dtype,
        kernel_init=kaiming_fan_out,
        name=name,
    )
