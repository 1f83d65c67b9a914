"""RandAugment: each image gets N operations, drawn uniformly with replacement, all of the same magnitude M.

M is on the paper's scale of 0 to 10, which ends at AutoAugment's highest level; torchvision's ends at 30, so that its 9
is 3 here. With a deviation the magnitude is drawn for each operation, normal around M and clipped to 0 .. 10, as in
timm (mstd). Signs, ranges and grey are those of ``autoaugment``; the default, N = 2 and M = 9, is the paper's for a
ResNet-50 on ImageNet.

``apply`` is for a batch, in integers, on host and device; ``pillow_ops.random_operations`` for one image of any size.

Source: Cubuk et al., "RandAugment: practical automated data augmentation with a reduced search space", NeurIPS 2020,
section 3 and table 2.
"""

import dataclasses
import functools
import re
import statistics

import numpy as np

from ltjax.data.augment import autoaugment
from ltjax.data.augment.transform import Draws, as_draws
from ltjax.data.sampling.counter_rng import HOST, Array, Integer, Ops, below, name_id, uint32, words

RANDAUGMENT = name_id("randaugment")
RANDOM = (
    "", "AutoContrast", "Equalize", "Rotate", "Solarize", "Color", "Posterize", "Contrast", "Brightness", "Sharpness",
    "ShearX", "ShearY", "TranslateX", "TranslateY",
)  # fmt: skip
NAMES = ("first", "second", "third", "fourth", "fifth")  # of the operations of an image, as they are drawn
HIGHEST = 10  # magnitude
QUANTILES = 64  # of the normal distribution of a magnitude
UNIT = 1000  # of a blend's amount


@dataclasses.dataclass(frozen=True)
class Strength:
    """N operations of magnitude M, and the deviation of the magnitude."""

    operations: int = 2
    magnitude: float = 9.0
    deviation: float = 0.0

    def names(self) -> tuple[str, ...]:
        """Of the operations of an image."""
        return NAMES[: self.operations]

    def fractions(self) -> tuple[float, ...]:
        """Of the highest level: M's alone, or equally likely ones of its distribution.

        Example:
          >>> Strength().fractions(), [Strength(2, 9, 0.5).fractions()[i] for i in (0, 32, 63)]
          ((0.9,), [0.779, 0.901, 1.0])
        """
        if not self.deviation:
            return (self.magnitude / HIGHEST,)
        normal = statistics.NormalDist(self.magnitude, self.deviation)
        drawn = (normal.inv_cdf((i + 0.5) / QUANTILES) for i in range(QUANTILES))
        return tuple(round(min(max(value, 0.0), HIGHEST) / HIGHEST, 3) for value in drawn)


DEFAULT = Strength()
_WRITTEN = re.compile(r"randaugment_n([1-5])_m(10|\d)(?:_std(\d(?:\.\d)?))?(?=_|$)")


def parse(name: str) -> tuple[str, Strength]:
    """(the name without N, M and deviation, these) of the name of an augmentation.

    Example:
      >>> parse("randaugment_n3_m5_std0.5_flip"), parse("crop224_flip_randaugment")[0]
      (('randaugment_flip', Strength(operations=3, magnitude=5.0, deviation=0.5)), 'crop224_flip_randaugment')
    """
    found = _WRITTEN.search(name)
    if found is None:
        return name, DEFAULT
    strength = Strength(int(found[1]), float(found[2]), float(found[3] or 0))
    return name[: found.start()] + "randaugment" + name[found.end() :], strength


def draw(
    seed: Integer, stream: Integer, epoch: Integer, offset: Array, ops: Ops = HOST, *, strength: Strength = DEFAULT
) -> Draws:
    """``first``, ``second``, ... int32 [B], 0 .. 13, the operations; ``first_sign``, ..., 0 or 1; with a deviation
    ``first_level``, ..., 0 .. 63, the quantiles of their magnitudes."""
    drawn: Draws = {}
    for i, name in enumerate(strength.names()):
        which, sign = (words(seed, stream, RANDAUGMENT, epoch, offset, ops, lane=i // 2 * 2 + lane) for lane in (0, 1))
        drawn |= {name: below(which[i % 2], uint32(len(RANDOM), ops)), f"{name}_sign": sign[i % 2] >> 31}
        if strength.deviation:
            drawn[f"{name}_level"] = (sign[i % 2] >> 25) & (QUANTILES - 1)
    return as_draws(drawn, offset, ops)


@functools.cache
def _strengths(strength: Strength, height: int, width: int) -> dict[str, np.ndarray]:
    """``autoaugment.strength_of`` every operation, magnitude and sign: int32 [14, magnitudes, 2, ...]."""

    def values_of(name: str, part: float) -> list[dict[str, int | np.ndarray]]:
        return [autoaugment.strength_of(name, part, sign, height, width, UNIT) for sign in (1, -1)]

    values = [[values_of(name, part) for part in strength.fractions()] for name in RANDOM]
    return {
        key: np.array([[[one[key] for one in signs] for signs in parts] for parts in values], np.int32)
        for key in values[0][0][0]
    }


def apply(images: Array, draws: Draws, ops: Ops = HOST, *, strength: Strength = DEFAULT) -> Array:
    """The images uint8 [B, H, W, C] after the operations that were drawn for them.

    Example:
      >>> draws = {"first": np.array([4]), "first_sign": np.array([0])}
      >>> apply(np.full((1, 8, 8, 3), 200, np.uint8), draws, strength=Strength(operations=1))[0, 0, 0].tolist()
      [55, 55, 55]
    """
    xp = ops.xp
    table = {key: xp.asarray(values) for key, values in _strengths(strength, *images.shape[1:3]).items()}
    images = images.astype(xp.int32)
    for name in strength.names():
        level = draws[f"{name}_level"] if strength.deviation else xp.zeros_like(draws[name])
        drawn = {key: values[draws[name], level, draws[f"{name}_sign"]] for key, values in table.items()}
        images = autoaugment.change(images, drawn, ops, UNIT)
    return images.astype(xp.uint8)
