"""CIFAR in one ``.npz`` file, as ``python -m ltjax.data.convert`` writes it.

Fields:
  train_images  uint8 [N, 32, 32, 3], any part of the training set
  train_index   integer [N], where each of them stands in the official order (0 .. 49999)
  train_labels  integer [50000], the labels of the WHOLE official training set in the official order: the long-tailed
                selection shuffles all images of a class, so it needs the labels of those that are not kept, too
  test_images   uint8 [T, 32, 32, 3]
  test_labels   integer [T]
The official order is that of the python batches: data_batch_1 .. data_batch_5 joined, or train; TFDS's ``id`` counts
the same.
"""

import zipfile
import zlib
from typing import Any

import numpy as np

from ltjax.data.longtail import BalancedSet, Card
from ltjax.data.sources import check_images, check_index, check_labels
from ltjax.errors import InputError

FIELDS = ("train_images", "train_index", "train_labels", "test_images", "test_labels")
TRAIN_SIZE = 50_000
IMAGE_SHAPE = (32, 32, 3)


def places(root: Any, card: Card) -> list:
    """Where the file may be."""
    return [root] if root.suffix == ".npz" else [root / f"{card.name}.npz"]


def how(root: Any, card: Card) -> str:
    """How to get the file."""
    return f"python -m ltjax.data.convert --help (writes {places(root, card)[0]})"


def read(path: Any, card: Card) -> BalancedSet:
    """The data set in the file; only the labels are read at once."""
    num_classes = len(card.class_names)
    labels = check_official(_field(path, "train_labels"), num_classes, f"{path}: train_labels")
    index = check_index(_field(path, "train_index"), TRAIN_SIZE, f"{path}: train_index")
    row = np.full(TRAIN_SIZE, -1)
    row[index] = np.arange(len(index))

    def train_images(positions: np.ndarray) -> np.ndarray:
        images = check_pictures(_field(path, "train_images"), len(index), f"{path}: train_images", "train_index")
        return images[row[positions]]

    def test() -> tuple[np.ndarray, np.ndarray]:
        test_labels = check_labels(_field(path, "test_labels"), num_classes, f"{path}: test_labels")
        images = _field(path, "test_images")
        return check_pictures(images, len(test_labels), f"{path}: test_images", "test_labels"), test_labels

    return BalancedSet(str(path), labels, np.arange(TRAIN_SIZE), train_images, row >= 0, test)


def check_official(labels: Any, num_classes: int, field: str) -> np.ndarray:
    """The labels of the whole official training set as int64 [50000]: every class as often as any other."""
    labels = check_labels(labels, num_classes, field)
    counts = np.bincount(labels, minlength=num_classes)
    if len(labels) != TRAIN_SIZE or (counts != TRAIN_SIZE // num_classes).any():
        raise InputError(
            f"{field}: {len(labels)} labels, {counts.min()} to {counts.max()} a class; these must be the labels of the "
            f"whole official training set, {TRAIN_SIZE} in its order, {TRAIN_SIZE // num_classes} a class"
        )
    return labels


def check_pictures(images: Any, count: int, field: str, labels_field: str) -> np.ndarray:
    """The images, after checking that they are uint8 [count, 32, 32, 3]."""
    images = check_images(images, count, field, labels_field)
    if images.shape[1:] != IMAGE_SHAPE:
        raise InputError(f"{field}: images of shape {list(images.shape[1:])}; CIFAR has {list(IMAGE_SHAPE)}")
    return images


def _field(path: Any, name: str) -> np.ndarray:
    return load_array(path, name, FIELDS)


def load_array(path: Any, name: str, expected: tuple[str, ...] = ()) -> np.ndarray:
    """One field of an ``.npz``, or the array of an ``.npy`` (``name`` empty); every fault is one line with the path."""
    try:
        with path.open("rb") as file:
            return _from_archive(np.load(file), path, name, expected)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, InputError):
            raise
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(f"{path}: {name or 'array'} cannot be read ({reason})") from error


def _from_archive(loaded: Any, path: Any, name: str, expected: tuple[str, ...]) -> np.ndarray:
    if isinstance(loaded, np.ndarray):
        if name:
            raise InputError(f"{path}: an .npy file has no field '{name}'")
        return loaded
    with loaded:
        if name not in loaded.files:
            needed = f"; needed: {', '.join(expected)}" if expected else ""
            raise InputError(f"{path}: no field '{name}'; the file has: {', '.join(loaded.files) or 'none'}{needed}")
        return loaded[name]
