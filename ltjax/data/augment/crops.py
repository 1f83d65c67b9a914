"""What is cut out of a whole image: the random crop of training and the centre of evaluation, uint8 [S, S, 3].

The semantics are torchvision's, on Pillow's pixels. Evaluation is resized by Pillow itself: the same pixels to within
1 of 255. Training crops are resized by OpenCV where that is installed (``ltjax[images]``), several times as fast: a
blur of three taps that has the variance of Pillow's antialiasing filter, then linear interpolation. On photographs that
is within 1 of 255 of Pillow's on the mean of a crop (0.8 measured, 3.2 in the worst crop of 57; without the blur 1.7
and 8.6), and to within 1 everywhere when a crop is enlarged. Without OpenCV, and for crops of more than 2.2 times the
size, they are Pillow's.

Of a large JPEG no more is decoded than is needed: at a half, a quarter or an eighth of its sides while the crop keeps
``ENOUGH`` times the size of what is made of it (Pillow's ``thumbnail`` does so, too). Images of the public sets are
too small for that to happen; a crop of a 12-megapixel photograph is then within 2 of 255 on the mean.
"""

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from ltjax.data.augment import decode
from ltjax.data.sampling.counter_rng import HOST, Ops, name_id, uint32, words
from ltjax.errors import InputError

CROP = name_id("random_resized_crop")
SCALE = (0.08, 1.0)  # share of the image's area
RATIO = (3 / 4, 4 / 3)  # width / height
TRIES = 10
ENOUGH = 2
REDUCED = 5**0.5  # times, by three taps: there all have the same weight
UNIT = 2.0**31  # draws are integers 0 .. 2^31 - 1


class Box(NamedTuple):
    """Pixels of an image: rows top .. top + height - 1, columns left .. left + width - 1."""

    top: int
    left: int
    height: int
    width: int


def draw_crop(seed: Any, stream: Any, epoch: Any, offset: Any, ops: Ops = HOST) -> dict[str, Any]:
    """What a random crop needs of a position, whatever the size of the image there.

    Returns:
      ``area`` and ``ratio`` int32 [B, 10], a try each; ``top``, ``left`` int32 [B], all 0 .. 2^31 - 1; ``flip`` 0 or 1.

    Example:
      >>> draws = draw_crop(seed=0, stream=name_id("image"), epoch=0, offset=np.arange(4))
      >>> {name: draws[name].shape for name in draws}
      {'area': (4, 10), 'ratio': (4, 10), 'top': (4,), 'left': (4,), 'flip': (4,)}
    """
    xp = ops.xp
    lanes = np.arange(TRIES + 2, dtype=np.uint32)[:, None]
    one, two = words(seed, stream, CROP, epoch, xp.reshape(uint32(offset, ops), -1), ops, lane=lanes)

    def integers(word: Any) -> Any:
        return xp.reshape(word, xp.shape(offset)).astype(xp.int32)

    area, ratio = (xp.stack([integers(word) for word in half[:TRIES] >> 1], axis=-1) for half in (one, two))
    top, left, flip = integers(one[TRIES] >> 1), integers(two[TRIES] >> 1), integers(one[TRIES + 1] >> 31)
    return {"area": area, "ratio": ratio, "top": top, "left": left, "flip": flip}


def random_box(height: int, width: int, draws: dict[str, Any]) -> Box:
    """The first try that lies inside the image; else the largest centred box with a ratio that is allowed.

    A try has a share of the image's area drawn evenly from ``SCALE`` and a ratio drawn evenly, in its logarithm, from
    ``RATIO``; rounded to whole pixels.

    Args:
      height, width: of the image.
      draws: of one position, see ``draw_crop``.

    Example:
      >>> middle = {"area": np.full(10, 2**30), "ratio": np.full(10, 2**30), "top": 2**30, "left": 0, "flip": 0}
      >>> random_box(300, 400, middle), random_box(20, 30_000, middle)
      (Box(top=23, left=0, height=255, width=255), Box(top=0, left=14986, height=20, width=27))
    """
    low, high = math.log(RATIO[0]), math.log(RATIO[1])
    for share, place in zip(draws["area"].tolist(), draws["ratio"].tolist(), strict=True):
        area = height * width * (SCALE[0] + (SCALE[1] - SCALE[0]) * (share / UNIT))
        ratio = math.exp(low + (high - low) * (place / UNIT))
        h, w = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < h <= height and 0 < w <= width:
            top, left = (
                int(room * (int(draws[at]) / UNIT)) for room, at in ((height - h + 1, "top"), (width - w + 1, "left"))
            )
            return Box(top, left, h, w)
    return _central(height, width)


