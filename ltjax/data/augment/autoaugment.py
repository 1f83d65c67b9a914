"""AutoAugment's policies: for each image one of 25 pairs of operations, each applied with its probability.

Source: Cubuk et al., "AutoAugment: learning augmentation strategies from data", CVPR 2019, section 3 and the appendix's
tables of operations and of the two policies. Where the paper is silent: ranges are divided evenly into levels 0 to 9;
geometric operations and blends have either sign with equal probability; a translation's 150 pixels are of the paper's
331; pixels from outside an image are mid-grey; images are sheared about their upper left corner and rotated about their
centre.
"""

import functools
import math
from collections.abc import Mapping

import numpy as np

from ltjax.data.augment import batch_ops
from ltjax.data.augment.transform import Draws, as_draws
from ltjax.data.sampling.counter_rng import HOST, Array, Integer, Ops, below, name_id, uint32, words

AUTOAUGMENT = name_id("autoaugment")

Policies = tuple[tuple[tuple[str, int, int], tuple[str, int, int]], ...]

# (operation, probability in tenths, level), twice
POLICIES: Policies = (  # for CIFAR
    (("Invert", 1, 7), ("Contrast", 2, 6)),
    (("Rotate", 7, 2), ("TranslateX", 3, 9)),
    (("Sharpness", 8, 1), ("Sharpness", 9, 3)),
    (("ShearY", 5, 8), ("TranslateY", 7, 9)),
    (("AutoContrast", 5, 8), ("Equalize", 9, 2)),
    (("ShearY", 2, 7), ("Posterize", 3, 7)),
    (("Color", 4, 3), ("Brightness", 6, 7)),
    (("Sharpness", 3, 9), ("Brightness", 7, 9)),
    (("Equalize", 6, 5), ("Equalize", 5, 1)),
    (("Contrast", 6, 7), ("Sharpness", 6, 5)),
    (("Color", 7, 7), ("TranslateX", 5, 8)),
    (("Equalize", 3, 7), ("AutoContrast", 4, 8)),
    (("TranslateY", 4, 3), ("Sharpness", 2, 6)),
    (("Brightness", 9, 6), ("Color", 2, 8)),
    (("Solarize", 5, 2), ("Invert", 0, 3)),
    (("Equalize", 2, 0), ("AutoContrast", 6, 0)),
    (("Equalize", 2, 8), ("Equalize", 6, 4)),
    (("Color", 9, 9), ("Equalize", 6, 6)),
    (("AutoContrast", 8, 4), ("Solarize", 2, 8)),
    (("Brightness", 1, 3), ("Color", 7, 0)),
    (("Solarize", 4, 5), ("AutoContrast", 9, 3)),
    (("TranslateY", 9, 9), ("TranslateY", 7, 9)),
    (("AutoContrast", 9, 2), ("Solarize", 8, 3)),
    (("Equalize", 8, 8), ("Invert", 1, 3)),
    (("TranslateY", 7, 9), ("AutoContrast", 9, 1)),
)
IMAGENET: Policies = (  # for ImageNet
    (("Posterize", 4, 8), ("Rotate", 6, 9)),
    (("Solarize", 6, 5), ("AutoContrast", 6, 5)),
    (("Equalize", 8, 8), ("Equalize", 6, 3)),
    (("Posterize", 6, 7), ("Posterize", 6, 6)),
    (("Equalize", 4, 7), ("Solarize", 2, 4)),
    (("Equalize", 4, 4), ("Rotate", 8, 8)),
    (("Solarize", 6, 3), ("Equalize", 6, 7)),
    (("Posterize", 8, 5), ("Equalize", 10, 2)),
    (("Rotate", 2, 3), ("Solarize", 6, 8)),
    (("Equalize", 6, 8), ("Posterize", 4, 6)),
    (("Rotate", 8, 8), ("Color", 4, 0)),
    (("Rotate", 4, 9), ("Equalize", 6, 2)),
    (("Equalize", 0, 7), ("Equalize", 8, 8)),
    (("Invert", 6, 4), ("Equalize", 10, 8)),
    (("Color", 6, 4), ("Contrast", 10, 8)),
    (("Rotate", 8, 8), ("Color", 10, 2)),
    (("Color", 8, 8), ("Solarize", 8, 7)),
    (("Sharpness", 4, 7), ("Invert", 6, 8)),
    (("ShearX", 6, 5), ("Equalize", 10, 9)),
    (("Color", 4, 0), ("Equalize", 6, 3)),
    (("Equalize", 4, 7), ("Solarize", 2, 4)),
    (("Solarize", 6, 5), ("AutoContrast", 6, 5)),
    (("Invert", 6, 4), ("Equalize", 10, 8)),
    (("Color", 6, 4), ("Contrast", 10, 8)),
    (("Equalize", 8, 8), ("Equalize", 6, 3)),
)
LEVELS = 10
SHEAR, TRANSLATION, DEGREES, BITS, BLEND = 0.3, 150 / 331, 30.0, 4, 0.9  # at the highest level

