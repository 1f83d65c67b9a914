"""Linear heads whose classes are rescaled: learnable weight scaling, tau-normalisation."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ltjax.arrays import product, rescale_columns
from ltjax.models.layers import Weights, kaiming_normal, linear
from ltjax.models.norm import Dtype, stored_dtype
from ltjax.models.outputs import pool


class LWSHead(nn.Module):
    """Learnable weight scaling ``(x W + b) * scale`` (Kang et al., 2020, section 4.2): [B, h, w, d] -> [B, C].

    Parameters: ``classifier`` as of ``LinearHead``, and ``scale`` [C], ones at first; it alone is to be trained.

    Example:
      >>> classifier = {"kernel": jnp.eye(2), "bias": jnp.ones(2)}
      >>> variables = {"params": {"classifier": classifier, "scale": jnp.array([1, 9.0])}}
      >>> LWSHead(2).apply(variables, jnp.ones([1, 4, 4, 2]), train=False).tolist()
      [[2.0, 18.0]]
    """

    num_classes: int
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None

    @nn.compact
    def __call__(self, feature_map: jax.Array, train: bool, frozen_norm: bool = False) -> jax.Array:
        stored = stored_dtype(self)
        features = pool(feature_map)
        scale = self.param("scale", nn.initializers.ones_init(), (self.num_classes,), stored)
        return linear("classifier", features, self.num_classes, stored)(features) * scale

    def classifier_weights(self, params: Mapping[str, Any]) -> jax.Array:
        """See ``HasClassifierWeights``: each class's weights times its factor."""
        return jnp.asarray(params["classifier"]["kernel"]) * params["scale"]


class TauHead(nn.Module):
    """The tau-normalised classifier ``x W / |w|^tau`` (Kang et al., 2020, eq. 3): [B, h, w, d] -> [B, C].

    Parameters: ``classifier`` as of ``LinearHead``, so that its variables fit, though the bias is not used; and the
    scalar ``tau``, given (a search over a grid) or trained (appendix B.5).

    Example:
      >>> classifier = {"kernel": jnp.array([[3.0, 0.5]]), "bias": jnp.ones(2)}
      >>> variables = {"params": {"classifier": classifier, "tau": jnp.array(1.0)}}
      >>> TauHead(2).apply(variables, jnp.full([1, 4, 4, 1], 7.0), train=False).tolist()
      [[7.0, 7.0]]
    """

    num_classes: int
    tau: float = 1.0
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None

    @nn.compact
    def __call__(self, feature_map: jax.Array, train: bool, frozen_norm: bool = False) -> jax.Array:
        stored = stored_dtype(self)
        features = pool(feature_map)
        weights = Weights(self.num_classes, kaiming_normal, bias=True, param_dtype=stored, name="classifier")
        kernel, _ = weights(features.shape[-1])
        exponent = self.param("tau", nn.initializers.constant(self.tau), (), stored)
        return product(features, rescale_columns(kernel, exponent))

    def classifier_weights(self, params: Mapping[str, Any]) -> jax.Array:
        """See ``HasClassifierWeights``: each class's weights over their norm to the power tau."""
        return rescale_columns(jnp.asarray(params["classifier"]["kernel"]), jnp.asarray(params["tau"]))
