"""A small CIFAR-like data set in memory, and settings to build it with."""

import dataclasses
import types

import numpy as np
import pytest

from ltjax.data import cifar

TRAIN, TEST = 1000, 200


@pytest.fixture
def settings():
    """``settings(key=value)``: a full set of settings with some of them changed."""

    def make(**changes):
        usual = {
            "name": "cifar10",
            "dir": "",
            "source": "auto",
            "imbalance": 10.0,
            "profile": "exp",
            "selection_seed": 0,
            "validation_fraction": 0.0,
            "validation_use": "evaluate",
            "augment": "pad_crop_flip",
        }
        assert set(changes) <= set(usual)
        return types.SimpleNamespace(**(usual | changes))

    return make


@pytest.fixture
def small_cifar(monkeypatch):
    """CIFAR-10 and CIFAR-100 with 1,000 training images."""
    cards = {name: dataclasses.replace(card, train_size=TRAIN) for name, card in cifar.CARDS.items()}
    monkeypatch.setattr(cifar, "CARDS", cards)


def arrays(num_classes):
    """The fields of an npz of the small data set; image i begins with the bytes of i."""
    rng = np.random.RandomState(num_classes)

    def pictures(count, kind):
        images = rng.randint(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        images[:, 0, 0] = np.stack([np.arange(count) // 256, np.arange(count) % 256, np.full(count, kind)], 1)
        return images

    return {
        "train_images": pictures(TRAIN, 1),
        "train_index": np.arange(TRAIN),
        "train_labels": rng.permutation(np.arange(TRAIN) % num_classes),
        "test_images": pictures(TEST, 2),
        "test_labels": rng.permutation(np.arange(TEST) % num_classes),
    }


@pytest.fixture
def fields():
    """The arrays of the small CIFAR-10."""
    return arrays(10)
