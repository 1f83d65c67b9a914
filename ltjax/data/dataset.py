"""What a data set is: labels, and images by ``read(i)``; checked once, when it is built.

A data set is a function that takes ``config.data`` and returns a ``Data``: training and test images as two ``Source``
(labels int32 [N], ``read(i)`` uint8 [H, W, C]), class counts, image shape, and each channel's mean and standard
deviation.
``DATASETS`` in ``ltjax.data`` lists these functions by name; ``build`` calls one and checks the result with
``check_data``. If the images fit into memory, ``data_from_arrays`` fills in everything else:

    import numpy as np
    from ltjax.data import data_from_arrays

    def my_dataset(settings):
        with np.load(settings.dir) as file:  # config.data.dir
            train = file["train_images"], file["train_labels"]
            test = file["test_images"], file["test_labels"]
        return data_from_arrays("my_dataset", train, test)

Images that do not fit into memory, or differ in size, stay in files: ``datasets/user_images.py`` is an example.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from ltjax.data.augment.transform import Image
from ltjax.data.label_sets import LabelSets
from ltjax.errors import MAX_QUOTED, InputError, shortened

T = TypeVar("T")


def is_number(value: object) -> bool:
    """Whether ``value`` is a real number (True and False are not)."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


@dataclasses.dataclass(frozen=True)
class ArrayReader:
    """Reads images from memory: ``reader(i)`` one, ``reader(records)`` several."""

    images: np.ndarray

    def __call__(self, record: int | np.ndarray) -> np.ndarray:
        return self.images[record]


@dataclasses.dataclass(frozen=True)
class Reindexed(Generic[T]):
    """``reindexed(i)`` is ``function(records[i])``; picklable if the function is."""

    function: Callable[[int], T]
    records: np.ndarray

    def __call__(self, record: int) -> T:
        return self.function(int(self.records[record]))


class Names(Protocol):
    """The names of N images, such as ``storage.packed_names.PackedNames``."""

    def __getitem__(self, position: int) -> str: ...

    def encoded(self) -> Iterator[bytes]:
        """All names as bytes, in order."""

    def take(self, positions: np.ndarray) -> Self:
        """The names at these positions [n], in this order."""

    def sha256(self) -> str:
        """SHA-256, in hex, of all names."""


@dataclasses.dataclass(frozen=True)
class Source:
    """Labelled images; records 0 .. N - 1.

    Attributes:
      labels: int32 [N].
      index: int64 [N], the position of each image in the data set's original order.
      read: record -> uint8 [H, W, C], the image as it is evaluated; all have the same size.
      read_many: records [B] -> uint8 [B, H, W, C], if that is faster than reading them one by one.
      encoded: record -> the bytes of its image file, if images are stored encoded and differ in size; crops of whole
        images (``Transform.cut``) start from these.
      where: record -> its location, for messages ("DIR/rose/17.jpg"); without it messages give record and index only.
      names: of the images, if they have any; part of the fingerprint.
      size: record -> the bytes of its image file, found without opening it, if images are files.
      label_sets: the classes of each image, if it has any number of them; ``labels`` is then the rarest of them.

    Example:
      >>> source = array_source(np.zeros((2, 8, 8, 3), np.uint8), labels=[0, 1], index=[40, 7])
      >>> len(source), source.read(1).shape, source.images(np.array([1, 0, 1])).shape
      (2, (8, 8, 3), (3, 8, 8, 3))
    """

    labels: np.ndarray
    index: np.ndarray
    read: Callable[[int], np.ndarray]
    read_many: Callable[[np.ndarray], np.ndarray] | None = None
    encoded: Callable[[int], bytes] | None = None
    where: Callable[[int], str] | None = None
    names: Names | None = None
    size: Callable[[int], int] | None = None
    label_sets: LabelSets | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def images(self, records: np.ndarray) -> np.ndarray:
        """The images of ``records`` [B] as one uint8 [B, H, W, C]; an error names the record that cannot be read."""
        if self.read_many is not None:
            return self.read_many(records)
        images = [self._read_named(int(record)) for record in records]
        for record, image in zip(records, images, strict=True):
            if image.shape != images[0].shape or image.dtype != np.uint8 or image.ndim != 3:
                raise InputError(
                    f"record {record} (index {self.index[record]}) is {image.dtype} {list(image.shape)}; every image "
                    f"must be uint8 [H, W, C], and of one shape: record {records[0]} has {list(images[0].shape)}"
                )
        return np.stack(images)

    def subset(self, records: np.ndarray) -> "Source":
        """A source of these records [n] only, in this order; records may repeat.

        Example:
          >>> images = np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1)
          >>> source = array_source(images, labels=[0, 1, 2], index=[7, 8, 9]).subset(np.array([2, 0]))
          >>> source.labels.tolist(), source.index.tolist(), source.images(np.array([0, 1])).ravel().tolist()
          ([2, 0], [9, 7], [2, 0])
        """

        def reindexed(function: Callable[[int], T] | None) -> Callable[[int], T] | None:
            return function and Reindexed(function, records)

        return Source(
            self.labels[records],
            self.index[records],
            Reindexed(self.read, records),
            lambda positions: self.images(records[positions]),
            reindexed(self.encoded),
            reindexed(self.where),
            None if self.names is None else self.names.take(records),
            reindexed(self.size),
            None if self.label_sets is None else self.label_sets.take(records),
        )

    def class_counts(self, num_classes: int) -> np.ndarray:
        """int64 [C], the images of each class."""
        if self.label_sets is not None:
            return self.label_sets.counts(num_classes)
        return np.bincount(self.labels, minlength=num_classes)

    def named(self, record: int) -> str:
        """How messages name a record: its number, index and location."""
        where = "" if self.where is None else f", {shortened(self.where(record), 2 * MAX_QUOTED)}"  # file and list
        return f"record {record} (index {self.index[record]}{where})"

    def cut(self, record: int, cut: Callable[[Image], T]) -> T:
        """``cut`` applied to the whole image, encoded if it is stored so; an error names the record."""
        read: Callable[[int], Image] = self.encoded or self.read
        return self._named(record, lambda: cut(read(record)))

    def _read_named(self, record: int) -> np.ndarray:
        return self._named(record, lambda: np.asarray(self.read(record)))

    def _named(self, record: int, read: Callable[[], T]) -> T:
        try:
            return read()
        except Exception as error:
            reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}".splitlines()[0]
            raise InputError(f"{self.named(record)} cannot be read: {reason}") from error


