"""Decodes an image file to pixels: uint8 [h, w, 3] RGB, upright, whatever the file's format; errors are one line.

A plain JPEG (YCbCr or greyscale) is decoded by simplejpeg where it is installed (``ltjax[images]``), everything else by
Pillow. Both give the same pixels: the accurate DCT and smooth chroma upsampling of libjpeg-turbo.

Rules for every format and both decoders:
  The format is recognised by the content, not by the file name: a PNG called ``.jpg`` is a PNG.
  The EXIF orientation is applied, so that a photograph is upright, as viewers show it. torchvision's loader ignores it;
    the public data sets (ImageNet, Places, iNaturalist) have almost none, users' photographs often do.
  Transparent pixels are composited on white, as viewers and web pages show them.
  16-bit values are scaled to 8 bits (Pillow's own conversion would turn nearly all of them white).
  A file is readable if Pillow reads it, even a JPEG with extra bytes; a truncated file is not.
  Images of more than ``MAX_PIXELS`` are not decoded: a small file could decompress to more than the memory.
"""

import functools
import io
import warnings
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ltjax.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

MAX_PIXELS = 89_478_485  # Pillow's limit; 268 MB
ORIENTATION = 0x0112  # EXIF tag
EXIF = b"Exif\0\0"
SCAN = b"\xda"  # marks the segment before the pixels
# orientation -> (1 to transpose first, step along rows, step along columns)
UPRIGHT = {2: (0, 1, -1), 3: (0, -1, -1), 4: (0, -1, 1), 5: (1, 1, 1), 6: (1, 1, -1), 7: (1, -1, -1), 8: (1, -1, 1)}


class Head(NamedTuple):
    """The size of the upright image, and whether simplejpeg can decode it (``plain``): what a file's header says."""

    height: int
    width: int
    plain: bool


def decode(encoded: bytes, shrink: int = 1, head: Head | None = None) -> np.ndarray:
    """The pixels of an image file.

    Args:
      encoded: the bytes of the file.
      shrink: 1, 2, 4 or 8: the sides of a JPEG are divided by it (rounded up) by means of a smaller DCT, which is
        faster and takes less memory; other formats keep their size.
      head: ``read_head(encoded)``, if it is already known.

    Returns:
      uint8 [h, w, 3].

    Raises:
      InputError: a short reason; the caller, who knows the path, adds it.

    Example:
      >>> from PIL import Image
      >>> file = io.BytesIO()
      >>> Image.new("L", (6, 4), 200).save(file, "PNG")
      >>> decode(file.getvalue()).shape, decode(file.getvalue())[0, 0].tolist()
      ((4, 6, 3), [200, 200, 200])
    """
    height, width, plain = read_head(encoded) if head is None else head
    if height * width > MAX_PIXELS:
        raise InputError(f"{width} x {height} pixels; at most {MAX_PIXELS:,} can be decoded: make the image smaller")
    simplejpeg = simplejpeg_module() if plain else None
    pixels = None if simplejpeg is None else _simplejpeg(simplejpeg, encoded, height, width, shrink)
    return _pillow(encoded, shrink) if pixels is None else pixels


def read_head(encoded: bytes) -> Head:
    """Reads the header of an image file, without decoding the pixels.

    Raises:
      InputError: as ``decode``, for errors in the header.

    Example:
      >>> from PIL import Image
      >>> file = io.BytesIO()
      >>> Image.new("L", (6, 4), 200).save(file, "PNG")
      >>> read_head(file.getvalue())
      Head(height=4, width=6, plain=False)
    """
    simplejpeg = simplejpeg_module()
    if simplejpeg is not None and encoded[:2] == b"\xff\xd8" and not _has_exif(encoded):
        try:
            height, width, colours, _ = simplejpeg.decode_jpeg_header(encoded)
        except ValueError:
            colours = ""
        if colours in ("YCbCr", "Gray"):
            return Head(height, width, True)
    image = _open(encoded)
    turned = UPRIGHT.get(_orientation(image), (0, 1, 1))[0]
    return Head(image.width, image.height, False) if turned else Head(image.height, image.width, False)


class Description(NamedTuple):
    """Pillow's format ("JPEG") and mode ("RGB", "L", "P", "I;16", ...), the upright size, the EXIF orientation."""

    format: str
    mode: str
    height: int
    width: int
    orientation: int


