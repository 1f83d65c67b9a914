"""An image's file as pixels: uint8 [h, w, 3] RGB, upright, whatever the file holds; or one line why not.

A plain JPEG (YCbCr or grey) is decoded by simplejpeg where that is installed (``ltjax[images]``), everything else by
Pillow. Both give the same pixels: the same accurate DCT and smooth chroma upsampling of libjpeg-turbo.

What is decided here, for every format and both decoders alike:
  The content says what a file is, its name does not: a PNG called ``.jpg`` is a PNG.
  The EXIF orientation is applied, so that a photograph stands as its viewer shows it. torchvision's loader ignores it;
    the public training lists (ImageNet, Places, iNaturalist) are all but free of it, a person's photographs are not.
  What is transparent is laid on white, as viewers and web pages show it.
  16 bits a value are scaled to 8 (Pillow's own conversion would make nearly all of them white).
  A file that Pillow reads is readable, also where a JPEG has bytes too many; one that ends too early is not.
  Above ``MOST_PIXELS`` nothing is decoded: a small file may unpack to more than the memory.
"""

import functools
import io
import warnings
from typing import Any, NamedTuple

import numpy as np

from ltjax.errors import InputError

MOST_PIXELS = 89_478_485  # Pillow's own limit; 268 MB
ORIENTATION = 0x0112  # EXIF tag
EXIF = b"Exif\0\0"
SCAN = b"\xda"  # the segment that the pixels follow
# orientation -> (whether rows and columns change places, step along rows, step along columns), in this order
UPRIGHT = {2: (0, 1, -1), 3: (0, -1, -1), 4: (0, -1, 1), 5: (1, 1, 1), 6: (1, 1, -1), 7: (1, -1, -1), 8: (1, -1, 1)}


class Head(NamedTuple):
    """What the head of a file tells: the size of the upright image, and whether simplejpeg may decode it."""

    height: int
    width: int
    plain: bool


def decode(encoded: bytes, shrink: int = 1, head: Head | None = None) -> np.ndarray:
    """The pixels of a file.

    Args:
      encoded: the bytes of the file.
      shrink: 1, 2, 4 or 8: a JPEG is decoded at this fraction of its sides (rounded up) by a smaller DCT, which is
        faster and takes less memory; other formats stay as large as they are.
      head: ``read_head(encoded)``, where it is known already.

    Returns:
      uint8 [h, w, 3].

    Raises:
      InputError: a short reason; who knows the file's path adds it.

    Example:
      >>> from PIL import Image
      >>> file = io.BytesIO()
      >>> Image.new("L", (6, 4), 200).save(file, "PNG")
      >>> decode(file.getvalue()).shape, decode(file.getvalue())[0, 0].tolist()
      ((4, 6, 3), [200, 200, 200])
    """
    height, width, plain = read_head(encoded) if head is None else head
    if height * width > MOST_PIXELS:
        raise InputError(f"{width} x {height} pixels; at most {MOST_PIXELS:,} are decoded: make it smaller")
    pixels = _simplejpeg(encoded, height, width, shrink) if plain else None
    return _pillow(encoded, shrink) if pixels is None else pixels


def read_head(encoded: bytes) -> Head:
    """What the head of a file tells, without decoding it.

    Raises:
      InputError: as ``decode``, where the head already tells.

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
    """What Pillow says of a file: "JPEG", "RGB" ("L", "P", "I;16", ...), the upright size, the EXIF orientation."""

    format: str
    mode: str
    height: int
    width: int
    orientation: int


def describe(encoded: bytes) -> Description:
    """What a file is by its head, without decoding it.

    Raises:
      InputError: as ``decode``, where the head already tells.

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
    """Whether one of the segments before the pixels of a JPEG is EXIF's."""
    at = 2
    while encoded[at : at + 1] == b"\xff" and encoded[at + 1 : at + 2] != SCAN:
        if encoded[at + 4 : at + 10] == EXIF:
            return True
        at += 2 + int.from_bytes(encoded[at + 2 : at + 4], "big")
    return False


def simplejpeg_module() -> Any:
    """The module simplejpeg, or None where it is not installed."""
    return _simplejpeg_module()


@functools.cache
def _simplejpeg_module() -> Any:
    try:
        import simplejpeg
    except ImportError:
        return None
    return simplejpeg


def _simplejpeg(encoded: bytes, height: int, width: int, shrink: int) -> np.ndarray | None:
    """None where libjpeg-turbo has anything to remark: whether that is an error, Pillow decides."""
    least = (0, 0) if shrink == 1 else (-(-height // shrink), -(-width // shrink))
    try:
        return simplejpeg_module().decode_jpeg(
            encoded, "RGB", fastdct=False, fastupsample=False, min_height=least[0], min_width=least[1]
        )
    except ValueError:
        return None


def _open(encoded: bytes) -> Any:
    """Pillow's image, of which only the head has been read."""
    if not encoded:
        raise InputError("the file is empty (0 bytes)")
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise InputError('images need Pillow; pip install "ltjax[train]"') from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large images, which decode refuses, and of odd metadata
            return Image.open(io.BytesIO(encoded))
    except UnidentifiedImageError:
        raise InputError(f"not an image ({len(encoded):,} bytes that begin with {encoded[:8]!r})") from None
    except Image.DecompressionBombError as error:
        raise InputError(f"{error}; at most {MOST_PIXELS:,} are decoded") from None
    except Exception as error:  # Pillow raises OSError, SyntaxError, struct.error, ... for a bad head
        raise InputError(f"corrupt head of the image ({_said(error)})") from None


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
    except Exception as error:  # OSError of a truncated file, and whatever a decoder comes upon in a corrupt one
        raise InputError(f"truncated or corrupt {image.format} ({_said(error)})") from None
    return _turned(pixels, _orientation(image))


def _rgb(image: Any) -> np.ndarray:
    """uint8 [h, w, 3] of any mode of Pillow's."""
    from PIL import Image

    if image.mode.startswith("I"):  # 16 bits a value, as they are or in 32
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() >= 2**16:
            raise InputError(f"values from {values.min()} to {values.max()}; an image has 8 or 16 bits a value")
        return np.repeat((values >> 8).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode == "F":
        raise InputError("floating-point values; an image has 8 or 16 bits a value")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))  # a copy: Pillow's own is read-only


def _orientation(image: Any) -> int:
    """The EXIF orientation 1 .. 8; 1, upright, where there is none or it makes no sense."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = image.getexif().get(ORIENTATION, 1)
    except Exception:  # what a camera wrote beside the image may be broken in any way
        return 1
    return found if found in UPRIGHT else 1


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    swap, rows, columns = UPRIGHT.get(orientation, (0, 1, 1))
    if (swap, rows, columns) == (0, 1, 1):
        return pixels
    return np.ascontiguousarray((pixels.transpose(1, 0, 2) if swap else pixels)[::rows, ::columns])


def _said(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
