"""What is wrong, or should be known, of a data set before a long run: pure functions, a finding for each kind of thing.

An error would stop a run or spoil its result; a note would not.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ltjax.commands.check.inspect_files import Look
from ltjax.data.dataset import Data, Source

LONG = 10  # longer side / shorter side from which a picture is remarkable
# ending of a name -> what Pillow calls such a file
ENDINGS = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".ppm", ".pgm"), "PPM"),
    ".png": "PNG",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".webp": "WEBP",
}
SAME = {"MPO": "JPEG"}  # a JPEG with a second picture behind it, as some cameras write them
ABSENT = ("No such file or directory", "Not a directory")

# kind -> whether it is an error, what is said of ``count`` items, and what to do
KINDS: dict[str, tuple[bool, str]] = {
    "refused": (True, "a run stops at once: {detail}"),
    "label": (True, "{count:,} images have a label that is not possible, {detail}; correct or remove them"),
    "no_image": (True, "{count:,} of {detail:,} classes have no training image; add images, or leave the classes out"),
    "one_class": (True, "all images are of one class, {detail}; name the folder that the class folders are in"),
    "unseen": (True, "{count:,} {detail} images have a label that no training image has; remove them or add images"),
    "absent": (True, "{count:,} files are not there; get them, or remove their lines"),
    "unreadable": (True, "{count:,} files cannot be decoded; get them again or remove them"),
    "leak": (True, "{count:,} images that are evaluated are training images, too; remove them from one side"),
    "two_labels": (True, "{count:,} training images have another label elsewhere; keep the right one"),
    "head": (True, "{detail}"),
    "head_names": (True, "{detail}"),
    "other_data": (True, "{detail}"),
    "small_class": (False, "{count:,} classes have fewer images than {detail}, taken at a visit; some then come twice"),
    "repeat": (False, "{count:,} training images stand there again under the same label"),
    "ending": (False, "{count:,} files are of another format than their names say; their content counts"),
    "small": (False, "{count:,} images have a shorter side below {detail} pixels and are enlarged"),
    "long": (False, "{count:,} images are more than {detail} times as long as wide"),
}


class Finding(NamedTuple):
    """One kind of thing that was found.

    Attributes:
      kind: as in ``KINDS``.
      level: ``error`` or ``note``.
      message: one line.
      items: what it was found of, a line each.
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


def some(kind: str, items: Any, detail: Any = "") -> list[Finding]:
    """The finding, where there is an item."""
    return [finding(kind, items, detail)] if items else []


def parts_of(data: Data) -> dict[str, Source]:
    """split -> source: train, what is evaluated under its own name, and validation where there is one."""
    parts = {"train": data.train, data.split: data.test}
    return parts if data.validation is None else parts | {"validation": data.validation}


def name_of(split: str, source: Source, record: int) -> str:
    """What a finding calls an image: where it lies, or its split and number."""
    return f"{split} {source.named(record)}" if source.where is None else source.where(record)


def class_name(data: Any, label: int) -> str:
    """What a label is called."""
    return data.class_names[label] if data.class_names else str(label)


def class_findings(data: Data, images_per_class: int | None) -> list[Finding]:
    """Classes without a training image, with fewer than a visit takes (Z), and evaluated ones that train lacks.

    Args:
      data: the set.
      images_per_class: Z, or None where no sampler takes several images of a class.
    """
    counts, classes = data.class_counts, data.num_classes
    empty = [f"{class_name(data, k)} (class {k})" for k in np.flatnonzero(counts == 0).tolist()]
    found = some("no_image", empty, classes)
    if classes == 1:
        found.append(finding("one_class", detail=class_name(data, 0)))
    for split, source in parts_of(data).items():
        if split != "train":
            unseen = np.flatnonzero(counts[source.labels] == 0).tolist()
            items = [f"{name_of(split, source, i)}: label {source.labels[i]}" for i in unseen]
            found += some("unseen", items, split)
    below = np.flatnonzero((counts > 0) & (counts < (images_per_class or 0))).tolist()
    items = [f"{class_name(data, k)} (class {k}): {counts[k]} image{'' if counts[k] == 1 else 's'}" for k in below]
    return found + some("small_class", items, f"Z = {images_per_class}")


