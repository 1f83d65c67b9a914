"""Data sets of random images, for config.data.name: their sizes and class counts are what times depend on."""

import numpy as np

from ltjax.data.dataset import Data, data_from_arrays
from ltjax.data.datasets.longtail import long_tailed_counts
from ltjax.settings import DataSettings

FILE = __file__  # config.data.name is FILE:cifar100 or FILE:tiny


def cifar100(settings: DataSettings) -> Data:
    """As large as CIFAR-100-LT with its 10,000 test images."""
    counts = long_tailed_counts(500, 100, settings.imbalance)
    return _random("random images of the sizes of CIFAR-100-LT", counts, 10_000, 32)


def tiny(settings: DataSettings) -> Data:
    """Four classes of 8 x 8 pixels."""
    del settings
    return _random("a few random images", np.array([12, 8, 4, 2]), 8, 8)


def _random(name: str, counts: np.ndarray, tested: int, size: int) -> Data:
    rng = np.random.default_rng(0)

    def images(number: int) -> np.ndarray:
        return rng.integers(0, 256, (number, size, size, 3), np.uint8)

    labels, test_labels = np.repeat(np.arange(len(counts)), counts), np.arange(tested) % len(counts)
    return data_from_arrays(name, (images(len(labels)), labels), (images(tested), test_labels))
