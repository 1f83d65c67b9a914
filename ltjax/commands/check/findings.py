"""What is wrong with a data set, or worth knowing before a long run: pure functions, one finding for each kind.

An error would stop a run or spoil its result; a note would not.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ltjax.commands.check.inspect_files import Inspection
from ltjax.data import image_formats
from ltjax.data.dataset import Data, Source

LONG = 10  # longer side / shorter side above which an image is reported
# ending of a file name -> Pillow's name of the format
FORMATS = {ending: name for name, endings in image_formats.FORMATS.items() for ending in endings}
SAME_AS = {"MPO": "JPEG"}  # a JPEG followed by a second one, as some cameras write them
ABSENT = ("No such file or directory", "Not a directory")

# kind -> whether it is an error, and the message, which says what to do
KINDS: dict[str, tuple[bool, str]] = {
    "refused": (True, "a run would stop at once: {detail}"),
    "label": (True, "{count:,} images have a label outside of {detail}; correct or remove them"),
    "no_image": (True, "{count:,} of {detail:,} classes have no training image; add images, or leave the classes out"),
    "one_class": (True, "all images are of one class, {detail}; name the folder that the class folders are in"),
    "unseen": (True, "{count:,} {detail} images have a label that no training image has; remove them or add images"),
    "absent": (True, "{count:,} files are missing; add them, or remove their lines from the lists"),
    "unreadable": (True, "{count:,} files cannot be decoded; download them again or remove them"),
    "leak": (True, "{count:,} evaluation images are also training images; remove them from one of the splits"),
    "two_labels": (True, "{count:,} training images occur twice with different labels; keep the correct one"),
    "head": (True, "{detail}"),
    "head_names": (True, "{detail}"),
    "other_data": (True, "{detail}"),
    "small_class": (
        False,
        "{count:,} classes have fewer images than are drawn at a time ({detail}); some repeat",
    ),
    "repeat": (False, "{count:,} training images are duplicates with the same label"),
    "ending": (False, "{count:,} files have another format than their names say; the content is what is read"),
    "small": (False, "{count:,} images have a shorter side below {detail} pixels and are enlarged"),
    "long": (False, "{count:,} images have a longer side of more than {detail} times the shorter one"),
}


class Finding(NamedTuple):
    """All items of one kind that were found.

    Attributes:
      kind: as in ``KINDS``.
      level: ``error`` or ``note``.
      message: one line.
      items: what it applies to, one line each.
    """

    kind: str
    level: str
    message: str
    items: tuple[str, ...] = ()


def finding(kind: str, items: Any = (), detail: Any = "") -> Finding:
    """A finding in the words of ``KINDS``.

    Example:
      >>> finding("small", ["a.jpg: 9 x 9"], 224).message
      '1 images have a shorter side below 224 pixels and are enlarged'
    """
    error, text = KINDS[kind]
    items = tuple(items)
    return Finding(kind, "error" if error else "note", text.format(count=len(items), detail=detail), items)


def finding_if_any(kind: str, items: Any, detail: Any = "") -> list[Finding]:
    """The finding in a list, which is empty where there is no item."""
    return [finding(kind, items, detail)] if items else []


def splits_of(data: Data) -> dict[str, Source]:
    """split -> source: train, what is evaluated under its own name, and validation where there is one."""
    splits = {"train": data.train, data.split: data.test}
    return splits if data.validation is None else splits | {"validation": data.validation}


def name_of(split: str, source: Source, record: int) -> str:
    """The name of an image in a finding: its path, or its split and number."""
    return f"{split} {source.named(record)}" if source.where is None else source.where(record)


def class_name(data: Any, label: int) -> str:
    """The name of a class, or its label as text."""
    return data.class_names[label] if data.class_names else str(label)


def class_findings(data: Data, images_per_class: int | None) -> list[Finding]:
    """Classes without or with few training images (below Z, those of a draw), and evaluation labels that train lacks.

    Args:
      data: the set.
      images_per_class: Z, or None where no sampler takes several images of a class.
    """
    counts, classes = data.class_counts, data.num_classes
    empty = [f"{class_name(data, k)} (class {k})" for k in np.flatnonzero(counts == 0).tolist()]
    found = finding_if_any("no_image", empty, classes)
    if classes == 1:
        found.append(finding("one_class", detail=class_name(data, 0)))
    for split, source in splits_of(data).items():
        if split != "train":
            unseen = np.flatnonzero(counts[source.labels] == 0).tolist()
            items = [f"{name_of(split, source, i)}: label {source.labels[i]}" for i in unseen]
            found += finding_if_any("unseen", items, split)
    below = np.flatnonzero((counts > 0) & (counts < (images_per_class or 0))).tolist()
    items = [f"{class_name(data, k)} (class {k}): {counts[k]} image{'' if counts[k] == 1 else 's'}" for k in below]
    return found + finding_if_any("small_class", items, f"Z = {images_per_class}")


def file_findings(
    splits: Mapping[str, Source], inspections: Mapping[str, Mapping[int, Inspection]], crop: int
) -> list[Finding]:
    """Files that are missing or cannot be decoded, have a wrong ending or an unusual size.

    Args:
      splits: split -> source.
      inspections: split -> record -> its inspection.
      crop: side of the square that is cropped from an image, in pixels.
    """
    items: dict[str, list[str]] = {kind: [] for kind in ("absent", "unreadable", "ending", "small", "long")}
    for split, inspected in inspections.items():
        for record, one in inspected.items():
            name = name_of(split, splits[split], record)
            if one.fault:
                items["absent" if one.fault in ABSENT else "unreadable"].append(f"{name}: {one.fault}")
                continue
            if wrong_ending(name, one.format):
                items["ending"].append(f"{name}: {one.format}")
            if min(one.height, one.width) < crop:
                items["small"].append(f"{name}: {one.width} x {one.height}")
            if max(one.height, one.width) > LONG * min(one.height, one.width):
                items["long"].append(f"{name}: {one.width} x {one.height}")
    details = {"small": crop, "long": LONG}
    return [one for kind, names in items.items() for one in finding_if_any(kind, names, details.get(kind, ""))]


def wrong_ending(name: str, content: str) -> bool:
    """Whether a file's name, which a list's line may follow, says another format than its content has.

    Example:
      >>> wrong_ending("rose/1.JPG (line 7 of train.txt)", "PNG"), wrong_ending("rose/1.jpg", "MPO")
      (True, False)
    """
    match = re.search(r"(\.\w+)(?: \((?:line|image) \d+ of .*\))?$", name)
    named = FORMATS.get(match[1].lower()) if match else None
    return named is not None and named != SAME_AS.get(content, content)


def duplicate_findings(
    splits: Mapping[str, Source], hashes: Mapping[str, Mapping[int, bytes]], label_name: Callable[[int], str]
) -> list[Finding]:
    """Images of the same content: evaluation images that are also in train, and training images that occur twice.

    Args:
      splits: split -> source.
      hashes: split -> record -> hash of the content; b"" where there is none.
      label_name: what a label is called.
    """

    def called(split: str, record: int) -> str:
        source = splits[split]
        classes = [source.labels[record]] if source.label_sets is None else source.label_sets[record]
        return f"{name_of(split, source, record)} ({', '.join(label_name(int(label)) for label in classes)})"

    first: dict[bytes, int] = {}
    items: dict[str, list[str]] = {"leak": [], "two_labels": [], "repeat": []}
    labels, sets = splits["train"].labels, splits["train"].label_sets
    for record, content in hashes["train"].items():
        earlier = first.setdefault(content, record) if content else record
        if earlier != record:
            same = labels[earlier] == labels[record] if sets is None else np.array_equal(sets[earlier], sets[record])
            kind = "repeat" if same else "two_labels"
            items[kind].append(f"{called('train', record)} is {called('train', earlier)}")
    for split, by_record in hashes.items():
        if split != "train":
            items["leak"] += [
                f"{called(split, record)} is {called('train', first[content])}"
                for record, content in by_record.items()
                if content in first
            ]
    return [one for kind, names in items.items() for one in finding_if_any(kind, names)]


def head_findings(data: Any, results: Mapping[str, Any], run: str) -> list[Finding]:
    """How the head of a finished run, and its training images, differ from the data.

    Args:
      data: has num_classes, class_names, fingerprint.
      results: the run's results.json.
      run: its workdir.
    """
    classes, names = len(results["class_counts"]), results.get("class_names")
    if classes != data.num_classes:
        return [finding("head", detail=f"{run}: its head has {classes} classes, the data has {data.num_classes}")]
    here = list(data.class_names) if data.class_names else None
    if names and here and names != here:
        pairs = enumerate(zip(names, here, strict=True))
        wrong = [f"class {k}: {theirs} in the run, {mine} here" for k, (theirs, mine) in pairs if theirs != mine]
        return [
            finding(
                "head_names",
                wrong,
                f"{run}: {len(wrong)} classes of its head have other names; use its class order",
            )
        ]
    there = results["train_index_sha256"]
    if there == data.fingerprint:
        return []
    detail = f"{run}: was trained on other images or labels (sha256 {there[:12]}, here {data.fingerprint[:12]})"
    return [finding("other_data", detail=detail)]


def summary(inspections: Mapping[str, Mapping[int, Inspection]]) -> dict[str, Any]:
    """How many files were inspected, their formats and modes, and least, median and greatest side in pixels."""
    readable = [one for inspected in inspections.values() for one in inspected.values() if one.height]
    sides = np.sort(np.array([(one.height, one.width) for one in readable], np.int64).reshape(-1, 2), axis=1)

    def spread(values: np.ndarray) -> list[int]:
        return [int(values.min()), int(np.median(values)), int(values.max())] if len(values) else []

    return {
        "looked_at": {split: len(inspected) for split, inspected in inspections.items()},
        "formats": dict(sorted(Counter(one.format for one in readable).items())),
        "modes": dict(sorted(Counter(one.mode for one in readable).items())),
        "rotated": sum(one.orientation != 1 for one in readable),
        "short_side": spread(sides[:, 0]),
        "long_side": spread(sides[:, 1]),
    }