BLENDS = {
    "Brightness": batch_ops.BRIGHTNESS,
    "Color": batch_ops.COLOR,
    "Contrast": batch_ops.CONTRAST,
    "Sharpness": batch_ops.SHARPNESS,
}
HISTOGRAM = {"AutoContrast": batch_ops.AUTO_CONTRAST, "Equalize": batch_ops.EQUALIZE}
GEOMETRIC = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
OPERATIONS = (*GEOMETRIC, *BLENDS, *HISTOGRAM, "Posterize", "Solarize", "Invert")
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def strength(operation: str, level: int, sign: int, height: int, width: int) -> dict[str, int | np.ndarray]:
    """``strength_of`` an operation at a level 0 .. 9, for blends in tenths."""
    return strength_of(operation, level / (LEVELS - 1), sign, height, width, unit=10)


def strength_of(
    operation: str, fraction: float, sign: int, height: int, width: int, unit: int
) -> dict[str, int | np.ndarray]:
    """The parameters of one operation for ``change``; no operation ("") leaves an image unchanged.

    Args:
      operation: one of ``OPERATIONS``, or "".
      fraction: 0 .. 1, of the highest level.
      sign: 1 or -1, the direction of a geometric operation or a blend.
      height, width: of the image.
      unit: of the amount of a blend.

    Returns:
      matrix int32 [6] (of ``affine``), kind and amount (of ``blend``), threshold and mask (of
      ``solarize_and_posterize``), histogram (of ``remap_histogram``): integers.
    """
    matrix = affine_matrix(operation, sign * fraction, height, width) if operation in GEOMETRIC else IDENTITY
    values: dict[str, int | np.ndarray] = {
        "matrix": batch_ops.fixed_point(matrix), "kind": 0, "amount": unit, "threshold": 256, "mask": 255,
        "histogram": 0,
    }  # fmt: skip
    if operation in BLENDS:
        values |= {
            "kind": BLENDS[operation],
            "amount": unit + sign * round(unit * BLEND * fraction),
        }  # factors of 1.9 or 0.1 at the highest level
    elif operation in HISTOGRAM:
        values["histogram"] = HISTOGRAM[operation]
    elif operation == "Posterize":
        values["mask"] = 256 - 2 ** round(fraction * BITS)
    elif operation == "Solarize":
        values["threshold"] = math.ceil(256 - 256 * fraction)
    elif operation == "Invert":
        values["threshold"] = 0
    return values


def affine_matrix(operation: str, fraction: float, height: int, width: int) -> tuple[float, ...]:
    """(a, b, c, d, e, f) for ``fixed_point``: one of ``GEOMETRIC`` at a fraction -1 .. 1 of its highest level."""
    if operation == "Rotate":
        return rotation_matrix(DEGREES * fraction, height, width)
    return {
        "ShearX": (1, SHEAR * fraction, 0, 0, 1, 0),
        "ShearY": (1, 0, 0, SHEAR * fraction, 1, 0),
        "TranslateX": (1, 0, TRANSLATION * fraction * width, 0, 1, 0),
        "TranslateY": (1, 0, 0, 0, 1, TRANSLATION * fraction * height),
    }[operation]


