"""To be replaced in the merge: the part of a picture that is evaluated, by Pillow alone."""

from typing import Any

import numpy as np

from ltjax.data.decode import decode


def evaluation_view(picture: Any, size: int, resize: int) -> np.ndarray:
    """uint8 [size, size, 3]: the shorter side resized to ``resize``, antialiased, then the centre."""
    from PIL import Image

    picture = decode(picture) if isinstance(picture, bytes) else picture
    height, width = picture.shape[:2]
    scale = resize / min(height, width)
    width, height = max(resize, round(width * scale)), max(resize, round(height * scale))
    small = Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    return np.asarray(small.crop((left, top, left + size, top + size)))
