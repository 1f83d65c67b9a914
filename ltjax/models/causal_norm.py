"""The network of causal norm, which keeps a running mean of its features (Tang et al., NeurIPS 2020, section 4)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ltjax.models.network import Network, normalised
from ltjax.models.outputs import Outputs, pool


class CausalNormNetwork(Network):
    """A ``Network`` of any backbone and a ``CausalNormHead``, with the running mean of its features beside them.

    In training, the call's option ``momentum`` moves the mean: m <- momentum * m + the batch's mean feature (not
    normalised: only the direction of m counts). In evaluation the head subtracts ``alpha`` times the part of every
    feature along m; 0, or a mean that never moved, subtracts nothing.

    Variables: those of ``Network`` and {"running": {"mean_feature": [d]}}.

    Example:
      >>> from ltjax.models.heads.cosine import CausalNormHead
      >>> from ltjax.models.resnet_cifar import ResNetCifar
      >>> net = CausalNormNetwork(ResNetCifar(depth=8), CausalNormHead(10), mean=(0.13,), std=(0.31,), alpha=1.5)
      >>> images = jnp.zeros([2, 28, 28, 1], jnp.uint8)
      >>> outputs, variables = jax.eval_shape(lambda: net.init_with_output(jax.random.key(0), images))
      >>> outputs.logits.shape, jax.tree.map(jnp.shape, variables["running"])
      ((2, 10), {'mean_feature': (64,)})
    """

    alpha: float = 0.0

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False, frozen_norm: bool = False, **options: Any) -> Outputs:
        momentum = options.pop("momentum", None)
        feature_map = self.backbone(normalised(images, self.mean, self.std, self.dtype), train, frozen_norm)
        features = pool(feature_map)
        running = self.variable("running", "mean_feature", jnp.zeros, features.shape[-1:], features.dtype)
        if train and momentum is not None:
            running.value = momentum * running.value + jax.lax.stop_gradient(features.mean(0))
        if not train:
            options = {"mean_feature": running.value, "alpha": self.alpha} | options
        return Outputs(self.head(feature_map, train, frozen_norm, **options), features)
