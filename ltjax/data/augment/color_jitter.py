"""ColorJitter: brightness, contrast and saturation are changed by random factors, in random order.

As in torchvision on Pillow images. With OpenCV, where it is installed (``ltjax[images]``), the pixels differ from
Pillow's by at most 3 of 255 after all three changes, by 0.5 on average; without OpenCV, Pillow itself is used.
"""

import numpy as np

from ltjax.data.augment.crops import UNIT
from ltjax.data.augment.opencv import opencv
from ltjax.data.augment.transform import Draws, as_draws
from ltjax.data.sampling.counter_rng import HOST, Array, Integer, Ops, below, name_id, uint32, words

JITTER = name_id("color_jitter")
STRENGTH = 0.4  # factors are uniform from 1 - STRENGTH to 1 + STRENGTH (Kang et al., 2020, and ResLT)
GREY = np.array([0.299, 0.587, 0.114])  # weights of red, green, blue: ITU-R 601
TRUNCATE = -0.499  # added before OpenCV rounds, because Pillow truncates
NAMES = ("brightness", "contrast", "saturation")
ORDERS = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))


def draw_jitter(seed: Integer, stream: Integer, epoch: Integer, offset: Array, ops: Ops = HOST) -> Draws:
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
    return as_draws(drawn, offset, ops)


def factor(draws: Draws, name: str, i: int | tuple[()] = ()) -> float:
    """The factor 0.6 .. 1.4 that was drawn for one of ``NAMES``: for image ``i``, or from the draws of one image."""
    return 1 - STRENGTH + 2 * STRENGTH * int(draws[name][i]) / UNIT


def jitter(pixels: np.ndarray, draws: Draws) -> np.ndarray:
    """The image uint8 [h, w, 3] after the changes that were drawn for it.

    Example:
      >>> halfway = {"order": np.int32(0)} | {name: np.int32(2**30) for name in NAMES}
      >>> jitter(np.full((2, 2, 3), 77, np.uint8), halfway)[0, 0].tolist()
      [77, 77, 77]
    """
    for i in ORDERS[int(draws["order"])]:
        pixels = enhance(pixels, NAMES[i], factor(draws, NAMES[i]))
    return pixels


def enhance(pixels: np.ndarray, name: str, factor: float) -> np.ndarray:
    """The image with brightness, contrast or saturation multiplied by ``factor``: 0 gives black, its mean grey or the
    greyscale image; 1 changes nothing."""
    cv2 = opencv()
    if cv2 is None:
        from PIL import Image, ImageEnhance

        enhancer = {"brightness": "Brightness", "contrast": "Contrast", "saturation": "Color"}[name]
        return np.array(getattr(ImageEnhance, enhancer)(Image.fromarray(pixels)).enhance(factor))
    if name == "brightness":
        return cv2.LUT(pixels, _line(0, factor))
    if name == "contrast":
        return cv2.LUT(pixels, _line(int(np.dot(GREY, cv2.mean(pixels)[:3]) + 0.5), factor))
    matrix = np.column_stack([factor * np.eye(3) + (1 - factor) * np.tile(GREY, (3, 1)), np.full(3, TRUNCATE)])
    return cv2.transform(pixels, matrix)


def _line(start: int, factor: float) -> np.ndarray:
    """uint8 [256]: start + factor * (value - start), clipped and truncated."""
    values = np.arange(256, dtype=np.float32) - start
    return np.clip(start + np.float32(factor) * values, 0, 255).astype(np.uint8)
