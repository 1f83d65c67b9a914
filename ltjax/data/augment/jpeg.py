"""What the markers of a JPEG say, and its pixels by simplejpeg: scaled, and only down to the last row that is needed.

simplejpeg cannot crop. But a file whose header gives a smaller height is decoded so far and no further, into the same
pixels: rows below a crop, a seventh of the image on average, cost little then. libjpeg-turbo reports the rest of the
file as extraneous bytes, which is the one warning that is expected here.
"""

import re
import threading
from types import ModuleType
from typing import NamedTuple

import numpy as np

SIGNATURE = b"\xff\xd8"
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # markers of the segment with the size and the components
SEQUENTIAL = (0xC0, 0xC1)  # those of a JPEG that is not progressive
RESTARTS = 0xDD  # marker of the segment that announces restart markers between the pixels
MARKER, END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]"), b"\xff\xd9"  # of a segment, also behind the pixels of a scan
SCAN, MAX_SCANS = b"\xff\xda", 100  # a progressive JPEG has about ten, and each takes as long as the whole image
IN_JPEG = (b"Exif\0\0", b"tiff:Orientation")  # a JPEG with an orientation, in EXIF or XMP, contains one of them
LEFT_OUT = re.compile(r"\d+ extraneous bytes before marker 0xd9$")  # libjpeg-turbo's first warning about such a file
KEPT = 2**25  # bytes of the largest image for which a thread keeps the memory: 11 megapixels


class Start(NamedTuple):
    """What precedes the first scan of a JPEG.

    Attributes:
      length: bytes before the first scan; all of them in an unusual file.
      several_scans: whether more scans may follow.
      height_at: where the height is, two bytes; 0 if the rows of the image are not stored simply from top to bottom.
      block: rows of pixels that are stored together.
    """

    length: int
    several_scans: bool
    height_at: int
    block: int


def read_start(encoded: bytes) -> Start:
    """Reads the markers before the first scan."""
    at, components, several, height_at, block, restarts = 2, 0, False, 0, 0, False
    while at + 10 < len(encoded) and encoded[at] == 0xFF:
        marker, length = encoded[at + 1], int.from_bytes(encoded[at + 2 : at + 4], "big")
        if marker == SCAN[1]:
            several = several or encoded[at + 4] < components
            return Start(at, several, 0 if several or restarts else height_at, block)
        if marker < 0xC0 or 0xD0 <= marker <= 0xD9 or marker == 0xFF or length < 2:
            break
        if marker in FRAMES:
            components, several, height_at = encoded[at + 9], marker not in SEQUENTIAL, at + 5
            block = 8 * max((factors & 15 for factors in encoded[at + 11 : at + 2 + length : 3]), default=0)
        restarts = restarts or marker == RESTARTS
        at += 2 + length
    return Start(len(encoded), True, 0, 0)


def may_be_turned(encoded: bytes, start: Start) -> bool:
    """Whether a JPEG may have an orientation."""
    begin = encoded[: start.length]
    return any(mark in begin for mark in IN_JPEG)


def has_too_many_scans(encoded: bytes) -> bool:
    """Counts the scans of a JPEG up to its end: what lies behind it, such as the film of a motion photo, is no scan."""
    count, at = 0, len(SIGNATURE)
    while count <= MAX_SCANS and (found := MARKER.search(encoded, at)) and encoded[found.start() : found.end()] != END:
        count += encoded[found.start() : found.end()] == SCAN
        at = found.end() + max(2, int.from_bytes(encoded[found.end() : found.end() + 2], "big"))
    return count > MAX_SCANS


def by_simplejpeg(
    simplejpeg: ModuleType, encoded: bytes, size: tuple[int, int], shrink: int, rows: int, reuse: bool
) -> np.ndarray | None:
    """The pixels of a JPEG in YCbCr or grey.

    Args:
      simplejpeg: the module.
      encoded: the bytes of the file.
      size: (height, width) by its header.
      shrink: 1, 2, 4 or 8, as in ``decode``.
      rows: how many of the image's rows are needed, from the top; those below may be missing.
      reuse: whether the pixels are in memory that the next call of this thread uses again.

    Returns:
      uint8 [h, w, 3]; None if libjpeg-turbo reports anything, even a warning: Pillow then decides whether it is an
      error.
    """
    height, width = size
    shorter = _cut_off(encoded, read_start(encoded), height, rows)
    if shorter is not None:
        found = _decode(simplejpeg, *shorter, width, shrink, reuse, cut_off=True)
        if found is not None:
            return found[: -(-rows // shrink)]
    return _decode(simplejpeg, encoded, height, width, shrink, reuse, cut_off=False)


def can_end_early(encoded: bytes, start: Start, height: int, rows: int) -> int:
    """The rows that are decoded where the first ``rows`` are needed; 0 if there is nothing to gain.

    A block more than needed is decoded, because the colours at its edge are interpolated from the next one. A file
    without its end is left to Pillow, whatever part of it a crop needs: it is truncated.
    """
    least = (-(-rows // start.block) + 1) * start.block if start.block else height
    return 0 if not start.height_at or least >= height or encoded[-2:] != END else least


def _cut_off(encoded: bytes, start: Start, height: int, rows: int) -> tuple[bytearray, int] | None:
    """The file with a smaller height in its header, and this height; None if there is nothing to gain."""
    least = can_end_early(encoded, start, height, rows)
    if not least:
        return None
    changed = bytearray(encoded)
    changed[start.height_at : start.height_at + 2] = least.to_bytes(2, "big")
    return changed, least


def _decode(
    simplejpeg: ModuleType, encoded: bytes | bytearray, height: int, width: int, shrink: int, reuse: bool, cut_off: bool
) -> np.ndarray | None:
    shape = -(-height // shrink), -(-width // shrink)
    least = (0, 0) if shrink == 1 else shape
    pixels = _memory(*shape) if reuse else np.empty((*shape, 3), np.uint8)
    try:
        found: np.ndarray = simplejpeg.decode_jpeg(
            encoded, "RGB", fastdct=False, fastupsample=False, min_height=least[0], min_width=least[1], buffer=pixels
        )
    except ValueError as warning:
        return pixels if cut_off and LEFT_OUT.search(str(warning)) else None
    return found if found.shape == pixels.shape else None


_kept = threading.local()


def _memory(height: int, width: int) -> np.ndarray:
    """uint8 [height, width, 3] in memory that the thread's next call uses again: new memory costs a fifth of the time.

    It grows with the images, up to ``KEPT``.
    """
    size = height * width * 3
    memory: np.ndarray | None = getattr(_kept, "memory", None)
    if memory is None or len(memory) < size:
        memory = np.empty(size, np.uint8)
        if size <= KEPT:
            _kept.memory = memory
    return memory[:size].reshape(height, width, 3)
