"""To be replaced in the merge: the encoded bytes of a picture -> its pixels, by Pillow alone."""

import io

import numpy as np

from ltjax.errors import InputError


def decode(encoded: bytes) -> np.ndarray:
    """uint8 [h, w, 3] RGB of the bytes of a JPEG or PNG file."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(encoded)) as picture:
            return np.asarray(picture.convert("RGB"))
    except Exception as error:
        raise InputError(f"cannot be decoded ({type(error).__name__})") from error
