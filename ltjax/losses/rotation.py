"""Rotation by quarter turns: the self-supervised task of CBS+RRS+SS."""

from typing import Any

import jax
import jax.numpy as jnp

from ltjax.arrays import Array, ArrayLike, any_promotion, jit
from ltjax.losses.examples import check_broadcast


@any_promotion
def rotate(images: ArrayLike, quarter_turns: ArrayLike) -> Array:
    """Square images turned counter-clockwise by 0, 90, 180 or 270 degrees, each by its angle.

    Args:
      images: ``[..., H, W, C]`` with H = W, any dtype, which is kept.
      quarter_turns: integers that broadcast to ``[...]``: 1 is 90 degrees, as in ``numpy.rot90``; taken modulo 4.

    Returns:
      ``[..., H, W, C]``.

    Raises:
      ValueError: if the images are not square, or the shapes do not fit.

    Example:
      >>> import numpy as np
      >>> print(rotate(np.arange(4).reshape(2, 2, 1), 1)[..., 0])
      [[1 3]
       [0 2]]

    Reference: Gidaris et al., Unsupervised Representation Learning by Predicting Image Rotations, ICLR 2018.
    """
    images, quarter_turns = jnp.asarray(images), jnp.asarray(quarter_turns)
    if images.ndim < 3 or images.shape[-3] != images.shape[-2]:
        raise ValueError(f"images: expected square ones, [..., H, H, C], not {list(images.shape)}")
    if not jnp.issubdtype(quarter_turns.dtype, jnp.integer):
        raise ValueError(f"quarter_turns: expected integers, not {quarter_turns.dtype}")
    check_broadcast("quarter_turns", quarter_turns.shape, images.shape[:-3])
    return _rotate(images, quarter_turns)


@jit
def _rotate(images: Array, quarter_turns: Array) -> Array:
    turns = jnp.expand_dims(jnp.broadcast_to(quarter_turns % 4, images.shape[:-3]), (-3, -2, -1))
    half = jnp.where(turns >= 2, jnp.rot90(images, 2, axes=(-3, -2)), images)
    return jnp.where(turns % 2 == 1, jnp.rot90(half, 1, axes=(-3, -2)), half)


@any_promotion
def random_rotations(key: Any, images: ArrayLike) -> tuple[Array, Array]:
    """Each image turned by one of the four angles, drawn alike, and the angle to be predicted.

    Args:
      key: a jax random key; the same key draws the same angles.
      images: ``[..., H, W, C]`` with H = W, any dtype, which is kept.

    Returns:
      (rotated ``[..., H, W, C]``, labels int32 ``[...]`` in 0..3: label k is k * 90 degrees counter-clockwise).

    Raises:
      ValueError: if the images are not square.

    Example:
      >>> import numpy as np
      >>> rotated, labels = random_rotations(jax.random.key(0), np.zeros((6, 8, 8, 3), np.uint8))
      >>> rotated.shape, rotated.dtype.name, labels.shape
      ((6, 8, 8, 3), 'uint8', (6,))

    Reference: Zhang et al., To Balance or Not to Balance: A Simple-yet-Effective Approach for Learning with Long-Tailed
    Distributions, 2019, section 3.3.
    """
    images = jnp.asarray(images)
    labels = jax.random.randint(key, images.shape[:-3], 0, 4, dtype=jnp.int32)
    return rotate(images, labels), labels