def file_findings(parts: Mapping[str, Source], looks: Mapping[str, Mapping[int, Look]], crop: int) -> list[Finding]:
    """Files that are absent or cannot be decoded, have a wrong ending, or a size to think about.

    Args:
      parts: split -> source.
      looks: split -> record -> look.
      crop: side of what is cut out of a picture.
    """
    items: dict[str, list[str]] = {kind: [] for kind in ("absent", "unreadable", "ending", "small", "long")}
    for split, seen in looks.items():
        for record, one in seen.items():
            name = name_of(split, parts[split], record)
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
    return [one for kind, own in items.items() for one in some(kind, own, details.get(kind, ""))]


def wrong_ending(name: str, content: str) -> bool:
    """Whether a file's name, which a list's line may follow, says another format than its content has.

    Example:
      >>> wrong_ending("rose/1.JPG (line 7 of train.txt)", "PNG"), wrong_ending("rose/1.jpg", "MPO")
      (True, False)
    """
    match = re.search(r"(\.\w+)(?: \(line \d+ of .*\))?$", name)
    said = ENDINGS.get(match[1].lower()) if match else None
    return said is not None and said != SAME.get(content, content)


def duplicate_findings(
    parts: Mapping[str, Source], hashes: Mapping[str, Mapping[int, bytes]], label_name: Callable[[int], str]
) -> list[Finding]:
    """Images of the same content: evaluated ones that are trained on, and training images that stand there twice.

    Args:
      parts: split -> source.
      hashes: split -> record -> hash of the content; b"" where there is none.
      label_name: what a label is called.
    """

    def called(split: str, record: int) -> str:
        source = parts[split]
        return f"{name_of(split, source, record)} ({label_name(int(source.labels[record]))})"

    first: dict[bytes, int] = {}
    items: dict[str, list[str]] = {"leak": [], "two_labels": [], "repeat": []}
    labels = parts["train"].labels
    for record, content in hashes["train"].items():
        before = first.setdefault(content, record) if content else record
        if before != record:
            kind = "repeat" if labels[before] == labels[record] else "two_labels"
            items[kind].append(f"{called('train', record)} is {called('train', before)}")
    for split, own in hashes.items():
        if split != "train":
            items["leak"] += [
                f"{called(split, record)} is {called('train', first[content])}"
                for record, content in own.items()
                if content in first
            ]
    return [one for kind, own in items.items() for one in some(kind, own)]


def head_findings(data: Any, results: Mapping[str, Any], run: str) -> list[Finding]:
    """In what a finished run's head, and the images that it was trained on, are others.

    Args:
      data: has num_classes, class_names, fingerprint.
      results: the run's results.json.
      run: its workdir.
    """
    classes, names = len(results["class_counts"]), results.get("class_names")
    if classes != data.num_classes:
        return [finding("head", detail=f"{run}: its head has {classes} classes, the data has {data.num_classes}")]
    own = list(data.class_names) if data.class_names else None
    if names and own and names != own:
        pairs = enumerate(zip(names, own, strict=True))
        wrong = [f"class {k}: {theirs} there, {mine} here" for k, (theirs, mine) in pairs if theirs != mine]
        return [finding("head_names", wrong, f"{run}: {len(wrong)} classes of its head have other names")]
    there = results["train_index_sha256"]
    if there == data.fingerprint:
        return []
    detail = f"{run}: was trained on other images or labels (sha256 {there[:12]}, here {data.fingerprint[:12]})"
    return [finding("other_data", detail=detail)]


def summary(looks: Mapping[str, Mapping[int, Look]]) -> dict[str, Any]:
    """How many files were looked at, their formats and modes, and least, median and greatest side in pixels."""
    fine = [one for seen in looks.values() for one in seen.values() if one.height]
    sides = np.sort(np.array([(one.height, one.width) for one in fine], np.int64).reshape(-1, 2), axis=1)

    def spread(values: np.ndarray) -> list[int]:
        return [int(values.min()), int(np.median(values)), int(values.max())] if len(values) else []

    return {
        "looked_at": {split: len(seen) for split, seen in looks.items()},
        "formats": dict(sorted(Counter(one.format for one in fine).items())),
        "modes": dict(sorted(Counter(one.mode for one in fine).items())),
        "rotated": sum(one.orientation != 1 for one in fine),
        "short_side": spread(sides[:, 0]),
        "long_side": spread(sides[:, 1]),
    }
