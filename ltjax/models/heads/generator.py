"""The head of few-shot learning without forgetting: a cosine classifier, and what makes weights of new classes."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ltjax.arrays import cosines, product, unit
from ltjax.models.layers import Weights, within_fan_in
from ltjax.models.norm import Dtype, stored_dtype
from ltjax.models.outputs import Outputs, pool


class GeneratorHead(nn.Module):
    """A cosine classifier with an attention-based weight generator (Gidaris and Komodakis, 2018, sections 3.1, 3.2).

    [B, h, w, d] -> ``Outputs``: logits ``scale * cos(x, w_c)`` [B, C], features [B, d]. Parameters:
    ``classifier/kernel`` [d, C] and ``scale`` as in a ``CosineHead``; and those that only ``generated_weights`` uses:
    ``query`` [d, d], near the identity at first, ``query_bias`` [d], ``keys`` [C, d], ``attention_scale``,
    ``average_factor`` [d] and ``attention_factor`` [d], ones at first.

    Example:
      >>> head, feature_map = GeneratorHead(10), jnp.zeros([2, 8, 8, 64])
      >>> outputs, _ = jax.eval_shape(lambda: head.init_with_output(jax.random.key(0), feature_map, train=False))
      >>> outputs.logits.shape, outputs.features.shape
      ((2, 10), (2, 64))
    """

    num_classes: int
    scale: float = 10.0
    attention_scale: float = 10.0
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None

    @nn.compact
    def __call__(self, feature_map: jax.Array, train: bool, frozen_norm: bool = False) -> Outputs:
        stored = stored_dtype(self)
        features = pool(feature_map)
        size = features.shape[-1]
        kernel, _ = Weights(self.num_classes, within_fan_in(size), param_dtype=stored, name="classifier")(size)
        scale = self.param("scale", nn.initializers.constant(self.scale), (), stored)
        self.param("query", _near_identity, (size, size), stored)
        self.param("query_bias", nn.initializers.zeros, (size,), stored)
        self.param("keys", nn.initializers.normal((2 / size) ** 0.5), (self.num_classes, size), stored)
        self.param("attention_scale", nn.initializers.constant(self.attention_scale), (), stored)
        self.param("average_factor", nn.initializers.ones, (size,), stored)
        self.param("attention_factor", nn.initializers.ones, (size,), stored)
        return Outputs(scale * cosines(features, kernel), features)

    def classifier_weights(self, params: Mapping[str, Any]) -> jax.Array:
        """See ``HasClassifierWeights``: of length 1."""
        return unit(jnp.asarray(params["classifier"]["kernel"]), axis=0)


def _near_identity(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    return jnp.eye(shape[0], dtype=dtype) + 1e-3 * jax.random.normal(key, shape, dtype)


def generated_weights(
    head: Mapping[str, Any], features: jax.Array, labels: jax.Array, base: jax.Array, num_classes: int
) -> jax.Array:
    """Classifier weights from a few images of each class: their mean feature, and what the base classes like them have.

    ``w_c = a * mean_i z_i + b * mean_i sum_k softmax_k(s <q_i, k_k>) w_k`` over the images i of class c and the base
    classes k, with ``z = x / |x|``, the query ``q`` of z, keys and base weights of length 1, and factors a and b
    for each feature (section 3.1).

    Args:
      head: the parameters of a ``GeneratorHead``.
      features: [n, d] of the images.
      labels: integers [n].
      base: bool [C], the classes with weights of their own; images of these are of no use.
      num_classes: C.

    Returns:
      [d, C]; zeros for classes without an image.

    Example:
      >>> head = {"classifier": {"kernel": jnp.eye(2, 3)}, "query": jnp.eye(2), "query_bias": jnp.zeros(2),
      ...         "keys": jnp.eye(3, 2), "attention_scale": 50.0, "average_factor": 1.0, "attention_factor": 1.0}
      >>> base = jnp.array([True, True, False])
      >>> generated_weights(head, jnp.array([[3.0, 0.0]]), jnp.array([2]), base, 3).round(3).tolist()
      [[0.0, 0.0, 2.0], [0.0, 0.0, 0.0]]
    """
    directions = unit(features)
    queries = unit(product(directions, jnp.asarray(head["query"])) + head["query_bias"])
    likeness = head["attention_scale"] * product(queries, unit(jnp.asarray(head["keys"])).T)
    attention = jax.nn.softmax(jnp.where(base, likeness, -jnp.inf))
    borrowed = product(attention, unit(jnp.asarray(head["classifier"]["kernel"]), axis=0).T)
    made = head["average_factor"] * directions + head["attention_factor"] * borrowed
    share = (labels == jnp.arange(num_classes)[:, None]).astype(made.dtype)
    return product(share / jnp.maximum(jnp.sum(share, -1, keepdims=True), 1), made).T
