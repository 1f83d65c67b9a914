"""Encoded images in Parquet files, read by position.

Parquet is read by row group. The one that was read last is kept, so that images in order cost one reading of each; a
large one is read in batches, so that memory holds a part of it.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Iterator
from typing import Any

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

KIND = "Parquet"
WHOLE = 64 * 2**20  # bytes of the images of a row group that is read at once
BATCH = 16  # rows of a larger one that are read at a time
OPEN_FILES = 128  # in a process
BUFFER = 2**20  # bytes that are read from the file at a time


@dataclasses.dataclass(frozen=True)
class ParquetFile:
    """What is known of a file.

    Attributes:
      path: of the file.
      columns: those that are read.
      labels: int64 or text (dtype object) [N].
      group_rows: int64 [groups], the rows of each row group.
      group_bytes: int64 [groups], the bytes of its images.
    """

    path: str
    columns: Columns
    labels: np.ndarray
    group_rows: np.ndarray
    group_bytes: np.ndarray


def read_parquet(path: str, image_column: str, label_column: str) -> ParquetFile:
    """The labels and the row groups of a file; no image is read.

    Raises:
      InputError: for a file that is not Parquet, or truncated, or has other columns.
    """
    with named(path, KIND), _open(path) as file:
        columns = find_columns(file.schema_arrow, path, image_column, label_column)
        leaf = f"{columns.image}.bytes" if columns.nested else columns.image
        groups = [file.metadata.row_group(k) for k in range(file.num_row_groups)]
        chunks = [
            next(c for c in map(group.column, range(group.num_columns)) if c.path_in_schema == leaf) for group in groups
        ]
        labels = label_array(file.read(columns=[columns.label]).column(0))
        return ParquetFile(
            path, columns, labels,
            np.array([group.num_rows for group in groups], np.int64),
            np.array([chunk.total_uncompressed_size for chunk in chunks], np.int64),
        )  # fmt: skip


@dataclasses.dataclass
class _Reading:
    """The open files of a process, and the images at hand: those of the rows ``start`` .. of a row group."""

    process: int = -1
    files: dict[int, Any] = dataclasses.field(default_factory=dict)
    group: tuple[int, int] = (-1, -1)  # (file, row group)
    start: int = 0
    images: Any = None
    batches: Iterator[Any] | None = None


@dataclasses.dataclass(frozen=True)
class ParquetImages(ImageRows):
    """``images(i)`` is the encoded image i; picklable. Every process opens a file when it first reads from it.

    Attributes:
      groups: for each file int64 [groups + 1], the rows at which its row groups begin, and its end.
      large: for each file bool [groups], whether the group is read in batches.
    """

    groups: tuple[np.ndarray, ...]
    large: tuple[np.ndarray, ...]
    _reading: _Reading = dataclasses.field(default_factory=_Reading, compare=False, repr=False)
    _lock: threading.Lock = dataclasses.field(default_factory=threading.Lock, compare=False, repr=False)

    @classmethod
    def of(cls, files: list[ParquetFile]) -> ParquetImages:
        """The images of these files, one file after the other."""
        return cls(
            tuple(file.path for file in files),
            np.cumsum([len(file.labels) for file in files], dtype=np.int64),
            files[0].columns.image,
            files[0].columns.nested,
            tuple(np.concatenate([[0], np.cumsum(file.group_rows)]).astype(np.int64) for file in files),
            tuple(file.group_bytes > WHOLE for file in files),
        )

    def __reduce__(self) -> tuple[type[ParquetImages], tuple[object, ...]]:
        return ParquetImages, (self.paths, self.ends, self.image, self.nested, self.groups, self.large)

    def __call__(self, position: int) -> bytes:
        file, row = self.place(position)
        group = int(np.searchsorted(self.groups[file], row, side="right")) - 1
        row -= int(self.groups[file][group])
        with self._lock, named(self.paths[file], KIND):
            self._find((file, group), row)
            value = self._reading.images[row - self._reading.start].as_py()
        return image_bytes(value)

    def _file(self, number: int) -> Any:
        """The open file, in this process: one inherited through a fork shares its position."""
        reading = self._reading
        if reading.process != os.getpid():
            reading.__dict__.update(_Reading(os.getpid()).__dict__)
        if number not in reading.files:
            if len(reading.files) >= OPEN_FILES:
                del reading.files[next(iter(reading.files))]
            reading.files[number] = _open(self.paths[number])
        return reading.files[number]

    def _find(self, group: tuple[int, int], row: int) -> None:
        """Makes the images at hand those around this row of the row group."""
        file, reading = self._file(group[0]), self._reading
        at_hand = 0 if reading.images is None else len(reading.images)
        if reading.group == group and reading.start <= row < reading.start + at_hand:
            return
        if not self.large[group[0]][group[1]]:
            reading.images, reading.batches = None, None
            table = file.read_row_group(group[1], columns=[self._leaf()])
            reading.group, reading.start, reading.images = group, 0, self._bytes(table.column(0).combine_chunks())
            return
        if reading.group != group or row < reading.start or reading.batches is None:
            reading.images, reading.group, reading.start = None, group, 0
            reading.batches = file.iter_batches(BATCH, row_groups=[group[1]], columns=[self._leaf()])
        while reading.images is None or row >= reading.start + len(reading.images):
            reading.start += 0 if reading.images is None else len(reading.images)
            reading.images = self._bytes(next(reading.batches).column(0))

    def _leaf(self) -> str:
        return f"{self.image}.bytes" if self.nested else self.image

    def _bytes(self, column: Any) -> Any:
        return column.field("bytes") if self.nested else column


def _open(path: str) -> Any:
    return import_pyarrow().parquet.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER)
