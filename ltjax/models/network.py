"""The whole network: images as they are stored, backbone, head."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ltjax.errors import InputError
from ltjax.models.heads import pool
from ltjax.models.norm import Dtype, at_least_float32


class Outputs(NamedTuple):
    """What a network returns: logits [B, C] (branch logits [K, B, C] of ResLT) and pooled features [B, d]."""

    logits: jax.Array
    features: jax.Array


class Network(nn.Module):
    """Normalisation by the data set's mean and std, a backbone and a head; logits and features in at least float32.

    images: [B, H, W, channels]. uint8 is scaled to 0..1 and normalised with ``mean`` and ``std`` (units of 0..1, one
      number a channel); float images count as normalised.
    Variables: {"params": {"backbone": ..., "head": {..., "classifier": {"kernel" [d, C], "bias" [C]}}},
      "batch_stats": {"backbone": ..., "head": ... where it has any}}.

    Raises:
      InputError: if images are neither uint8 nor float, or their channels are not those of ``mean`` and ``std``.

    Example:
      >>> from ltjax.models.heads import LinearHead
      >>> from ltjax.models.resnet_cifar import ResNetCifar
      >>> net = Network(ResNetCifar(depth=8), LinearHead(10), mean=(0.13,), std=(0.31,))
      >>> images = jnp.zeros([2, 28, 28, 1], jnp.uint8)
      >>> outputs, variables = jax.eval_shape(lambda: net.init_with_output(jax.random.key(0), images))
      >>> outputs.logits.shape, outputs.features.shape, sorted(variables["params"])
      ((2, 10), (2, 64), ['backbone', 'head'])
    """

    backbone: nn.Module
    head: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]
    dtype: Dtype = jnp.float32

    def __call__(self, images: jax.Array, train: bool = False, frozen_norm: bool = False) -> Outputs:
        feature_map = self.backbone(self._normalised(images), train, frozen_norm)
        return Outputs(self.head(feature_map, train, frozen_norm), pool(feature_map))

    def _normalised(self, images: jax.Array) -> jax.Array:
        if jnp.issubdtype(images.dtype, jnp.floating):
            return images.astype(self.dtype)
        if images.dtype != jnp.uint8:
            raise InputError(f"images: dtype {images.dtype} is neither uint8 (0..255) nor float (normalised); convert")
        if not images.shape[-1] == len(self.mean) == len(self.std):
            raise InputError(
                f"images: {images.shape[-1]} channels, but mean has {len(self.mean)} and std {len(self.std)} values; "
                "give one of each per channel"
            )
        exact = at_least_float32(self.dtype)
        mean, std = jnp.asarray(self.mean, exact), jnp.asarray(self.std, exact)
        return ((images.astype(exact) / 255 - mean) / std).astype(self.dtype)
