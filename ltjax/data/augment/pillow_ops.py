"""AutoAugment's operations on one image of any size, by Pillow, and the two augmentations that consist of them.

They are for images of a few hundred pixels. ``batch_ops`` applies every operation to every image of a batch, which
suits a device and images of 32 pixels. Ranges, signs and grey are those of ``autoaugment``.
"""

import functools
import math

import numpy as np

from ltjax.data.augment import autoaugment, randaugment
from ltjax.data.augment.batch_ops import GREY
from ltjax.data.augment.randaugment import DEFAULT, RANDOM, Strength
from ltjax.data.augment.transform import Draws

draw_imagenet = functools.partial(autoaugment.draw, policies=autoaugment.IMAGENET)


def operate(pixels: np.ndarray, operation: str, fraction: float, sign: int) -> np.ndarray:
    """The image after one operation.

    Args:
      pixels: uint8 [h, w, 3].
      operation: one of ``autoaugment.OPERATIONS``, or "" for none.
      fraction: 0 .. 1, of the highest level.
      sign: 1 or -1, the direction of a geometric operation or a blend.

    Returns:
      uint8 [h, w, 3].

    Example:
      >>> operate(np.full((4, 4, 3), 200, np.uint8), "Invert", 0.0, 1)[0, 0].tolist()
      [55, 55, 55]
    """
    if not operation:
        return pixels
    from PIL import Image, ImageEnhance, ImageOps

    image = Image.fromarray(pixels)
    if operation in autoaugment.GEOMETRIC:
        matrix = autoaugment.affine_matrix(operation, sign * fraction, *pixels.shape[:2])
        changed = image.transform(image.size, Image.Transform.AFFINE, matrix, fillcolor=(GREY,) * 3)
    elif operation in autoaugment.BLENDS:
        changed = getattr(ImageEnhance, operation)(image).enhance(1 + sign * autoaugment.BLEND * fraction)
    elif operation == "Posterize":
        changed = ImageOps.posterize(image, 8 - round(fraction * autoaugment.BITS))
    elif operation == "Solarize":
        changed = ImageOps.solarize(image, math.ceil(256 - 256 * fraction))
    else:
        changed = {"Invert": ImageOps.invert, "Equalize": ImageOps.equalize, "AutoContrast": ImageOps.autocontrast}[
            operation
        ](image)
    return np.array(changed)


def imagenet_policy(pixels: np.ndarray, draws: Draws) -> np.ndarray:
    """The image after the pair of operations of the ImageNet policy that ``draw_imagenet`` drew for it."""
    for i, name in enumerate(("first", "second")):
        if draws[name]:
            operation, _, level = autoaugment.IMAGENET[int(draws["policy"])][i]
            fraction = level / (autoaugment.LEVELS - 1)
            pixels = operate(pixels, operation, fraction, 1 - 2 * int(draws[f"{name}_sign"]))
    return pixels


draw_random = randaugment.draw


def random_operations(pixels: np.ndarray, draws: Draws, strength: Strength = DEFAULT) -> np.ndarray:
    """The image after the operations that ``draw_random`` drew for it.

    Example:
      >>> nothing = {"first": 0, "second": 0, "first_sign": 1, "second_sign": 0}
      >>> random_operations(np.full((4, 4, 3), 200, np.uint8), nothing)[0, 0].tolist()
      [200, 200, 200]
    """
    fractions = strength.fractions()
    for name in strength.names():
        fraction = fractions[int(draws[f"{name}_level"])] if len(fractions) > 1 else fractions[0]
        pixels = operate(pixels, RANDOM[int(draws[name])], fraction, 1 - 2 * int(draws[f"{name}_sign"]))
    return pixels