@dataclasses.dataclass(frozen=True)
class Data:
    """A data set, ready for training.

    Attributes:
      name: as in ``DATASETS``.
      train: the long-tailed training images.
      test: the images to evaluate on.
      split: what ``test`` is: ``test``, or ``validation`` (held-out training images, for making choices).
      num_classes: C.
      class_counts: int64 [C], training images of each class.
      image_shape: (H, W, C).
      mean, std: per channel, for images scaled to 0 .. 1.
      class_names: C names, or None.
      fingerprint: ``fingerprint(train)``.
      validation: images for making choices, beside ``test``: the data set's official validation images, or held-out
        training images (``validation_use="choose"``); None if there are none.
      notes: what the user should know about how the data was read, one line each; logged when a run begins.
    """

    name: str
    train: Source
    test: Source
    split: str
    num_classes: int
    class_counts: np.ndarray
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...] | None
    fingerprint: str
    validation: Source | None = None
    notes: tuple[str, ...] = ()


def array_source(images: np.ndarray, labels: npt.ArrayLike, index: npt.ArrayLike) -> Source:
    """A source of images in memory, uint8 [N, H, W, C]."""
    reader = ArrayReader(np.ascontiguousarray(images))
    return Source(np.asarray(labels, dtype=np.int32), np.asarray(index, dtype=np.int64), reader, reader)


