"""Image files under a root folder: their bytes by position, their paths, and which of them are missing.

A list may name an image by another path than it has on the disk. Places365 is published in two layouts, and
Places-LT's lists are written for the first:

    easy directory structure   train/airfield/00004851.jpg         val/airfield/Places365_val_00003597.jpg
    as for its own lists       data_256/a/airfield/00004851.jpg    val_256/Places365_val_00003597.jpg   (or _large)

Where the first has ``church-outdoor`` the second has ``c/church/outdoor``. ``find_files`` tries which layout the
images have.
"""

import dataclasses
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ltjax.data.storage.packed_names import PackedNames
from ltjax.data.storage.paths import open_path
from ltjax.errors import InputError

CHECKED_FILES = 256  # files whose existence is checked when a data set is built
CHECK_THREADS = 16  # threads that check for files, for slow disks
FILES_PER_TASK = 64  # files that a thread checks in a row


def _letters(train: str, val: str) -> Callable[[str], str]:
    """From the easy structure to the one with letters, whose parts lie in the folders ``train`` and ``val``."""

    def style(name: str) -> str:
        parts = name.lstrip("/").split("/")
        if parts[0] == "val" and len(parts) == 3:
            return f"{val}/{parts[2]}"
        if parts[0] == "train" and len(parts) == 3:
            parts = [parts[1][:1], *parts[1].split("-"), parts[2]]
        return "/".join([train, *parts] if train else parts)

    return style


def _easy(name: str) -> str:
    """From the structure with letters to the easy one."""
    match = re.fullmatch(r"/?(?:data_256/|data_large/)?([a-z])/(\1.*)/([^/]+)", name)
    return name if match is None else f"train/{match[2].replace('/', '-')}/{match[3]}"


# name -> (the path in the list -> the path under the root), in the order in which they are tried
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
    """``files(i)`` is the bytes of file i; picklable, holds nothing open.

    Attributes:
      root: the folder, or a bucket's.
      names: paths relative to it (an absolute one is taken as it is).
      style: as in ``STYLES``.
      origin: the list that names them, or "".
      lines: int64 [N], their line numbers there.
    """

    root: str
    names: PackedNames
    style: str = "as written"
    origin: str = ""
    lines: np.ndarray | None = None

    def path(self, position: int) -> str:
        """Where the file is."""
        return _join(self.root, STYLES[self.style](self.names[position]))

    def where(self, position: int) -> str:
        """For messages: its path, and its line in the list."""
        line = "" if self.lines is None else f" (line {self.lines[position]} of {self.origin})"
        return self.path(position) + line

    def __call__(self, position: int) -> bytes:
        path = self.path(position)
        try:
            if "://" in path:
                content = open_path(path).read_bytes()
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
    return open_path(path).exists() if "://" in path else os.path.isfile(path)


def find_files(
    root: str, names: PackedNames, origin: str = "", lines: np.ndarray | None = None, refuse: bool = True
) -> ImageFiles:
    """The files, in the layout that they have under ``root``, for which a sample of them is checked.

    With ``refuse=False`` some may be missing: the layout is that which finds most.

    Raises:
      InputError: when the root or a file of the sample is not there, with path and line.
    """
    if not open_path(root).exists():
        raise InputError(f"config.data.dir: '{root}' is not there; set it to the folder that holds the images")
    sample = np.unique(np.linspace(0, len(names) - 1, min(len(names), CHECKED_FILES)).astype(np.int64))
    found = []
    for style in STYLES:
        files = ImageFiles(root, names, style, origin, lines)
        missing = missing_files(files, sample)
        if not missing.size:
            return files
        found.append((missing.size, files, missing[0]))
    count, files, first = min(found, key=lambda one: one[0])
    if not refuse:
        return files
    raise InputError(
        f"{files.where(first)}: missing ({count} of {len(sample)} checked files are); set config.data.dir to the "
        f"folder under which '{names[first]}' lies, or correct the line"
    )


def missing_files(files: ImageFiles, positions: np.ndarray | None = None) -> np.ndarray:
    """Those of ``positions`` (all, without) whose file is not there; int64, ascending.

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
