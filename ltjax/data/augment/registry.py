"""The augmentations by name. Each has two parts: what is drawn for a position, and what it does to the pixels.

Both parts are written over the array namespace they are given, so that the host's batches and a jitted program on the
device make the same pixels for the same position. Images stay uint8; the network scales and normalises them.

RandAugment's number of operations, magnitude (0 to 10) and its deviation can stand behind its word:
``randaugment_n3_m5_flip_cutout``, ``crop224_flip_randaugment_n2_m10_std0.5``; without them they are 2, 9 and 0.
A rotation's largest angle, 1 to 180 degrees, stands behind its word: ``pad_crop_flip_rotate15``.

Transforms of whole images of any size (``Transform.cut``) run on the host only. Their names contain the output size,
which can be any: ``crop224_flip``, ``crop160_flip_jitter``; ``SIZED_TRANSFORMS`` lists them without it.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Sequence

import numpy as np

from ltjax.data.augment import autoaugment, pillow_ops, randaugment, rotation, simclr
from ltjax.data.augment.color_jitter import draw_jitter, jitter
from ltjax.data.augment.crops import draw_crop, random_resized_crop
from ltjax.data.augment.cutout import cutout, draw_cutout
from ltjax.data.augment.randaugment import Strength
from ltjax.data.augment.transform import Apply, Draw, Draws, Image, Transform, as_draws
from ltjax.data.sampling.counter_rng import HOST, Array, Integer, Ops, below, name_id, uint32, words
from ltjax.errors import InputError, choose

TRANSFORM = name_id("transform")

Change = Callable[[np.ndarray, Draws], np.ndarray]  # (one image uint8 [h, w, 3], its draws) -> uint8 [h, w, 3]


def _draw_nothing(seed: Integer, stream: Integer, epoch: Integer, offset: Array, ops: Ops = HOST) -> Draws:
    return {}


def _unchanged(images: Array, draws: Draws, ops: Ops = HOST) -> Array:
    return images


def _draw_crop(
    seed: Integer, stream: Integer, epoch: Integer, offset: Array, ops: Ops = HOST, *, pad: int, flip: bool
) -> Draws:
    """``top`` and ``left``, uniform in 0 .. 2 * pad, and ``flip``, 0 or 1."""
    corner_word, flip_word = words(seed, stream, TRANSFORM, epoch, offset, ops)
    side = 2 * pad + 1
    corner = below(corner_word, uint32(side * side, ops))
    drawn = {"top": corner // side, "left": corner % side}
    if flip:
        drawn["flip"] = flip_word >> 31
    return as_draws(drawn, offset, ops)


def _pad_crop(images: Array, draws: Draws, ops: Ops = HOST, *, pad: int) -> Array:
    """Pads each image with zeros, crops it at (top, left), and mirrors it where ``flip`` is 1.

    One gather of pixels by flat index: the fastest way in numpy, and a single kernel on a device.
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


def _draw_autoaugment(seed: Integer, stream: Integer, epoch: Integer, offset: Array, ops: Ops = HOST) -> Draws:
    position = (seed, stream, epoch, offset, ops)
    return autoaugment.draw(*position) | _draw_crop(*position, pad=4, flip=True)


def _autoaugment(images: Array, draws: Draws, ops: Ops = HOST) -> Array:
    return autoaugment.apply(_pad_crop(images, draws, ops, pad=4), draws, ops)


def _draw_all(
    seed: Integer, stream: Integer, epoch: Integer, offset: Array, ops: Ops = HOST, *, parts: Sequence[Draw]
) -> Draws:
    """What all the parts draw at these positions, in one dict."""
    return {name: drawn for part in parts for name, drawn in part(seed, stream, epoch, offset, ops).items()}


def _pad_crop_cutout(images: Array, draws: Draws, ops: Ops = HOST) -> Array:
    return cutout(_pad_crop(images, draws, ops, pad=4), draws, ops)


def _draw_randaugment(
    seed: Integer, stream: Integer, epoch: Integer, offset: Array, ops: Ops = HOST, *, strength: Strength
) -> Draws:
    position = (seed, stream, epoch, offset, ops)
    return randaugment.draw(*position, strength=strength) | _draw_crop(*position, pad=4, flip=True)


