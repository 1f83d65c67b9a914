"""A linear head that hands the feature map on, for methods that work at each of its places."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ltjax.models.layers import linear
from ltjax.models.norm import Dtype, stored_dtype
from ltjax.models.outputs import Outputs, pool


class FeatureMapHead(nn.Module):
    """The linear classifier on the pooled map, and the map: [B, h, w, d] -> logits [B, C], features [h w, B, d].

    Parameters: ``classifier``, those of a ``LinearHead``. The mean of the features over their first axis is what the
    classifier takes.

    Example:
      >>> head, feature_map = FeatureMapHead(10), jnp.zeros([2, 8, 8, 64])
      >>> outputs, _ = jax.eval_shape(lambda: head.init_with_output(jax.random.key(0), feature_map, train=False))
      >>> outputs.logits.shape, outputs.features.shape
      ((2, 10), (64, 2, 64))
    """

    num_classes: int
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None

    @nn.compact
    def __call__(self, feature_map: jax.Array, train: bool, frozen_norm: bool = False) -> Outputs:
        pooled = pool(feature_map)
        places = feature_map.reshape(feature_map.shape[0], -1, feature_map.shape[-1]).astype(pooled.dtype)
        logits = linear("classifier", pooled, self.num_classes, stored_dtype(self))(pooled)
        return Outputs(logits, jnp.swapaxes(places, 0, 1))
