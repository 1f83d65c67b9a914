"""The whole network: images as they are stored, backbone, head."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ltjax.arrays import at_least_float32
from ltjax.errors import InputError
from ltjax.models.norm import Dtype
from ltjax.models.outputs import Outputs, pool


class Network(nn.Module):
    """Normalisation by the data set's mean and std, a backbone and a head; logits and features in at least float32.

    images: [B, H, W, channels]. uint8 is scaled to 0..1 and normalised with ``mean`` and ``std`` (units of 0..1, one
      number a channel); float images count as normalised. Or float [B, d], what ``Representation`` made of the images:
      the head alone is computed.
    options: what else the head takes beside the feature map, train and frozen_norm (``classifiers``, ``centroids``).
    A head that returns an array is paired with the pooled feature map; ``Outputs`` have the head's features.
    Variables: {"params": {"backbone": ..., "head": {..., "classifier": {"kernel" [d, C], "bias" [C]}}},
      "batch_stats": {"backbone": ..., "head": ... where it has any}}.

    Raises:
      InputError: if images are neither uint8 nor float, or their channels are not those of ``mean`` and ``std``.

    Example:
      >>> from ltjax.models.heads.linear import LinearHead
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

    def __call__(self, images: jax.Array, train: bool = False, frozen_norm: bool = False, **options: Any) -> Outputs:
        if images.ndim == 2:
            feature_map = as_map(images)
        else:
            feature_map = self.backbone(normalised(images, self.mean, self.std, self.dtype), train, frozen_norm)
        made = self.head(feature_map, train, frozen_norm, **options)
        return made if isinstance(made, Outputs) else Outputs(made, pool(feature_map))


class Representation(nn.Module):
    """A network without its head: ``Outputs`` with no logits and the pooled feature map [B, d], in at least float32.

    It takes the variables of any ``Network`` with this backbone and leaves the head's alone.

    Example:
      >>> from ltjax.models.resnet_cifar import ResNetCifar
      >>> module = Representation(ResNetCifar(depth=8), mean=(0.13,), std=(0.31,))
      >>> images = jnp.zeros([2, 28, 28, 1], jnp.uint8)
      >>> outputs, variables = jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), images))
      >>> outputs.logits, outputs.features.shape, sorted(variables["params"])
      (None, (2, 64), ['backbone'])
    """

    backbone: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]
    dtype: Dtype = jnp.float32

    def __call__(self, images: jax.Array, train: bool = False, frozen_norm: bool = False) -> Outputs:
        images = normalised(images, self.mean, self.std, self.dtype)
        return Outputs(None, pool(self.backbone(images, train, frozen_norm)))


def representation(network: Network) -> Representation:
    """The network without its head."""
    return Representation(network.backbone, network.mean, network.std, network.dtype)


def as_map(features: jax.Array) -> jax.Array:
    """Features [B, d] as the feature map [B, 1, 1, d] that is pooled to them, bit for bit.

    Raises:
      InputError: if they are not float.
    """
    if not jnp.issubdtype(features.dtype, jnp.floating):
        raise InputError(f"features: dtype {features.dtype} {list(features.shape)} is not float; images have 4 axes")
    return features[:, None, None, :]


def normalised(images: jax.Array, mean: tuple[float, ...], std: tuple[float, ...], dtype: Dtype) -> jax.Array:
    """uint8 images [B, H, W, channels] in units of ``std`` around ``mean``; float images only change their dtype.

    Raises:
      InputError: if images are neither uint8 nor float, or their channels are not those of ``mean`` and ``std``.

    Example:
      >>> normalised(jnp.full([1, 1, 1, 1], 255, jnp.uint8), (0.5,), (0.25,), "float32").item()
      2.0
    """
    if jnp.issubdtype(images.dtype, jnp.floating):
        return images.astype(dtype)
    if images.dtype != jnp.uint8:
        raise InputError(f"images: dtype {images.dtype} is neither uint8 (0..255) nor float (normalised); convert")
    if not images.shape[-1] == len(mean) == len(std):
        raise InputError(
            f"images: {images.shape[-1]} channels, but mean has {len(mean)} and std {len(std)} values; "
            "give one of each per channel"
        )
    exact = at_least_float32(dtype)
    shift, unit = jnp.asarray(mean, exact), jnp.asarray(std, exact)
    return ((images.astype(exact) / 255 - shift) / unit).astype(dtype)