def describe(encoded: bytes) -> Description:
    """Describes an image file by its header, without decoding the pixels.

    Raises:
      InputError: as ``decode``, for errors in the header.

    Example:
      >>> from PIL import Image
      >>> file = io.BytesIO()
      >>> Image.new("L", (6, 4), 200).save(file, "PNG")
      >>> describe(file.getvalue())
      Description(format='PNG', mode='L', height=4, width=6, orientation=1)
    """
    image = _open(encoded)
    orientation = _orientation(image)
    height, width = (image.width, image.height) if orientation >= 5 else (image.height, image.width)
    return Description(str(image.format), image.mode, height, width, orientation)


def _has_exif(encoded: bytes) -> bool:
    """Whether a JPEG has an EXIF segment before its pixels."""
    at = 2
    while encoded[at : at + 1] == b"\xff" and encoded[at + 1 : at + 2] != SCAN:
        if encoded[at + 4 : at + 10] == EXIF:
            return True
        at += 2 + int.from_bytes(encoded[at + 2 : at + 4], "big")
    return False


def simplejpeg_module() -> ModuleType | None:
    """The module simplejpeg, or None where it is not installed."""
    return _simplejpeg_module()


@functools.cache
def _simplejpeg_module() -> ModuleType | None:
    try:
        import simplejpeg
    except ImportError:
        return None
    return simplejpeg


def _simplejpeg(simplejpeg: ModuleType, encoded: bytes, height: int, width: int, shrink: int) -> np.ndarray | None:
    """None if libjpeg-turbo reports anything, even a warning: Pillow then decides whether it is an error."""
    least = (0, 0) if shrink == 1 else (-(-height // shrink), -(-width // shrink))
    try:
        pixels: np.ndarray = simplejpeg.decode_jpeg(
            encoded, "RGB", fastdct=False, fastupsample=False, min_height=least[0], min_width=least[1]
        )
    except ValueError:
        return None
    return pixels


def _open(encoded: bytes) -> "PillowImage":
    """The image, of which Pillow has read the header only."""
    if not encoded:
        raise InputError("the file is empty (0 bytes)")
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise InputError('reading images needs Pillow: pip install "ltjax[train]"') from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about large images, which ``decode`` refuses, and odd metadata
            return Image.open(io.BytesIO(encoded))
    except UnidentifiedImageError:
        raise InputError(f"not an image ({len(encoded):,} bytes that begin with {encoded[:8]!r})") from None
    except Image.DecompressionBombError as error:
        raise InputError(f"{error}; at most {MAX_PIXELS:,} can be decoded") from None
    except Exception as error:  # Pillow raises OSError, SyntaxError, struct.error, ... for a bad header
        raise InputError(f"corrupt image header ({_first_line(error)})") from None


def _pillow(encoded: bytes, shrink: int) -> np.ndarray:
    image = _open(encoded)
    if shrink > 1 and image.format == "JPEG" and image.mode in ("RGB", "L"):
        image.draft(image.mode, (max(image.width // shrink, 1), max(image.height // shrink, 1)))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.load()
            pixels = _rgb(image)
    except InputError:
        raise
    except Exception as error:  # OSError for a truncated file, anything for a corrupt one
        raise InputError(f"truncated or corrupt {image.format} ({_first_line(error)})") from None
    return _turned(pixels, _orientation(image))


def _rgb(image: "PillowImage") -> np.ndarray:
    """uint8 [h, w, 3], from any of Pillow's modes."""
    from PIL import Image

    if image.mode.startswith("I"):  # 16-bit values, possibly stored in 32 bits
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() >= 2**16:
            raise InputError(f"values from {values.min()} to {values.max()}; values must have 8 or 16 bits")
        return np.repeat((values >> 8).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode == "F":
        raise InputError("floating-point values; values must have 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))  # a copy, because Pillow's array is read-only


def _orientation(image: "PillowImage") -> int:
    """The EXIF orientation 1 .. 8; 1 (upright) if there is none or it is invalid."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = image.getexif().get(ORIENTATION, 1)
    except Exception:  # broken metadata raises nearly anything
        return 1
    return found if found in UPRIGHT else 1


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    swap, rows, columns = UPRIGHT.get(orientation, (0, 1, 1))
    if (swap, rows, columns) == (0, 1, 1):
        return pixels
    return np.ascontiguousarray((pixels.transpose(1, 0, 2) if swap else pixels)[::rows, ::columns])


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
