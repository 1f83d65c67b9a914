"""Linear heads: from the backbone's feature map to logits. The last layer of each is named ``classifier``."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ltjax.errors import InputError
from ltjax.models.layers import linear, linear_init, unit_rows
from ltjax.models.norm import Dtype, stored_dtype
from ltjax.models.outputs import Outputs, pool


class LinearHead(nn.Module):
    """Global average pooling and one linear layer: feature map [B, h, w, d] -> logits [B, C], at least float32.

    bias: false leaves it out.
    bias_init_value: a constant to start the bias with: -log(C - 1) for sigmoid losses, so that every class starts with
      probability 1/C (Cui et al., Class-Balanced Loss, 2019, section 5.1). None: uniform within 1/sqrt(d).
    init_family: of the backbone, "cifar" or "imagenet": how the weights start (``linear_init``).

    Raises:
      InputError: if there is a ``bias_init_value`` but no bias.

    Example:
      >>> LinearHead(10).init_with_output(jax.random.key(0), jnp.zeros([2, 8, 8, 64]), train=False)[0].shape
      (2, 10)
    """

    num_classes: int
    bias: bool = True
    bias_init_value: float | None = None
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None
    init_family: str = "cifar"

    @nn.compact
    def __call__(self, feature_map: jax.Array, train: bool, frozen_norm: bool = False) -> jax.Array:
        if self.bias_init_value is not None and not self.bias:
            raise InputError("bias_init_value of the linear head: there is no bias to start; set bias=True or drop it")
        stored = stored_dtype(self)
        features = pool(feature_map)
        start = None if self.bias_init_value is None else nn.initializers.constant(self.bias_init_value)
        init = linear_init(self.init_family, features.shape[-1])
        classifier = linear("classifier", features, self.num_classes, stored, init, start, self.bias)
        logits: jax.Array = classifier(features)
        return logits


class MLPHead(nn.Module):
    """Pooling, hidden layers ``fc1``, ``fc2``, ... with ReLU, classifier (Kang et al., 2020, appendix B.6).

    [B, h, w, d] -> ``Outputs``: logits [B, C], features [B, hidden[-1]].

    Example:
      >>> head = MLPHead(10, hidden=(512, 256))
      >>> feature_map = jnp.zeros([2, 8, 8, 64])
      >>> outputs, _ = jax.eval_shape(lambda: head.init_with_output(jax.random.key(0), feature_map, train=False))
      >>> outputs.logits.shape, outputs.features.shape
      ((2, 10), (2, 256))
    """

    num_classes: int
    hidden: tuple[int, ...] = (2048,)
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None
    init_family: str = "cifar"

    @nn.compact
    def __call__(self, feature_map: jax.Array, train: bool, frozen_norm: bool = False) -> Outputs:
        stored = stored_dtype(self)
        features = pool(feature_map)
        for number, size in enumerate(self.hidden, start=1):
            init = linear_init(self.init_family, features.shape[-1])
            features = nn.relu(linear(f"fc{number}", features, size, stored, init)(features))
        init = linear_init(self.init_family, features.shape[-1])
        return Outputs(linear("classifier", features, self.num_classes, stored, init)(features), features)


class ProxyHead(nn.Module):
    """A linear head that also holds one proxy a class for losses on the features (Movshovitz-Attias et al., 2017).

    [B, h, w, d] -> ``Outputs``: logits {"classifier": [B, C], "proxies": [C, d]}, features [B, d]. The proxies start
    with random directions and length 1.

    Example:
      >>> head, feature_map = ProxyHead(10), jnp.zeros([2, 8, 8, 64])
      >>> outputs, _ = jax.eval_shape(lambda: head.init_with_output(jax.random.key(0), feature_map, train=False))
      >>> outputs.logits["classifier"].shape, outputs.logits["proxies"].shape
      ((2, 10), (10, 64))
    """

    num_classes: int
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None
    init_family: str = "cifar"

    @nn.compact
    def __call__(self, feature_map: jax.Array, train: bool, frozen_norm: bool = False) -> Outputs:
        stored = stored_dtype(self)
        features = pool(feature_map)
        proxies = self.param("proxies", unit_rows, (self.num_classes, features.shape[-1]), stored)
        init = linear_init(self.init_family, features.shape[-1])
        logits = linear("classifier", features, self.num_classes, stored, init)(features)
        return Outputs({"classifier": logits, "proxies": proxies}, features)