def rotation_matrix(degrees: float, height: int, width: int) -> tuple[float, ...]:
    """(a, b, c, d, e, f) for ``fixed_point``: counter-clockwise about the centre of the image."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = width / 2, height / 2
    return cosine, -sine, x - cosine * x + sine * y, sine, cosine, y - sine * x - cosine * y


@functools.cache
def _strengths(height: int, width: int) -> dict[str, np.ndarray]:
    """``strength`` of every operation and sign: int32 [51, 2, ...]; rows 2 p and 2 p + 1 are the operations of policy
    p, the last row is no operation."""
    rows = [(name, level) for pair in POLICIES for name, _, level in pair] + [("", 0)]
    values = [[strength(*row, sign, height, width) for sign in (1, -1)] for row in rows]
    return {key: np.array([[one[key] for one in signs] for signs in values], np.int32) for key in values[0][0]}


def draw(
    seed: Integer, stream: Integer, epoch: Integer, offset: Array, ops: Ops = HOST, policies: Policies = POLICIES
) -> Draws:
    """int32 [B]: ``policy`` 0 .. 24; ``first`` and ``second``, whether each operation is applied (0 or 1); their signs,
    ``first_sign`` and ``second_sign`` (0: positive, 1: negative)."""
    policy_word, sign_word = words(seed, stream, AUTOAUGMENT, epoch, offset, ops)
    coins = words(seed, stream, AUTOAUGMENT, epoch, offset, ops, lane=1)
    policy = below(policy_word, uint32(len(policies), ops))
    drawn = {"policy": policy, "first_sign": sign_word >> 31, "second_sign": (sign_word >> 30) & 1}
    for i, name in enumerate(("first", "second")):
        tenths = np.array([pair[i][1] for pair in policies], np.uint32)
        drawn[name] = below(coins[i], uint32(10, ops)) < ops.xp.asarray(tenths)[policy]
    return as_draws(drawn, offset, ops)


def apply(images: Array, draws: Draws, ops: Ops = HOST) -> Array:
    """The images uint8 [B, H, W, C] after the operations that were drawn for them.

    Example:
      >>> draws = draw(seed=0, stream=name_id("image"), epoch=0, offset=np.arange(4))
      >>> {name: draws[name].tolist() for name in ("policy", "first", "second")}
      {'policy': [14, 16, 21, 15], 'first': [1, 0, 1, 0], 'second': [0, 1, 1, 1]}
      >>> apply(np.full((4, 32, 32, 3), 200, np.uint8), draws)[:, 16, 16, 0].tolist()
      [55, 200, 200, 200]
    """
    xp = ops.xp
    strengths = {name: xp.asarray(table) for name, table in _strengths(*images.shape[1:3]).items()}
    images = images.astype(xp.int32)
    for i, name in enumerate(("first", "second")):
        row = xp.where(draws[name] == 1, 2 * draws["policy"] + i, 2 * len(POLICIES))
        drawn = {key: table[row, draws[f"{name}_sign"]] for key, table in strengths.items()}
        images = change(images, drawn, ops)
    return images.astype(xp.uint8)


def change(images: Array, strengths: Mapping[str, Array], ops: Ops = HOST, unit: int = 10) -> Array:
    """The images int32 [B, H, W, C] after one operation each; ``strengths`` has the values of ``strength_of`` with this
    unit as arrays [B, ...]."""
    images = batch_ops.affine(images, strengths["matrix"], ops)
    images = batch_ops.blend(images, strengths["kind"], strengths["amount"], ops, unit)
    images = batch_ops.solarize_and_posterize(images, strengths["threshold"], strengths["mask"], ops)
    return batch_ops.remap_histogram(images, strengths["histogram"], ops)
