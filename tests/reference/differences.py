"""Gradients of float64 functions by central differences."""

from collections.abc import Callable
from typing import Any

import numpy as np


def gradient(function: Callable[[Any], Any], x: Any, step: float = 1e-5) -> np.ndarray:
    """d function / d x of a scalar function at x, one number at a time."""
    x = np.array(x, np.float64)
    slopes = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        center = x[index]
        x[index] = center + step
        above = function(x)
        x[index] = center - step
        slopes[index] = (above - function(x)) / (2 * step)
        x[index] = center
    return slopes
