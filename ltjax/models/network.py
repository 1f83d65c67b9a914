"""The whole network: images as they are stored, backbone, head."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ltjax.arrays import at_least_float32
from ltjax.errors import InputError
from ltjax.models.heads.feature_layer import HeadOnFeatureLayer
from ltjax.models.norm import Dtype
from ltjax.models.outputs import Outputs, pool


class Network(nn.Module):
    """Normalisation by the data set's mean and std, a backbone and a head; logits and features in at least float32.

    images: [B, H, W, channels]. uint8 is scaled to 0..1 and normalised with ``mean`` and ``std`` (units of 0..1, one
      number a channel); float images count as normalised. Or float [B, d], what ``Representation`` made of the images:
      the head alone is computed.
    size: the side to which images are enlarged (bilinear) before the backbone; 0 = they stay as they are.
    attention: what changes the feature map before the head, such as ``ModulatedAttention``; None: nothing does.
    options: what else the head takes beside the feature map, train and frozen_norm (``classifiers``, ``centroids``).
    A head that returns an array is paired with the pooled feature map; ``Outputs`` have the head's features.
    Variables: {"params": {"backbone": ..., "head": {..., "classifier": {"kernel" [d, C], "bias" [C]}}},
      "batch_stats": {"backbone": ..., "head": ... where it has any}}; "attention" where there is one.

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
    attention: nn.Module | None = None
    size: int = 0

    def __call__(self, images: jax.Array, train: bool = False, frozen_norm: bool = False, **options: Any) -> Outputs:
        if images.ndim == 2:
            feature_map = as_map(images)
            options |= {"projected": True} if isinstance(self.head, HeadOnFeatureLayer) else {}
        else:
            images = enlarged(normalised(images, self.mean, self.std, self.dtype), self.size)
            feature_map = self.backbone(images, train, frozen_norm)
            feature_map = feature_map if self.attention is None else self.attention(feature_map)
        made = self.head(feature_map, train, frozen_norm, **options)
        return made if isinstance(made, Outputs) else Outputs(made, pool(feature_map))


class Representation(nn.Module):
    """A network without its head: ``Outputs`` with no logits and the features [B, d], in at least float32.

    The pooled feature map, or what the layer of config.model.features makes of it (``head``). It takes the variables
    of any ``Network`` with this backbone (and layer) and leaves the head's others alone.

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
    head: HeadOnFeatureLayer | None = None
    size: int = 0

    def __call__(self, images: jax.Array, train: bool = False, frozen_norm: bool = False) -> Outputs:
        images = enlarged(normalised(images, self.mean, self.std, self.dtype), self.size)
        feature_map = self.backbone(images, train, frozen_norm)
        return Outputs(None, pool(feature_map) if self.head is None else self.head.project(feature_map))


def representation(network: Network) -> Representation:
    """The network without its head, but with the layer of config.model.features where it has that."""
    layer = network.head if isinstance(network.head, HeadOnFeatureLayer) else None
    return Representation(network.backbone, network.mean, network.std, network.dtype, layer, network.size)


def as_map(features: jax.Array) -> jax.Array:
    """Features [B, d] as the feature map [B, 1, 1, d] that is pooled to them, bit for bit.

    Raises:
      InputError: if they are not float.
    """
    if not jnp.issubdtype(features.dtype, jnp.floating):
        raise InputError(f"features: dtype {features.dtype} {list(features.shape)} is not float; images have 4 axes")
    return features[:, None, None, :]


def enlarged(images: jax.Array, size: int) -> jax.Array:
    """float images [B, H, W, channels] with ``size`` pixels on both sides, bilinear; 0 = as they are.

    Example:
      >>> enlarged(jnp.zeros([2, 32, 32, 3]), 224).shape
      (2, 224, 224, 3)
    """
    if not size or images.shape[1:3] == (size, size):
        return images
    shape = (images.shape[0], size, size, images.shape[-1])
    return jax.image.resize(images, shape, "linear", antialias=False)


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
