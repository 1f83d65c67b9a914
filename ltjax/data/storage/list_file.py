"""List files with lines ``relative/path label``: the public lists of ImageNet-LT, Places-LT and iNaturalist 2018.

Accepted: any line endings, a byte-order mark, empty lines, spaces in paths, tabs, ``.txt`` and ``.txt.xz``. A line that
repeats an earlier one is dropped and reported, because images are counted and held out, not lines. A path with two
labels is an error.
"""

import dataclasses
import lzma
import os

import numpy as np

from ltjax.data.storage.packed_names import PackedNames
from ltjax.data.storage.paths import open_path
from ltjax.errors import InputError

MAX_DIGITS = 9
MAX_SHOWN = 80  # characters of a malformed line


@dataclasses.dataclass(frozen=True)
class ImageList:
    """The content of a list file.

    Attributes:
      path: the list file.
      names: N relative paths.
      labels: int32 [N], as in the file.
      lines: int64 [N], line numbers from 1.
      notes: what was accepted but the user should know, one line each.
    """

    path: str
    names: PackedNames
    labels: np.ndarray
    lines: np.ndarray
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, position: int) -> str:
        """For messages: "train.txt, line 7: 'rose/1.jpg'"."""
        return f"{self.path}, line {self.lines[position]}: '{self.names[position]}'"


def read_list(path: str | os.PathLike[str]) -> ImageList:
    """The list in ``path``, each image once.

    Args:
      path: a ``.txt`` or ``.txt.xz`` file, possibly in a bucket.

    Raises:
      InputError: one line with path and line number: a missing or unreadable file, a malformed line, a path
        with two labels.
    """
    names, labels, lines = _parse(_text(path), str(path))
    return _each_once(ImageList(str(path), names, labels, lines))


def _text(path: str | os.PathLike[str]) -> bytes:
    """The file's text with line endings \\n."""
    try:
        text = open_path(path).read_bytes()
        text = lzma.decompress(text) if str(path).endswith(".xz") else text
    except OSError as error:
        raise InputError(f"{path}: the list cannot be read ({error.strerror or error}); correct the path") from error
    except (lzma.LZMAError, EOFError) as error:
        raise InputError(f"{path}: the list is not a complete .xz file ({error}); download it again") from error
    if b"\0" in text:
        raise InputError(f"{path}: the list is not plain UTF-8 text; save it as such")
    return text.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _parse(text: bytes, path: str) -> tuple[PackedNames, np.ndarray, np.ndarray]:
    """Names, labels and line numbers; parses all lines at once, backwards from their ends."""
    data = np.frombuffer(text, dtype=np.uint8)
    breaks = np.flatnonzero(data == ord("\n"))
    starts = np.concatenate([[0], breaks + 1]).astype(np.int64)
    stops = _strip(data, starts, np.concatenate([breaks, [len(data)]]).astype(np.int64))
    lines = np.flatnonzero(stops > starts)
    if not lines.size:
        raise InputError(f"{path}: the list is empty; it needs lines such as 'train/rose/1.jpg 0'")
    starts, ends = starts[lines], stops[lines]
    labels, stops = _numbers(data, starts, ends)
    paths = _strip(data, starts, stops)
    wrong = np.flatnonzero((stops == ends) | (paths == stops) | (paths == starts))
    if wrong.size:
        shown = text[starts[wrong[0]] : ends[wrong[0]]].decode("utf-8", "replace")
        shown = shown if len(shown) <= MAX_SHOWN else shown[:MAX_SHOWN] + "..."
        raise InputError(
            f"{path}, line {lines[wrong[0]] + 1}: '{shown}' is not 'relative/path label', such as 'train/rose/1.jpg 0' "
            f"({wrong.size} such lines); correct or remove it"
        )
    return PackedNames(text, starts, paths), labels.astype(np.int32), lines + 1


def _strip(data: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """``stops`` moved back over spaces and tabs."""
    stops = stops.copy()
    while True:
        last = data[np.maximum(stops - 1, 0)] if data.size else np.zeros(len(stops), np.uint8)
        blank = (stops > starts) & ((last == ord(" ")) | (last == ord("\t")))
        if not blank.any():
            return stops
        stops[blank] -= 1


def _numbers(data: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The integer at the end of every line, and where it begins: at the line's end if there is none."""
    stops, numbers, active, unit = ends.copy(), np.zeros(len(ends), np.int64), np.ones(len(ends), bool), 1
    for _ in range(MAX_DIGITS):
        last = data[np.maximum(stops - 1, 0)]
        active = active & (stops > starts) & (last >= ord("0")) & (last <= ord("9"))
        numbers[active] += unit * (last[active].astype(np.int64) - ord("0"))
        stops[active] -= 1
        unit *= 10
    minus = (stops < ends) & (stops > starts) & (data[np.maximum(stops - 1, 0)] == ord("-"))
    stops[minus] -= 1
    return np.where(minus, -numbers, numbers), stops


def _each_once(listing: ImageList) -> ImageList:
    later, first = listing.names.repeats()
    if not later.size:
        return listing
    other = np.flatnonzero(listing.labels[later] != listing.labels[first])
    if other.size:
        i, j = later[other[0]], first[other[0]]
        raise InputError(
            f"{listing.at(i)} has label {listing.labels[i]} here and {listing.labels[j]} in line {listing.lines[j]} "
            f"({other.size} such lines); keep the right one"
        )
    note = (
        f"{listing.path}: {later.size} lines repeat an earlier line and are ignored (the first: line "
        f"{listing.lines[later[0]]} repeats line {listing.lines[first[0]]})"
    )
    kept = np.setdiff1d(np.arange(len(listing)), later)
    return ImageList(
        listing.path, listing.names.take(kept), listing.labels[kept], listing.lines[kept], (*listing.notes, note)
    )


def check_classes(listing: ImageList, num_classes: int) -> None:
    """Raises InputError, naming the line, unless all labels are 0 .. C - 1."""
    wrong = np.flatnonzero((listing.labels < 0) | (listing.labels >= num_classes))
    if wrong.size:
        raise InputError(
            f"{listing.at(wrong[0])} has label {listing.labels[wrong[0]]}; labels must be 0 to {num_classes - 1} "
            f"({wrong.size} such lines)"
        )


def check_all_classes(listing: ImageList, num_classes: int | None = None) -> int:
    """Checks that every class 0 .. C - 1 has an image, and returns C: ``num_classes``, or the largest label plus 1.

    Raises:
      InputError: for a label out of range, naming the line, or a class without an image.
    """
    check_classes(listing, num_classes if num_classes is not None else int(listing.labels.max()) + 1)
    largest = int(np.argmax(listing.labels))
    size = num_classes if num_classes is not None else int(listing.labels[largest]) + 1
    present = np.unique(listing.labels)
    if len(present) < size:
        unused = next(i for i in range(size) if i >= len(present) or present[i] != i)
        origin = "" if num_classes is not None else f"; line {listing.lines[largest]} has the largest label, {size - 1}"
        raise InputError(
            f"{listing.path}: class {unused} has no image ({size - len(present)} of {size} classes{origin}); every "
            "class needs a training image: number the labels without gaps"
        )
    return size
