"""A part of the training images set aside to make choices on: test images never choose anything."""

import zlib
from typing import Any

import numpy as np

from ltjax.data.dataset import is_number
from ltjax.errors import InputError


def hold_out(
    labels: Any, num_classes: int, fraction: float, seed: int, key: str = "config.data.validation_fraction"
) -> tuple[np.ndarray, np.ndarray]:
    """Splits training records class by class: max(1, round(fraction * n_c)) of each class are set aside.

    A class is never emptied: one that has a single image keeps it for training.

    Args:
      labels: integer [N].
      num_classes: C.
      fraction: in [0, 1); 0 sets nothing aside.
      seed: 0 .. 2^32 - 1; the split depends on labels, fraction and seed alone.
      key: the setting that an impossible fraction is reported under.

    Returns:
      (kept, held), int64, both ascending; together 0 .. N - 1, each once.

    Raises:
      InputError: if the fraction is outside [0, 1) or the seed is impossible.

    Example:
      >>> kept, held = hold_out([0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2], num_classes=3, fraction=0.25, seed=0)
      >>> held.tolist(), kept.tolist()
      ([0, 1, 8], [2, 3, 4, 5, 6, 7, 9, 10])
    """
    if not is_number(fraction) or not 0 <= fraction < 1:
        raise InputError(f"{key}: {fraction!r} is not possible; 0 or more and below 1")
    labels = np.asarray(labels)
    aside = np.zeros(len(labels), dtype=bool)
    if fraction > 0:
        check_seed(seed)
        # Another generator than that of the long-tailed selection, so that the hold-out does not follow its shuffle.
        generator = np.random.RandomState([seed, zlib.crc32(b"validation")])
        for label in range(num_classes):
            positions = np.flatnonzero(labels == label)
            count = min(max(1, round(fraction * len(positions))), len(positions) - 1)
            aside[generator.permutation(positions)[: max(count, 0)]] = True
    return np.flatnonzero(~aside), np.flatnonzero(aside)


def check_seed(seed: Any) -> None:
    """Raises InputError unless the selection seed is an integer 0 .. 2^32 - 1."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise InputError(f"config.data.selection_seed: {seed!r} is not possible; an integer from 0 to {2**32 - 1}")
