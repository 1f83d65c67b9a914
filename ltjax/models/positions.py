"""Positions of a vision transformer for another number of patches: cubic interpolation, as PyTorch has it."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.arrays import at_least_float32


def resample_positions(
    positions: jax.Array, before: tuple[int, int], after: tuple[int, int], antialias: bool
) -> jax.Array:
    """Positions [extra + rows * columns, d] of a grid of patches as those of another grid; the extra ones come first.

    It is ``interpolate(mode="bicubic", align_corners=False, antialias=antialias)`` of PyTorch. Equal grids: unchanged.

    Args:
      positions: those of the tokens without a place (the class token), then those of the patches, row after row.
      before, after: rows and columns of patches.
      antialias: true: timm, open_clip and DINOv2 with registers; false: Hugging Face's CLIP, ViT and DINOv2.

    Example:
      >>> resample_positions(jnp.ones([1 + 4, 8]), (2, 2), (3, 5), antialias=True).shape
      (16, 8)
    """
    if before == after:
        return positions
    exact = at_least_float32(positions.dtype)
    extra = len(positions) - math.prod(before)
    grid = positions[extra:].reshape(*before, -1).astype(exact)
    rows, columns = (jnp.asarray(cubic_weights(b, a, antialias), exact) for b, a in zip(before, after, strict=True))
    made = jnp.einsum("hr,wc,rcd->hwd", rows, columns, grid, precision=jax.lax.Precision.HIGHEST)
    return jnp.concatenate([positions[:extra], made.reshape(math.prod(after), -1).astype(positions.dtype)])


def cubic_weights(before: int, after: int, antialias: bool) -> np.ndarray:
    """float64 [after, before]: the part of each point of a line in each point of the line resampled.

    The kernel is Keys's with a = -0.75 and points beyond an end are the end's; with ``antialias`` a = -0.5, the kernel
    is stretched where points become fewer, and what lies beyond an end is left out.

    Example:
      >>> cubic_weights(4, 2, antialias=False).round(3).tolist()
      [[0.5, 0.594, -0.094, 0.0], [0.0, -0.094, 0.594, 0.5]]
    """
    scale = before / after
    centres = (np.arange(after) + 0.5) * scale - 0.5
    points = np.arange(before)
    if antialias:
        weights = keys(np.abs(centres[:, None] - points) / max(scale, 1.0), -0.5)
        return np.asarray(weights / weights.sum(1, keepdims=True))
    weights = np.zeros((after, before))
    for offset in range(-1, 3):
        at = np.floor(centres) + offset
        np.add.at(
            weights, (np.arange(after), np.clip(at, 0, before - 1).astype(int)), keys(np.abs(centres - at), -0.75)
        )
    return weights


def keys(distance: np.ndarray, a: float) -> np.ndarray:
    """Keys's cubic convolution kernel (1981) at distances >= 0."""
    near = (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    far = a * (distance**3 - 5 * distance**2 + 8 * distance - 4)
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
