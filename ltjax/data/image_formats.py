"""The image formats that are read: one list, for the endings of file names and for what Pillow may open.

Pillow knows some forty formats and recognises them by content, whatever a file is called. Some start other programs
(PostScript: Ghostscript), some stand for whatever a plugin makes of them, some have no mark and match nearly anything.
So Pillow is always given this list.
"""

import functools
import os
from collections.abc import Mapping

# Pillow's name of a format -> the endings of its files. A JPEG followed by others (MPO, of some cameras) is a JPEG.
FORMATS: dict[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "JPEG2000": (".jp2", ".j2k", ".jpf", ".jpx"),
    "AVIF": (".avif",),
    "HEIF": (".heic", ".heif"),
}
# What to do about the formats of the list that not every installation reads.
INSTALL = {
    "AVIF": "pip install 'pillow>=11.3', or convert to JPEG",
    "HEIF": "pip install pillow-heif, or convert to JPEG",
}
# Endings of images that are not read -> what to do.
CONVERT = {
    **dict.fromkeys(
        (".raw", ".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw"),
        "camera raw: export as JPEG",
    ),
    **dict.fromkeys((".svg", ".svgz", ".eps", ".ps", ".ai", ".pdf", ".wmf", ".emf"), "drawing: export as PNG"),
    **dict.fromkeys((".psd", ".psb", ".xcf", ".kra"), "layers: export as PNG"),
    **dict.fromkeys(
        (".jxl", ".tga", ".ico", ".icns", ".pcx", ".dds", ".sgi", ".qoi", ".exr", ".hdr", ".fits", ".dcm"),
        "convert to PNG or JPEG",
    ),
}
# Beginnings of files of other formats -> what they are.
SIGNATURES = {
    b"%!PS": "PostScript",
    b"\xc5\xd0\xd3\xc6": "PostScript",
    b"%PDF": "a PDF",
    b"8BPS": "a Photoshop file",
    b"<svg": "an SVG drawing",
    b"\xd7\xcd\xc6\x9a": "a Windows metafile",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\0\0\1\0": "an icon",
    b"qoif": "QOI",
    b"DDS ": "DDS",
}
BRANDS = {"AVIF": (b"avif", b"avis"), "HEIF": (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")}


@functools.cache
def readable() -> tuple[str, ...]:
    """The formats of the list that this installation reads; HEIF is where pillow-heif is installed.

    Raises:
      ImportError: without Pillow.
    """
    from PIL import features

    missing = set()
    if "avif" not in features.get_supported_modules():
        missing.add("AVIF")
    try:
        import pillow_heif

        pillow_heif.register_heif_opener()
    except ImportError:
        missing.add("HEIF")
    return tuple(name for name in FORMATS if name not in missing)


def endings() -> tuple[str, ...]:
    """The endings of the names of image files that are read, in lower case.

    Example:
      >>> endings()[:3]
      ('.jpg', '.jpeg', '.jpe')
    """
    return tuple(ending for name in _readable_or_usual() for ending in FORMATS[name])


def _readable_or_usual() -> tuple[str, ...]:
    try:
        return readable()
    except ImportError:  # without Pillow, files can be listed all the same
        return tuple(name for name in FORMATS if name not in INSTALL)


def advice(ending: str) -> str:
    """What to do about images with this ending, which are not read; "" for images that are, and for other files.

    Example:
      >>> advice(".NEF"), advice(".jpg"), advice(".txt")
      ('camera raw: export as JPEG', '', '')
    """
    ending = ending.lower()
    for name in set(INSTALL) - set(_readable_or_usual()):
        if ending in FORMATS[name]:
            return INSTALL[name]
    return CONVERT.get(ending, "")


def unread(counts: Mapping[str, int]) -> str:
    """The images among files that were left out, and what to do about them; "" if there are none.

    Args:
      counts: kind of file, such as ``*.NEF`` -> number.

    Example:
      >>> unread({"*.NEF": 3, "*.svg": 1, "*.txt": 2})
      '3 x *.NEF (camera raw: export as JPEG), 1 x *.svg (drawing: export as PNG)'
    """
    found = [(kind, count, advice(os.path.splitext(kind)[1])) for kind, count in sorted(counts.items())]
    return ", ".join(f"{count} x {kind} ({what})" for kind, count, what in found if what)


def described(encoded: bytes) -> str:
    """What a file is that begins as another known format does, and what to do; "" for an unknown one.

    Example:
      >>> described(b"%!PS-Adobe-3.0 EPSF-3.0")
      'PostScript, which is not read; convert it to PNG or JPEG'
    """
    if encoded[4:8] == b"ftyp":
        for name, brands in BRANDS.items():
            if encoded[8:12] in brands and name not in _readable_or_usual():
                return f"{name}, which this installation does not read: {INSTALL[name]}"
    for begin, name in SIGNATURES.items():
        if encoded.startswith(begin):
            return f"{name}, which is not read; convert it to PNG or JPEG"
    return ""
