"""Image augmentation in two halves: what is drawn (a function of the position) and what is done to the pixels.

Both halves are written over the array namespace they are given, so that the host's batches and a jitted program on the
device make the same pixels from the same position. Images stay uint8; the network scales and normalises them.

What starts from whole images (``Transform.cut``) is done on the host alone. Its names have the size that comes out,
any size: ``crop224_flip``, ``crop160_flip_jitter``; ``SIZED_TRANSFORMS`` has them without it.
"""

import dataclasses
import functools
import re
from collections.abc import Callable
from typing import Any

from ltjax.data.augment import autoaugment, pillow_ops
from ltjax.data.augment.color_jitter import draw_jitter, jitter
from ltjax.data.augment.crops import draw_crop, random_resized_crop
from ltjax.data.augment.cutout import cutout, draw_cutout
from ltjax.data.sampling.counter_rng import HOST, Ops, below, name_id, uint32, words
from ltjax.errors import InputError, choose

TRANSFORM = name_id("transform")


@dataclasses.dataclass(frozen=True)
class Transform:
    """One augmentation.

    Attributes:
      name: as in ``TRANSFORMS``.
      draw: (seed, stream, epoch, offset [B], ops) -> dict of int32 [B], the random choices at these positions.
      apply: (images uint8 [B, H, W, C], draws, ops) -> uint8 [B, H, W, C].
      cut: (image, draws of one image) -> uint8 [H, W, C], done before ``apply`` where images have different
        sizes: decodes (an image is a file's bytes, or uint8 [h, w, C]) and crops it to the size of all; on the host.

    Example:
      >>> import numpy as np
      >>> flip = TRANSFORMS["pad_crop_flip"]
      >>> draws = flip.draw(seed=0, stream=name_id("image"), epoch=0, offset=np.arange(4))
      >>> {name: drawn.tolist() for name, drawn in draws.items()}
      {'top': [8, 2, 7, 1], 'left': [0, 8, 4, 1], 'flip': [1, 1, 0, 0]}
      >>> flip.apply(np.zeros((4, 32, 32, 3), np.uint8), draws).shape
      (4, 32, 32, 3)
    """

    name: str
    draw: Callable[..., dict[str, Any]]
    apply: Callable[..., Any]
    cut: Callable[[Any, dict[str, Any]], Any] | None = None


def _draw_nothing(seed: Any, stream: Any, epoch: Any, offset: Any, ops: Ops = HOST) -> dict[str, Any]:
    return {}


def _unchanged(images: Any, draws: dict[str, Any], ops: Ops = HOST) -> Any:
    return images