def _central(height: int, width: int) -> Box:
    h = min(height, round(width / RATIO[0]))
    w = min(width, round(height * RATIO[1]))
    return Box((height - h) // 2, (width - w) // 2, h, w)


def random_resized_crop(image: Any, draws: dict[str, Any], size: int) -> np.ndarray:
    """torchvision's RandomResizedCrop, then its RandomHorizontalFlip.

    Args:
      image: the bytes of a file, or uint8 [h, w, 3].
      draws: of one position, see ``draw_crop``.
      size: S.

    Returns:
      uint8 [S, S, 3].

    Raises:
      InputError: for a file that cannot be decoded.

    Example:
      >>> draws = {name: drawn[0] for name, drawn in draw_crop(0, name_id("image"), 0, np.arange(1)).items()}
      >>> random_resized_crop(np.zeros((300, 400, 3), np.uint8), draws, 224).shape
      (224, 224, 3)
    """
    head = _head(image)
    box = random_box(head.height, head.width, draws)
    pixels, part = _pixels(image, head, min(box.height, box.width), size)
    if part < 1:
        box = _scaled(box, part, pixels.shape)
    cut = pixels[box.top : box.top + box.height, box.left : box.left + box.width]
    return mirrored(resized(cut, size)) if draws["flip"] else resized(cut, size)


def evaluation_view(image: Any, size: int, resize: int) -> np.ndarray:
    """The shorter side made ``resize`` pixels long, then the square of ``size`` in the middle: both in one resampling.

    Args:
      image: the bytes of a file, or uint8 [h, w, 3].
      size: S, at most ``resize``.
      resize: of the shorter side.

    Returns:
      uint8 [S, S, 3], as torchvision's Resize(resize) and CenterCrop(size) give on a Pillow image.

    Raises:
      InputError: for a file that cannot be decoded, or sizes that do not fit.

    Example:
      >>> evaluation_view(np.full((300, 400, 3), 9, np.uint8), size=224, resize=256).shape
      (224, 224, 3)
    """
    if not 1 <= size <= resize:
        raise InputError(f"a square of {size} pixels from images resized to {resize}; it must be 1 to {resize}")
    head = _head(image)
    height, width = head.height, head.width
    pixels, part = _pixels(image, head, min(height, width), resize)
    short = min(height, width)
    tall, wide = int(resize * height / short), int(resize * width / short)
    y, x = part * height / tall, part * width / wide  # pixels that become one
    top, left = round((tall - size) / 2) * y, round((wide - size) / 2) * x
    return _by_pillow(pixels, size, (left, top, left + size * x, top + size * y))


def _head(image: Any) -> decode.Head:
    return decode.read_head(image) if isinstance(image, bytes) else decode.Head(image.shape[0], image.shape[1], False)


def _pixels(image: Any, head: decode.Head, side: int, size: int) -> tuple[np.ndarray, float]:
    """The image, and the part of its sides at which it was decoded: ``side`` of its pixels become ``size``."""
    if not isinstance(image, bytes):
        return image, 1.0
    shrink = next((s for s in (8, 4, 2) if side >= s * ENOUGH * size), 1)
    pixels = decode.decode(image, shrink, head)
    return pixels, 1.0 if pixels.shape[:2] == (head.height, head.width) else 1 / shrink


def _scaled(box: Box, part: float, shape: tuple[int, ...]) -> Box:
    """The box in an image decoded at a part of its sides, to the nearest pixels."""
    top, left = round(box.top * part), round(box.left * part)
    bottom = min(round((box.top + box.height) * part), shape[0])
    right = min(round((box.left + box.width) * part), shape[1])
    return Box(top, left, bottom - top, right - left)


def resized(pixels: np.ndarray, size: int) -> np.ndarray:
    """uint8 [h, w, 3] -> uint8 [size, size, 3], antialiased; may be the same array where it has the size already."""
    height, width = pixels.shape[:2]
    if height == width == size:
        return pixels
    cv2 = opencv()
    if cv2 is None or max(height, width) > REDUCED * size:
        return _by_pillow(pixels, size, None)
    if max(height, width) > size:
        across, down = _taps(width / size), _taps(height / size)
        pixels = cv2.sepFilter2D(pixels, -1, across, down, borderType=cv2.BORDER_REPLICATE)
    return cv2.resize(pixels, (size, size), interpolation=cv2.INTER_LINEAR)


@functools.lru_cache(maxsize=4096)
def _taps(scale: float) -> np.ndarray:
    """Three taps with the variance that a triangle over 2 * scale pixels has, scale^2 / 6, beyond linear's 1 / 6."""
    side = max(scale * scale - 1, 0) / 12
    return np.array([side, 1 - 2 * side, side], np.float32)


def mirrored(pixels: np.ndarray) -> np.ndarray:
    """The image left to right."""
    cv2 = opencv()
    return np.ascontiguousarray(pixels[:, ::-1]) if cv2 is None else cv2.flip(pixels, 1)


def opencv() -> Any:
    """The module cv2 with a single thread (batches are made in processes), or None where it is not installed."""
    return _opencv()


@functools.cache
def _opencv() -> Any:
    try:
        import cv2
    except ImportError:
        return None
    cv2.setNumThreads(1)
    return cv2


def _by_pillow(pixels: np.ndarray, size: int, box: tuple[float, float, float, float] | None) -> np.ndarray:
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels))
    return np.array(image.resize((size, size), Image.Resampling.BILINEAR, box))
