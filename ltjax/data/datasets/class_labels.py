"""Labels as files have them, names or any numbers, and the classes 0 .. C - 1 that they become."""

import dataclasses
import re
from collections.abc import Callable, Mapping

import numpy as np

from ltjax.errors import InputError, did_you_mean, shortened

SHOWN = 3  # classes that a note names


@dataclasses.dataclass(frozen=True)
class Classes:
    """The classes of a data set.

    Attributes:
      labels: split -> int32 [N]; C and more are labels that no training image has.
      names: C names, by label.
      notes: what the user should know, one line each.
    """

    labels: dict[str, np.ndarray]
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def number_classes(
    raw: Mapping[str, np.ndarray],
    named: Callable[[str, int], str],
    declared: tuple[str, ...] | None = None,
    strict: bool = True,
) -> Classes:
    """The classes that the training labels have, in the order of ``declared`` or else sorted.

    Args:
      raw: "train" and other splits -> the labels of their images, [N]: int64, or text (dtype object). Negative numbers,
        "" and the text "-1", unless it is in ``declared``, are no labels: a split without them is left out, with a
        note.
      named: (split, record) -> the image, for messages.
      declared: the names of the classes by number, where the data has them. Those without a training image are no
        classes, with a note.
      strict: False accepts test labels that no training image has.

    Raises:
      InputError: for a training image without a label, a label that ``declared`` does not have, or a test label that
        no training image has; names the image.

    Example:
      >>> raw = {"train": np.array(["tulip", "rose", "tulip"], object), "test": np.array(["rose"], object)}
      >>> found = number_classes(raw, lambda split, i: f"{split} {i}")
      >>> found.names, {split: labels.tolist() for split, labels in found.labels.items()}
      (('rose', 'tulip'), {'train': [1, 0, 1], 'test': [0]})
    """
    raw, notes = _labelled(_as_numbers(raw, declared), declared, named)
    if raw["train"].dtype == object and declared is not None:
        raw = {split: _numbers_of(labels, declared, split, named) for split, labels in raw.items()}
    elif declared is not None:
        for split, labels in raw.items():
            wrong = np.flatnonzero(labels >= len(declared))
            if wrong.size:
                raise InputError(
                    f"{named(split, int(wrong[0]))} has label {labels[wrong[0]]}, but there are {len(declared)} class "
                    f"names ({wrong.size} such images); labels must be 0 to {len(declared) - 1}"
                )
    present = np.unique(raw["train"])
    names = tuple(declared[k] if declared else str(k) for k in present.tolist())
    if declared is None and raw["train"].dtype != object and (present != np.arange(len(present))).any():
        notes.append(
            f"the labels {present[0]} to {present[-1]} of the training images are the classes 0 to {len(present) - 1}"
        )
    if declared is not None and len(present) < len(declared):
        absent = [declared[k] for k in np.setdiff1d(np.arange(len(declared)), present).tolist()]
        shown = ", ".join(f"'{shortened(name)}'" for name in absent[:SHOWN]) + (", ..." if len(absent) > SHOWN else "")
        notes.append(f"{len(absent)} of {len(declared)} classes have no training image and are left out: {shown}")
    if len(names) < 2:
        raise InputError(f"{named('train', 0)} and all other images are of one class, '{names[0]}'; add other classes")
    found = {split: _positions(values, present) for split, values in raw.items()}
    for split, positions in found.items():
        unseen = np.flatnonzero(positions == len(present))
        if unseen.size and strict:
            label = raw[split][unseen[0]]
            shown = declared[label] if declared else label
            raise InputError(
                f"{named(split, int(unseen[0]))} has label '{shortened(shown)}', which no training image has "
                f"({unseen.size} such images); remove it, or add training images of this class"
            )
    return Classes(found, names, tuple(notes))


def _labelled(
    raw: Mapping[str, np.ndarray], declared: tuple[str, ...] | None, named: Callable[[str, int], str]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The splits whose images have labels."""
    kept, notes = {}, []
    none = ("",) if "-1" in (declared or ()) else ("", "-1")
    for split, labels in raw.items():
        without = np.flatnonzero(np.isin(labels, none) if labels.dtype == object else labels < 0)
        if not without.size:
            kept[split] = labels
        elif split == "train":
            raise InputError(
                f"{named(split, int(without[0]))} has no label ({without.size} such images); add it, or remove the "
                "image (-1 and an empty cell are no labels)"
            )
        else:
            notes.append(
                f"{without.size} of {len(labels)} {split} images have no label; the {split} images are not used"
            )
    return kept, notes


def _as_numbers(raw: Mapping[str, np.ndarray], declared: tuple[str, ...] | None) -> Mapping[str, np.ndarray]:
    """Text that is numbers throughout as numbers, "" as -1, unless the classes are named so; all splits alike."""
    if all(labels.dtype != object for labels in raw.values()):
        return raw
    distinct = {str(label) for labels in raw.values() for label in np.unique(labels).tolist()} - {"", "-1"}
    if all(re.fullmatch(r"\d{1,9}", label) for label in distinct) and not distinct <= set(declared or ()):
        return {split: np.where(labels == "", -1, labels).astype(np.int64) for split, labels in raw.items()}
    return {
        split: labels if labels.dtype == object else labels.astype(str).astype(object) for split, labels in raw.items()
    }


def _numbers_of(
    labels: np.ndarray, declared: tuple[str, ...], split: str, named: Callable[[str, int], str]
) -> np.ndarray:
    number = {name: k for k, name in enumerate(declared)}
    found = np.fromiter((number.get(label, -1) for label in labels.tolist()), np.int64, len(labels))
    unknown = np.flatnonzero(found < 0)
    if unknown.size:
        label = labels[unknown[0]]
        raise InputError(
            f"{named(split, int(unknown[0]))} has label '{shortened(label)}', which is none of the {len(declared)} "
            f"class names ({unknown.size} such images){did_you_mean(label, declared)}; correct it"
        )
    return found


def _positions(values: np.ndarray, present: np.ndarray) -> np.ndarray:
    """int32 [N], positions in ``present``, which is sorted; its length for what is not in it."""
    found = np.searchsorted(present, values)
    found[found < len(present)] = np.where(
        present[found[found < len(present)]] == values[found < len(present)], found[found < len(present)], len(present)
    )
    return found.astype(np.int32)
