"""Decodes an image file to pixels: uint8 [h, w, 3] RGB, upright, whatever the file's format; errors are one line.

A plain JPEG (YCbCr or greyscale) is decoded by simplejpeg, a plain PNG or WebP by OpenCV, where they are installed
(``ltjax[images]``), everything else by Pillow. All give the same pixels: for JPEG the accurate DCT and smooth chroma
upsampling of libjpeg-turbo.

Rules for every format and all decoders:
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
import warnings
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ltjax.data import image_formats
from ltjax.data.augment import jpeg, png_webp
from ltjax.data.augment.opencv import opencv
from ltjax.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

MAX_PIXELS = 89_478_485  # Pillow's limit; 268 MB
ORIENTATION = 0x0112  # tags of EXIF and TIFF
IMAGE_WIDTH, IMAGE_LENGTH, BITS_PER_SAMPLE, PHOTOMETRIC = 256, 257, 258, 262
WHITE_IS_ZERO = 0
IN_PNG = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")  # a PNG with an orientation contains one of them
UNSHRUNK = 8  # shorter sides stay as they are: only then do a half, a quarter and an eighth have different sizes
# orientation -> (1 to transpose first, step along rows, step along columns)
UPRIGHT = {2: (0, 1, -1), 3: (0, -1, -1), 4: (0, -1, 1), 5: (1, 1, 1), 6: (1, 1, -1), 7: (1, -1, -1), 8: (1, -1, 1)}


class Head(NamedTuple):
    """The size of the upright image, and whether simplejpeg or OpenCV can decode it (``plain``): what a header says."""

    height: int
    width: int
    plain: bool


def decode(
    encoded: bytes, shrink: int = 1, head: Head | None = None, rows: int | None = None, reuse: bool = False
) -> np.ndarray:
    """The pixels of an image file.

    Args:
      encoded: the bytes of the file.
      shrink: 1, 2, 4 or 8: the sides of a JPEG are divided by it (rounded up) by means of a smaller DCT, which is
        faster and takes less memory; other formats, CMYK, and sides below 8 pixels keep their size.
      head: ``read_head(encoded)``, if it is already known.
      rows: how many of the image's rows are needed, from the top: the pixels may lack some of the rows below; None for
        all of them.
      reuse: the pixels may be in memory that the next call of this thread uses again.

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
    is_jpeg = encoded[:2] == jpeg.SIGNATURE
    if is_jpeg and jpeg.read_start(encoded).several_scans and jpeg.has_too_many_scans(encoded):
        scans = jpeg.MAX_SCANS
        raise InputError(f"a JPEG of more than {scans} scans, which would take minutes to decode: save it again")
    if min(height, width) < UNSHRUNK:
        shrink = 1
    pixels = None
    if plain and is_jpeg and (simplejpeg := simplejpeg_module()) is not None:
        needed = height if rows is None else rows
        pixels = jpeg.by_simplejpeg(simplejpeg, encoded, (height, width), shrink, needed, reuse)
        if pixels is not None:
            return pixels
    elif plain and (cv2 := opencv()) is not None:
        pixels = png_webp.by_opencv(cv2, encoded)
    pixels = _pillow(encoded, shrink) if pixels is None else pixels
    if pixels.shape[:2] not in ((height, width), (-(-height // shrink), -(-width // shrink))):
        raise InputError(f"{width} x {height} pixels by its header, but {pixels.shape[1]} x {pixels.shape[0]} in fact")
    return pixels


class Shared:
    """An image file of which several crops are taken: it is decoded once for each ``shrink`` that they ask for.

    The first pixels lie in memory that the thread's next image uses again, so a ``Shared`` is of one image at a time.

    Attributes:
      encoded: the bytes of the file.
      head: ``read_head(encoded)``.

    Raises:
      InputError: as ``decode``.

    Example:
      >>> from PIL import Image
      >>> file = io.BytesIO()
      >>> Image.new("L", (6, 4), 200).save(file, "PNG")
      >>> shared = Shared(file.getvalue())
      >>> shared.pixels(1, rows=4) is shared.pixels(1, rows=4)
      True
    """

    def __init__(self, encoded: bytes) -> None:
        self.encoded = encoded
        self.head = read_head(encoded)
        self._decoded: dict[int, np.ndarray] = {}

    def pixels(self, shrink: int, rows: int) -> np.ndarray:
        """``decode(encoded, shrink, head, rows)``, with the rows that it would have and no others."""
        if shrink not in self._decoded:
            self._decoded[shrink] = decode(self.encoded, shrink, self.head, reuse=not self._decoded)
        pixels = self._decoded[shrink]
        height, _, plain = self.head
        by_rows = plain and self.encoded[:2] == jpeg.SIGNATURE and simplejpeg_module() is not None
        if by_rows and jpeg.can_end_early(self.encoded, jpeg.read_start(self.encoded), height, rows):
            return pixels[: -(-rows // (shrink if pixels.shape[0] < height else 1))]
        return pixels


def read_head(encoded: bytes) -> Head:
    """Reads the header of an image file, without decoding the pixels.

    Raises:
      InputError: as ``decode``, for errors in the header.

    Example:
      >>> from PIL import Image
      >>> file = io.BytesIO()
      >>> Image.new("L", (6, 4), 200).save(file, "PNG")
      >>> read_head(file.getvalue())[:2]
      (4, 6)
    """
    if encoded[:2] == jpeg.SIGNATURE:
        simplejpeg = simplejpeg_module()
        if simplejpeg is not None and not jpeg.may_be_turned(encoded, jpeg.read_start(encoded)):
            try:
                height, width, colours, _ = simplejpeg.decode_jpeg_header(encoded)
            except ValueError:
                colours = ""
            if colours in ("YCbCr", "Gray"):
                return Head(height, width, True)
    elif opencv() is not None and (size := png_webp.plain_size(encoded)) is not None:
        return Head(*size, True)
    image = _open(encoded)
    return Head(*_upright_size(image, _orientation(image, encoded)), False)


def pixels_of(image: "PillowImage") -> np.ndarray:
    """The pixels of a Pillow image, by the rules for files.

    Returns:
      uint8 [h, w, 3].

    Raises:
      InputError: for floating-point values, or a file behind the image that is corrupt.

    Example:
      >>> from PIL import Image
      >>> pixels_of(Image.new("LA", (6, 4), (0, 0)))[0, 0].tolist()
      [255, 255, 255]
    """
    from PIL import ImageOps

    try:
        return _rgb(ImageOps.exif_transpose(image))
    except InputError:
        raise
    except Exception as error:  # as in ``_pillow``
        raise InputError(f"truncated or corrupt image ({_first_line(error)})") from None


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
