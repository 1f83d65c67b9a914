"""Image files under a root folder: their bytes by position, their paths, and which of them are missing.

Paths in a list can differ from those on the disk. Places365 is published in two layouts, and the lists of Places-LT
are written for the first:

    easy directory structure   train/airfield/00004851.jpg         val/airfield/Places365_val_00003597.jpg
    by first letter            data_256/a/airfield/00004851.jpg    val_256/Places365_val_00003597.jpg   (or _large)

``church-outdoor`` in the first is ``c/church/outdoor`` in the second. ``find_files`` finds out which layout the images
have.
"""

import dataclasses
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ltjax.data.storage.folder_shapes import folder_with, use
from ltjax.data.storage.packed_names import PackedNames
from ltjax.data.storage.paths import as_path
from ltjax.errors import InputError, shortened

CHECKED_FILES = 256  # files whose existence is checked when a data set is built
CHECK_THREADS = 16  # threads that look for files, for slow disks
FILES_PER_TASK = 64  # files that a thread checks at a time


def _letters(train: str, val: str) -> Callable[[str], str]:
    """From the easy structure to the one by first letter, with images in the folders ``train`` and ``val``."""

    def style(name: str) -> str:
        parts = name.lstrip("/").split("/")
        if ".." in re.split("[/-]", name):  # would leave the root
            return name
        if parts[0] == "val" and len(parts) == 3:
            return f"{val}/{parts[2]}"
        if parts[0] == "train" and len(parts) == 3:
            parts = [parts[1][:1], *parts[1].split("-"), parts[2]]
        return "/".join([train, *parts] if train else parts)

    return style


def _easy(name: str) -> str:
    """From the structure by first letter to the easy one."""
    match = re.fullmatch(r"/?(?:data_256/|data_large/)?([a-z])/(\1.*)/([^/]+)", name)
    return name if match is None else f"train/{match[2].replace('/', '-')}/{match[3]}"


# name -> function from the path in a list to the path under the root, in the order in which they are tried
STYLES: dict[str, Callable[[str], str]] = {
    "as written": lambda name: name,
    "under the root": lambda name: name.lstrip("/"),
    "easy": _easy,
    "data_256": _letters("data_256", "val_256"),
    "data_large": _letters("data_large", "val_large"),
    "letters": _letters("", "val"),
    "train": _letters("train", "val"),
}


@dataclasses.dataclass(frozen=True)
class ImageFiles:
    """``files(i)`` is the content of file i; picklable, keeps no file open.

    Attributes:
      root: the folder, possibly in a bucket.
      names: paths relative to it (an absolute path is used as it is).
      style: as in ``STYLES``.
      origin: the list that names the files, or "".
      lines: int64 [N], their line numbers in the list.
      unit: what ``lines`` counts, for messages.
    """

    root: str
    names: PackedNames
    style: str = "as written"
    origin: str = ""
    lines: np.ndarray | None = None
    unit: str = "line"

    def path(self, position: int) -> str:
        """The path of the file."""
        return _join(self.root, STYLES[self.style](self.names[position]))

    def where(self, position: int) -> str:
        """The path of the file and its line in the list."""
        return self.path(position) + self._line(position)

    def quoted(self, position: int) -> str:
        """``where``, with long paths shortened, for errors."""
        return shortened(self.path(position)) + self._line(position)

    def _line(self, position: int) -> str:
        return "" if self.lines is None else f" ({self.unit} {self.lines[position]} of {shortened(self.origin)})"

    def size(self, position: int) -> int:
        """The bytes of the file, without opening it; -1 if it does not exist or lies in a bucket."""
        path = self.path(position)
        try:
            return -1 if "://" in path else os.stat(path).st_size
        except OSError:
            return -1

    def __call__(self, position: int) -> bytes:
        path = self.path(position)
        try:
            if "://" in path:
                content = as_path(path).read_bytes()
            else:
                with open(path, "rb") as file:
                    content = file.read()
        except OSError as error:
            raise InputError(error.strerror or str(error)) from error
        if not content:
            raise InputError("the file is empty (0 bytes)")
        return content


def _join(root: str, name: str) -> str:
    return f"{root.rstrip('/')}/{name.lstrip('/')}" if "://" in root else os.path.join(root, name)


def _is_there(path: str) -> bool:
    return as_path(path).exists() if "://" in path else os.path.isfile(path)


def find_files(
    root: str,
    names: PackedNames,
    origin: str = "",
    lines: np.ndarray | None = None,
    strict: bool = True,
    unit: str = "line",
) -> ImageFiles:
    """The files, in the layout that they have under ``root``, which is found by checking a sample of them.

    With ``strict=False`` files may be missing: the layout is the one with the fewest missing files.

    Raises:
      InputError: if the root or a file of the sample does not exist, with path and line.
    """
    if not as_path(root).exists():
        raise InputError(
            f"config.data.dir: '{shortened(root)}' does not exist; set it to the folder that holds the images"
        )
    sample = np.unique(np.linspace(0, len(names) - 1, min(len(names), CHECKED_FILES)).astype(np.int64))
    found = []
    for style in STYLES:
        files = ImageFiles(root, names, style, origin, lines, unit)
        missing = missing_files(files, sample)
        if not missing.size:
            return files
        found.append((missing.size, files, missing[0]))
    count, files, first = min(found, key=lambda one: one[0])
    if not strict:
        return files
    name = names[first]
    how = f"or correct the {unit}" if "\\" not in name else "or write / in place of \\ in the list"
    other = None if "://" in root or name.startswith("/") else folder_with(name, root)
    mend = f"use {use(other)}" if other else f"set config.data.dir to the folder that contains '{shortened(name)}'"
    raise InputError(f"{files.quoted(first)}: missing ({count} of {len(sample)} checked files are); {mend}, {how}")


def missing_files(files: ImageFiles, positions: np.ndarray | None = None) -> np.ndarray:
    """The ``positions`` (by default all) whose file does not exist; int64, ascending.

    Example:
      >>> missing_files(ImageFiles("/nowhere", PackedNames.of(["a.jpg", "b.jpg"]))).tolist()
      [0, 1]
    """
    positions = np.arange(len(files.names)) if positions is None else positions
    pieces = [positions[i : i + FILES_PER_TASK] for i in range(0, len(positions), FILES_PER_TASK)]
    with ThreadPoolExecutor(CHECK_THREADS) as pool:
        there = [
            one
            for piece in pool.map(lambda some: [_is_there(files.path(int(i))) for i in some], pieces)
            for one in piece
        ]
    return positions[~np.array(there, dtype=bool)]
