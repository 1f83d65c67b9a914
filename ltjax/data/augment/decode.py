"""Decodes an image file to pixels: uint8 [h, w, 3] RGB, upright, whatever the file's format; errors are one line.

A plain JPEG (YCbCr or greyscale) is decoded by simplejpeg where it is installed (``ltjax[images]``), everything else by
Pillow. Both give the same pixels: the accurate DCT and smooth chroma upsampling of libjpeg-turbo.

Rules for every format and both decoders:
  The format is recognised by the content, not by the file name: a PNG called ``.jpg`` is a PNG.
  The EXIF orientation is applied, so that a photograph is upright, as viewers show it. torchvision's loader ignores it;
    the public data sets (ImageNet, Places, iNaturalist) have almost none, users' photographs often do.
  Transparent pixels are composited on white, as viewers and web pages show them.
  16-bit values are scaled to 8 bits (Pillow's own conversion would turn nearly all of them white).
  The formats are those of ``image_formats``, whatever else Pillow knows. A file is readable if Pillow reads it, even a
    JPEG with extra bytes; a truncated file is not. Of several frames the first is the image.
  Images of more than ``MAX_PIXELS`` are not decoded: a small file could decompress to more than the memory.
"""

import functools
import io
import re
import warnings
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ltjax.data import image_formats
from ltjax.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

