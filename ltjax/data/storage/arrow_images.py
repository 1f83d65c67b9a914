"""Encoded images in Arrow files, as ``save_to_disk`` of Hugging Face datasets writes them, read by position.

    dataset_dict.json               {"splits": ["train", "test"]}; absent where there is a single split
    train/state.json                names the files of the split
    train/data-00000-of-00002.arrow

The files are mapped into memory: an image costs the pages of the disk that it lies on.
"""

from __future__ import annotations

import dataclasses
import json
import os
import threading
from typing import Any, NamedTuple

import numpy as np

from ltjax.data.storage.arrow_columns import (
    Columns,
    ImageRows,
    find_columns,
    image_bytes,
    import_pyarrow,
    label_array,
    named,
)
from ltjax.errors import InputError, shortened

KIND = "Arrow"
DICT, STATE = "dataset_dict.json", "state.json"


class ArrowFile(NamedTuple):
    """What is known of a file: its path, the columns that are read, labels int64 or text (dtype object) [N]."""

    path: str
    columns: Columns
    labels: np.ndarray


def saved_splits(root: str) -> dict[str, list[str]] | None:
    """Name of each split -> its files, for a folder that ``save_to_disk`` wrote; None for another folder.

    Raises:
      InputError: for a folder that is not complete.
    """
    if os.path.isfile(os.path.join(root, DICT)):
        splits = _json(os.path.join(root, DICT)).get("splits")
        if not isinstance(splits, list) or not all(isinstance(name, str) for name in splits):
            raise InputError(f"{shortened(os.path.join(root, DICT))}: names no splits; save the data set again")
        return {name: _files_of(os.path.join(root, _plain(name, root))) for name in splits}
    return {"train": _files_of(root)} if os.path.isfile(os.path.join(root, STATE)) else None


def _files_of(folder: str) -> list[str]:
    state = _json(os.path.join(folder, STATE))
    if state.get("_indices_data_files"):
        raise InputError(f"{shortened(folder)}: has an indices mapping; save it again after flatten_indices()")
    try:
        files = [os.path.join(folder, _plain(one["filename"], folder)) for one in state["_data_files"]]
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{shortened(os.path.join(folder, STATE))}: names no files; save the data set again"
        ) from error
    absent = [path for path in files if not os.path.isfile(path)]
    if absent or not files:
        raise InputError(
            f"{shortened(absent[0] if absent else folder)}: {'no such file' if absent else 'no data'}, though "
            f"{STATE} names it; save the data set again"
        )
    return files


def _plain(name: object, folder: str) -> str:
    """The name of a file or folder that lies in ``folder`` itself."""
    if not isinstance(name, str) or not name or name in (".", "..") or os.path.basename(name) != name:
        raise InputError(f"{shortened(folder)}: '{shortened(name)}' is not a file beside it; save the data set again")
    return name


def _json(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            content = json.loads(file.read())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{shortened(path)}: cannot be read ({shortened(error)}); save the data set again") from error
    return content if isinstance(content, dict) else {}


def read_arrow(path: str, image_column: str, label_column: str) -> ArrowFile:
    """The labels of a file; no image is read.

    Raises:
      InputError: for a file that is not Arrow, or truncated, or has other columns.
    """
    with named(path, KIND):
        table = _table(path)
        columns = find_columns(table.schema, path, image_column, label_column)
        return ArrowFile(path, columns, label_array(table.column(columns.label)))


def _table(path: str) -> Any:
    """The table of a stream or file, mapped into memory."""
    arrow = import_pyarrow()
    if os.path.getsize(path) == 0:
        raise InputError(f"{shortened(path)}: the file is empty (0 bytes); get it again")
    mapped = arrow.memory_map(path)
    with open(path, "rb") as file:
        is_file = file.read(6) == b"ARROW1"
    return (arrow.ipc.open_file if is_file else arrow.ipc.open_stream)(mapped).read_all()


@dataclasses.dataclass(frozen=True)
class ArrowImages(ImageRows):
    """``images(i)`` is the encoded image i; picklable. Every process maps a file when it first reads from it."""

    _open: dict[tuple[int, int], Any] = dataclasses.field(default_factory=dict, compare=False, repr=False)
    _lock: threading.Lock = dataclasses.field(default_factory=threading.Lock, compare=False, repr=False)

    @classmethod
    def of(cls, files: list[ArrowFile]) -> ArrowImages:
        """The images of these files, one file after the other."""
        ends = np.cumsum([len(file.labels) for file in files], dtype=np.int64)
        return cls(tuple(file.path for file in files), ends, files[0].columns.image, files[0].columns.nested)

    def __reduce__(self) -> tuple[type[ArrowImages], tuple[object, ...]]:
        return ArrowImages, (self.paths, self.ends, self.image, self.nested)

    def __call__(self, position: int) -> bytes:
        file, row = self.place(position)
        with named(self.paths[file], KIND):
            value = self._column(file)[row].as_py()
        return image_bytes(value["bytes"] if self.nested and value is not None else value)

    def _column(self, file: int) -> Any:
        key = (os.getpid(), file)
        if key not in self._open:
            with self._lock:
                self._open.setdefault(key, _table(self.paths[file]).column(self.image))
        return self._open[key]