def _randaugment(images: Array, draws: Draws, ops: Ops = HOST, *, strength: Strength, hole: bool) -> Array:
    images = randaugment.apply(_pad_crop(images, draws, ops, pad=4), draws, ops, strength=strength)
    return cutout(images, draws, ops) if hole else images


def _autoaugment_cutout(images: Array, draws: Draws, ops: Ops = HOST) -> Array:
    return cutout(_autoaugment(images, draws, ops), draws, ops)


def _view(images: Array, draws: Draws, ops: Ops = HOST, *, smallest: float, blur: bool = False) -> Array:
    images = simclr.recolored(simclr.resized_part(images, draws, ops, smallest=smallest), draws, ops)
    return simclr.blurred(images, draws, ops) if blur else images


def _blurred_view(name: str, *, probability: float) -> Transform:
    parts = (
        simclr.draw_part,
        functools.partial(simclr.draw_colors, jitter=0.8, grey=0.2),
        functools.partial(simclr.draw_blur, probability=probability),
    )
    return Transform(name, functools.partial(_draw_all, parts=parts), functools.partial(_view, smallest=0.2, blur=True))


def _change_view(pixels: np.ndarray, draws: Draws, *, changes: tuple[str, ...]) -> np.ndarray:
    return simclr.each(pixels, draws, changes)


def _then_operations(pixels: np.ndarray, draws: Draws, *, before: Change, strength: Strength) -> np.ndarray:
    return pillow_ops.random_operations(before(pixels, draws), draws, strength)


def _crop_and_change(
    image: Image, draws: Draws, *, size: int, change: Change | None, fast_decode: bool = False
) -> np.ndarray:
    pixels = random_resized_crop(image, draws, size, fast_decode)
    return pixels if change is None else change(pixels, draws)


def _resized_crop(
    name: str, size: int, draw: Draw | None = None, change: Change | None = None, apply: Apply = _unchanged
) -> Transform:
    """RandomResizedCrop and flip, then ``change`` to each image, then ``apply`` to the batch."""
    parts = (draw_crop,) if draw is None else (draw_crop, draw)
    return Transform(
        name,
        functools.partial(_draw_all, parts=parts),
        apply,
        functools.partial(_crop_and_change, size=size, change=change),
    )


def _pad_crop_transform(name: str, pad: int, flip: bool) -> Transform:
    return Transform(name, functools.partial(_draw_crop, pad=pad, flip=flip), functools.partial(_pad_crop, pad=pad))


def _pad_crop_rotate(images: Array, draws: Draws, ops: Ops = HOST, *, degrees: int) -> Array:
    return rotation.rotate(_pad_crop(images, draws, ops, pad=4), draws, ops, degrees=degrees)


def _rotating_transform(name: str, degrees: int) -> Transform:
    """pad_crop_flip, then a rotation."""
    parts = (functools.partial(_draw_crop, pad=4, flip=True), rotation.draw_rotation)
    return Transform(
        name, functools.partial(_draw_all, parts=parts), functools.partial(_pad_crop_rotate, degrees=degrees)
    )


def _random_transform(name: str, strength: Strength = randaugment.DEFAULT, hole: bool = False) -> Transform:
    """pad_crop_flip, then RandAugment, then cutout."""
    drawn = functools.partial(_draw_randaugment, strength=strength)
    return Transform(
        name,
        functools.partial(_draw_all, parts=(drawn, draw_cutout)) if hole else drawn,
        functools.partial(_randaugment, strength=strength, hole=hole),
    )


def _sized_random_transform(
    name: str, size: int, strength: Strength = randaugment.DEFAULT, hole: bool = False
) -> Transform:
    """RandomResizedCrop and flip, then RandAugment, then cutout."""
    drawn = functools.partial(randaugment.draw, strength=strength)
    change = functools.partial(pillow_ops.random_operations, strength=strength)
    if not hole:
        return _resized_crop(name, size, drawn, change)
    return _resized_crop(name, size, functools.partial(_draw_all, parts=(drawn, draw_cutout)), change, cutout)


def _sized_random_view(
    name: str, size: int, strength: Strength = randaugment.DEFAULT, *, drawn: Draw, before: Change
) -> Transform:
    """RandomResizedCrop and flip, then ``before``, then RandAugment."""
    parts = (drawn, functools.partial(randaugment.draw, strength=strength))
    change = functools.partial(_then_operations, before=before, strength=strength)
    return _resized_crop(name, size, functools.partial(_draw_all, parts=parts), change)


