"""A balanced data set before it is made long-tailed: its constants, and its images, not read yet."""

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ltjax.data.dataset import Source, check_images, check_labels
from ltjax.errors import InputError


@dataclasses.dataclass(frozen=True)
class BalancedSpec:
    """The constants of a data set.

    Attributes:
      name: as in ``DATASETS``.
      class_names: C names, by label.
      train_size: number of images of the whole training set, equally many of each class.
      image_shape: (H, W, C).
      mean, std: those that papers use, per channel, for images scaled to 0 .. 1.
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
    """A data set of which the labels have been read, but not the images.

    Attributes:
      where: the file or folder, for messages.
      labels: int64 [train_size], in the order that the long-tailed selection uses.
      index: int64 [train_size], the position of each image in the data set's original order.
      images: positions in ``labels`` -> uint8 [., H, W, C].
      available: bool [train_size], whether ``images`` has the image of each position.
      test: () -> the test images; not called if a validation split takes their place.
    """

    where: str
    labels: np.ndarray
    index: np.ndarray
    images: Callable[[np.ndarray], np.ndarray]
    available: np.ndarray
    test: Callable[[], Source]


def check_balanced(labels: npt.ArrayLike, spec: BalancedSpec, field: str) -> np.ndarray:
    """Checks that every class has ``train_size / C`` labels, and returns them as int64 [train_size]."""
    labels = check_labels(labels, spec.num_classes, field)
    counts = np.bincount(labels, minlength=spec.num_classes)
    per_class = spec.train_size // spec.num_classes
    if (counts != per_class).any():
        raise InputError(
            f"{field}: {len(labels)} labels, {counts.min()} to {counts.max()} per class; these must be the labels of "
            f"the whole training set of {spec.name} in official order: {spec.train_size}, {per_class} per class"
        )
    return labels


def check_image_array(
    images: npt.ArrayLike, labels: np.ndarray, spec: BalancedSpec, field: str, labels_field: str
) -> np.ndarray:
    """Checks that images are uint8, have the data set's shape, and are as many as ``labels``; returns them."""
    images = check_images(images, field)
    if images.shape[1:] != spec.image_shape:
        raise InputError(
            f"{field}: images of shape {list(images.shape[1:])}; those of {spec.name} have {list(spec.image_shape)}"
        )
    if len(images) != len(labels):
        raise InputError(f"{field}: {len(images)} images, but {len(labels)} entries in {labels_field}")
    return images
