"""The ResNet of the CIFAR experiments: three stages of 16, 32 and 64 channels, shortcuts without parameters."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ltjax.errors import InputError
from ltjax.models.conv import Conv
from ltjax.models.norm import BatchNorm, Dtype, at_least_float32

# He et al. (2015): a normal distribution that keeps the variance through ReLU; not truncated, unlike nn's he_normal
kaiming_normal = nn.initializers.variance_scaling(2.0, "fan_in", "normal")


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; ``features`` channels out, the map is subsampled by ``stride``."""

    features: int
    stride: int
    dtype: Dtype
    param_dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, frozen_norm: bool = False) -> jax.Array:
        y = conv3x3(self, "conv1", self.features, self.stride)(x)
        y = BatchNorm(dtype=self.dtype, param_dtype=self.param_dtype, name="norm1")(y, train, frozen_norm)
        y = conv3x3(self, "conv2", self.features)(nn.relu(y))
        y = BatchNorm(dtype=self.dtype, param_dtype=self.param_dtype, name="norm2")(y, train, frozen_norm)
        return nn.relu(y + pad_shortcut(x, self.features, self.stride))


class ResNetCifar(nn.Module):
    """ResNet-(6n+2) for small images (He et al., "Deep residual learning", 2016, section 4.2, shortcut option A).

    Input: [B, H, W, channels] of any size (28x28x1 as well as 32x32x3).
    Output: the feature map after the last ReLU, [B, ceil(H/4), ceil(W/4), 64 * width], in ``dtype``.
    Parameters and batch statistics are float32 (float64 under float64) whatever the compute ``dtype`` is.

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
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, frozen_norm: bool = False) -> jax.Array:
        if self.depth < 8 or (self.depth - 2) % 6:
            raise InputError(f"depth of a CIFAR ResNet: {self.depth} is not 6n+2; take 8, 14, 20, 32, 44, 56, ...")
        if self.width < 1:
            raise InputError(f"width of a CIFAR ResNet: {self.width} is below 1; it multiplies 16, 32 and 64 channels")
        stored = at_least_float32(self.dtype) if self.param_dtype is None else self.param_dtype
        x = conv3x3(self, "conv", 16 * self.width)(x.astype(self.dtype))
        x = nn.relu(BatchNorm(dtype=self.dtype, param_dtype=stored, name="norm")(x, train, frozen_norm))
        for stage, channels in enumerate((16, 32, 64), start=1):
            for block in range((self.depth - 2) // 6):
                stride = 2 if stage > 1 and block == 0 else 1
                name = f"stage{stage}_block{block}"
                x = BasicBlock(channels * self.width, stride, self.dtype, stored, name=name)(x, train, frozen_norm)
        return x


def conv3x3(module: BasicBlock | ResNetCifar, name: str, features: int, stride: int = 1) -> Conv:
    """A bias-free 3x3 convolution with one pixel of zeros around the map, in the dtypes of ``module``."""
    stored = at_least_float32(module.dtype) if module.param_dtype is None else module.param_dtype
    return Conv(
        features,
        (3, 3),
        strides=stride,
        padding=1,
        use_bias=False,
        dtype=module.dtype,
        param_dtype=stored,
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