_GREY_AND_BLUR: Change = functools.partial(_change_view, changes=("recolored", "blurred"))
_DRAW_GREY_AND_BLUR: Draw = functools.partial(
    _draw_all,
    parts=(
        functools.partial(simclr.draw_colors, jitter=1.0, grey=0.2, hue=0.0),
        functools.partial(simclr.draw_blur, probability=0.5),
    ),
)
# names in which RandAugment's strength can stand -> how it is made; of images of one size, and of any (with a size)
_OF_STRENGTH: dict[str, Callable[..., Transform]] = {
    "randaugment_flip": _random_transform,
    "randaugment_flip_cutout": functools.partial(_random_transform, hole=True),
    "crop_flip_randaugment": _sized_random_transform,
    "crop_flip_randaugment_cutout": functools.partial(_sized_random_transform, hole=True),
    # the view of an image that is classified: BCL, ProCo and PaCo; a contrastive one of GPaCo
    "crop_flip_jitter_randaugment": functools.partial(_sized_random_view, drawn=draw_jitter, before=jitter),
    "crop_flip_jitter_grey_blur_randaugment": functools.partial(
        _sized_random_view, drawn=_DRAW_GREY_AND_BLUR, before=_GREY_AND_BLUR
    ),
}

_WITH_STRENGTH = [
    name.replace("crop_", "crop224_").replace("randaugment", "randaugment_n2_m10_std0.5") for name in _OF_STRENGTH
]

TRANSFORMS: dict[str, Transform] = {
    "none": Transform("none", _draw_nothing, _unchanged),
    # The augmentation of every CIFAR-LT paper: He et al., "Deep residual learning", CVPR 2016, section 4.2.
    "pad_crop_flip": _pad_crop_transform("pad_crop_flip", pad=4, flip=True),
    # pad_crop_flip, then the policy: Cubuk et al., "AutoAugment", CVPR 2019, section 4.1.
    "autoaugment_flip": Transform("autoaugment_flip", _draw_autoaugment, _autoaugment),
    "pad_crop_flip_cutout": Transform(
        "pad_crop_flip_cutout",
        functools.partial(_draw_all, parts=(functools.partial(_draw_crop, pad=4, flip=True), draw_cutout)),
        _pad_crop_cutout,
    ),
    # the training images of CIFAR in the authors' code of RIDE and SADE; the weak view in that of MDCS
    "pad_crop_flip_rotate15": _rotating_transform("pad_crop_flip_rotate15", degrees=15),
    # pad_crop_flip, then two operations: Cubuk et al., "RandAugment", NeurIPS 2020; and a square of cutout.
    **{name: make(name) for name, make in _OF_STRENGTH.items() if not name.startswith("crop")},
    # the view of an image that is classified: Cui et al., PaCo, ICCV 2021; Zhu et al., BCL, CVPR 2022
    "autoaugment_flip_cutout": Transform(
        "autoaugment_flip_cutout",
        functools.partial(_draw_all, parts=(_draw_autoaugment, draw_cutout)),
        _autoaugment_cutout,
    ),
    # a contrastive view as BCL and ProCo (Du et al., TPAMI 2024) have it on CIFAR
    "simclr": Transform(
        "simclr",
        functools.partial(
            _draw_all, parts=(simclr.draw_part, functools.partial(simclr.draw_colors, jitter=0.8, grey=0.2))
        ),
        functools.partial(_view, smallest=0.08),
    ),
    # a contrastive view as PaCo has it on CIFAR, and GPaCo, with fewer blurred ones
    "simclr_blur": _blurred_view("simclr_blur", probability=0.5),
    "simclr_blur20": _blurred_view("simclr_blur20", probability=0.2),
    # a random part of the image at its full size, torchvision's RandomResizedCrop, and a mirror image
    "resized_crop_flip": Transform("resized_crop_flip", simclr.draw_part, simclr.resized_part),
    # For digits and letters, whose mirror images are something else.
    "pad_crop": _pad_crop_transform("pad_crop", pad=2, flip=False),
}

