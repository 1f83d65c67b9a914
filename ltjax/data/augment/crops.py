"""Crops of whole images, uint8 [S, S, 3]: random ones for training, the centre for evaluation.

The semantics are those of torchvision on Pillow images. Evaluation crops are resized by Pillow: the same pixels to
within 1 of 255. Training crops are resized by OpenCV where it is installed (``ltjax[images]``), several times faster: a
three-tap blur with the variance of Pillow's antialiasing filter, then linear interpolation. On photographs the mean
difference from Pillow is below 1 of 255 (measured: 0.8, and 3.2 in the worst crop of 57; without the blur 1.7 and 8.6);
where a crop is enlarged, every pixel is within 1. Without OpenCV, and for crops reduced by more than a factor of 2.2,
Pillow resizes.

A large JPEG is decoded at a half, a quarter or an eighth of its size, as long as the crop then still has
``OVERSAMPLING`` times the size it is resized to (Pillow's ``thumbnail`` does the same). The images of the public data
sets are too small for this to apply; for a 12-megapixel photograph the mean difference is below 2 of 255.

With ``config.data.fast_decode`` training crops need their output size only, so that photographs above some 800 pixels
take 0.7 to 0.8 of the time. Such a crop is resampled at its exact place between the pixels of the smaller image. On 452
crops of photographs the mean difference from Pillow's resizing of the whole image is 1.8 of 255 (PSNR 38 dB; maximum
66, at edges); between Pillow's bicubic and bilinear resizing it is 2.1 (37 dB). Evaluation is not affected.
"""

import functools
import math
from typing import NamedTuple

import numpy as np

from ltjax.data.augment import decode
from ltjax.data.augment.opencv import opencv
from ltjax.data.augment.transform import Draws, Image
from ltjax.data.sampling.counter_rng import HOST, Array, Integer, Ops, name_id, uint32, words
from ltjax.errors import InputError

CROP = name_id("random_resized_crop")
SCALE = (0.08, 1.0)  # share of the image's area
RATIO = (3 / 4, 4 / 3)  # width / height
TRIES = 10
OVERSAMPLING = 2
FAST_OVERSAMPLING = 1  # with config.data.fast_decode
MARGIN = 4  # pixels around a crop that its resampling takes into account
MAX_REDUCTION = 5**0.5  # the largest that three taps can blur for: there they have equal weights
UNIT = 2.0**31  # draws are integers 0 .. 2^31 - 1


class Box(NamedTuple):
    """A part of an image: rows top .. top + height - 1, columns left .. left + width - 1."""

    top: int
    left: int
    height: int
    width: int


def draw_crop(seed: Integer, stream: Integer, epoch: Integer, offset: Array, ops: Ops = HOST) -> Draws:
    """The random choices of a crop, independent of the size of the image.

    Returns:
      ``area`` and ``ratio`` int32 [B, 10], one for each try; ``top`` and ``left`` int32 [B]; all 0 .. 2^31 - 1; and
      ``flip`` int32 [B], 0 or 1.

    Example:
      >>> draws = draw_crop(seed=0, stream=name_id("image"), epoch=0, offset=np.arange(4))
      >>> {name: draws[name].shape for name in draws}
      {'area': (4, 10), 'ratio': (4, 10), 'top': (4,), 'left': (4,), 'flip': (4,)}
    """
    xp = ops.xp
    lanes = np.arange(TRIES + 2, dtype=np.uint32)[:, None]
    one, two = words(seed, stream, CROP, epoch, xp.reshape(uint32(offset, ops), -1), ops, lane=lanes)

    def integers(word: Array) -> Array:
        return xp.reshape(word, xp.shape(offset)).astype(xp.int32)

    area, ratio = (xp.stack([integers(word) for word in half[:TRIES] >> 1], axis=-1) for half in (one, two))
    top, left, flip = integers(one[TRIES] >> 1), integers(two[TRIES] >> 1), integers(one[TRIES + 1] >> 31)
    return {"area": area, "ratio": ratio, "top": top, "left": left, "flip": flip}


