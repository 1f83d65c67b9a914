"""Rotation of each image about its centre by a uniform angle of at most some degrees, in either direction.

Nearest neighbour, with black outside, as torchvision's ``RandomRotation`` has it; the CIFAR recipes of RIDE, SADE and
MDCS turn by up to 15 degrees after the crop and the flip. The angle is one of ``ANGLES`` equally spaced ones, so that
the matrices are a table of integers and host and device make the same pixels.
"""

import functools
import re

import numpy as np

from ltjax.data.augment.autoaugment import rotation_matrix
from ltjax.data.augment.batch_ops import affine, fixed_point
from ltjax.data.augment.transform import Draws, as_draws
from ltjax.data.sampling.counter_rng import HOST, Array, Integer, Ops, name_id, words

ROTATION = name_id("rotation")
BITS = 10  # of a random angle
ANGLES = 2**BITS
BLACK = 0
_WRITTEN = re.compile(r"_rotate([1-9]\d?|1[0-7]\d|180)(?=_|$)")


def parse(name: str) -> tuple[str, int]:
    """(the name without the degrees, these) of the name of an augmentation; 0 degrees where it has none.

    Example:
      >>> parse("pad_crop_flip_rotate15"), parse("pad_crop_flip")
      (('pad_crop_flip_rotate', 15), ('pad_crop_flip', 0))
    """
    found = _WRITTEN.search(name)
    if found is None:
        return name, 0
    return f"{name[: found.start()]}_rotate{name[found.end() :]}", int(found[1])


def draw_rotation(seed: Integer, stream: Integer, epoch: Integer, offset: Array, ops: Ops = HOST) -> Draws:
    """``angle`` int32 [B], 0 .. 1023, uniform: from the largest angle clockwise to the largest counter-clockwise.

    Example:
      >>> draw_rotation(seed=0, stream=name_id("image"), epoch=0, offset=np.arange(3))["angle"].tolist()
      [855, 974, 796]
    """
    angle, _ = words(seed, stream, ROTATION, epoch, offset, ops)
    return as_draws({"angle": angle >> (32 - BITS)}, offset, ops)


def angles(degrees: float) -> np.ndarray:
    """The angles that are drawn, in degrees counter-clockwise: float64 [1024], the middles of equal parts of the range.

    Example:
      >>> angles(15)[[0, 512, 1023]].round(2).tolist()
      [-14.99, 0.01, 14.99]
    """
    return degrees * ((np.arange(ANGLES) + 0.5) / (ANGLES / 2) - 1)


@functools.cache
def _matrices(degrees: int, height: int, width: int) -> np.ndarray:
    """Of ``affine``, for every angle: int32 [1024, 6]."""
    return np.stack([fixed_point(rotation_matrix(angle, height, width)) for angle in angles(degrees).tolist()])


def rotate(images: Array, draws: Draws, ops: Ops = HOST, *, degrees: int) -> Array:
    """The images uint8 [B, H, W, C], turned by the angles that were drawn for them, at most ``degrees``."""
    xp = ops.xp
    matrix = xp.asarray(_matrices(degrees, *images.shape[1:3]))[draws["angle"]]
    return affine(images.astype(xp.int32), matrix, ops, fill=BLACK).astype(xp.uint8)
