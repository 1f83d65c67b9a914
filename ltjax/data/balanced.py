"""A balanced data set before it is made long-tailed: what is known of it, and where its images still lie."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from ltjax.data.dataset import Source, check_images, check_labels
from ltjax.errors import InputError


@dataclasses.dataclass(frozen=True)
class BalancedSpec:
    """The constants of a data set.

    Attributes:
      name: as in ``DATASETS``.
      class_names: C names, by label.
      train_size: images of the whole training set, as many of each class.
      image_shape: (H, W, C).
      mean, std: the usual ones of its channels, for images scaled to 0 .. 1.
    """

    name: str
    class_names: tuple[str, ...]
    train_size: int
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def num_classes(self) -> int:
        return len(self.class_names)


@dataclasses.dataclass(frozen=True)
class BalancedSet:
    """The files of a data set, with the labels read and the images not.

    Attributes:
      where: the file or folder, for messages.
      labels: int64 [train_size], in the order that the selection counts in.
      index: int64 [train_size], the position of each in the data set's original order.
      images: positions in ``labels`` -> uint8 [., H, W, C].
      available: bool [train_size], the positions whose image ``images`` has.
      test: () -> the test images; not called when a validation split is evaluated.
    """

    where: str
    labels: np.ndarray
    index: np.ndarray
    images: Callable[[np.ndarray], np.ndarray]
    available: np.ndarray
    test: Callable[[], Source]


def check_balanced(labels: Any, spec: BalancedSpec, field: str) -> np.ndarray:
    """The labels of the whole training set as int64, after checking that every class has its ``train_size / C``."""
    labels = check_labels(labels, spec.num_classes, field)
    counts = np.bincount(labels, minlength=spec.num_classes)
    per_class = spec.train_size // spec.num_classes
    if (counts != per_class).any():
        raise InputError(
            f"{field}: {len(labels)} labels, {counts.min()} to {counts.max()} a class; these must be the labels of the "
            f"whole training set of {spec.name} in its official order, {spec.train_size} of them, {per_class} a class"
        )
    return labels


def check_image_array(images: Any, labels: Any, spec: BalancedSpec, field: str, labels_field: str) -> np.ndarray:
    """The images, after checking that they are uint8, of the data set's shape, and as many as ``labels``."""
    images = check_images(images, field)
    if images.shape[1:] != spec.image_shape:
        raise InputError(f"{field}: images of shape {list(images.shape[1:])}; {spec.name} has {list(spec.image_shape)}")
    if len(images) != len(labels):
        raise InputError(f"{field}: {len(images)} images, but {len(labels)} entries in {labels_field}")
    return images
