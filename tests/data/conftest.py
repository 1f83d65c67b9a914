"""A small data set like CIFAR, in memory, and settings to build data sets with."""

import dataclasses

import numpy as np
import pytest

from ltjax.data.datasets import cifar
from ltjax.settings import DataSettings

TRAIN, TEST = 1000, 200


@pytest.fixture
def settings():
    """``settings(key=value)``: the usual settings, with some of them changed."""

    def make(**changes):
        usual = {
            "name": "cifar10",
            "dir": "",
            "source": "auto",
            "train_list": "",
            "val_list": "",
            "test_list": "",
            "class_names": "",
            "tfds": "",
            "image_column": "",
            "label_column": "",
            "split_column": "",
            "allow_outside": False,
            "test_fraction": 0.2,
            "image_size": 224,
            "resize": 256,
            "imbalance": 10.0,
            "profile": "exp",
            "selection_seed": 0,
            "validation_fraction": 0.0,
            "validation_use": "evaluate",
            "augment": "pad_crop_flip",
        }
        assert set(changes) <= set(usual)
        return DataSettings(**(usual | changes))

    return make


@pytest.fixture
def image_settings(settings):
    """``image_settings(key=value)``: settings for small images of the user's."""

    def make(**changes):
        usual = {"imbalance": 1.0, "augment": "none", "image_size": 16, "resize": 18}
        return settings(**(usual | changes))

    return make


def write_image(path, shade, size=(24, 20), kind="JPEG"):
    """An image of one colour, which identifies it after decoding."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade, shade, shade)).save(path, kind)
    return path


@pytest.fixture
def small_cifar(monkeypatch):
    """CIFAR-10 and CIFAR-100 with 1,000 training images."""
    specs = {name: dataclasses.replace(spec, train_size=TRAIN) for name, spec in cifar.SPECS.items()}
    monkeypatch.setattr(cifar, "SPECS", specs)


def arrays(num_classes):
    """The fields of the small data set's npz; the first pixel of image i encodes i."""
    rng = np.random.RandomState(num_classes)

    def numbered_images(count, kind):
        images = rng.randint(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        images[:, 0, 0] = np.stack([np.arange(count) // 256, np.arange(count) % 256, np.full(count, kind)], 1)
        return images

    return {
        "train_images": numbered_images(TRAIN, 1),
        "train_index": np.arange(TRAIN),
        "train_labels": rng.permutation(np.arange(TRAIN) % num_classes),
        "test_images": numbered_images(TEST, 2),
        "test_labels": rng.permutation(np.arange(TEST) % num_classes),
    }


@pytest.fixture
def fields():
    """The arrays of the small CIFAR-10."""
    return arrays(10)
