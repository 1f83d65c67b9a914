"""The views of contrastive learning: a random part of the image at its full size, other colours, grey, a blur.

For batches of small images, on the host and on the device, and for crops of large ones. In integer arithmetic only, so
that both make the same pixels. The semantics are those of torchvision on Pillow images, with three differences: a part
of the image is one of at most 4,096 that stand for all, a hue is shifted in 1536 steps instead of 256 and always last,
and the width of a blur is one of 20.

Source: Chen et al., "A simple framework for contrastive learning of visual representations", ICML 2020, section 3 and
appendix A; the probabilities are those of the long-tailed methods, see ``registry``.
"""

import functools
import math

import numpy as np

from ltjax.data.augment.color_jitter import ORDERS, STRENGTH
from ltjax.data.augment.crops import RATIO
from ltjax.data.augment.transform import Draws, as_draws
from ltjax.data.sampling.counter_rng import HOST, Array, Integer, Ops, below, name_id, uint32, words

PART, COLORS, BLUR = name_id("resized_part"), name_id("view_colors"), name_id("blur")
GRID = 64  # areas, and ratios, that parts are made of
CIRCLE = 6 * 256  # steps of the colour circle
ONE = 1024  # the factor 1 of a colour change; 1 of a blur's weights
SIGMAS = (0.1, 2.0)  # of a blur, in pixels
RADIUS = 6  # pixels, three times the largest


def draw_part(seed: Integer, stream: Integer, epoch: Integer, offset: Array, ops: Ops = HOST) -> Draws:
    """int32 [B]: ``part``, ``part_top`` and ``part_left``, 0 .. 65535, whatever the size; ``flip``, 0 or 1."""
    which, flip = words(seed, stream, PART, epoch, offset, ops)
    top, left = words(seed, stream, PART, epoch, offset, ops, lane=1)
    drawn = {"part": which >> 16, "part_top": top >> 16, "part_left": left >> 16, "flip": flip >> 31}
    return as_draws(drawn, offset, ops)


@functools.cache
def parts(height: int, width: int, smallest: float) -> np.ndarray:
    """int32 [n, 2], n <= 4096: heights and widths of parts of an image, all equally likely.

    Areas are uniform from ``smallest`` to 1 of the image's, ratios log-uniform from 3/4 to 4/3; what does not fit into
    the image is left out, as RandomResizedCrop draws again.

    Example:
      >>> sizes = parts(32, 32, 0.2)
      >>> sizes.min(0).tolist(), sizes.max(0).tolist(), round(float(sizes.prod(1).mean()) / 1024, 2)
      ([13, 13], [32, 32], 0.55)
    """
    middle = (np.arange(GRID) + 0.5) / GRID
    area = height * width * (smallest + (1 - smallest) * middle)[:, None]
    low, high = math.log(RATIO[0]), math.log(RATIO[1])
    ratio = np.exp(low + (high - low) * middle)
    h, w = np.rint(np.sqrt(area / ratio)).astype(np.int32), np.rint(np.sqrt(area * ratio)).astype(np.int32)
    fits = (h >= 1) & (h <= height) & (w >= 1) & (w <= width)
    found = np.stack([h[fits], w[fits]], axis=-1)
    return found if len(found) else np.array([[height, width]], np.int32)


def resized_part(images: Array, draws: Draws, ops: Ops = HOST, *, smallest: float = 0.08) -> Array:
    """The part of each image uint8 [B, H, W, C] that was drawn for it at the size of the image, mirrored or not.

    Linear interpolation between the centres of pixels.
    """
    xp = ops.xp
    batch, height, width, channels = images.shape
    table = parts(height, width, smallest)
    size = xp.asarray(table)[(draws["part"] * len(table)) >> 16]
    rows, columns = size[:, 0], size[:, 1]
    top = (draws["part_top"] * (height - rows + 1)) >> 16
    left = (draws["part_left"] * (width - columns + 1)) >> 16
    x = xp.broadcast_to(xp.arange(width, dtype=xp.int32), (batch, width))
    x = xp.where(draws["flip"][:, None] == 1, width - 1 - x, x)
    y = xp.broadcast_to(xp.arange(height, dtype=xp.int32), (batch, height))

    def places(position: Array, length: Array, output: int, first: Array) -> tuple[Array, Array, Array]:
        """The pixels before and after each position, and how far it lies between them in units of 1/256."""
        place = ((2 * position + 1) * length[:, None] * 128) // output - 128
        place = xp.clip(place, 0, (length[:, None] - 1) * 256)
        before = place >> 8
        return first[:, None] + before, first[:, None] + xp.minimum(before + 1, length[:, None] - 1), place & 255

    above, under, down = places(y, rows, height, top)
    before, after, right = places(x, columns, width, left)
    flat, image = images.reshape(-1, channels), xp.arange(batch, dtype=xp.int32)[:, None, None] * (height * width)

    def pixels(row: Array, column: Array) -> Array:
        index = image + row[:, :, None] * width + column[:, None, :]
        return xp.take(flat, index.reshape(-1), axis=0).reshape(images.shape).astype(xp.int32)

    right, down = right[:, None, :, None], down[:, :, None, None]
    upper = pixels(above, before) * (256 - right) + pixels(above, after) * right
    lower = pixels(under, before) * (256 - right) + pixels(under, after) * right
    return ((upper * (256 - down) + lower * down + 2**15) >> 16).astype(xp.uint8)


