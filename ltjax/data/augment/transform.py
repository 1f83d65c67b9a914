"""What an augmentation is (``Transform``): the random choices drawn for a position, and what they do to the pixels."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

import numpy as np

from ltjax.data.augment.decode import Shared
from ltjax.data.sampling.counter_rng import HOST, Array, Integer, Ops

Draws: TypeAlias = dict[str, Array]  # name -> random choices, int32 [B, ...]; or those of one image, without B
# one image: the bytes of its file, a file that several crops are taken of, or uint8 [h, w, C]
Image: TypeAlias = bytes | Shared | np.ndarray


class Draw(Protocol):
    """The random choices at the positions ``offset`` [B] of an epoch; each int32 [B, ...]."""

    def __call__(self, seed: Integer, stream: Integer, epoch: Integer, offset: Array, ops: Ops = HOST) -> Draws: ...


class Apply(Protocol):
    """The images uint8 [B, H, W, C] after the changes that were drawn for them."""

    def __call__(self, images: Array, draws: Draws, ops: Ops = HOST) -> Array: ...


@dataclasses.dataclass(frozen=True)
class Transform:
    """One augmentation.

    Attributes:
      name: as in ``TRANSFORMS``.
      draw: (seed, stream, epoch, offset [B], ops) -> dict of int32 [B, ...], the random choices at these positions.
      apply: (images uint8 [B, H, W, C], draws, ops) -> uint8 [B, H, W, C].
      cut: (image, draws of this image) -> uint8 [H, W, C], for images of different sizes: decodes an ``Image`` and
        crops it to the common size, before ``apply``; on the host only.

    Example:
      >>> from ltjax.data.augment.registry import TRANSFORMS
      >>> from ltjax.data.sampling.counter_rng import name_id
      >>> flip = TRANSFORMS["pad_crop_flip"]
      >>> draws = flip.draw(seed=0, stream=name_id("image"), epoch=0, offset=np.arange(4))
      >>> {name: drawn.tolist() for name, drawn in draws.items()}
      {'top': [8, 2, 7, 1], 'left': [0, 8, 4, 1], 'flip': [1, 1, 0, 0]}
      >>> flip.apply(np.zeros((4, 32, 32, 3), np.uint8), draws).shape
      (4, 32, 32, 3)
    """

    name: str
    draw: Draw
    apply: Apply
    cut: Callable[[Image, Draws], np.ndarray] | None = None


def as_draws(values: Mapping[str, Array], offset: Array, ops: Ops) -> Draws:
    """The values as ``Transform.draw`` returns them: int32, of the shape of ``offset``."""
    shape = ops.xp.shape(offset)
    return {name: ops.xp.reshape(value, shape).astype(ops.xp.int32) for name, value in values.items()}


Transforms: TypeAlias = Transform | Mapping[str, Transform]  # of all streams, or stream -> its own


def of_stream(transforms: Transforms, stream: str) -> Transform:
    """The augmentation of a stream."""
    return transforms if isinstance(transforms, Transform) else transforms[stream]
