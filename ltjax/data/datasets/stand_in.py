"""Placeholders with the sizes of the public data sets: a dry run compiles and counts without the files."""

import dataclasses
from typing import NamedTuple, NoReturn

import numpy as np

from ltjax.data.balanced_set import BalancedSet, BalancedSpec
from ltjax.data.dataset import ArrayReader, Data, Source
from ltjax.data.datasets import cifar, lt_benchmarks, mnist
from ltjax.data.datasets.assemble import Split, Splits, assemble
from ltjax.data.datasets.longtail import make_long_tailed
from ltjax.errors import InputError
from ltjax.settings import DataSettings


class Sizes(NamedTuple):
    """The sizes of a naturally long-tailed set: images of each split, and of its largest and smallest class."""

    train: int
    test: int
    validation: int
    largest: int
    smallest: int


SIZES = {
    "imagenet_lt": Sizes(115_846, 50_000, 20_000, 1280, 5),
    "places_lt": Sizes(62_500, 36_500, 7_300, 4980, 5),
    "inat2018": Sizes(437_513, 24_426, 0, 1000, 2),  # tested on its validation images
}
# For sets that are made long-tailed: the spec, and the number of test images.
BALANCED: dict[str, tuple[BalancedSpec, int]] = {
    "mnist5k": (mnist.SPEC, 10 * (mnist.PER_CLASS - mnist.TRAIN_PER_CLASS)),
    "cifar10": (cifar.SPECS["cifar10"], 10_000),
    "cifar100": (cifar.SPECS["cifar100"], 10_000),
}


def stand_in(settings: DataSettings) -> Data:
    """A placeholder for the data set of ``config.data``: its sizes, labels and class counts, without its images.

    The class counts of CIFAR-LT and MNIST-5k-LT are exact. For the large sets the total and the largest and smallest
    class are exact, and the others fall geometrically; ``notes`` says so.

    Raises:
      InputError: for a data set whose sizes are known only from its files, or impossible settings.

    Example:
      >>> data = stand_in(DataSettings(name="inat2018", imbalance=1.0))
      >>> len(data.train), data.num_classes, int(data.class_counts.max()), int(data.class_counts.min()), len(data.test)
      (437513, 8142, 1000, 2, 24426)
    """
    name = settings.name
    if name in BALANCED:
        return _balanced(*BALANCED[name], settings)
    if name not in SIZES:
        known = ", ".join([*BALANCED, *SIZES])
        raise InputError(
            f"config.data.name: the sizes of '{name}' are known only from its files; without files: {known}"
        )
    lt_benchmarks.refuse_imbalance(name, settings)
    return _long_tailed(lt_benchmarks.SPECS[name], SIZES[name], settings)


def _balanced(spec: BalancedSpec, test_size: int, settings: DataSettings) -> Data:
    labels = np.repeat(np.arange(spec.num_classes), spec.train_size // spec.num_classes)
    blank = np.broadcast_to(np.uint8(0), (spec.train_size, *spec.image_shape))
    test = _in_memory(np.arange(test_size) % spec.num_classes, spec.image_shape)
    everything = np.arange(spec.train_size)
    whole = BalancedSet(
        "placeholder", labels, everything, lambda kept: blank[: len(kept)], np.ones(spec.train_size, bool),
        lambda: test,
    )  # fmt: skip
    note = f"a placeholder for {spec.name}: its sizes and class counts are exact, its images are blank"
    return dataclasses.replace(make_long_tailed(spec, whole, settings), notes=(note,))


def _in_memory(labels: np.ndarray, image_shape: tuple[int, ...]) -> Source:
    """Blank images that count as an array in memory, but take no memory."""
    reader = ArrayReader(np.broadcast_to(np.uint8(0), (len(labels), *image_shape)))
    return Source(labels.astype(np.int32), np.arange(len(labels)), reader, reader)


def _long_tailed(spec: lt_benchmarks.BenchmarkSpec, sizes: Sizes, settings: DataSettings) -> Data:
    counts = falling_counts(sizes.train, spec.num_classes, sizes.largest, sizes.smallest)
    labels = np.repeat(np.arange(spec.num_classes), counts)
    validation = _images(np.arange(sizes.validation) % spec.num_classes) if sizes.validation else None
    note = (
        f"a placeholder for {spec.name}: its numbers of images and classes are exact, its class counts fall "
        f"geometrically from {sizes.largest} to {sizes.smallest}"
    )
    splits = Splits(
        "placeholder", _images(labels), _images(np.arange(sizes.test) % spec.num_classes), validation,
        tuple(map(str, range(spec.num_classes))), (note,),
    )  # fmt: skip
    return assemble(spec.name, splits, settings, spec.mean, spec.std)


def _images(labels: np.ndarray) -> Split:
    return Split(Source(labels.astype(np.int32), np.arange(len(labels)), _absent, encoded=_absent))


def _absent(record: int) -> NoReturn:
    raise InputError(f"record {record}: a placeholder has labels, but no images")


def falling_counts(total: int, num_classes: int, largest: int, smallest: int) -> np.ndarray:
    """int64 [C]: class counts that fall geometrically from ``largest`` to ``smallest`` and have this total.

    The ratio of successive counts is found by bisection; the remainder from rounding is spread over the classes after
    the first.

    Example:
      >>> falling_counts(100, 5, 60, 2)
      array([60, 24, 10,  4,  2])
    """
    ranks = np.arange(num_classes) / max(num_classes - 1, 1)

    def counts(steepness: float) -> np.ndarray:
        return np.maximum(np.floor(largest * np.exp(-steepness * ranks)), smallest).astype(np.int64)

    low, high = 0.0, 1e4
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if counts(middle).sum() > total else (low, middle)
    found = counts(high)
    short = total - int(found.sum())
    room = np.flatnonzero(found[1:] < largest)[:short] + 1
    found[room] += 1
    if found.sum() != total:
        raise InputError(f"no {num_classes} class counts from {largest} down to {smallest} have {total} images")
    return found


def with_few_images(data: Data) -> Data:
    """The same classes with few images: 20 in the most frequent class, one in every other.

    It stands for the data set wherever shapes depend on the classes only.

    Example:
      >>> len(with_few_images(stand_in(DataSettings(name="inat2018", imbalance=1.0))).train)
      8161
    """
    counts = np.ones(data.num_classes, np.int64)
    counts[int(np.argmax(data.class_counts))] = 20
    train = _images(np.repeat(np.arange(data.num_classes), counts)).source
    one_each = _images(np.arange(data.num_classes)).source
    validation = None if data.validation is None else one_each
    return dataclasses.replace(data, train=train, test=one_each, validation=validation, class_counts=counts)
