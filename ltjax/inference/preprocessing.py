"""An image of any kind as a run's network takes it: what evaluation does to a test image."""

import os
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ltjax.data.augment.crops import evaluation_view
from ltjax.data.augment.decode import pixels_of
from ltjax.data.storage.image_files import ImageFiles
from ltjax.data.storage.packed_names import PackedNames
from ltjax.errors import InputError

if TYPE_CHECKING:
    import jax
    from PIL.Image import Image as PillowImage

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def preprocess(
    image: "str | os.PathLike[str] | PillowImage | jax.Array | npt.NDArray[np.generic]",
    image_shape: tuple[int, int, int],
    resize: int,
    interpolation: str = "bilinear",
) -> npt.NDArray[np.uint8]:
    """The central crop of an image whose shorter side was resized.

    Args:
      image: the path of a file, a Pillow image, or an array [h, w], [h, w, 1] or [h, w, 3], uint8 or float from 0 to 1.
      image_shape: (H, W, channels) of the result; H = W, channels 1 or 3.
      resize: pixels of the shorter side before the crop.
      interpolation: of the resizing, "bilinear" or "bicubic".

    Returns:
      uint8 [H, W, channels].

    Raises:
      InputError: for a file that cannot be read, or an array that is no image; of a file with its path.

    Example:
      >>> preprocess(np.full((300, 400), 0.5), (224, 224, 3), resize=256).shape
      (224, 224, 3)
    """
    if isinstance(image, str | os.PathLike):
        path = os.path.abspath(image) if "://" not in os.fspath(image) else os.fspath(image)
        try:
            return view_of(ImageFiles("", PackedNames.of([path]))(0), image_shape, resize, interpolation)
        except InputError as error:
            raise InputError(f"{os.fspath(image)} cannot be read: {error}") from error
    return view_of(_pixels(image), image_shape, resize, interpolation)


def view_of(
    image: bytes | npt.NDArray[np.uint8],
    image_shape: tuple[int, int, int],
    resize: int,
    interpolation: str = "bilinear",
) -> npt.NDArray[np.uint8]:
    """The same for the bytes of a file, or pixels uint8 [h, w, 3]."""
    check_shape(image_shape)
    pixels: npt.NDArray[np.uint8] = evaluation_view(image, image_shape[0], resize, interpolation)
    return pixels if image_shape[2] == 3 else grey(pixels)


def check_shape(image_shape: tuple[int, int, int]) -> None:
    """Raises InputError where images of this shape [H, W, channels] are not made from files."""
    height, width, channels = image_shape
    if height != width or channels not in (1, 3):
        raise InputError(
            f"images of {width} x {height} pixels and {channels} channels are not made from files, only square ones "
            "with 1 or 3 channels; give ltjax.load(run) arrays of its image_shape"
        )


def grey(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """uint8 [h, w, 3] -> uint8 [h, w, 1], the luma.

    Example:
      >>> grey(np.array([[[255, 0, 0]]], np.uint8)).tolist()
      [[[76]]]
    """
    luma: npt.NDArray[np.uint8] = np.round(pixels @ np.array(LUMA)).astype(np.uint8)
    return luma[..., None]


def _pixels(image: "PillowImage | jax.Array | npt.NDArray[np.generic]") -> npt.NDArray[np.uint8]:
    """uint8 [h, w, 3]."""
    import jax  # not above: worker processes that read files need no JAX

    if not isinstance(image, np.ndarray | jax.Array):
        return pixels_of(image)
    array = np.asarray(image)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3) or 0 in array.shape:
        raise InputError(f"an image of shape {list(image.shape)}; give [h, w], [h, w, 1] or [h, w, 3]")
    if np.issubdtype(array.dtype, np.floating):
        if not (array.min() >= 0 and array.max() <= 1):
            raise InputError(
                f"a float image with values from {array.min():g} to {array.max():g}; they must be in 0 .. 1"
            )
        array = np.round(255 * array).astype(np.uint8)
    if array.dtype != np.uint8:
        raise InputError(f"an image of dtype {array.dtype}; give uint8 (0 .. 255) or float (0 .. 1)")
    return np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array
