"""Pixel operations on a batch, a strength for each image, in integer arithmetic only.

Images are int32 [B, H, W, C] with values 0 .. 255, C being 1 or 3; strengths are int32 arrays over B. With integers,
numpy on the host and jax.numpy in a jitted program give the same pixels. Each follows Pillow's operation of that name.
"""

from collections.abc import Sequence

import numpy as np

from ltjax.data.sampling.counter_rng import Array, Ops

GREY = 128  # fills what comes from outside an image
ONE = 2**16  # 1.0 as a fixed-point number of a matrix
BRIGHTNESS, COLOR, CONTRAST, SHARPNESS = range(4)
UNCHANGED, AUTO_CONTRAST, EQUALIZE = range(3)


def affine(images: Array, matrix: Array, ops: Ops, fill: int = GREY) -> Array:
    """Affine transformation: pixel (x, y) comes from (a x + b y + c, d x + e y + f), nearest neighbour.

    Args:
      images: int32 [B, H, W, C]; H and W below 2^14.
      matrix: int32 [B, 6], (a, b, c, d, e, f) in units of 2^-16; c and f refer to the centres of
        the pixels, see ``fixed_point``.
      ops: the array namespace.
      fill: the value of what comes from outside an image.
    """
    xp = ops.xp
    batch, height, width, channels = images.shape
    x = xp.arange(width, dtype=xp.int32)
    y = xp.arange(height, dtype=xp.int32)[:, None]
    a, b, c, d, e, f = (matrix[:, i, None, None] for i in range(6))
    column, row = (a * x + b * y + c) >> 16, (d * x + e * y + f) >> 16
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    first = xp.arange(batch, dtype=xp.int32)[:, None, None] * (height * width)
    pixel = first + xp.clip(row, 0, height - 1) * width + xp.clip(column, 0, width - 1)
    moved = xp.take(images.reshape(-1, channels), pixel.reshape(-1), axis=0).reshape(images.shape)
    return xp.where(inside[..., None], moved, xp.int32(fill))


def fixed_point(matrix: Sequence[float]) -> np.ndarray:
    """(a, b, c, d, e, f) of coordinates in which pixel centres are at .5, as ``affine`` takes it: int32 [6].

    Example:
      >>> fixed_point((1, 0, 2, 0, 1, 0)) / ONE
      array([1. , 0. , 2.5, 0. , 1. , 0.5])
    """
    a, b, c, d, e, f = matrix
    return np.floor(np.array([a, b, c + (a + b) / 2, d, e, f + (d + e) / 2]) * ONE + 0.5).astype(np.int32)


def blend(images: Array, kind: Array, amount: Array, ops: Ops, unit: int = 10) -> Array:
    """Interpolates, or extrapolates, from a degenerate version of each image: (degenerate (unit - t) + image t) / unit.

    Args:
      images: int32 [B, H, W, C].
      kind: int32 [B], the degenerate version: black (BRIGHTNESS), the greyscale image (COLOR), its mean grey
        (CONTRAST), the smoothed image (SHARPNESS).
      amount: int32 [B], t = 0 .. 2 unit; unit leaves an image unchanged.
      ops: the array namespace.
      unit: of the amount, at most 10^6.
    """
    xp = ops.xp
    kind, amount = kind[:, None, None, None], amount[:, None, None, None]
    grey = _grey(images)
    count = grey.shape[1] * grey.shape[2]
    mean = (2 * grey.sum(axis=(1, 2, 3), keepdims=True, dtype=xp.int32) + count) // (2 * count)  # rounded
    degenerate = xp.where(kind == COLOR, grey, xp.int32(0))
    degenerate = xp.where(kind == CONTRAST, mean, degenerate)
    degenerate = xp.where(kind == SHARPNESS, _smooth(images, ops), degenerate)
    return xp.clip((degenerate * (unit - amount) + images * amount) // unit, 0, 255)


def _grey(images: Array) -> Array:
    """[B, H, W, 1]: .299 red + .587 green + .114 blue (ITU-R 601), rounded, in Pillow's integer arithmetic."""
    if images.shape[-1] == 1:
        return images
    red, green, blue = (images[..., i : i + 1] for i in range(3))
    return (19595 * red + 38470 * green + 7471 * blue + 2**15) >> 16


def _smooth(images: Array, ops: Ops) -> Array:
    """Each pixel, weighted by five, averaged with its eight neighbours; border pixels are unchanged."""
    xp = ops.xp
    height, width = images.shape[1:3]
    padded = xp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    columns = padded[:, :, :-2] + padded[:, :, 1:-1] + padded[:, :, 2:]
    around = columns[:, :-2] + columns[:, 1:-1] + columns[:, 2:] + 4 * images
    y, x = xp.arange(height)[:, None, None], xp.arange(width)[:, None]
    inner = (y > 0) & (y < height - 1) & (x > 0) & (x < width - 1)
    return xp.where(inner, (2 * around + 13) // 26, images)


def solarize_and_posterize(images: Array, threshold: Array, mask: Array, ops: Ops) -> Array:
    """Inverts values at or above ``threshold`` int32 [B] (solarize), then clears the bits outside ``mask`` int32 [B]
    (posterize); 256 and 255 leave an image unchanged."""
    threshold, mask = threshold[:, None, None, None], mask[:, None, None, None]
    return ops.xp.where(images >= threshold, 255 - images, images) & mask


def remap_histogram(images: Array, kind: Array, ops: Ops) -> Array:
    """Remaps each channel's values to 0 .. 255: linearly (AUTO_CONTRAST), equalized (EQUALIZE), not at all (UNCHANGED).

    Args:
      images: int32 [B, H, W, C].
      kind: int32 [B].
      ops: the array namespace.
    """
    xp = ops.xp
    batch, height, width, channels = images.shape
    place = xp.arange(batch * channels, dtype=xp.int32).reshape(batch, 1, 1, channels) * 256 + images
    counts = _histogram(place.reshape(-1), batch * channels * 256, ops).reshape(batch, channels, 256)
    levels = xp.arange(256, dtype=xp.int32)
    lowest = xp.argmax(counts > 0, axis=-1)[..., None].astype(xp.int32)
    highest = 255 - xp.argmax(counts[..., ::-1] > 0, axis=-1)[..., None].astype(xp.int32)
    linear = xp.clip((levels - lowest) * 255 // xp.maximum(highest - lowest, 1), 0, 255)
    linear = xp.where(highest > lowest, linear, levels)
    # Each level gets an equal share of all pixels but the brightest; a share of zero leaves the image unchanged.
    step = (height * width - xp.take_along_axis(counts, highest, axis=-1)) // 255
    below = xp.cumsum(counts, axis=-1, dtype=xp.int32) - counts
    even = xp.where(step > 0, xp.minimum((step // 2 + below) // xp.maximum(step, 1), 255), levels)
    kind = kind[:, None, None]
    table = xp.where(kind == AUTO_CONTRAST, linear, xp.where(kind == EQUALIZE, even, levels))
    return xp.take(table.reshape(-1), place.reshape(-1)).reshape(images.shape)


def _histogram(values: Array, length: int, ops: Ops) -> Array:
    """How often 0 .. length - 1 occur: int32. The two namespaces name the number of bins differently."""
    counts = np.bincount(values, minlength=length) if ops.xp is np else ops.xp.bincount(values, length=length)
    return counts.astype(ops.xp.int32)
