"""OpenCV where it is installed (``ltjax[images]``)."""

import functools
from types import ModuleType


def opencv() -> ModuleType | None:
    """The module cv2, limited to one thread (batches are made in parallel), or None where it is not installed."""
    return _opencv()


@functools.cache
def _opencv() -> ModuleType | None:
    try:
        import cv2
    except ImportError:
        return None
    cv2.setNumThreads(1)
    return cv2