def _draw_crop(
    seed: Any, stream: Any, epoch: Any, offset: Any, ops: Ops = HOST, *, pad: int, flip: bool
) -> dict[str, Any]:
    """``top`` and ``left`` in 0 .. 2 * pad, all alike, and ``flip`` in 0 .. 1."""
    corner_word, flip_word = words(seed, stream, TRANSFORM, epoch, offset, ops)
    side = 2 * pad + 1
    corner = below(corner_word, uint32(side * side, ops))
    drawn = {"top": corner // side, "left": corner % side}
    if flip:
        drawn["flip"] = flip_word >> 31
    return {name: ops.xp.reshape(value, ops.xp.shape(offset)).astype(ops.xp.int32) for name, value in drawn.items()}


def _pad_crop(images: Any, draws: dict[str, Any], ops: Ops = HOST, *, pad: int) -> Any:
    """Zeros around each image, then the window at (top, left), then its mirror image where ``flip`` is 1.

    One gather of pixels by flat index: the fastest way in numpy and a single kernel on a device.
    """
    xp = ops.xp
    batch, height, width, channels = images.shape
    padded = xp.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    rows = draws["top"][:, None] + xp.arange(height, dtype=xp.int32)
    columns = xp.broadcast_to(xp.arange(width, dtype=xp.int32), (batch, width))
    if "flip" in draws:
        columns = xp.where(draws["flip"][:, None] == 1, width - 1 - columns, columns)
    columns = draws["left"][:, None] + columns
    rows = xp.arange(batch, dtype=xp.int32)[:, None] * (height + 2 * pad) + rows
    pixels = rows[:, :, None] * (width + 2 * pad) + columns[:, None, :]
    return xp.take(padded.reshape(-1, channels), pixels.reshape(-1), axis=0).reshape(images.shape)


def _draw_autoaugment(seed: Any, stream: Any, epoch: Any, offset: Any, ops: Ops = HOST) -> dict[str, Any]:
    position = (seed, stream, epoch, offset, ops)
    return autoaugment.draw(*position) | _draw_crop(*position, pad=4, flip=True)


def _autoaugment(images: Any, draws: dict[str, Any], ops: Ops = HOST) -> Any:
    return autoaugment.apply(_pad_crop(images, draws, ops, pad=4), draws, ops)


def _draw_all(seed: Any, stream: Any, epoch: Any, offset: Any, ops: Ops = HOST, *, parts: Any) -> dict[str, Any]:
    """Everything that the parts draw at these positions, in one dict."""
    return {name: drawn for part in parts for name, drawn in part(seed, stream, epoch, offset, ops).items()}


def _cut_out_of_crop(images: Any, draws: dict[str, Any], ops: Ops = HOST) -> Any:
    return cutout(_pad_crop(images, draws, ops, pad=4), draws, ops)


def _crop_and_change(image: Any, draws: dict[str, Any], *, size: int, change: Any) -> Any:
    pixels = random_resized_crop(image, draws, size)
    return pixels if change is None else change(pixels, draws)


def _cropped(
    name: str, size: int, draw: Callable | None = None, change: Callable | None = None, apply: Callable = _unchanged
) -> Transform:
    """RandomResizedCrop and flip; then ``change`` (one image, draws), then ``apply`` (the batch, draws)."""
    parts = (draw_crop,) if draw is None else (draw_crop, draw)
    return Transform(
        name,
        functools.partial(_draw_all, parts=parts),
        apply,
        functools.partial(_crop_and_change, size=size, change=change),
    )


def _pad_crop_transform(name: str, pad: int, flip: bool) -> Transform:
    return Transform(name, functools.partial(_draw_crop, pad=pad, flip=flip), functools.partial(_pad_crop, pad=pad))


TRANSFORMS: dict[str, Transform] = {
    "none": Transform("none", _draw_nothing, _unchanged),
    # The augmentation of every CIFAR-LT paper: He et al., "Deep residual learning", CVPR 2016, section 4.2.
    "pad_crop_flip": _pad_crop_transform("pad_crop_flip", pad=4, flip=True),
    # pad_crop_flip, then the policy: Cubuk et al., "AutoAugment", CVPR 2019, section 4.1.
    "autoaugment_flip": Transform("autoaugment_flip", _draw_autoaugment, _autoaugment),
    "pad_crop_flip_cutout": Transform(
        "pad_crop_flip_cutout",
        functools.partial(_draw_all, parts=(functools.partial(_draw_crop, pad=4, flip=True), draw_cutout)),
        _cut_out_of_crop,
    ),
    # For digits and letters, which mean something else in the mirror.
    "pad_crop": _pad_crop_transform("pad_crop", pad=2, flip=False),
}

# For images of any size, the name without the size that comes out: (name, size) -> Transform.
SIZED_TRANSFORMS: dict[str, Callable[[str, int], Transform]] = {
    "crop_flip": _cropped,  # iNaturalist, Kang et al. 2020
    "crop_flip_jitter": functools.partial(_cropped, draw=draw_jitter, change=jitter),  # ImageNet-LT and Places-LT there
    "crop_flip_cutout": functools.partial(_cropped, draw=draw_cutout, apply=cutout),
    "crop_flip_autoaugment": functools.partial(
        _cropped, draw=pillow_ops.draw_imagenet, change=pillow_ops.imagenet_policy
    ),
    "crop_flip_randaugment": functools.partial(
        _cropped, draw=pillow_ops.draw_random, change=pillow_ops.random_operations
    ),
}


def find_transform(name: str, key: str = "config.data.augment") -> Transform:
    """The transform of that name: one of ``TRANSFORMS``, or of ``SIZED_TRANSFORMS`` with a size behind its ``crop``.

    Raises:
      InputError: that names the setting ``key`` and what is allowed.

    Example:
      >>> find_transform("pad_crop").name, find_transform("crop224_flip_jitter").name
      ('pad_crop', 'crop224_flip_jitter')
    """
    size, bare = _split(name)
    if size == 0:
        allowed = TRANSFORMS | dict.fromkeys((_join(bare, 224) for bare in SIZED_TRANSFORMS), TRANSFORMS["none"])
        if bare in SIZED_TRANSFORMS:
            raise InputError(f"{key}: '{name}' needs the size that comes out: '{_join(bare, 224)}'")
        return choose(allowed, name, key)
    return SIZED_TRANSFORMS[bare](name, size)


def output_size(name: str) -> int:
    """The size in a transform's name, that of the images it makes; 0 where they keep the size they have.

    Example:
      >>> output_size("crop224_flip"), output_size("pad_crop_flip")
      (224, 0)
    """
    return _split(name)[0]


def _split(name: str) -> tuple[int, str]:
    """(size, name without it), of a name of ``SIZED_TRANSFORMS``; of others (0, name)."""
    match = re.fullmatch(r"crop([1-9]\d{0,3})(_\w+)", name)
    return (int(match[1]), f"crop{match[2]}") if match and f"crop{match[2]}" in SIZED_TRANSFORMS else (0, name)


def _join(bare: str, size: int) -> str:
    return bare.replace("crop", f"crop{size}", 1)
