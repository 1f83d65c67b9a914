"""The memory head of OLTR."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ltjax.arrays import norm, product, squared_distances, unit
from ltjax.models.layers import Weights, linear, within_fan_in
from ltjax.models.norm import Dtype, stored_dtype
from ltjax.models.outputs import Outputs, pool


class MemoryHead(nn.Module):
    """OLTR's classifier on a memory of class centroids (Liu et al., 2019, section 3.2): [B, h, w, d] -> ``Outputs``.

    The direct feature x borrows from the centroids as much as a selector lets through; what lies far from all of them
    is scaled down; and a cosine classifier reads the result v:

        m = softmax(hallucinator(x)) centroids,    e = tanh(selector(x))
        v = 10 / min_c |x - centroid_c| * (x + e * m),    logits = scale * <v / (1 + |v|), w_c / |w_c|>

    centroids (option of the call): [C, d], kept by the method, no parameter here; without them v = x.
    learn_centroids: they are the parameter ``centroids`` (zeros until the method says where they start) instead. No
      gradient of the logits reaches them, as in the authors' code: a loss of their own moves them.
    Outputs: logits [B, C], and the direct feature x [B, d] as features.
    Parameters: ``hallucinator`` d -> C, ``selector`` d -> d, ``classifier/kernel`` [d, C]; ``centroids`` if so.

    Example:
      >>> head, feature_map = MemoryHead(10), jnp.zeros([2, 8, 8, 64])
      >>> outputs, _ = jax.eval_shape(lambda: head.init_with_output(jax.random.key(0), feature_map, train=False))
      >>> outputs.logits.shape, outputs.features.shape
      ((2, 10), (2, 64))
    """

    num_classes: int
    learn_centroids: bool = False
    scale: float = 16.0
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None

    @nn.compact
    def __call__(
        self,
        feature_map: jax.Array,
        train: bool,
        frozen_norm: bool = False,
        centroids: jax.Array | None = None,
    ) -> Outputs:
        stored = stored_dtype(self)
        direct = pool(feature_map)
        size = direct.shape[-1]
        within = within_fan_in(size)
        attention = nn.softmax(linear("hallucinator", direct, self.num_classes, stored, within)(direct))
        selector = jnp.tanh(linear("selector", direct, size, stored, within)(direct))
        kernel, _ = Weights(self.num_classes, within, param_dtype=stored, name="classifier")(size)
        if self.learn_centroids:
            learned = self.param("centroids", nn.initializers.zeros, (self.num_classes, size), stored)
            centroids = jax.lax.stop_gradient(learned)
        embedding = direct
        if centroids is not None:
            memory = product(attention, centroids)
            embedding = reachability(direct, centroids) * (direct + selector * memory)
        squashed = embedding / (1 + norm(embedding))
        return Outputs(self.scale * product(squashed, unit(kernel, axis=0)), direct)

    def classifier_weights(self, params: Mapping[str, Any]) -> jax.Array:
        """See ``HasClassifierWeights``: of length 1."""
        return unit(jnp.asarray(params["classifier"]["kernel"]), axis=0)


def reachability(direct: jax.Array, centroids: jax.Array) -> jax.Array:
    """10 over the distance of each feature [B, d] to its nearest centroid [C, d]: [B, 1].

    Example:
      >>> reachability(jnp.array([[3.0, 4.0]]), jnp.array([[0.0, 0.0], [9.0, 9.0]])).tolist()
      [[2.0]]
    """
    nearest = centroids[jnp.argmin(squared_distances(direct, centroids), -1)]
    # a feature on its centroid (a class with one image) is as near as anything can be
    squares = jnp.sum((direct - nearest) ** 2, -1, keepdims=True)
    return 10 / jnp.sqrt(jnp.maximum(squares, 1e-12))
