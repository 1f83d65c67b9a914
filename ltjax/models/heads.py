"""Heads: from the backbone's feature map to logits. The last layer of each is a Dense named ``classifier``."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ltjax.errors import InputError
from ltjax.models.conv import Conv
from ltjax.models.norm import BatchNorm, Dtype, at_least_float32
from ltjax.models.resnet_cifar import kaiming_normal


def pool(feature_map: jax.Array) -> jax.Array:
    """Global average pooling [..., h, w, d] -> [..., d] in at least float32.

    Example:
      >>> pool(jnp.ones([2, 4, 4, 3], jnp.bfloat16)).dtype
      dtype('float32')
    """
    return feature_map.astype(at_least_float32(feature_map.dtype)).mean((-3, -2))


def bias_within_fan_in(size: int) -> nn.initializers.Initializer:
    """Uniform between -1/sqrt(size) and 1/sqrt(size): the bias of a linear layer with ``size`` inputs."""

    def init(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -(size**-0.5), size**-0.5)

    return init


def _classifier(features: jax.Array, num_classes: int, param_dtype: Dtype) -> nn.Dense:
    """The Dense of every head: at least float32 and full precision, for a rank of near ties is decided here."""
    return nn.Dense(
        num_classes,
        dtype=at_least_float32(features.dtype),
        param_dtype=param_dtype,
        precision=jax.lax.Precision.HIGHEST,
        kernel_init=kaiming_normal,
        bias_init=bias_within_fan_in(features.shape[-1]),
        name="classifier",
    )


class LinearHead(nn.Module):
    """Global average pooling and one linear layer: feature map [B, h, w, d] -> logits [B, C], at least float32.

    Example:
      >>> LinearHead(10).init_with_output(jax.random.key(0), jnp.zeros([2, 8, 8, 64]), train=False)[0].shape
      (2, 10)
    """

    num_classes: int
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None

    @nn.compact
    def __call__(self, feature_map: jax.Array, train: bool, frozen_norm: bool = False) -> jax.Array:
        stored = at_least_float32(self.dtype) if self.param_dtype is None else self.param_dtype
        features = pool(feature_map)
        return _classifier(features, self.num_classes, stored)(features)


class ResLTHead(nn.Module):
    """The residual branches of ResLT (Cui et al., 2022, section 3.2): [B, h, w, d] -> [K, B, C], at least float32.

    Branch 0 sees all classes, branch 1 medium and tail, ... (the loss decides); the fused score is the sum over K.
    The linear layer is one, shared by the branches.

    form "bn" (the authors' CIFAR network): K parallel BatchNorms of the map, pooling, linear layer.
    form "conv" (their ImageNet-LT network): one dense bias-free 1x1 convolution d -> K*d, BatchNorm, ReLU, pooling,
      split in K blocks of d. With ``conv_before_pool_in_training`` false it pools first; in evaluation (``train``
      false) it always does, as the authors' code does and the paper does not say.
    gamma: if a number, evaluation divides row c of the linear layer by ||w_c||^gamma and drops the bias (the authors'
      code; not in the paper). None evaluates W x + b.

    Raises:
      InputError: if ``form`` is neither, or ``branches`` is below 1.

    Example:
      >>> ResLTHead(10).init_with_output(jax.random.key(0), jnp.zeros([2, 8, 8, 64]), train=False)[0].shape
      (3, 2, 10)
    """

    num_classes: int
    branches: int = 3
    form: str = "bn"
    conv_before_pool_in_training: bool = True
    gamma: float | None = None
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None

    @nn.compact
    def __call__(self, feature_map: jax.Array, train: bool, frozen_norm: bool = False) -> jax.Array:
        if self.branches < 1:
            raise InputError(f"branches of the ResLT head: {self.branches} is below 1; the paper has 3")
        stored = at_least_float32(self.dtype) if self.param_dtype is None else self.param_dtype
        if self.form == "bn":
            features = self._norm_branches(feature_map, stored, train, frozen_norm)
        elif self.form == "conv":
            features = self._conv_branches(feature_map, stored, train, frozen_norm)
        else:
            raise InputError(f"form of the ResLT head: unknown value '{self.form}'; allowed: bn, conv")
        classifier = _classifier(features, self.num_classes, stored)
        logits = classifier(features)
        if self.gamma is None or train:
            return logits
        return rescaled_logits(features, classifier.variables["params"]["kernel"], self.gamma)

    def _norm_branches(self, x: jax.Array, stored: Dtype, train: bool, frozen_norm: bool) -> jax.Array:
        norms = [BatchNorm(dtype=self.dtype, param_dtype=stored, name=f"norm{k}") for k in range(self.branches)]
        return jnp.stack([pool(norm(x, train, frozen_norm)) for norm in norms])

    def _conv_branches(self, x: jax.Array, stored: Dtype, train: bool, frozen_norm: bool) -> jax.Array:
        size = x.shape[-1]
        conv = Conv(
            self.branches * size,
            (1, 1),
            use_bias=False,
            dtype=self.dtype,
            param_dtype=stored,
            kernel_init=kaiming_normal,
            name="conv",
        )
        norm = BatchNorm(dtype=self.dtype, param_dtype=stored, name="norm")
        pool_first = not (train and self.conv_before_pool_in_training)
        if pool_first:
            x = pool(x)[:, None, None, :]
        x = pool(nn.relu(norm(conv(x), train, frozen_norm)))
        return jnp.moveaxis(x.reshape(-1, self.branches, size), 1, 0)


def rescaled_logits(features: jax.Array, kernel: jax.Array, gamma: float | jax.Array) -> jax.Array:
    """features [..., d] times the columns of kernel [d, C], each divided by its norm to the power gamma; no bias.

    Example:
      >>> rescaled_logits(jnp.ones([1, 1]), jnp.array([[4.0, -9.0]]), gamma=0.5).round(4).tolist()
      [[2.0, -3.0]]
    """
    norms = jnp.maximum(jnp.linalg.norm(kernel, axis=0), jnp.finfo(kernel.dtype).tiny)  # a zero column stays zero
    columns = kernel / norms**gamma
    return jnp.matmul(features, columns, precision=jax.lax.Precision.HIGHEST)
