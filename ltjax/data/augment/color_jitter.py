"""ColorJitter: brightness, contrast and saturation changed by random factors, in a random order.

torchvision's, on Pillow's pixels: to within 3 of 255 after all three, 0.5 on the mean, by OpenCV where
that is installed (``ltjax[images]``), or by Pillow itself.
"""

from typing import Any

import numpy as np

from ltjax.data.augment.crops import UNIT, opencv
from ltjax.data.sampling.counter_rng import HOST, Ops, below, name_id, uint32, words

JITTER = name_id("color_jitter")
STRENGTH = 0.4  # factors are drawn evenly from 1 - STRENGTH to 1 + STRENGTH (Kang et al., 2020, and ResLT)
GREY = np.array([0.299, 0.587, 0.114])  # of red, green, blue: ITU-R 601
FLOOR = -0.499  # added before OpenCV rounds: Pillow cuts the fraction off
NAMES = ("brightness", "contrast", "saturation")
ORDERS = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))


def draw_jitter(seed: Any, stream: Any, epoch: Any, offset: Any, ops: Ops = HOST) -> dict[str, Any]:
    """``order`` int32 [B], 0 .. 5, and a factor for each of ``NAMES``, int32 [B], 0 .. 2^31 - 1.

    Example:
      >>> draws = draw_jitter(seed=0, stream=name_id("image"), epoch=0, offset=np.arange(4))
      >>> draws["order"].tolist(), [round(factor(draws, "contrast", i), 2) for i in range(4)]
      ([3, 2, 0, 0], [1.06, 1.17, 0.99, 1.1])
    """
    first, second = (words(seed, stream, JITTER, epoch, offset, ops, lane=lane) for lane in range(2))
    drawn = {
        "order": below(first[0], uint32(len(ORDERS), ops)),
        "brightness": first[1] >> 1,
        "contrast": second[0] >> 1,
        "saturation": second[1] >> 1,
    }
    return {name: ops.xp.reshape(word, ops.xp.shape(offset)).astype(ops.xp.int32) for name, word in drawn.items()}


def factor(draws: dict[str, Any], name: str, i: Any = ()) -> float:
    """The factor 0.6 .. 1.4 that was drawn for one of ``NAMES``."""
    return 1 - STRENGTH + 2 * STRENGTH * int(draws[name][i]) / UNIT


def jitter(pixels: np.ndarray, draws: dict[str, Any]) -> np.ndarray:
    """The image uint8 [h, w, 3] with the changes that were drawn for its position.

    Example:
      >>> halfway = {"order": np.int32(0)} | {name: np.int32(2**30) for name in NAMES}
      >>> jitter(np.full((2, 2, 3), 77, np.uint8), halfway)[0, 0].tolist()
      [77, 77, 77]
    """
    for i in ORDERS[int(draws["order"])]:
        pixels = enhance(pixels, NAMES[i], factor(draws, NAMES[i]))
    return pixels


def enhance(pixels: np.ndarray, name: str, by: float) -> np.ndarray:
    """Between (``by`` below 1) or beyond (above 1) black, the mean grey or the grey image, and the image."""
    cv2 = opencv()
    if cv2 is None:
        from PIL import Image, ImageEnhance

        enhancer = {"brightness": "Brightness", "contrast": "Contrast", "saturation": "Color"}[name]
        return np.array(getattr(ImageEnhance, enhancer)(Image.fromarray(pixels)).enhance(by))
    if name == "brightness":
        return cv2.LUT(pixels, _line(0, by))
    if name == "contrast":
        return cv2.LUT(pixels, _line(int(np.dot(GREY, cv2.mean(pixels)[:3]) + 0.5), by))
    matrix = np.column_stack([by * np.eye(3) + (1 - by) * np.tile(GREY, (3, 1)), np.full(3, FLOOR)])
    return cv2.transform(pixels, matrix)


def _line(start: int, by: float) -> np.ndarray:
    """uint8 [256]: start + by * (value - start), cut off and clipped."""
    values = np.arange(256, dtype=np.float32) - start
    return np.clip(start + np.float32(by) * values, 0, 255).astype(np.uint8)