# For images of any size. The keys lack the output size: (name, size) -> Transform.
SIZED_TRANSFORMS: dict[str, Callable[[str, int], Transform]] = {
    "crop_flip": _resized_crop,  # iNaturalist, Kang et al. 2020
    "crop_flip_jitter": functools.partial(
        _resized_crop, draw=draw_jitter, change=jitter
    ),  # ImageNet-LT and Places-LT there
    "crop_flip_cutout": functools.partial(_resized_crop, draw=draw_cutout, apply=cutout),
    "crop_flip_autoaugment": functools.partial(
        _resized_crop, draw=pillow_ops.draw_imagenet, change=pillow_ops.imagenet_policy
    ),
    **{name: make for name, make in _OF_STRENGTH.items() if name.startswith("crop")},
    # a contrastive view: BCL and ProCo
    "crop_flip_simclr": functools.partial(
        _resized_crop,
        draw=functools.partial(simclr.draw_colors, jitter=0.8, grey=0.2),
        change=functools.partial(_change_view, changes=("recolored",)),
    ),
    # a contrastive view: PaCo
    "crop_flip_jitter_grey_blur": functools.partial(_resized_crop, draw=_DRAW_GREY_AND_BLUR, change=_GREY_AND_BLUR),
}


def find_transform(name: str, key: str = "config.data.augment") -> Transform:
    """The transform of this name: of ``TRANSFORMS``, or of ``SIZED_TRANSFORMS`` with the output size after ``crop``.

    Raises:
      InputError: for another name; it names the setting ``key`` and the allowed values.

    Example:
      >>> find_transform("pad_crop").name, find_transform("crop224_flip_jitter").name
      ('pad_crop', 'crop224_flip_jitter')
    """
    turned, degrees = rotation.parse(name)
    if degrees and turned == "pad_crop_flip_rotate" and name not in TRANSFORMS:
        return _rotating_transform(name, degrees)
    if not degrees and re.fullmatch(r"pad_crop_flip_rotate\d*", name):
        raise InputError(
            f"{key}: '{name}' is no augmentation; write the largest angle, 1 to 180 degrees, behind 'rotate', such as "
            "'pad_crop_flip_rotate15'"
        )
    plain, strength = randaugment.parse(name)
    size, bare = _split(plain)
    if plain != name and bare in _OF_STRENGTH and (size or bare in TRANSFORMS):
        return _OF_STRENGTH[bare](name, size, strength) if size else _OF_STRENGTH[bare](name, strength)
    if size == 0 and re.search(r"randaugment_(n|m|std)\d", name):
        raise InputError(
            f"{key}: '{name}' is no augmentation; write its strength as in {', '.join(_WITH_STRENGTH)}, with 1 "
            "to 5 operations (n), magnitude 0 to 10 (m) and, if you like, its deviation (std)"
        )
    if size == 0:
        allowed = TRANSFORMS | dict.fromkeys((_join(bare, 224) for bare in SIZED_TRANSFORMS), TRANSFORMS["none"])
        if bare in SIZED_TRANSFORMS:
            raise InputError(
                f"{key}: '{name}' lacks the output size: write it after 'crop', such as '{_join(bare, 224)}'"
            )
        return choose(allowed, name, key)
    return SIZED_TRANSFORMS[bare](name, size)


def with_fast_decode(transform: Transform) -> Transform:
    """The transform with ``config.data.fast_decode``: the same draws, from large JPEGs decoded at a smaller size."""
    if not isinstance(transform.cut, functools.partial):  # of ``_crop_and_change``
        return transform
    return dataclasses.replace(transform, cut=functools.partial(transform.cut, fast_decode=True))


def output_size(name: str) -> int:
    """The output size in a transform's name; 0 if images keep their size.

    Example:
      >>> output_size("crop224_flip"), output_size("pad_crop_flip")
      (224, 0)
    """
    return _split(randaugment.parse(name)[0])[0]


def _split(name: str) -> tuple[int, str]:
    """(output size, name without it) for a name of ``SIZED_TRANSFORMS``; (0, name) for any other."""
    match = re.fullmatch(r"crop([1-9]\d{0,3})(_\w+)", name)
    return (int(match[1]), f"crop{match[2]}") if match and f"crop{match[2]}" in SIZED_TRANSFORMS else (0, name)


def _join(bare: str, size: int) -> str:
    return bare.replace("crop", f"crop{size}", 1)