def draw_colors(
    seed: Integer,
    stream: Integer,
    epoch: Integer,
    offset: Array,
    ops: Ops = HOST,
    *,
    jitter: float,
    grey: float,
    hue: float = 0.1,
) -> Draws:
    """int32 [B]: ``order`` 0 .. 5; the factors ``brightness``, ``contrast`` and ``saturation``, 614 .. 1433 of 1024;
    ``hue``, at most a part ``hue`` of 1536 in either direction; ``colored`` and ``grey``, 0 or 1, with the
    probabilities ``jitter`` and ``grey``."""
    one, two, three, four = (words(seed, stream, COLORS, epoch, offset, ops, lane=lane) for lane in range(4))
    least, span = round((1 - STRENGTH) * ONE), round(2 * STRENGTH * ONE)
    turn = round(hue * CIRCLE)
    drawn = {
        "order": below(one[0], uint32(len(ORDERS), ops)),
        "brightness": least + below(one[1], uint32(span, ops)),
        "contrast": least + below(two[0], uint32(span, ops)),
        "saturation": least + below(two[1], uint32(span, ops)),
        "hue": below(three[0], uint32(2 * turn, ops)).astype(ops.xp.int32) - turn,
        "colored": below(three[1], uint32(1000, ops)) < uint32(round(1000 * jitter), ops),
        "grey": below(four[0], uint32(1000, ops)) < uint32(round(1000 * grey), ops),
    }
    return as_draws(drawn, offset, ops)


def recolored(images: Array, draws: Draws, ops: Ops = HOST) -> Array:
    """The images uint8 [B, H, W, C] in the colours that were drawn for them. Images of one channel have no hue."""
    xp = ops.xp
    changed = images.astype(xp.int32)
    orders, factors = xp.asarray(np.array(ORDERS, np.int32))[draws["order"]], _stacked(draws, ops)
    for turn in range(3):
        kind = orders[:, turn]
        factor = xp.take_along_axis(factors, kind[:, None], axis=1)
        changed = _blend(changed, kind[:, None, None, None], factor[:, :, None, None], ops)
    if images.shape[-1] == 3:
        changed = shift_hue(changed, draws["hue"], ops)
    changed = xp.where(draws["colored"][:, None, None, None] == 1, changed, images.astype(xp.int32))
    changed = xp.where(draws["grey"][:, None, None, None] == 1, _grey(changed), changed)
    return changed.astype(xp.uint8)


def _stacked(draws: Draws, ops: Ops) -> Array:
    return ops.xp.stack([draws[name] for name in ("brightness", "contrast", "saturation")], axis=1)


def _blend(images: Array, kind: Array, factor: Array, ops: Ops) -> Array:
    """Away from (or towards) black, kind 0, the mean grey, 1, or the greyscale image, 2; factor in units of 1/1024."""
    xp = ops.xp
    grey = _grey(images)
    count = grey.shape[1] * grey.shape[2]
    mean = (2 * grey.sum(axis=(1, 2, 3), keepdims=True, dtype=xp.int32) + count) // (2 * count)  # rounded
    base = xp.where(kind == 0, 0, xp.where(kind == 1, mean, grey))
    return xp.clip((base * (ONE - factor) + images * factor) >> 10, 0, 255)


def _grey(images: Array) -> Array:
    """[B, H, W, 1]: .299 red + .587 green + .114 blue (ITU-R 601), rounded."""
    if images.shape[-1] == 1:
        return images
    red, green, blue = (images[..., i : i + 1] for i in range(3))
    return (19595 * red + 38470 * green + 7471 * blue + 2**15) >> 16


