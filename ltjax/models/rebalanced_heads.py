"""Heads that rebalance a classifier that is already there: tau-normalised weights, nearest class means."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ltjax.errors import InputError
from ltjax.models.heads import _classifier, pool, rescaled_logits
from ltjax.models.norm import Dtype, at_least_float32

TRANSFORMS = ("raw", "l2", "centered_l2")
METRICS = ("cosine", "euclidean", "dot")


class TauHead(nn.Module):
    """A LinearHead whose class weights are divided by their norm to the power tau; its bias is not used.

    Feature map [B, h, w, d] -> logits [B, C], at least float32. Parameters: those of LinearHead, so that its variables
    fit, and ``tau``, a scalar that starts at 1.

    Example:
      >>> variables = TauHead(10).init(jax.random.key(0), jnp.zeros([2, 8, 8, 64]), train=False)
      >>> sorted(variables["params"]), float(variables["params"]["tau"])
      (['classifier', 'tau'], 1.0)

    Source: Kang et al., "Decoupling representation and classifier for long-tailed recognition", ICLR 2020, eq. 3.
    """

    num_classes: int
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None

    @nn.compact
    def __call__(self, feature_map: jax.Array, train: bool, frozen_norm: bool = False) -> jax.Array:
        stored = at_least_float32(self.dtype) if self.param_dtype is None else self.param_dtype
        features = pool(feature_map)
        classifier = _classifier(features, self.num_classes, stored)
        classifier(features)  # makes the parameters
        tau = self.param("tau", nn.initializers.ones, (), stored)
        return rescaled_logits(features, classifier.variables["params"]["kernel"], tau)


class MeanHead(nn.Module):
    """Nearest class mean: feature map [B, h, w, d] -> logits [B, C], at least float32.

    Parameters, which no gradient makes: ``means`` [C, d], of the training features after ``transform``; ``center`` [d],
    of all training features before it.

    transform: "raw"; "l2", x / |x|; "centered_l2", (x - center) / |x - center|.
    metric: "cosine"; "euclidean", minus the squared distance; "dot", the product divided by d.

    Raises:
      InputError: if ``transform`` or ``metric`` is unknown.

    Example:
      >>> MeanHead(10).init_with_output(jax.random.key(0), jnp.zeros([2, 8, 8, 64]), train=False)[0].shape
      (2, 10)

    Source: Kang et al., "Decoupling representation and classifier for long-tailed recognition", ICLR 2020, section 4,
    and the authors' public code.
    """

    num_classes: int
    transform: str = "centered_l2"
    metric: str = "euclidean"
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None

    @nn.compact
    def __call__(self, feature_map: jax.Array, train: bool, frozen_norm: bool = False) -> jax.Array:
        for name, value, allowed in (("transform", self.transform, TRANSFORMS), ("metric", self.metric, METRICS)):
            if value not in allowed:
                raise InputError(f"{name} of the mean head: unknown value '{value}'; allowed: {', '.join(allowed)}")
        stored = at_least_float32(self.dtype) if self.param_dtype is None else self.param_dtype
        features = pool(feature_map)
        size = features.shape[-1]
        means = self.param("means", nn.initializers.zeros, (self.num_classes, size), stored)
        center = self.param("center", nn.initializers.zeros, (size,), stored)
        if self.transform == "centered_l2":
            features = features - center
        if self.transform != "raw":
            features = _unit(features)
        if self.metric == "euclidean":
            origin = jnp.mean(means, 0)  # near the means, less is lost to cancellation
            features, means = features - origin, means - origin
            squares = jnp.sum(features**2, -1, keepdims=True) + jnp.sum(means**2, -1)
            return -jnp.maximum(squares - 2 * _product(features, means), 0)
        if self.metric == "cosine":
            return _product(_unit(features), _unit(means))
        return _product(features, means) / size


def _product(features: jax.Array, means: jax.Array) -> jax.Array:
    return jnp.matmul(features, means.T, precision=jax.lax.Precision.HIGHEST)


def _unit(values: jax.Array) -> jax.Array:
    """Rows of length 1; a row of zeros stays zero."""
    return values / jnp.maximum(jnp.linalg.norm(values, axis=-1, keepdims=True), 1e-12)
