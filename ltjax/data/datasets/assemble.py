"""Makes the ``Data`` of a run from the splits of a naturally long-tailed data set."""

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ltjax.data.dataset import Data, Source, fingerprint
from ltjax.data.datasets.holdout import hold_out
from ltjax.data.datasets.longtail import VALIDATION_USES
from ltjax.data.storage.packed_names import PackedNames
from ltjax.errors import InputError, choose, shortened
from ltjax.settings import DataSettings

# resize / image_size: above, evaluation would lose more than half of a square picture that training crops come from
MOST_RESIZED = 1.5
# ImageNet's, with which every paper on ImageNet-LT and Places-LT normalises
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True)
class Split:
    """The images of one split.

    Attributes:
      source: the images.
      names: of the images; None if they have none.
    """

    source: Source
    names: PackedNames | None = None

    def subset(self, records: np.ndarray) -> "Split":
        """A split of these records [n] only."""
        return Split(self.source.subset(records), None if self.names is None else self.names.take(records))

    def named(self) -> Source:
        """The source with the names, which are part of its fingerprint."""
        return dataclasses.replace(self.source, names=self.names)


@dataclasses.dataclass(frozen=True)
class Splits:
    """The splits of a data set, as they are in its files.

    Attributes:
      where: the folder or list, for messages.
      train, test, validation: its splits; None for one that it does not have.
      class_names: C names, by label.
      notes: what the user should know, one line each.
    """

    where: str
    train: Split
    test: Split | None
    validation: Split | None
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class EvaluationView:
    """``view(i)`` is image i as it is evaluated, uint8 [size, size, 3]."""

    encoded: Callable[[int], bytes]
    size: int
    resize: int
    interpolation: str = "bilinear"

    def __call__(self, record: int) -> np.ndarray:
        from ltjax.data.augment.crops import evaluation_view

        return evaluation_view(self.encoded(record), self.size, self.resize, self.interpolation)


def encoded_source(
    encoded: Callable[[int], bytes],
    labels: npt.ArrayLike,
    settings: DataSettings,
    where: Callable[[int], str] | None = None,
    index: npt.ArrayLike | None = None,
    file_size: Callable[[int], int] | None = None,
) -> Source:
    """A source of encoded images of any size, evaluated at ``image_size`` after ``resize`` (of ``settings``).

    Raises:
      InputError: for impossible sizes.
    """
    size, resize = int(settings.image_size), int(settings.resize)
    if not 1 <= size <= resize:
        raise InputError(
            f"config.data.resize: {resize} is not possible with image_size {size}; evaluation resizes the shorter side "
            "to resize, then crops image_size: set resize to at least image_size"
        )
    if resize > MOST_RESIZED * size:
        raise InputError(
            f"config.data.resize: {resize} with config.data.image_size={size} would evaluate the central "
            f"{(size / resize) ** 2:.0%} of a square picture only; set config.data.resize={round(size * 256 / 224)}, "
            f"or write the word :image_size={size} behind the config file, which moves crop, resize and augmentation"
        )
    labels = np.asarray(labels, dtype=np.int32)
    index = np.arange(len(labels), dtype=np.int64) if index is None else np.asarray(index, np.int64)
    view = EvaluationView(encoded, size, resize, settings.interpolation)
    return Source(labels, index, view, None, encoded, where, size=file_size)


def assemble(
    name: str, splits: Splits, settings: DataSettings, mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD
) -> Data:
    """The data set that ``settings`` describe.

    It uses imbalance (must be 1: the set is already long-tailed), test_fraction (for a set without test images),
    validation_fraction, validation_use, selection_seed and image_size.

    Raises:
      InputError: for a setting that is impossible for this data set.
    """
    refuse_imbalance(name, settings)
    classes, notes = len(splits.class_names), list(splits.notes)
    train, test, validation, split = splits.train, splits.test, splits.validation, "test"
    if test is None:
        train, test, note = _hold_out_test(splits, classes, settings)
        notes.append(note)
    seed, fraction = settings.selection_seed, settings.validation_fraction
    kept, held_out = hold_out(train.source.labels, classes, fraction, seed)
    if held_out.size:
        train, held = train.subset(kept), train.subset(held_out)
        evaluate = choose(VALIDATION_USES, settings.validation_use, "config.data.validation_use")
        test, validation, split = (held, None, "validation") if evaluate else (test, held, split)
    counts = train.source.class_counts(classes)
    untested = classes - np.count_nonzero(test.source.class_counts(classes))
    if untested:
        notes.append(
            f"{splits.where}: {untested} of {classes} classes have no {split} image; accuracies do not include them"
        )
    side = int(settings.image_size)
    source = train.named()
    return Data(
        name, source, test.named(), split, classes, counts, (side, side, 3), mean, std, splits.class_names,
        fingerprint(source), None if validation is None else validation.named(), tuple(notes),
    )  # fmt: skip


def several_classes(splits: Splits) -> Splits:
    """The splits; InputError if all their images are of one class, from which nothing is learnt."""
    if len(splits.class_names) == 1:
        raise InputError(
            f"{shortened(splits.where)}: a single class, '{splits.class_names[0]}'; a run needs at least two"
        )
    return splits


def refuse_imbalance(name: str, settings: DataSettings) -> None:
    """Raises InputError unless ``imbalance`` is 1: no images are removed from a set that is already long-tailed."""
    if settings.imbalance != 1:
        raise InputError(
            f"config.data.imbalance: {settings.imbalance!r} is not possible for {name}, which is already "
            "long-tailed; set it to 1"
        )


def _hold_out_test(splits: Splits, classes: int, settings: DataSettings) -> tuple[Split, Split, str]:
    """For a set without test images: the training split, the test split, and a note about them."""
    key, fraction, seed = "config.data.test_fraction", settings.test_fraction, settings.selection_seed
    kept, held = hold_out(splits.train.source.labels, classes, fraction, seed, key)
    if not held.size:
        raise InputError(
            f"{key}: {fraction!r} of {splits.where} leaves no test images; add test images, or set a larger fraction, "
            "such as 0.2"
        )
    note = (
        f"{splits.where}: there are no test images; {held.size} of {len(splits.train.source)} images are held out for "
        f"testing, {fraction:.0%} of every class (config.data.test_fraction, selection_seed {seed})"
    )
    return splits.train.subset(kept), splits.train.subset(held), note


def check_tested(labels: np.ndarray, trained: np.ndarray, named: Callable[[int], str]) -> None:
    """Raises InputError, which names the first such image, if a label does not occur in ``trained``."""
    unseen = np.flatnonzero(~np.isin(labels, trained))
    if unseen.size:
        raise InputError(
            f"{named(int(unseen[0]))} has label {labels[unseen[0]]}, which no training image has ({unseen.size} such "
            "images); remove it, or add training images of this class"
        )
