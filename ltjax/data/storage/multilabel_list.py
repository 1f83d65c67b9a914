"""List files of images with any number of labels: lines ``relative/path label label ...``.

Labels stand at the end of the line, with spaces, tabs or commas between. A line without a label is an image of none of
the classes. An image may have several lines, as in lists with one label a line: its labels are those of all of them.
Paths are as in ``list_file``.
"""

import os
import re
from typing import NamedTuple

import numpy as np

from ltjax.data.label_sets import LabelSets
from ltjax.data.storage.list_file import MAX_DIGITS, ImageList, list_text, normalised
from ltjax.data.storage.packed_names import PackedNames
from ltjax.errors import InputError, shortened

LINE = re.compile(r"(.*?)((?:[ \t,;]+[0-9]+)*)[ \t,;]*")


class LabelledList(NamedTuple):
    """The content of a list: each image once, and its classes. ``images.labels`` are zeros."""

    images: ImageList
    sets: LabelSets


def read_multilabel_list(path: str | os.PathLike[str], root: str = "", allow_outside: bool = False) -> LabelledList:
    """The list in ``path``; arguments as of ``read_list``.

    Raises:
      InputError: one line with path and line number: a missing or unreadable file, a line without a path, a label that
        is too large, a path that leaves ``root``.
    """
    names: list[str] = []
    labels: list[list[int]] = []
    lines: list[int] = []
    for number, line in enumerate(list_text(path).decode("utf-8", "surrogateescape").split("\n"), 1):
        if not line.strip():
            continue
        name, words = _parsed(line.strip(), f"{shortened(path)}, line {number}")
        names.append(name)
        labels.append([int(word) for word in words])
        lines.append(number)
    if not names:
        raise InputError(f"{shortened(path)}: the list is empty; it needs lines such as 'train/1.jpg 0 4 17'")
    packed = PackedNames.of(names)
    zeros, at = np.zeros(len(names), np.int32), np.array(lines, np.int64)
    listing = normalised(ImageList(str(path), packed, packed, zeros, at), root, allow_outside)
    return _joined(listing, labels)


def _parsed(line: str, where: str) -> tuple[str, list[str]]:
    """The path and the labels of a line."""
    found = LINE.fullmatch(line)
    name = "" if found is None else found[1].strip("\"' \t")
    words = [] if found is None else re.findall("[0-9]+", found[2])
    if not name or name.isdecimal():
        raise InputError(f"{where}: '{shortened(line)}' is not 'relative/path label label ...'; write the path first")
    large = next((word for word in words if len(word) > MAX_DIGITS), None)
    if large is not None:
        raise InputError(f"{where}: label {shortened(large)} is too large; labels are numbers of classes from 0")
    return name, words


def _joined(listing: ImageList, labels: list[list[int]]) -> LabelledList:
    """Each image once, with the labels of all its lines."""
    later, first = listing.files.repeats()
    notes = listing.notes
    if later.size:
        for i, j in zip(later.tolist(), first.tolist(), strict=True):
            labels[j] = labels[j] + labels[i]
        notes = (
            *notes,
            f"{shortened(listing.path)}: {later.size} lines repeat an image; its labels are those of all its lines "
            f"(the first: line {listing.lines[later[0]]} is the image of line {listing.lines[first[0]]})",
        )
    kept = np.setdiff1d(np.arange(len(listing)), later)
    sets = LabelSets.of(labels[i] for i in kept.tolist())
    empty = np.flatnonzero(sets.sizes() == 0)
    if empty.size:
        line = listing.lines[kept[empty[0]]]
        notes = (
            *notes,
            f"{shortened(listing.path)}: {empty.size} of {len(kept)} images have no label (the first: line {line}); "
            "they count as images of none of the classes",
        )
    names, files = listing.names.take(kept), listing.files.take(kept)
    return LabelledList(ImageList(listing.path, names, files, listing.labels[kept], listing.lines[kept], notes), sets)