MAX_PIXELS = 89_478_485  # Pillow's limit; 268 MB
ORIENTATION = 0x0112  # tags of EXIF and TIFF
IMAGE_WIDTH, IMAGE_LENGTH, BITS_PER_SAMPLE, PHOTOMETRIC = 256, 257, 258, 262
WHITE_IS_ZERO = 0
IN_JPEG = (b"Exif\0\0", b"tiff:Orientation")  # a JPEG with an orientation, in EXIF or XMP, contains one of them
IN_PNG = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")  # and a PNG one of these
JPEG = b"\xff\xd8"
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # markers of the segment with the size and the components
SEQUENTIAL = (0xC0, 0xC1)  # those of a JPEG that is not progressive
MARKER, END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]"), b"\xff\xd9"  # of a segment, also behind the pixels of a scan
SCAN, MAX_SCANS = b"\xff\xda", 100  # a progressive JPEG has about ten, and each takes as long as the whole image
UNSHRUNK = 8  # shorter sides stay as they are: only then do a half, a quarter and an eighth have different sizes
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
        faster and takes less memory; other formats, CMYK, and sides below 8 pixels keep their size.
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
    if encoded[:2] == JPEG and _jpeg_start(encoded)[1] and _has_too_many_scans(encoded):
        raise InputError(f"a JPEG of more than {MAX_SCANS} scans, which would take minutes to decode: save it again")
    if min(height, width) < UNSHRUNK:
        shrink = 1
    simplejpeg = simplejpeg_module() if plain else None
    pixels = None if simplejpeg is None else _simplejpeg(simplejpeg, encoded, height, width, shrink)
    pixels = _pillow(encoded, shrink) if pixels is None else pixels
    if pixels.shape[:2] not in ((height, width), (-(-height // shrink), -(-width // shrink))):
        raise InputError(f"{width} x {height} pixels by its header, but {pixels.shape[1]} x {pixels.shape[0]} in fact")
    return pixels


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
    if simplejpeg is not None and encoded[:2] == JPEG and not _may_be_turned(encoded):
        try:
            height, width, colours, _ = simplejpeg.decode_jpeg_header(encoded)
        except ValueError:
            colours = ""
        if colours in ("YCbCr", "Gray"):
            return Head(height, width, True)
    image = _open(encoded)
    return Head(*_upright_size(image, _orientation(image, encoded)), False)


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
    mode, orientation = image.mode, _orientation(image, encoded)
    return Description(str(image.format), mode, *_upright_size(image, orientation), orientation)


def _may_be_turned(encoded: bytes) -> bool:
    """Whether a JPEG may have an orientation."""
    start = encoded[: _jpeg_start(encoded)[0]]
    return any(mark in start for mark in IN_JPEG)


def _jpeg_start(encoded: bytes) -> tuple[int, bool]:
    """Where the first scan of a JPEG begins, and whether more may follow; (all bytes, True) for an unusual file."""
    at, components, several = 2, 0, False
    while at + 10 < len(encoded) and encoded[at] == 0xFF:
        marker, length = encoded[at + 1], int.from_bytes(encoded[at + 2 : at + 4], "big")
        if marker == SCAN[1]:
            return at, several or encoded[at + 4] < components
        if marker < 0xC0 or 0xD0 <= marker <= 0xD9 or marker == 0xFF or length < 2:
            break
        if marker in FRAMES:
            components, several = encoded[at + 9], marker not in SEQUENTIAL
        at += 2 + length
    return len(encoded), True


def _has_too_many_scans(encoded: bytes) -> bool:
    """Counts the scans of a JPEG up to its end: what lies behind it, such as the film of a motion photo, is no scan."""
    count, at = 0, len(JPEG)
    while count <= MAX_SCANS and (found := MARKER.search(encoded, at)) and encoded[found.start() : found.end()] != END:
        count += encoded[found.start() : found.end()] == SCAN
        at = found.end() + max(2, int.from_bytes(encoded[found.end() : found.end() + 2], "big"))
    return count > MAX_SCANS


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

        formats = image_formats.readable()
    except ImportError:
        raise InputError('reading images needs Pillow: pip install "ltjax[train]"') from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about large images, which ``decode`` refuses, and odd metadata
            return Image.open(io.BytesIO(encoded), formats=formats)
    except UnidentifiedImageError:
        begin = f"not an image ({len(encoded):,} bytes that begin with {encoded[:8]!r})"
        raise InputError(image_formats.described(encoded) or begin) from None
    except Image.DecompressionBombError as error:
        reason = _first_line(error).partition(", ")[0]
        raise InputError(f"{reason}; at most {MAX_PIXELS:,} can be decoded: make the image smaller") from None
    except Exception as error:  # Pillow raises OSError, SyntaxError, struct.error, ... for a bad header
        raise InputError(f"corrupt image header ({_first_line(error)})") from None


def _pillow(encoded: bytes, shrink: int) -> np.ndarray:
    image = _open(encoded)
    if shrink > 1 and image.format in ("JPEG", "MPO") and image.mode in ("RGB", "L"):
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
    # Pillow turns a TIFF itself when it loads the pixels.
    return pixels if image.format == "TIFF" else _turned(pixels, _orientation(image, encoded))


def _rgb(image: "PillowImage") -> np.ndarray:
    """uint8 [h, w, 3], from any of Pillow's modes."""
    from PIL import Image

    if image.mode.startswith("I"):
        return np.repeat(_grey(image)[..., None], 3, axis=2)
    if image.mode == "F":
        raise InputError("floating-point values; values must have 8 or 16 bits")
    if image.has_transparency_data:
        if image.mode == "La":  # colours multiplied by alpha
            image = image.convert("LA")
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))  # a copy, because Pillow's array is read-only


def _grey(image: "PillowImage") -> np.ndarray:
    """uint8 [h, w], from grey values of 16 bits, or 12 in a TIFF, which Pillow possibly stores in 32."""
    values = np.asarray(image).astype(np.int32)
    tags = getattr(image, "tag_v2", {})
    bits = 12 if tags.get(BITS_PER_SAMPLE) in (12, (12,)) else 16
    if values.min() < 0 or values.max() >= 2**bits:
        raise InputError(f"values from {values.min()} to {values.max()}; values must have 8 or 16 bits")
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:  # Pillow inverts only values of up to 8 bits
        values = 2**bits - 1 - values
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        values[values == clear] = 2**bits - 1
    return (values >> (bits - 8)).astype(np.uint8)


def _orientation(image: "PillowImage", encoded: bytes) -> int:
    """The orientation 1 .. 8, of EXIF or else XMP; 1 (upright) if there is none or it is invalid.

    In a PNG it may follow the pixels, so Pillow decodes the whole file to look for it: only if there can be one.
    A HEIF is upright already: its container has a rotation of its own, which pillow-heif applies.
    """
    if image.format == "HEIF":
        return 1
    if image.format == "PNG" and (
        image.width * image.height > MAX_PIXELS or not any(mark in encoded for mark in IN_PNG)
    ):
        return 1
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = image.getexif().get(ORIENTATION, 1)
        return int(found) if found in UPRIGHT else 1
    except Exception:  # broken metadata raises nearly anything
        return 1


def _upright_size(image: "PillowImage", orientation: int) -> tuple[int, int]:
    """(height, width) of the image when it is upright; ``image`` is not loaded."""
    width, height = image.size
    if image.format == "TIFF":  # some versions of Pillow give the upright size, others the stored one
        tags = getattr(image, "tag_v2", {})
        width, height = tags[IMAGE_WIDTH], tags[IMAGE_LENGTH]
    return (width, height) if orientation >= 5 else (height, width)


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    swap, rows, columns = UPRIGHT.get(orientation, (0, 1, 1))
    if (swap, rows, columns) == (0, 1, 1):
        return pixels
    return np.ascontiguousarray((pixels.transpose(1, 0, 2) if swap else pixels)[::rows, ::columns])


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
