"""What may be uploaded: a bounded number of files of bounded size whose headers are those of images of bounded size.

An upload is known by the hash of its content. The name that it came with is shown, and is never a part of a path.
"""

import hashlib
import os
import posixpath
from collections.abc import Sequence
from typing import NamedTuple

from ltjax.data import image_formats
from ltjax.data.augment.decode import describe
from ltjax.errors import InputError, shortened

MOST_UPLOADS = 24
MOST_BYTES = 25_000_000
MOST_PIXELS = 50_000_000
ENDINGS = {name: endings[0] for name, endings in image_formats.FORMATS.items()} | {"MPO": ".jpg"}


class Upload(NamedTuple):
    """An uploaded image.

    Attributes:
      name: the file's name where it came from, to be shown only.
      path: where the server keeps it for a while.
      file: the name that ltjax gives it: 32 digits of the hash of its content, and the ending of its format.
    """

    name: str
    path: str
    file: str


def checked(paths: Sequence[str]) -> tuple[list[Upload], list[str]]:
    """The uploads that are images, each content once, and a line for each of the others."""
    found: dict[str, Upload] = {}
    problems = []
    for path in paths[:MOST_UPLOADS]:
        name = shortened(posixpath.basename(path), 80)
        try:
            upload = Upload(name, path, file_name(read(path)))
            found.setdefault(upload.file, upload)
        except InputError as error:
            problems.append(f"{name}: {error}")
    if len(paths) > MOST_UPLOADS:
        problems.append(f"{len(paths) - MOST_UPLOADS} more images are left out: at most {MOST_UPLOADS} at a time")
    return list(found.values()), problems


def read(path: str) -> bytes:
    """The content of an uploaded file.

    Raises:
      InputError: a file that is too large, or is not there any more.
    """
    try:
        if os.path.getsize(path) > MOST_BYTES:
            raise InputError(f"{os.path.getsize(path):,} bytes; at most {MOST_BYTES:,}: make the image smaller")
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        raise InputError("is not kept any more; drop the image again") from None


def file_name(encoded: bytes) -> str:
    """A name for an image file, by its content.

    Raises:
      InputError: what is no image, or one of too many pixels; no pixel is decoded.

    Example:
      >>> import io
      >>> from PIL import Image
      >>> file = io.BytesIO()
      >>> Image.new("L", (6, 4), 200).save(file, "PNG")
      >>> file_name(file.getvalue()).endswith(".png")
      True
    """
    found = describe(encoded)
    if found.height * found.width > MOST_PIXELS:
        raise InputError(f"{found.width} x {found.height} pixels; at most {MOST_PIXELS:,}: make the image smaller")
    return hashlib.sha256(encoded).hexdigest()[:32] + ENDINGS[found.format]
