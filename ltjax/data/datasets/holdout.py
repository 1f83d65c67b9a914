"""Holds out a part of the training images for making choices: no choice is ever made on test images."""

import zlib

import numpy as np
import numpy.typing as npt

from ltjax.data.dataset import is_number
from ltjax.errors import InputError


def hold_out(
    labels: npt.ArrayLike, num_classes: int, fraction: float, seed: int, key: str = "config.data.validation_fraction"
) -> tuple[np.ndarray, np.ndarray]:
    """Splits training records class by class: max(1, round(fraction * n_c)) of each class are held out.

    No class is emptied: a class with a single image keeps it for training.

    Args:
      labels: integer [N].
      num_classes: C.
      fraction: in [0, 1); 0 holds nothing out.
      seed: 0 .. 2^32 - 1; the split depends only on labels, fraction and seed.
      key: the setting that holds the fraction, for error messages.

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
        raise InputError(f"{key}: {fraction!r} is not possible; it must be 0 or more and below 1")
    labels = np.asarray(labels)
    held = np.zeros(len(labels), dtype=bool)
    if fraction > 0:
        check_seed(seed)
        # Not the generator of the long-tailed selection, so that the two shuffles are independent.
        generator = np.random.RandomState([seed, zlib.crc32(b"validation")])
        for label in range(num_classes):
            positions = np.flatnonzero(labels == label)
            count = min(max(1, round(fraction * len(positions))), len(positions) - 1)
            held[generator.permutation(positions)[: max(count, 0)]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def check_seed(seed: object) -> None:
    """Raises InputError unless the selection seed is an integer 0 .. 2^32 - 1."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise InputError(
            f"config.data.selection_seed: {seed!r} is not possible; it must be an integer from 0 to {2**32 - 1}"
        )
