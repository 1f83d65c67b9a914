"""What the heads are made of: linear layers, weights without a layer, and how they start."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import traverse_util

from ltjax.arrays import at_least_float32, unit
from ltjax.models.conv import Conv
from ltjax.models.norm import Dtype
from ltjax.models.resnet import kaiming_fan_out
from ltjax.models.resnet_cifar import kaiming_normal

Initializer = nn.initializers.Initializer


def uniform(bound: float) -> Initializer:
    """Uniform between -bound and bound."""

    def init(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def within_fan_in(size: int) -> Initializer:
    """Uniform between -1/sqrt(size) and 1/sqrt(size): PyTorch's default for a linear layer with ``size`` inputs."""
    return uniform(size**-0.5)


def linear_init(family: str, size: int) -> Initializer:
    """How the weights of a head's linear layer with ``size`` inputs start, by the family of its backbone.

    "cifar": N(0, 2 / size), as in the public code for the CIFAR ResNets. "imagenet": PyTorch's default.

    Example:
      >>> kernel = linear_init("imagenet", 400)(jax.random.key(0), (400, 1000))
      >>> jnp.abs(kernel).max().round(3).item()
      0.05...
    """
    return {"cifar": kaiming_normal, "imagenet": within_fan_in(size)}[family]


def unit_rows(key: jax.Array, shape: tuple[int, ...], dtype: Dtype = jnp.float32) -> jax.Array:
    """Rows [C, d] of length 1 in random directions, all alike."""
    return unit(jax.random.normal(key, shape, dtype))


def unit_columns(key: jax.Array, shape: tuple[int, ...], dtype: Dtype = jnp.float32) -> jax.Array:
    """A kernel [d, C] whose columns have length 1, their directions from a uniform draw of each number in (-1, 1).

    Example:
      >>> jnp.linalg.norm(unit_columns(jax.random.key(0), (5, 2)), axis=0).round(3).tolist()
      [1.0, 1.0]
    """
    return unit(uniform(1.0)(key, shape, dtype), axis=0)


def linear(
    name: str,
    inputs: jax.Array,
    size: int,
    param_dtype: Dtype,
    kernel_init: Initializer = kaiming_normal,
    bias_init: Initializer | None = None,
    use_bias: bool = True,
) -> nn.Dense:
    """The Dense of every head: at least float32 and full precision, for a rank of near ties is decided here."""
    return nn.Dense(
        size,
        use_bias=use_bias,
        dtype=at_least_float32(inputs.dtype),
        param_dtype=param_dtype,
        precision=jax.lax.Precision.HIGHEST,
        kernel_init=kernel_init,
        bias_init=within_fan_in(inputs.shape[-1]) if bias_init is None else bias_init,
        name=name,
    )


def pointwise(name: str, features: int, groups: int, dtype: Dtype, param_dtype: Dtype, family: str = "cifar") -> Conv:
    """A bias-free 1x1 convolution, whose weights start as those of the backbone's family: "cifar" or "imagenet"."""
    return Conv(
        features,
        (1, 1),
        feature_group_count=groups,
        use_bias=False,
        dtype=dtype,
        param_dtype=param_dtype,
        kernel_init={"cifar": kaiming_normal, "imagenet": kaiming_fan_out}[family],
        name=name,
    )


@runtime_checkable
class HasClassifierWeights(Protocol):
    """A head whose classes have other weights than the columns of its ``classifier/kernel``.

    ``classifier_weights(params)`` gives, of the head's parameters, the weights float [..., d, C] by which evaluation
    multiplies the features; experts come first. A factor of all classes, such as the scale of a cosine, is left out.
    """

    def classifier_weights(self, params: Mapping[str, Any]) -> jax.Array | None: ...


def classifier_weights(head: object, params: Mapping[str, Any]) -> jax.Array | None:
    """The weights float [..., d, C] by which a head tells classes apart; None if it has no ``classifier/kernel``.

    Example:
      >>> params = {"classifier": {"kernel": jnp.eye(3)}}
      >>> classifier_weights(None, params).shape
      (3, 3)
    """
    if isinstance(head, HasClassifierWeights):
        return head.classifier_weights(params)
    for path, kernel in traverse_util.flatten_dict(dict(params)).items():
        if path[-2:] == ("classifier", "kernel"):
            return jnp.asarray(kernel)
    return None


class Weights(nn.Module):
    """The arrays of a linear layer, for heads that use them in another way: kernel [d, C], and bias [C] with ``bias``.

    Example:
      >>> kernel, bias = Weights(10, kaiming_normal).init_with_output(jax.random.key(0), 64)[0]
      >>> kernel.shape, bias
      ((64, 10), None)
    """

    num_classes: int
    kernel_init: Initializer
    bias: bool = False
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, size: int) -> tuple[jax.Array, jax.Array | None]:
        kernel = self.param("kernel", self.kernel_init, (size, self.num_classes), self.param_dtype)
        if not self.bias:
            return kernel, None
        return kernel, self.param("bias", within_fan_in(size), (self.num_classes,), self.param_dtype)
