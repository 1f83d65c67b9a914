"""DisAlign's head: the logits of a finished classifier, aligned where an image calls for it."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ltjax.models.layers import linear, linear_init
from ltjax.models.norm import Dtype, stored_dtype
from ltjax.models.outputs import pool


class AlignedHead(nn.Module):
    """Adaptive calibration of a linear classifier (Zhang et al., 2021): [B, h, w, d] -> logits [B, C].

    With z = x W + b, a magnitude and a margin of each class, and the confidence sigma(x) of each image:

        s (alpha z + beta) + (1 - s) z,    s = sigmoid(<v, x> + c)

    Parameters: ``classifier`` as of ``LinearHead``, ``magnitude`` [C] (alpha - 1, so that weight decay draws towards
    the logits as they are), ``margin`` [C] (beta, zeros at first) and ``confidence`` (v, c). The last three are to be
    trained.

    start: alpha at first; with 1 the head begins as the classifier.

    Example:
      >>> classifier = {"kernel": jnp.eye(2), "bias": jnp.zeros(2)}
      >>> confidence = {"kernel": jnp.zeros([2, 1]), "bias": jnp.zeros(1)}
      >>> params = {"classifier": classifier, "confidence": confidence}
      >>> params |= {"magnitude": jnp.array([1.0, 0.0]), "margin": jnp.array([0.0, 4.0])}
      >>> AlignedHead(2).apply({"params": params}, jnp.ones([1, 4, 4, 2]), train=False).tolist()
      [[1.5, 3.0]]
    """

    num_classes: int
    start: float = 1.0
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None
    init_family: str = "cifar"

    @nn.compact
    def __call__(self, feature_map: jax.Array, train: bool, frozen_norm: bool = False) -> jax.Array:
        stored, features = stored_dtype(self), pool(feature_map)
        init = linear_init(self.init_family, features.shape[-1])
        logits = linear("classifier", features, self.num_classes, stored, init)(features)
        magnitude = self.param("magnitude", nn.initializers.constant(self.start - 1), (self.num_classes,), stored)
        margin = self.param("margin", nn.initializers.zeros, (self.num_classes,), stored)
        # the authors start all weights of the confidence at 0.1
        layer = linear("confidence", features, 1, stored, nn.initializers.constant(0.1))
        return logits + nn.sigmoid(layer(features)) * (magnitude * logits + margin)