def shift_hue(images: Array, shift: Array, ops: Ops = HOST) -> Array:
    """The images int32 [B, H, W, 3] with their hues turned by ``shift`` int32 [B], in units of 1/1536 of the circle.

    Example:
      >>> red, grey = np.array([[[[255, 0, 0], [9, 9, 9]]]], np.int32), np.array([512])
      >>> shift_hue(red, grey)[0, 0].tolist()
      [[0, 255, 0], [9, 9, 9]]
    """
    xp = ops.xp
    red, green, blue = (images[..., i] for i in range(3))
    value = xp.maximum(xp.maximum(red, green), blue)
    spread = value - xp.minimum(xp.minimum(red, green), blue)
    divisor = xp.maximum(spread, 1)
    hue = xp.where(value == red, (green - blue) * 256 // divisor, (red - green) * 256 // divisor + 1024)
    hue = xp.where((value == green) & (value != red), (blue - red) * 256 // divisor + 512, hue)
    hue = (hue + shift[:, None, None]) % CIRCLE
    sector, within = hue >> 8, hue & 255
    low = value - spread
    falling, rising = value - ((spread * within + 128) >> 8), low + ((spread * within + 128) >> 8)

    def channel(first: int) -> Array:
        """Over a turn of the circle a channel is high, falls, is low twice, rises and is high; green two sectors later
        than red, blue four."""
        at = (sector - first) % 6
        middle = xp.where(at == 1, falling, xp.where(at == 4, rising, low))
        return xp.where((at == 0) | (at == 5), value, middle)

    return xp.stack([channel(first) for first in (0, 2, 4)], axis=-1)


def draw_blur(
    seed: Integer, stream: Integer, epoch: Integer, offset: Array, ops: Ops = HOST, *, probability: float
) -> Draws:
    """``blur`` int32 [B]: 0 for none, or 1 .. 20, the width of the blur."""
    coin, width = words(seed, stream, BLUR, epoch, offset, ops)
    level = 1 + below(width, uint32(len(blur_weights()) - 1, ops))
    blurred = below(coin, uint32(1000, ops)) < uint32(round(1000 * probability), ops)
    return as_draws({"blur": ops.xp.where(blurred, level, uint32(0, ops))}, offset, ops)


@functools.cache
def blur_weights() -> np.ndarray:
    """int32 [21, 13]: the weights of a row of pixels around each, adding up to 1024; of no blur and of 20 Gaussians.

    Example:
      >>> blur_weights()[[0, 10, 20], 6].tolist(), set(blur_weights().sum(1).tolist())
      ([1024, 406, 208], {1024})
    """
    sigmas = SIGMAS[0] + (SIGMAS[1] - SIGMAS[0]) * (np.arange(20) + 0.5) / 20
    x = np.arange(-RADIUS, RADIUS + 1)
    gaussians = np.exp(-0.5 * (x / sigmas[:, None]) ** 2)
    weights = np.rint(ONE * gaussians / gaussians.sum(1, keepdims=True)).astype(np.int32)
    weights = np.concatenate([(ONE * (x == 0))[None].astype(np.int32), weights])
    weights[:, RADIUS] += ONE - weights.sum(1)
    return weights


def blurred(images: Array, draws: Draws, ops: Ops = HOST) -> Array:
    """The images uint8 [B, H, W, C] after the blur that was drawn for each; beyond the border its pixels repeat."""
    xp = ops.xp
    weights = xp.asarray(blur_weights())[draws["blur"]]

    def along(pixels: Array, axis: int) -> Array:
        length = pixels.shape[axis]
        around = xp.arange(length, dtype=xp.int32)
        total = xp.zeros_like(pixels)
        for tap in range(2 * RADIUS + 1):
            shifted = xp.take(pixels, xp.clip(around + (tap - RADIUS), 0, length - 1), axis=axis)
            total = total + shifted * weights[:, tap][:, None, None, None]
        return (total + ONE // 2) >> 10

    return along(along(images.astype(xp.int32), 1), 2).astype(xp.uint8)


def each(pixels: np.ndarray, draws: Draws, changes: tuple[str, ...]) -> np.ndarray:
    """One image uint8 [h, w, C] after ``changes``, of "recolored" and "blurred", as they were drawn for it."""
    batch = {name: np.asarray(value)[None] for name, value in draws.items()}
    images = pixels[None]
    for change in changes:
        images = {"recolored": recolored, "blurred": blurred}[change](images, batch)
    return images[0]
