"""From the splits of a naturally long-tailed set of images to the ``Data`` that a run is given."""

import dataclasses
import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from ltjax.data.dataset import Data, Source, fingerprint
from ltjax.data.datasets.holdout import hold_out
from ltjax.data.datasets.longtail import USES
from ltjax.data.storage.packed_names import PackedNames
from ltjax.errors import InputError, choose
from ltjax.settings import DataSettings

# of ImageNet's channels: what every paper on ImageNet-LT and Places-LT normalises with
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True)
class Split:
    """The images of one split.

    Attributes:
      source: the images.
      names: what they are called, for the fingerprint; None where only their order tells.
    """

    source: Source
    names: PackedNames | None = None

    def subset(self, records: np.ndarray) -> "Split":
        """Only these records [n]."""
        return Split(self.source.subset(records), None if self.names is None else self.names.take(records))


@dataclasses.dataclass(frozen=True)
class Splits:
    """The splits of a data set, as its files have them.

    Attributes:
      where: the folder or list, for messages.
      train, test, validation: its splits; test is None where there is none.
      class_names: C names, by label.
      notes: what a person should know, a line each.
    """

    where: str
    train: Split
    test: Split | None
    validation: Split | None
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class EvaluationView:
    """``view(i)``: image i as it is evaluated, uint8 [size, size, 3]."""

    encoded: Callable[[int], bytes]
    size: int
    resize: int

    def __call__(self, record: int) -> np.ndarray:
        from ltjax.data.augment.crops import evaluation_view

        return evaluation_view(self.encoded(record), self.size, self.resize)


def encoded_source(
    encoded: Callable[[int], bytes],
    labels: Any,
    settings: DataSettings,
    where: Callable[[int], str] | None = None,
    index: Any = None,
) -> Source:
    """A source of encoded images of any size; ``settings`` has ``image_size`` and ``resize``.

    Raises:
      InputError: for sizes that are not possible.
    """
    size, resize = int(settings.image_size), int(settings.resize)
    if not 1 <= size <= resize:
        raise InputError(
            f"config.data.resize: {resize} is not possible with image_size {size}; the shorter side is resized to it "
            "before the centre is cut out: it must not be smaller"
        )
    labels = np.asarray(labels, dtype=np.int32)
    index = np.arange(len(labels), dtype=np.int64) if index is None else np.asarray(index, np.int64)
    return Source(labels, index, EvaluationView(encoded, size, resize), None, encoded, where)


def assemble(name: str, splits: Splits, settings: DataSettings, mean: tuple = MEAN, std: tuple = STD) -> Data:
    """The data set that ``settings`` asks for.

    Of ``settings``: imbalance (1: the set is already long-tailed), test_fraction (of a set without test images),
    validation_fraction, validation_use, selection_seed, image_size.

    Raises:
      InputError: for a setting that this set cannot have, or test labels that no training image has.
    """
    refuse_imbalance(name, settings)
    classes, notes = len(splits.class_names), list(splits.notes)
    train, test, validation, split = splits.train, splits.test, splits.validation, "test"
    if test is None:
        train, test, note = _hold_out_test(splits, classes, settings)
        notes.append(note)
    seed, fraction = settings.selection_seed, settings.validation_fraction
    kept, aside = hold_out(train.source.labels, classes, fraction, seed)
    if aside.size:
        train, held = train.subset(kept), train.subset(aside)
        evaluate = choose(USES, settings.validation_use, "config.data.validation_use")
        test, validation, split = (held, None, "validation") if evaluate else (test, held, split)
    counts = np.bincount(train.source.labels, minlength=classes)
    untested = classes - len(np.unique(test.source.labels))
    if untested:
        notes.append(
            f"{splits.where}: {untested} of {classes} classes have no {split} image; they count in no accuracy"
        )
    side = int(settings.image_size)
    return Data(
        name, train.source, test.source, split, classes, counts, (side, side, 3), mean, std, splits.class_names,
        named_fingerprint(train), None if validation is None else validation.source, tuple(notes),
    )  # fmt: skip


def refuse_imbalance(name: str, settings: DataSettings) -> None:
    """Raises InputError unless ``imbalance`` is 1: images are not taken away from a set that is long-tailed."""
    if settings.imbalance != 1:
        raise InputError(
            f"config.data.imbalance: {settings.imbalance!r} is not possible for {name}, which is already "
            "long-tailed; leave it at 1 (no ':imbalance=')"
        )


def _hold_out_test(splits: Splits, classes: int, settings: DataSettings) -> tuple[Split, Split, str]:
    """Of a set without test images: what stays for training, what is tested on, and the line that says so."""
    key, fraction, seed = "config.data.test_fraction", settings.test_fraction, settings.selection_seed
    kept, aside = hold_out(splits.train.source.labels, classes, fraction, seed, key)
    if not aside.size:
        raise InputError(
            f"{key}: {fraction!r} of {splits.where} leaves no test image; give it test images, or set a fraction "
            "such as 0.2"
        )
    note = (
        f"{splits.where}: no test images there; {aside.size} of {len(splits.train.source)} images are held out for "
        f"testing, {fraction:.0%} of every class (config.data.test_fraction, selection_seed {seed})"
    )
    return splits.train.subset(kept), splits.train.subset(aside), note


def named_fingerprint(split: Split) -> str:
    """``fingerprint`` of the source, and of the images' names where they have any: the same 17th line of two lists is
    not the same image.
    """
    plain = fingerprint(split.source)
    return plain if split.names is None else hashlib.sha256(f"{plain} {split.names.sha256()}".encode()).hexdigest()


def check_tested(labels: np.ndarray, trained: np.ndarray, named: Callable[[int], str]) -> None:
    """Raises InputError, naming the first, unless every label occurs among the ``trained`` ones."""
    unseen = np.flatnonzero(~np.isin(labels, trained))
    if unseen.size:
        raise InputError(
            f"{named(int(unseen[0]))} has label {labels[unseen[0]]}, which no training image has ({unseen.size} such "
            "images); remove it or add training images"
        )
