"""The head of the nearest class mean."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ltjax.arrays import cosines, product, squared_distances, unit
from ltjax.errors import InputError
from ltjax.models.norm import Dtype, stored_dtype
from ltjax.models.outputs import pool

TRANSFORMS = ("raw", "l2", "centered_l2")
METRICS = ("cosine", "euclidean", "dot")


class MeanHead(nn.Module):
    """The nearest class mean as a head (Kang et al., 2020, section 4.1): [B, h, w, d] -> scores [B, C].

    Parameters: ``means`` [C, d], the means of the transformed training features, and ``center`` [d], the mean of all
    raw ones; both zeros until the method puts them in.

    transform: "raw" x, "l2" x / |x|, or "centered_l2" (x - center) / |x - center|, the authors' default.
    metric: "euclidean", minus the squared distance, the authors' default; "cosine"; or "dot", the product over d.

    Raises:
      InputError: if ``transform`` or ``metric`` is unknown.

    Example:
      >>> means = jnp.array([[2.0, 0.0], [0.0, 1.0]])
      >>> variables = {"params": {"means": means, "center": jnp.zeros(2)}}
      >>> head = MeanHead(2, transform="raw", metric="euclidean")
      >>> head.apply(variables, jnp.array([[[[1.0, 0.0]]]]), train=False).tolist()
      [[-1.0, -2.0]]
    """

    num_classes: int
    transform: str = "centered_l2"
    metric: str = "euclidean"
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None

    @nn.compact
    def __call__(self, feature_map: jax.Array, train: bool, frozen_norm: bool = False) -> jax.Array:
        if self.transform not in TRANSFORMS:
            allowed = ", ".join(TRANSFORMS)
            raise InputError(f"transform of the class means: unknown value '{self.transform}'; allowed: {allowed}")
        if self.metric not in METRICS:
            raise InputError(f"metric of the class means: unknown '{self.metric}'; allowed: {', '.join(METRICS)}")
        stored = stored_dtype(self)
        features = pool(feature_map)
        size = features.shape[-1]
        means = self.param("means", nn.initializers.zeros_init(), (self.num_classes, size), stored)
        center = self.param("center", nn.initializers.zeros_init(), (size,), stored)
        if self.transform == "centered_l2":
            features = features - center
        if self.transform != "raw":
            features = unit(features)
        if self.metric == "cosine":
            return cosines(features, means.T)
        if self.metric == "dot":
            return product(features, means.T) / size
        return -squared_distances(features, means)

    def classifier_weights(self, params: Mapping[str, Any]) -> jax.Array:
        """See ``HasClassifierWeights``: the means, of length 1 where cosines compare them."""
        means = jnp.asarray(params["means"]).T
        return unit(means, axis=0) if self.metric == "cosine" else means
