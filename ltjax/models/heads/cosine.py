"""Heads that compare directions: cosine classifiers, causal norm."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ltjax.arrays import causal_norm_cosines, causal_norm_weights, cosines, unit
from ltjax.errors import InputError
from ltjax.models.layers import Weights, unit_columns, within_fan_in
from ltjax.models.norm import Dtype, stored_dtype
from ltjax.models.outputs import Outputs, pool


class CosineHead(nn.Module):
    """A cosine classifier ``scale * cos(x, w_c)`` without bias: [B, h, w, d] -> ``Outputs``: logits [B, C], features.

    Parameters: ``classifier/kernel`` [d, C] and, with ``learn_scale``, the scalar ``scale``.

    scale: where the learnable scale starts (Hou et al., Learning a Unified Classifier via Rebalancing, 2019, eq. 3), or
      what it stays at. ``scale=1, learn_scale=False`` gives plain cosines: LDAM's loss scales them itself.
    normed_init: the kernel starts with columns of length 1 (LDAM), else uniform within 1/sqrt(d).
    A backbone with ``final_relu=False`` gives it features of either sign.

    Example:
      >>> head = CosineHead(10, learn_scale=False, normed_init=True)
      >>> variables = {"params": {"classifier": {"kernel": jnp.full([1, 10], -0.2)}}}
      >>> head.apply(variables, jnp.full([2, 8, 8, 1], 7.0), train=False).logits[0, 0].item()
      -1.0
    """

    num_classes: int
    scale: float = 1.0
    learn_scale: bool = True
    normed_init: bool = False
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None

    @nn.compact
    def __call__(self, feature_map: jax.Array, train: bool, frozen_norm: bool = False) -> Outputs:
        stored = stored_dtype(self)
        features = pool(feature_map)
        kernel_init = unit_columns if self.normed_init else within_fan_in(features.shape[-1])
        kernel, _ = Weights(self.num_classes, kernel_init, param_dtype=stored, name="classifier")(features.shape[-1])
        scale: float | jax.Array = self.scale
        if self.learn_scale:
            scale = self.param("scale", nn.initializers.constant(self.scale), (), stored)
        return Outputs(scale * cosines(features, kernel), features)

    def classifier_weights(self, params: Mapping[str, Any]) -> jax.Array:
        """See ``HasClassifierWeights``: of length 1."""
        return unit(jnp.asarray(params["classifier"]["kernel"]), axis=0)


class CausalNormHead(nn.Module):
    """Multi-head normalised classifier with total direct effect (Tang et al., 2020, section 4): [B, h, w, d] -> [B, C].

    ``scale / H sum_h <x^h / |x^h|, w^h / (|w^h| + gamma)>`` over ``num_heads`` parts of the feature.

    Options of the call, for the test: mean_feature [d] (only its direction counts) and alpha: from ``x^h / |x^h|`` goes
    ``alpha cos(x^h, c^h) c^h / |c^h|``, the part along the mean feature c that all of the training shared.

    Raises:
      InputError: if the channels of the map are no multiple of ``num_heads``.

    Example:
      >>> head, feature_map = CausalNormHead(10), jnp.zeros([2, 8, 8, 64])
      >>> jax.eval_shape(lambda: head.init_with_output(jax.random.key(0), feature_map, train=False)[0]).shape
      (2, 10)
    """

    num_classes: int
    num_heads: int = 2
    scale: float = 16.0
    gamma: float = 1 / 32
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None

    @nn.compact
    def __call__(
        self,
        feature_map: jax.Array,
        train: bool,
        frozen_norm: bool = False,
        mean_feature: jax.Array | None = None,
        alpha: float | jax.Array = 0.0,
    ) -> jax.Array:
        features = pool(feature_map)
        size = features.shape[-1]
        if self.num_heads < 1 or size % self.num_heads:
            raise InputError(f"num_heads of the causal-norm head: {self.num_heads} does not divide {size} features")
        weights = Weights(self.num_classes, within_fan_in(size), param_dtype=stored_dtype(self), name="classifier")
        kernel, _ = weights(size)
        products = causal_norm_cosines(features, kernel, self.num_heads, self.gamma, mean_feature, alpha)
        return self.scale / self.num_heads * products

    def classifier_weights(self, params: Mapping[str, Any]) -> jax.Array:
        """See ``HasClassifierWeights``: each head's part over its norm and gamma."""
        kernel = jnp.asarray(params["classifier"]["kernel"])
        return causal_norm_weights(kernel, self.num_heads, self.gamma).reshape(kernel.shape)
