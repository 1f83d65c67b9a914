"""List files with lines ``relative/path label``: the public lists of ImageNet-LT, Places-LT and iNaturalist 2018.

Accepted: any line endings, a byte-order mark, empty lines, spaces in paths, quotes around them, tabs, ``.txt`` and
``.txt.xz``. ``./a.jpg``, ``im//a.jpg`` and ``im/../a.jpg`` are the images ``a.jpg``, ``im/a.jpg`` and ``a.jpg``. A line
that repeats an earlier image is dropped and reported, because images are counted and held out, not lines. An image with
two labels is an error, and so is a path that leaves the folder of the images, unless that is allowed.
"""

import dataclasses
import lzma
import os
import posixpath
import re
from collections.abc import Callable, Mapping

import numpy as np

from ltjax.data.storage.packed_names import PackedNames
from ltjax.data.storage.paths import open_path
from ltjax.errors import InputError, shortened
from ltjax.settings.user_paths import looked_for

BOM = b"\xef\xbb\xbf"
MAX_DIGITS = 9
# how a file with zero bytes begins, which is no text -> what it is, and what reads it
NO_TEXT = {
    b"PK\x03\x04": "is a spreadsheet or an archive; save a spreadsheet as 'CSV UTF-8', which format=csv reads",
    b"PAR1": "is a Parquet file; where it holds the images too, format=parquet reads its folder",
    b"ARROW1": "is an Arrow file; where it holds the images too, format=arrow reads its folder",
}
COCO_WORD = "annotations in COCO's form are read with format=coco"
MAX_SEARCHED = 256  # absolute paths that are looked for on the disk


@dataclasses.dataclass(frozen=True)
class ImageList:
    """The content of a list file.

    Attributes:
      path: the list file.
      names: N paths as they are written, which a run's fingerprint covers.
      files: N paths of the images, normalised: two names are the same image if and only if they have the same file.
        Relative to the folder of the images, except those outside of it.
      labels: int32 [N], as in the file.
      lines: int64 [N], line numbers from 1.
      notes: what was accepted but the user should know, one line each.
      unit: what ``lines`` counts, for messages: lines, or the images of a JSON file.
    """

    path: str
    names: PackedNames
    files: PackedNames
    labels: np.ndarray
    lines: np.ndarray
    notes: tuple[str, ...] = ()
    unit: str = "line"

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, position: int) -> str:
        """For messages: "train.txt, line 7: 'rose/1.jpg'"."""
        return f"{shortened(self.path)}, {self.unit} {self.lines[position]}: '{shortened(self.names[position])}'"


def read_list(path: str | os.PathLike[str], root: str = "", allow_outside: bool = False) -> ImageList:
    """The list in ``path``, each image once.

    Args:
      path: a ``.txt`` or ``.txt.xz`` file, possibly in a bucket.
      root: the folder that the paths in the list are relative to.
      allow_outside: accept paths that leave ``root``.

    Raises:
      InputError: one line with path and line number: a missing or unreadable file, a malformed line, an image with two
        labels, a path that leaves ``root``.
    """
    names, labels, lines = _parse(list_text(path), str(path))
    return each_once(normalised(ImageList(str(path), names, names, labels, lines), root, allow_outside))


