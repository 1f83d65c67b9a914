"""Images in a few large files, ArrayRecord shards, made by ``python -m ltjax.data.prepare`` and read by position.

    manifest.json                         class names, splits, their counts, and size and hash of every file
    train.index.npz                       labels, index and names of all records
    train-00000-of-00016.array_record     the records, one per group, so that each can be read by itself

A record is "LTJ1", its label (uint32), its position in the list or folder (int64), the length of its name (uint32), its
name, and the unchanged bytes of the image file; numbers are little-endian.
"""

import dataclasses
import hashlib
import json
import os
import struct
import threading
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from ltjax.data.storage.paths import open_path
from ltjax.errors import InputError

FORMAT = "ltjax shards 1"
MANIFEST = "manifest.json"
HEADER = struct.Struct("<4sIqI")
MAGIC = b"LTJ1"
PREPARE_AGAIN = "prepare it again (python -m ltjax.data.prepare)"


def pack(label: int, index: int, name: str, image: bytes) -> bytes:
    """One record.

    Example:
      >>> unpack(pack(3, 17, "rose/1.jpg", b"..."))
      (3, 17, 'rose/1.jpg', b'...')
    """
    encoded = name.encode("utf-8", "surrogateescape")
    return HEADER.pack(MAGIC, label, index, len(encoded)) + encoded + image


def unpack(record: bytes) -> tuple[int, int, str, bytes]:
    """(label, index, name, the image's bytes).

    Raises:
      InputError: for bytes that ``pack`` did not make.
    """
    if len(record) < HEADER.size or not record.startswith(MAGIC):
        raise InputError("the record is not one of ltjax.data.prepare's")
    _, label, index, length = HEADER.unpack_from(record)
    begin = HEADER.size + length
    return label, index, record[HEADER.size : begin].decode("utf-8", "surrogateescape"), record[begin:]


class ShardReader(Protocol):
    """What is used of ArrayRecord's reader."""

    def read(self, positions: Sequence[int], /) -> Sequence[bytes]: ...

    def num_records(self) -> int: ...


@dataclasses.dataclass(frozen=True)
class ShardImages:
    """``files(i)`` is the encoded image i; every process opens a shard when it first reads from it.

    Attributes:
      paths: the shards, in order.
      bounds: int64 [shards + 1], shard k holds the records bounds[k] .. bounds[k + 1] - 1.
      labels, index: of all records, from the split's index file.
    """

    paths: tuple[str, ...]
    bounds: np.ndarray
    labels: np.ndarray
    index: np.ndarray
    _open: dict[tuple[int, int], ShardReader] = dataclasses.field(default_factory=dict, compare=False, repr=False)
    _lock: threading.Lock = dataclasses.field(default_factory=threading.Lock, compare=False, repr=False)

    def __reduce__(self) -> tuple[type["ShardImages"], tuple[object, ...]]:
        return ShardImages, (self.paths, self.bounds, self.labels, self.index)

    def _place(self, position: int) -> tuple[int, int]:
        shard = int(np.searchsorted(self.bounds, position, side="right")) - 1
        return shard, position - int(self.bounds[shard])

    def where(self, position: int) -> str:
        """The shard, and the record's number in it, for messages."""
        shard, number = self._place(position)
        return f"{self.paths[shard]}, record {number} of the shard"

    def __call__(self, position: int) -> bytes:
        shard, number = self._place(position)
        try:
            (record,) = self._reader(shard).read([number])
        except InputError:
            raise
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"the shard is damaged ({reason}); {PREPARE_AGAIN}") from error
        label, index, _, image = unpack(record)
        if (label, index) != (int(self.labels[position]), int(self.index[position])):
            raise InputError(
                f"the record has label {label} and index {index}, but the index file has {self.labels[position]} and "
                f"{self.index[position]}; {PREPARE_AGAIN}"
            )
        return image

    def _reader(self, shard: int) -> ShardReader:
        """The reader of the shard in this process: one inherited through a fork has lost its threads."""
        key = (os.getpid(), shard)
        reader = self._open.get(key)
        if reader is None:
            with self._lock:
                reader = self._open.get(key) or open_shard(self.paths[shard])
                if reader.num_records() != self.bounds[shard + 1] - self.bounds[shard]:
                    raise InputError(
                        f"the shard has {reader.num_records()} records, the manifest has "
                        f"{self.bounds[shard + 1] - self.bounds[shard]}; {PREPARE_AGAIN}"
                    )
                self._open[key] = reader
        return reader


def open_shard(path: str) -> ShardReader:
    """ArrayRecord's reader, without reading ahead."""
    try:
        from array_record.python import array_record_module
    except ImportError:
        raise InputError('reading shards needs array_record: pip install "ltjax[train]"') from None
    reader: ShardReader = array_record_module.ArrayRecordReader(
        os.fsencode(path),  # a path that is not UTF-8 is refused as text
        options="readahead_buffer_size:0",
        file_reader_buffer_size=32768,
    )
    return reader


def read_manifest(root: str) -> dict[str, Any]:
    """The content of the manifest, after checking its format."""
    path = open_path(root) / MANIFEST
    try:
        manifest = json.loads(path.read_text())
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error}); make shards with python -m ltjax.data.prepare, or "
            "finish an interrupted preparation by running the same command again"
        ) from error
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error}); {PREPARE_AGAIN}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(f"{path}: not the manifest of '{FORMAT}'; {PREPARE_AGAIN}")
    return manifest


def file_sha256(path: str) -> str:
    """SHA-256, in hex, of the file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
