"""Modulated attention on the last feature map: OLTR's second stage (Liu et al., 2019, section 3.3)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ltjax.arrays import at_least_float32
from ltjax.models.layers import linear, within_fan_in
from ltjax.models.norm import Dtype, stored_dtype
from ltjax.models.resnet import kaiming_fan_out


class ModulatedAttention(nn.Module):
    """x + M(x) S(x): self-attention weighted by position: [B, h, w, d] -> the same shape, in ``dtype``.

    S is the non-local block (Wang et al., 2018, embedded Gaussian) with inner width d / 2; M is one weight for each
    position, a softmax over the h w positions of a linear layer on the whole map:

        S(x) = output(softmax(query(x) key(x)^T) value(x)),    M(x) = softmax(mask(x))

    The map's size is part of the parameters: ``query``, ``key``, ``value`` (d -> d / 2), ``output`` (d / 2 -> d,
    without bias) and ``mask`` (h w d -> h w). They start as in the authors' code: N(0, sqrt(2 / out)), biases 0, and
    ``mask`` uniform within 1/sqrt(h w d).

    Example:
      >>> attention, feature_map = ModulatedAttention(), jnp.zeros([2, 7, 7, 512])
      >>> made, variables = jax.eval_shape(lambda: attention.init_with_output(jax.random.key(0), feature_map))
      >>> made.shape, variables["params"]["mask"]["kernel"].shape
      ((2, 7, 7, 512), (25088, 49))
    """

    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None

    @nn.compact
    def __call__(self, feature_map: jax.Array) -> jax.Array:
        batch, height, width, channels = feature_map.shape
        exact = at_least_float32(feature_map.dtype)
        positions = feature_map.reshape(batch, height * width, channels)

        def pointwise(name: str, size: int, use_bias: bool = True) -> nn.Dense:
            types = {"dtype": self.dtype, "param_dtype": stored_dtype(self)}
            return nn.Dense(size, use_bias=use_bias, kernel_init=kaiming_fan_out, name=name, **types)

        inner = max(1, channels // 2)
        query, key, value = (pointwise(name, inner)(positions) for name in ("query", "key", "value"))
        similarities = jnp.einsum("bqd,bkd->bqk", query, key, preferred_element_type=exact)
        context = jnp.einsum("bqk,bkd->bqd", nn.softmax(similarities).astype(self.dtype), value)
        whole = positions.reshape(batch, -1).astype(exact)
        within = within_fan_in(whole.shape[-1])
        weights = nn.softmax(linear("mask", whole, height * width, stored_dtype(self), within)(whole))
        attended = weights[..., None].astype(self.dtype) * pointwise("output", channels, use_bias=False)(context)
        return (positions + attended).astype(self.dtype).reshape(feature_map.shape)