def list_text(path: str | os.PathLike[str]) -> bytes:
    """The file's text, decompressed, without a byte-order mark and with line endings \\n.

    Raises:
      InputError: for a file that is missing, cannot be read, or is no text.
    """
    text = list_content(path)
    if b"\0" in text:
        raise InputError(f"{shortened(path)}: the list is not plain UTF-8 text; save it as such")
    return text.removeprefix(BOM).replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def list_content(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a file that should be text, decompressed.

    Raises:
      InputError: for a file that is missing, cannot be read, or of a form in ``NO_TEXT``.
    """
    try:
        content = open_path(path).read_bytes()
        content = lzma.decompress(content) if str(path).endswith(".xz") else content
    except OSError as error:
        raise InputError(
            f"{shortened(path)}: the list cannot be read ({error.strerror or error}){looked_for(path)}; correct the "
            "path"
        ) from error
    except (lzma.LZMAError, EOFError) as error:
        raise InputError(
            f"{shortened(path)}: the list is not a complete .xz file ({error}); download it again"
        ) from error
    for begin, what in NO_TEXT.items():
        if content.startswith(begin) and b"\0" in content:
            raise InputError(f"{shortened(path)}: {what}")
    return content


def is_json(text: bytes) -> bool:
    """Whether a text is an object or list of JSON, or lines of them; by its first bytes.

    Example:
      >>> is_json(b'{"images": []}'), is_json(b"[1].jpg 0"), is_json(b"path,label")
      (True, False, False)
    """
    return re.match(rb"\s*(\{\s*[\"}]|\[\s*[\[{\"\]])", text.removeprefix(BOM)) is not None


def _parse(text: bytes, path: str) -> tuple[PackedNames, np.ndarray, np.ndarray]:
    """Names, labels and line numbers; parses all lines at once, backwards from their ends."""
    data = np.frombuffer(text, dtype=np.uint8)
    breaks = np.flatnonzero(data == ord("\n"))
    starts = np.concatenate([[0], breaks + 1]).astype(np.int64)
    stops = _strip(data, starts, np.concatenate([breaks, [len(data)]]).astype(np.int64))
    lines = np.flatnonzero(stops > starts)
    if not lines.size:
        raise InputError(f"{shortened(path)}: the list is empty; it needs lines such as 'train/rose/1.jpg 0'")
    starts, ends = starts[lines], stops[lines]
    labels, stops = _numbers(data, starts, ends)
    paths = _strip(data, starts, stops)
    wrong = np.flatnonzero((stops == ends) | (paths == stops) | (paths == starts))
    if wrong.size:
        shown = text[starts[wrong[0]] : ends[wrong[0]]].decode("utf-8", "replace")
        raise InputError(
            f"{shortened(path)}, line {lines[wrong[0]] + 1}: '{shortened(shown)}' is not 'relative/path label', "
            f"such as 'train/rose/1.jpg 0' ({wrong.size} such lines); "
            f"{'the file is JSON; ' + COCO_WORD if is_json(text) else _how_to_mend(shown)}"
        )
    quoted = (data[starts] == ord('"')) & (data[paths - 1] == ord('"')) & (paths - starts > 2)
    return PackedNames(text, starts + quoted, paths - quoted), labels.astype(np.int32), lines + 1


def _how_to_mend(line: str) -> str:
    """What is probably wrong with a malformed line."""
    if line.partition(",")[2].strip():
        return (
            "write the path, a space and the label as a number from 0, without a comma or a header; a CSV file with a "
            "header is read with format=csv"
        )
    if line.split()[0].isdecimal() and len(line.split()) > 1:
        return "write the path first, then the label"
    return "correct or remove it"


def normalised(listing: ImageList, root: str, allow_outside: bool) -> ImageList:
    """With the ``files`` that the names mean.

    Raises:
      InputError: for a path that leaves ``root``, naming the line, unless ``allow_outside``.
    """
    names = listing.names
    absolute = np.frombuffer(names.text, np.uint8)[names.starts] == ord("/")
    if b"//" not in names.text and b"./" not in names.text and not absolute.any():
        return listing
    prefix, real = _prefixes(root)
    files = {i: _normal(name, prefix) for i, name in enumerate(names) if absolute[i] or "//" in name or "./" in name}
    files |= _through_links({i: file for i, file in files.items() if file.startswith("/")}, real)
    outside = [i for i, file in files.items() if file.startswith("../") or file == ".."]
    rooted = [i for i, file in files.items() if file.startswith("/")]
    if not allow_outside:
        # A path of another folder if it exists, or one that a published list writes so: under the root.
        outside += [
            i for i in rooted[:MAX_SEARCHED] if os.path.exists(files[i]) and not os.path.exists(prefix + files[i][1:])
        ]
        files |= {i: files[i].lstrip("/") for i in rooted}
    if outside and not allow_outside:
        raise InputError(
            f"{listing.at(outside[0])} is outside of config.data.dir, '{shortened(root)}' ({len(outside)} such "
            f"{listing.unit}s); write paths relative to that folder, or set config.data.allow_outside=True"
        )
    return dataclasses.replace(listing, files=names.replaced(files))


def _prefixes(root: str) -> tuple[str, str]:
    """How absolute paths below ``root`` begin: as it is given, and without links."""
    if "://" in root:
        return root.rstrip("/") + "/", root.rstrip("/") + "/"
    return os.path.abspath(root).rstrip("/") + "/", os.path.realpath(root).rstrip("/") + "/"


def _through_links(files: Mapping[int, str], prefix: str) -> dict[int, str]:
    """Those of the absolute paths that are below ``prefix`` once links are followed, relative to it.

    Follows the links of each folder once, and none if the first ``MAX_SEARCHED`` paths are all elsewhere.
    """
    folders: dict[str, str] = {}
    found = {}
    for number, (i, file) in enumerate(files.items()):
        folder, _, name = file.rpartition("/")
        if folder not in folders:
            folders[folder] = os.path.realpath(folder or "/").rstrip("/") + "/"
        if folders[folder].startswith(prefix):
            found[i] = folders[folder][len(prefix) :] + name
        elif number >= MAX_SEARCHED and not found:
            break
    return found


def _normal(name: str, prefix: str) -> str:
    """The path relative to the folder ``prefix`` where it is below it, without ``./``, ``//`` and ``x/..``."""
    if name.startswith("/") or "://" in name:
        below = name if "://" in name else posixpath.normpath(name).replace("//", "/")
        if not below.startswith(prefix):
            return below
        name = below[len(prefix) :]
    return posixpath.normpath(name)


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


def each_once(listing: ImageList, called: Callable[[int], object] = int) -> ImageList:
    """The list with the first of each image only; ``called`` names a label in messages.

    Raises:
      InputError: for an image with two labels.
    """
    later, first = listing.files.repeats()
    if not later.size:
        return listing
    unit = listing.unit
    other = np.flatnonzero(listing.labels[later] != listing.labels[first])
    if other.size:
        i, j = later[other[0]], first[other[0]]
        raise InputError(
            f"{listing.at(i)} has label {called(listing.labels[i])} here and {called(listing.labels[j])} in {unit} "
            f"{listing.lines[j]} ({other.size} such {unit}s); keep the right one"
        )
    note = (
        f"{shortened(listing.path)}: {later.size} {unit}s repeat an earlier {unit} and are ignored (the first: {unit} "
        f"{listing.lines[later[0]]} repeats {unit} {listing.lines[first[0]]})"
    )
    kept = np.setdiff1d(np.arange(len(listing)), later)
    return dataclasses.replace(
        listing,
        names=listing.names.take(kept),
        files=listing.files.take(kept),
        labels=listing.labels[kept],
        lines=listing.lines[kept],
        notes=(*listing.notes, note),
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
            f"{shortened(listing.path)}: class {unused} has no image "
            f"({size - len(present)} of {size} classes{origin}); every class needs a training image: number the labels "
            "without gaps"
        )
    if size == 1:
        raise InputError(
            f"{shortened(listing.path)}: all {len(listing)} images have label 0; a run needs at least two classes: "
            "number the classes from 0"
        )
    return size