def data_from_arrays(
    name: str,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    class_names: tuple[str, ...] | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> Data:
    """A data set of images in memory.

    Args:
      name: of the data set, for messages and results.
      train, test: images uint8 [N, H, W, C] with 1 or 3 channels, and labels integer [N], 0 .. C - 1.
      class_names: C names, by label; without them C is the largest training label plus 1.
      mean, std: per channel, for images scaled to 0 .. 1; by default those of the training images.

    Raises:
      InputError: for a wrong shape or dtype of images or labels, or a class without a training image.

    Example:
      >>> images = np.arange(4 * 8 * 8 * 3).reshape(4, 8, 8, 3).astype(np.uint8)
      >>> data = data_from_arrays("stripes", (images, np.array([0, 0, 0, 1])), (images[:2], np.array([0, 1])))
      >>> data.class_counts.tolist(), data.image_shape, data.mean, data.fingerprint[:8]
      ([3, 1], (8, 8, 3), (0.5, 0.5, 0.5), 'cd872206')
    """
    sources = {}
    if class_names:
        num_classes = len(class_names)
    else:
        num_classes = int(check_labels(train[1], 2**31 - 1, f"{name}: train labels").max()) + 1
    for split, (images, labels) in {"train": train, "test": test}.items():
        images = check_images(images, f"{name}: {split} images")
        labels = check_labels(labels, num_classes, f"{name}: {split} labels")
        if len(images) != len(labels):
            raise InputError(
                f"{name}: {len(images)} {split} images, but {len(labels)} labels; every image needs one label"
            )
        sources[split] = array_source(images, labels, np.arange(len(labels)))
    images = train[0]
    if mean is None:
        mean = tuple(round(float(value), 4) for value in images.mean(axis=(0, 1, 2)) / 255)
    if std is None:
        std = tuple(round(max(float(value), 1e-3), 4) for value in images.std(axis=(0, 1, 2)) / 255)
    height, width, channels = images.shape[1:]
    return check_data(
        Data(
            name=name,
            train=sources["train"],
            test=sources["test"],
            split="test",
            num_classes=num_classes,
            class_counts=np.bincount(sources["train"].labels, minlength=num_classes),
            image_shape=(height, width, channels),
            mean=mean,
            std=std,
            class_names=class_names,
            fingerprint=fingerprint(sources["train"]),
        )
    )


def check_data(data: Data) -> Data:
    """Checks what the rest of ltjax relies on, and returns the data set.

    Raises:
      InputError: one line that names the data set and the field, and says what it must be.
    """

    def require(holds: bool, field: str, rule: str) -> None:
        if not holds:
            raise InputError(f"data set {data.name}: {field} must be {rule}")

    classes, channels = data.num_classes, data.image_shape[-1]
    require(len(data.image_shape) == 3 and channels in (1, 3), "image_shape", "(H, W, C) with 1 or 3 channels")
    require(len(data.mean) == len(data.std) == channels, "mean and std", f"{channels} numbers each, one per channel")
    require(min(data.std) > 0, "std", "above 0")
    require(data.class_names is None or len(data.class_names) == classes, "class_names", f"None or {classes} names")
    for split, source in {"train": data.train, "test": data.test, "validation": data.validation}.items():
        if source is None:
            continue
        labels, index = source.labels, source.index
        require(
            labels.ndim == 1 and labels.size > 0 and labels.dtype == np.int32, f"{split}.labels", "int32 [N], N > 0"
        )
        require(index.shape == labels.shape and index.dtype == np.int64, f"{split}.index", f"int64 [{len(labels)}]")
        require(labels.min() >= 0 and labels.max() < classes, f"{split}.labels", f"0 to {classes - 1}")
    counts = data.train.class_counts(classes)
    require(np.array_equal(data.class_counts, counts), "class_counts", "the training images of each class")
    least = int(counts.argmin())
    require(bool(counts[least] > 0), "train.labels", f"0 to {classes - 1}, each at least once; {least} is missing")
    return data


def feature_source(features: np.ndarray, source: Source) -> Source:
    """The same records with features, float [N, d], in place of images; the array may be memory-mapped.

    Example:
      >>> images = array_source(np.zeros((2, 8, 8, 3), np.uint8), labels=[0, 1], index=[40, 7])
      >>> feature_source(np.array([[1.0, 2.0], [3.0, 4.0]]), images).images(np.array([1, 0, 1])).tolist()
      [[3.0, 4.0], [1.0, 2.0], [3.0, 4.0]]
    """
    reader = ArrayReader(features)
    return Source(source.labels, source.index, reader, reader, label_sets=source.label_sets)


def fingerprint(source: Source) -> str:
    """SHA-256, in hex, of the index and the labels of a source, concatenated as little-endian int64, and of its names.

    Runs with equal values have the same training images in the same record order with the same labels. Where images
    have names, these are included: the same position in two lists need not be the same image.

    Example:
      >>> fingerprint(array_source(np.zeros((2, 8, 8, 3), np.uint8), labels=[0, 1], index=[40, 7]))[:16]
      '7c583848f5ca0bfe'
    """
    plain = hashlib.sha256(source.index.astype("<i8").tobytes() + source.labels.astype("<i8").tobytes()).hexdigest()
    plain = plain if source.label_sets is None else f"{plain} {source.label_sets.sha256()}"
    return plain if source.names is None else hashlib.sha256(f"{plain} {source.names.sha256()}".encode()).hexdigest()


def check_labels(labels: npt.ArrayLike, num_classes: int, field: str) -> np.ndarray:
    """Checks that labels are integers 0 .. C - 1, and returns them as int64 [N]; ``field`` names them in errors."""
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.size == 0:
        raise InputError(f"{field}: shape {list(labels.shape)}; labels must be a list of one dimension, not empty")
    if labels.dtype.kind not in "iu":
        raise InputError(f"{field}: {labels.dtype}; labels must be integers 0 to {num_classes - 1}")
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if wrong.size:
        raise InputError(
            f"{field}: label {labels[wrong[0]]} at position {wrong[0]} ({wrong.size} such labels); labels must be 0 to "
            f"{num_classes - 1}"
        )
    return labels.astype(np.int64)


def check_images(images: npt.ArrayLike, field: str) -> np.ndarray:
    """Checks that images are uint8 [N, H, W, C] with 1 or 3 channels, and returns them."""
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape:
        raise InputError(
            f"{field}: {images.dtype} {list(images.shape)}; images must be uint8 [N, height, width, 1 or 3 channels]"
        )
    return images


def check_index(index: npt.ArrayLike, size: int, field: str) -> np.ndarray:
    """Checks that original positions are distinct integers in 0 .. size - 1, and returns them as int64 [N]."""
    index = np.asarray(index)
    if index.ndim != 1 or index.dtype.kind not in "iu":
        raise InputError(f"{field}: {index.dtype} {list(index.shape)}; the index must be integers in one dimension")
    wrong = np.flatnonzero((index < 0) | (index >= size))
    if wrong.size:
        raise InputError(f"{field}: {index[wrong[0]]} at position {wrong[0]}; the index must be 0 to {size - 1}")
    values, times = np.unique(index, return_counts=True)
    if (times > 1).any():
        raise InputError(f"{field}: {values[times > 1][0]} occurs {times[times > 1][0]} times; each must occur once")
    return index.astype(np.int64)
