"""Cutout: a grey square over each image, half as wide as the image is high, centred anywhere in the image.

The square may lie partly outside. Half is the paper's 16 of 32 pixels on CIFAR-10. The paper fills the square with the
mean colour, which is close to mid-grey.

Source: DeVries and Taylor, "Improved regularization of convolutional neural networks with cutout", 2017, section 3.2.
"""

from ltjax.data.augment.batch_ops import GREY
from ltjax.data.augment.transform import Draws, as_draws
from ltjax.data.sampling.counter_rng import HOST, Array, Integer, Ops, name_id, words

CUTOUT = name_id("cutout")
BITS = 16  # of a random coordinate


def draw_cutout(seed: Integer, stream: Integer, epoch: Integer, offset: Array, ops: Ops = HOST) -> Draws:
    """The centre of each square: ``hole_y`` and ``hole_x`` int32 [B], in units of 2^-16 of the image's sides.

    Example:
      >>> import numpy as np
      >>> drawn = draw_cutout(seed=0, stream=name_id("image"), epoch=0, offset=np.arange(3))
      >>> [round(y / 2**16, 2) for y in drawn["hole_y"].tolist()]
      [0.13, 0.28, 0.99]
    """
    y, x = words(seed, stream, CUTOUT, epoch, offset, ops)
    return as_draws({"hole_y": y >> (32 - BITS), "hole_x": x >> (32 - BITS)}, offset, ops)


def cutout(images: Array, draws: Draws, ops: Ops = HOST) -> Array:
    """The images uint8 [B, H, W, C] with the squares that were drawn for them."""
    xp = ops.xp
    height, width = images.shape[1:3]
    half = height // 4

    def covered(centre: Array, length: int) -> Array:
        centre = ((centre * length) >> BITS)[:, None]
        place = xp.arange(length, dtype=xp.int32)
        return (place >= centre - half) & (place < centre + half)

    hole = covered(draws["hole_y"], height)[:, :, None] & covered(draws["hole_x"], width)[:, None, :]
    return xp.where(hole[..., None], xp.uint8(GREY), images)
