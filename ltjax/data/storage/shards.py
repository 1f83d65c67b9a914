"""Images in few large files, ArrayRecord shards, as ``python -m ltjax.data.prepare`` makes them; read by position.

    manifest.json                         class names, splits, their counts, and size and hash of every file
    train.index.npz                       of all records: labels, index, names
    train-00000-of-00016.array_record     the records, one a group, so that each is read alone

A record is its label (uint32), its place in the list or folder (int64), its name's length (uint32), its name, and the
unchanged bytes of the image's file; numbers are little-endian, "LTJ1" goes before them.
"""

import dataclasses
import hashlib
import json
import os
import struct
import threading
from typing import Any

import numpy as np

from ltjax.data.storage.paths import open_path
from ltjax.errors import InputError

FORMAT = "ltjax shards 1"
MANIFEST = "manifest.json"
HEADER = struct.Struct("<4sIqI")
MAGIC = b"LTJ1"
AGAIN = "prepare it again (python -m ltjax.data.prepare)"


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


@dataclasses.dataclass(frozen=True)
class ShardImages:
    """``files(i)`` is the bytes of image i; shards are opened when they are first read, in every process anew.

    Attributes:
      paths: the shards, in order.
      bounds: int64 [shards + 1], shard k holds the records bounds[k] .. bounds[k + 1] - 1.
      labels, index: of all records, as the manifest's index has them.
    """

    paths: tuple[str, ...]
    bounds: np.ndarray
    labels: np.ndarray
    index: np.ndarray
    _open: dict = dataclasses.field(default_factory=dict, compare=False, repr=False)
    _lock: Any = dataclasses.field(default_factory=threading.Lock, compare=False, repr=False)

    def __reduce__(self) -> Any:
        return ShardImages, (self.paths, self.bounds, self.labels, self.index)

    def _place(self, position: int) -> tuple[int, int]:
        shard = int(np.searchsorted(self.bounds, position, side="right")) - 1
        return shard, position - int(self.bounds[shard])

    def where(self, position: int) -> str:
        """For messages: the shard, and the record's number in it."""
        shard, number = self._place(position)
        return f"{self.paths[shard]}, its record {number}"

    def __call__(self, position: int) -> bytes:
        shard, number = self._place(position)
        try:
            (record,) = self._reader(shard).read([number])
        except InputError:
            raise
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"the shard is damaged ({reason}); {AGAIN}") from error
        label, index, _, image = unpack(record)
        if (label, index) != (int(self.labels[position]), int(self.index[position])):
            raise InputError(
                f"it has label {label} and index {index}, the manifest has {self.labels[position]} and "
                f"{self.index[position]}; {AGAIN}"
            )
        return image

    def _reader(self, shard: int) -> Any:
        """The shard's reader of this process: one that came through a fork has lost its threads."""
        key = (os.getpid(), shard)
        reader = self._open.get(key)
        if reader is None:
            with self._lock:
                reader = self._open.get(key) or open_shard(self.paths[shard])
                if reader.num_records() != self.bounds[shard + 1] - self.bounds[shard]:
                    raise InputError(
                        f"the shard has {reader.num_records()} records, the manifest has "
                        f"{self.bounds[shard + 1] - self.bounds[shard]}; {AGAIN}"
                    )
                self._open[key] = reader
        return reader


def open_shard(path: str) -> Any:
    """ArrayRecord's reader, which reads nothing but what is asked for."""
    try:
        from array_record.python import array_record_module
    except ImportError:
        raise InputError('shards are read by array_record; pip install "ltjax[train]"') from None
    return array_record_module.ArrayRecordReader(path, options="readahead_buffer_size:0", file_reader_buffer_size=32768)


def read_manifest(root: str) -> dict[str, Any]:
    """The manifest's content, after a check of its format."""
    path = open_path(root) / MANIFEST
    try:
        manifest = json.loads(path.read_text())
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error}); make shards with python -m ltjax.data.prepare, or "
            "let one that was stopped go on: the same command again"
        ) from error
    except ValueError as error:
        raise InputError(f"{path}: is no JSON ({error}); {AGAIN}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(f"{path}: not the manifest of '{FORMAT}'; {AGAIN}")
    return manifest


def file_sha256(path: str) -> str:
    """Of the file's content, as hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
