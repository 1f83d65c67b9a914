"""Cutout: a grey square over each image, half as wide as the image is high, its middle anywhere inside it.

So a square may lie partly outside. Half is the paper's 16 pixels of 32 on CIFAR-10; the paper fills with the mean
colour, which mid-grey is near.

Source: DeVries and Taylor, "Improved regularization of convolutional neural networks with cutout", 2017, section 3.2.
"""

from typing import Any

from ltjax.data.augment.batch_ops import GREY
from ltjax.data.sampling.counter_rng import HOST, Ops, name_id, words

CUTOUT = name_id("cutout")
BITS = 16  # of a random coordinate


def draw_cutout(seed: Any, stream: Any, epoch: Any, offset: Any, ops: Ops = HOST) -> dict[str, Any]:
    """The middle of each square: ``hole_y`` and ``hole_x`` int32 [B], in units of 2^-16 of the image's sides.

    Example:
      >>> import numpy as np
      >>> drawn = draw_cutout(seed=0, stream=name_id("image"), epoch=0, offset=np.arange(3))
      >>> [round(y / 2**16, 2) for y in drawn["hole_y"].tolist()]
      [0.13, 0.28, 0.99]
    """
    pair = words(seed, stream, CUTOUT, epoch, offset, ops)
    return {
        name: ops.xp.reshape(word >> (32 - BITS), ops.xp.shape(offset)).astype(ops.xp.int32)
        for name, word in zip(("hole_y", "hole_x"), pair, strict=True)
    }


def cutout(images: Any, draws: dict[str, Any], ops: Ops = HOST) -> Any:
    """The images uint8 [B, H, W, C] with the squares that were drawn for them."""
    xp = ops.xp
    height, width = images.shape[1:3]
    half = height // 4

    def covered(middle: Any, length: int) -> Any:
        middle = ((middle * length) >> BITS)[:, None]
        place = xp.arange(length, dtype=xp.int32)
        return (place >= middle - half) & (place < middle + half)

    hole = covered(draws["hole_y"], height)[:, :, None] & covered(draws["hole_x"], width)[:, None, :]
    return xp.where(hole[..., None], xp.uint8(GREY), images)
