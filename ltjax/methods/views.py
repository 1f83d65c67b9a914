"""Several views of an image: streams in the order of another one, with augmentations of their own."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from ltjax.data.sampling.sampler import another_view
from ltjax.methods.common import configured_sampler
from ltjax.settings import Settings


def streams_of_views(config: Settings, views: Mapping[str, str]) -> dict[str, Any]:
    """The fields ``streams`` and ``augment`` of a ``Stage``: the stream "image", and more views of its images.

    Args:
      config: its sampler draws the images.
      views: name of a stream -> its augmentation; "" = that of the config.
    """
    sampler = configured_sampler(config)
    return {
        "streams": {"image": sampler} | {name: another_view(sampler, "image") for name in views},
        "augment": {name: augment for name, augment in views.items() if augment},
    }


def together(*parts: jax.Array) -> jax.Array:
    """Batches [B, ...] as one [k B, ...] in which the k images of a position are neighbours.

    So a device, which holds a contiguous share of each batch, holds that share of the joint one and nothing moves.

    Example:
      >>> together(jnp.array([0, 1]), jnp.array([10, 11])).tolist()
      [0, 10, 1, 11]
    """
    return jnp.stack(parts, 1).reshape(-1, *parts[0].shape[1:])


def apart(values: jax.Array, number: int) -> tuple[jax.Array, ...]:
    """What ``together`` joined: ``number`` arrays [B, ...].

    Example:
      >>> [part.tolist() for part in apart(jnp.array([0, 10, 1, 11]), 2)]
      [[0, 1], [10, 11]]
    """
    parts = values.reshape(-1, number, *values.shape[1:])
    return tuple(parts[:, i] for i in range(number))