def random_box(height: int, width: int, draws: Draws) -> Box:
    """The first try that fits into the image; if none does, the largest centred box with an allowed ratio.

    A try takes a uniform share of the image's area from ``SCALE`` and a log-uniform ratio from ``RATIO``, rounded to
    whole pixels.

    Args:
      height, width: of the image.
      draws: of one image, see ``draw_crop``.

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


def random_resized_crop(image: Image, draws: Draws, size: int, fast_decode: bool = False) -> np.ndarray:
    """RandomResizedCrop and RandomHorizontalFlip of torchvision.

    Args:
      image: a file, or uint8 [h, w, 3].
      draws: of one image, see ``draw_crop``.
      size: S.
      fast_decode: whether a large JPEG may be decoded at as little as the crop's output size.

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
    side, bottom = min(box.height, box.width), box.top + box.height
    if fast_decode and (shrink := _shrink(side, size, FAST_OVERSAMPLING)) > 1:
        pixels, scale = _pixels(image, head, shrink, bottom + MARGIN * shrink)
        if scale < 1:
            found = _resampled(pixels, box, scale, size)
            return mirrored(found) if draws["flip"] else found
    pixels, scale = _pixels(image, head, _shrink(side, size, OVERSAMPLING), bottom)
    if scale < 1:
        box = _scaled(box, scale, (-(-head.height // round(1 / scale)), pixels.shape[1]))
    cut = pixels[box.top : box.top + box.height, box.left : box.left + box.width]
    if box.height == box.width == size:  # the pixels are in memory that is used again
        return mirrored(cut) if draws["flip"] else cut.copy()
    return mirrored(resized(cut, size)) if draws["flip"] else resized(cut, size)


def evaluation_view(image: Image, size: int, resize: int, interpolation: str = "bilinear") -> np.ndarray:
    """Resizes the shorter side to ``resize`` pixels and crops the central square of ``size``, in one resampling.

    Args:
      image: the bytes of a file, or uint8 [h, w, 3].
      size: S, at most ``resize``.
      resize: pixels of the resized shorter side.
      interpolation: "bilinear" or "bicubic".

    Returns:
      uint8 [S, S, 3], as torchvision's Resize(resize, interpolation) and CenterCrop(size) give for a Pillow image.

    Raises:
      InputError: for a file that cannot be decoded, or sizes that do not fit.

    Example:
      >>> evaluation_view(np.full((300, 400, 3), 9, np.uint8), size=224, resize=256).shape
      (224, 224, 3)
    """
    if not 1 <= size <= resize:
        raise InputError(f"a crop of {size} pixels from images resized to {resize}; it must have 1 to {resize} pixels")
    head = _head(image)
    height, width = head.height, head.width
    pixels, scale = _pixels(image, head, _shrink(min(height, width), resize, OVERSAMPLING), height)
    short = min(height, width)
    tall, wide = int(resize * height / short), int(resize * width / short)
    y, x = scale * height / tall, scale * width / wide  # original pixels per resized pixel
    top, left = round((tall - size) / 2) * y, round((wide - size) / 2) * x
    return _by_pillow(pixels, size, (left, top, left + size * x, top + size * y), interpolation)


def _head(image: Image) -> decode.Head:
    if isinstance(image, decode.Shared):
        return image.head
    return decode.read_head(image) if isinstance(image, bytes) else decode.Head(image.shape[0], image.shape[1], False)


def _shrink(side: int, size: int, oversampling: int) -> int:
    """By how much an image can be reduced if ``side`` of its pixels are to be resized to ``size``."""
    return next((shrink for shrink in (8, 4, 2) if side >= shrink * oversampling * size), 1)


def _pixels(image: Image, head: decode.Head, shrink: int, rows: int) -> tuple[np.ndarray, float]:
    """The image, and the scale at which it was decoded.

    Rows beyond the first ``rows`` may be missing. The pixels of a file may be overwritten by the next call.
    """
    if isinstance(image, np.ndarray):
        return image, 1.0
    rows = min(rows, head.height)
    if isinstance(image, decode.Shared):
        pixels = image.pixels(shrink, rows)
    else:
        pixels = decode.decode(image, shrink, head, rows, reuse=True)
    return pixels, 1.0 if pixels.shape[1] == head.width else 1 / shrink


def _resampled(pixels: np.ndarray, box: Box, scale: float, size: int) -> np.ndarray:
    """uint8 [size, size, 3]: the box of the whole image, from an image decoded at this scale, antialiased.

    The box lies between pixels; rounded to them, as by ``_scaled``, it would be up to half a pixel of the crop off.
    """
    left, top = box.left * scale, box.top * scale
    right = min((box.left + box.width) * scale, pixels.shape[1])
    bottom = min((box.top + box.height) * scale, pixels.shape[0])
    x, y = (right - left) / size, (bottom - top) / size  # pixels per pixel of the crop
    cv2 = opencv()
    if cv2 is None or max(x, y) > MAX_REDUCTION:
        return _by_pillow(pixels, size, (left, top, right, bottom))
    first, above = max(int(left) - MARGIN, 0), max(int(top) - MARGIN, 0)
    around = pixels[above : math.ceil(bottom) + MARGIN, first : math.ceil(right) + MARGIN]
    blurred = cv2.sepFilter2D(around, -1, _taps(x), _taps(y), borderType=cv2.BORDER_REPLICATE)
    # of the centre of a pixel of the crop in ``around``, whose pixels have their centres at whole numbers
    place = np.array([[x, 0, left - first + (x - 1) / 2], [0, y, top - above + (y - 1) / 2]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(blurred, place, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _scaled(box: Box, scale: float, shape: tuple[int, ...]) -> Box:
    """The box in an image decoded at this scale, rounded to pixels."""
    top, left = round(box.top * scale), round(box.left * scale)
    bottom = min(round((box.top + box.height) * scale), shape[0])
    right = min(round((box.left + box.width) * scale), shape[1])
    return Box(top, left, bottom - top, right - left)


def resized(pixels: np.ndarray, size: int) -> np.ndarray:
    """uint8 [h, w, 3] -> uint8 [size, size, 3], antialiased; the array itself if it already has the size."""
    height, width = pixels.shape[:2]
    if height == width == size:
        return pixels
    cv2 = opencv()
    if cv2 is None or max(height, width) > MAX_REDUCTION * size:
        return _by_pillow(pixels, size, None)
    if max(height, width) > size:
        across, down = _taps(width / size), _taps(height / size)
        pixels = cv2.sepFilter2D(pixels, -1, across, down, borderType=cv2.BORDER_REPLICATE)
    return cv2.resize(pixels, (size, size), interpolation=cv2.INTER_LINEAR)


@functools.lru_cache(maxsize=4096)
def _taps(scale: float) -> np.ndarray:
    """Three taps with the variance of a triangle filter over 2 * scale pixels, scale^2 / 6, less the 1 / 6 of linear
    interpolation."""
    side = max(scale * scale - 1, 0) / 12
    return np.array([side, 1 - 2 * side, side], np.float32)


def mirrored(pixels: np.ndarray) -> np.ndarray:
    """The image mirrored left to right."""
    cv2 = opencv()
    return np.ascontiguousarray(pixels[:, ::-1]) if cv2 is None else cv2.flip(pixels, 1)


def _by_pillow(
    pixels: np.ndarray, size: int, box: tuple[float, float, float, float] | None, interpolation: str = "bilinear"
) -> np.ndarray:
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels))
    return np.array(image.resize((size, size), Image.Resampling[interpolation.upper()], box))
