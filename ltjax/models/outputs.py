"""What networks and heads return, and the pooling between them."""

from typing import Any, NamedTuple

import jax

from ltjax.arrays import at_least_float32


class Outputs(NamedTuple):
    """What a network returns, and a head that makes features itself.

    logits: [B, C]; branches or experts [K, B, C], both [E, K, B, C]; several classifiers a dict. Every leaf has the
      images on axis -2. None where no classifier is computed.
    features: [B, d], what the last classifier takes; of experts [E, B, d].
    """

    logits: Any
    features: jax.Array


def pool(feature_map: jax.Array) -> jax.Array:
    """Global average pooling [..., h, w, d] -> [..., d] in at least float32.

    Example:
      >>> pool(jax.numpy.ones([2, 4, 4, 3], jax.numpy.bfloat16)).dtype
      dtype('float32')
    """
    return feature_map.astype(at_least_float32(feature_map.dtype)).mean((-3, -2))
