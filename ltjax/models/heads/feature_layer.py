"""A layer between the pooling and any head: the 512-d features of OLTR's and CBS+RRS+SS's networks."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ltjax.models.layers import classifier_weights, linear, linear_init
from ltjax.models.norm import Dtype, stored_dtype
from ltjax.models.outputs import Outputs, pool


class HeadOnFeatureLayer(nn.Module):
    """ReLU(Linear(d, ``features``)) after the pooling, then ``head`` (config.model.features; Liu et al., 2019).

    [B, h, w, d] -> what the head makes of the features [B, features], which are the network's features.

    Parameters: ``fc``, beside those of the head (both share a scope: "head/fc", "head/classifier").
    projected (option of the call): the map already holds the layer's features; the layer is not applied.

    Example:
      >>> from ltjax.models.heads.linear import LinearHead
      >>> head, feature_map = HeadOnFeatureLayer(LinearHead(10), 32), jnp.zeros([2, 8, 8, 64])
      >>> made = jax.eval_shape(lambda: head.init_with_output(jax.random.key(0), feature_map, train=False))
      >>> made[0].logits.shape, made[0].features.shape, sorted(made[1]["params"])
      ((2, 10), (2, 32), ['classifier', 'fc'])
    """

    head: nn.Module
    features: int
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None
    init_family: str = "cifar"

    def setup(self) -> None:
        nn.share_scope(self, self.head)

    def __call__(
        self,
        feature_map: jax.Array,
        train: bool,
        frozen_norm: bool = False,
        projected: bool = False,
        **options: Any,
    ) -> Outputs:
        features = pool(feature_map) if projected else self.project(feature_map)
        made = self.head(features[..., None, None, :], train, frozen_norm, **options)
        return made if isinstance(made, Outputs) else Outputs(made, features)

    @nn.compact
    def project(self, feature_map: jax.Array) -> jax.Array:
        """The layer alone: [B, h, w, d] -> [B, features], at least float32."""
        pooled = pool(feature_map)
        init = linear_init(self.init_family, pooled.shape[-1])
        return nn.relu(linear("fc", pooled, self.features, stored_dtype(self), init)(pooled))

    @nn.nowrap
    def classifier_weights(self, params: Mapping[str, Any]) -> jax.Array | None:
        """See ``HasClassifierWeights``: those of the head."""
        return classifier_weights(self.head, params)


def without_feature_layer(head: nn.Module) -> nn.Module:
    """The head that takes the layer's features; its parameters have the same paths."""
    return head.head if isinstance(head, HeadOnFeatureLayer) else head
