"""The head of GLMC: two classifiers, and a projection with its prediction."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ltjax.models.layers import linear, linear_init
from ltjax.models.norm import Dtype, stored_dtype
from ltjax.models.outputs import Outputs, pool


class ConsistencyHead(nn.Module):
    """Two linear classifiers and, for training, a projection of the features and a prediction of another one's.

    [B, h, w, d] -> logits [B, C] of the rebalanced classifier (``classifier``), which is the one to test. With the
    option ``project`` of the call, ``Outputs``: logits {"classifier", "plain": [B, C], "projection", "prediction":
    [B, width]}, features [B, d].

    Example:
      >>> head, feature_map = ConsistencyHead(10, width=16), jnp.zeros([2, 8, 8, 64])
      >>> variables = jax.eval_shape(lambda: head.init(jax.random.key(0), feature_map, train=False))
      >>> sorted(variables["params"])
      ['classifier', 'plain', 'prediction', 'projection']
    """

    num_classes: int
    width: int
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None
    init_family: str = "cifar"

    @nn.compact
    def __call__(
        self, feature_map: jax.Array, train: bool, frozen_norm: bool = False, project: bool = False
    ) -> Outputs:
        stored, features = stored_dtype(self), pool(feature_map)

        def layer(name: str, inputs: jax.Array, size: int) -> jax.Array:
            made: jax.Array = linear(name, inputs, size, stored, linear_init(self.init_family, inputs.shape[-1]))(
                inputs
            )
            return made

        logits = layer("classifier", features, self.num_classes)
        if not (project or self.is_initializing()):
            return Outputs(logits, features)
        projection = layer("projection", features, self.width)
        made = {
            "classifier": logits,
            "plain": layer("plain", features, self.num_classes),
            "projection": projection,
            "prediction": layer("prediction", projection, self.width),
        }
        return Outputs(made, features)
