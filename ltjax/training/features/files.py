"""Features on disk: ``<folder>/<key>/features.npy``, an ordinary .npy file, and a manifest that is written last.

    features.npy     float [n, d], in record order; numpy.load(..., mmap_mode="r") reads it
    manifest.json    what the features depend on (its hash is the key), shape, dtype, a CRC-32 of every block of rows

Unfinished features are in ``<key>.<n>.unfinished``, with a line in ``blocks.txt`` for each finished block. The process
that computes them holds a lock on the folder; if it is killed, the next one continues after the last good block.
"""

import contextlib
import hashlib
import io
import json
import os
import pathlib
import shutil
import zlib
from typing import Any, NamedTuple

import numpy as np

Identity = dict[str, Any]  # all that the features depend on, as JSON
FEATURES, MANIFEST, BLOCKS, LOCK = "features.npy", "manifest.json", "blocks.txt", "lock"
AT_ONCE = 100  # processes that may compute the same features at the same time, each in its own folder


class Damaged(Exception):
    """A folder of features that must not be used; the message has the reason."""


class Layout(NamedTuple):
    """Of the array, and of the blocks that are written and verified."""

    rows: int
    size: int
    dtype: np.dtype
    block: int  # rows

    @property
    def blocks(self) -> int:
        return -(-self.rows // self.block)

    def header(self) -> bytes:
        """The beginning of a .npy file of this array."""
        buffer = io.BytesIO()
        fields = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False}
        np.lib.format.write_array_header_1_0(buffer, fields | {"shape": (self.rows, self.size)})  # type: ignore[arg-type]
        return buffer.getvalue()

    def bytes_of(self, block: int) -> int:
        rows = min(self.block, self.rows - block * self.block)
        return rows * self.size * self.dtype.itemsize


def key_of(identity: Identity) -> str:
    """The name of the folder: 20 hex digits of the identity's SHA-256.

    Example:
      >>> key_of({"records": "ab", "format": 1})
      '089a0b3e4c2437dedfde'
    """
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:20]


def find(root: pathlib.Path, identity: Identity, check: bool = True) -> pathlib.Path | None:
    """The finished features of this identity under ``root``; None if there are none.

    With ``check`` every block is compared with its checksum.

    Raises:
      Damaged: if there is a folder of that name, but not with these features.
    """
    folder = root / key_of(identity)
    if not folder.exists():
        return None
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        rows, size = manifest["shape"]
        layout = Layout(rows, size, np.dtype(manifest["dtype"]), manifest["block"])
        sums = manifest["crc32"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{folder}/{MANIFEST} cannot be read ({type(error).__name__})") from None
    if manifest.get("identity") != identity:
        raise Damaged(f"{folder} holds features of another identity than its name")
    path = folder / FEATURES
    expected = len(layout.header()) + sum(layout.bytes_of(k) for k in range(layout.blocks))
    size = path.stat().st_size if path.exists() else 0
    if size != expected or len(sums) != layout.blocks:
        raise Damaged(f"{path} has {size:,} bytes instead of {expected:,}")
    if check:
        good = _good_blocks(path, layout, sums)
        if good < layout.blocks:
            raise Damaged(f"{path} has wrong checksums: rows from {good * layout.block:,} on")
    return path


def _good_blocks(path: pathlib.Path, layout: Layout, sums: list[int]) -> int:
    """How many blocks, counted from the first, have these checksums."""
    header = layout.header()
    with open(path, "rb") as file:
        if file.read(len(header)) != header:
            return 0
        for block, expected in enumerate(sums):
            if zlib.crc32(file.read(layout.bytes_of(block))) != expected:
                return block
    return len(sums)


class Writer:
    """Writes features: ``add`` block after block from ``begin`` on, then ``publish``."""

    def __init__(self, root: pathlib.Path, identity: Identity, layout: Layout) -> None:
        """Continues what a killed process left. Raises OSError if the folder cannot be written."""
        self.root, self.identity, self.layout = root, identity, layout
        root.mkdir(parents=True, exist_ok=True)
        self.folder, self._lock = _locked_folder(root, key_of(identity))
        self._sums, self._replaced = self._taken_over()
        self._features = (self.folder / FEATURES).open("r+b" if self._sums else "w+b")
        if not self._sums:
            self._features.write(layout.header())
        else:
            self._features.seek(len(layout.header()) + sum(layout.bytes_of(k) for k in range(self.begin)))
            self._features.truncate()
        self._blocks = (self.folder / BLOCKS).open("w")
        self._blocks.write(json.dumps(self._heading()) + "\n")
        self._blocks.writelines(f"{crc} {n}\n" for crc, n in zip(self._sums, self._replaced, strict=True))

    @property
    def begin(self) -> int:
        """The number of the first missing block."""
        return len(self._sums)

    @property
    def replaced(self) -> int:
        """Rows of substitutes for unreadable images."""
        return sum(self._replaced)

    def _heading(self) -> dict[str, Any]:
        layout = self.layout
        return {"identity": self.identity, "layout": [layout.rows, layout.size, layout.dtype.str, layout.block]}

    def _taken_over(self) -> tuple[list[int], list[int]]:
        """The good blocks of a killed process: their checksums, and how many rows of each are substitutes."""
        try:
            heading, *lines = (self.folder / BLOCKS).read_text().split("\n")
            if json.loads(heading) != self._heading():
                return [], []
            # the last line may be cut short by a kill
            parts = [line.split() for line in lines[:-1]][: self.layout.blocks]
            sums, replaced = [int(crc) for crc, _ in parts], [int(n) for _, n in parts]
            good = _good_blocks(self.folder / FEATURES, self.layout, sums)
            return sums[:good], replaced[:good]
        except (OSError, ValueError):
            return [], []

    def add(self, rows: np.ndarray, replaced: int = 0) -> None:
        """The next block, [block, d]; the last one may be shorter. ``replaced``: rows of substitutes."""
        content = np.ascontiguousarray(rows, self.layout.dtype).tobytes()
        assert len(content) == self.layout.bytes_of(self.begin), f"block {self.begin}: {rows.shape}"
        self._features.write(content)
        self._features.flush()
        self._sums.append(zlib.crc32(content))
        self._replaced.append(replaced)
        self._blocks.write(f"{self._sums[-1]} {replaced}\n")
        self._blocks.flush()

    def publish(self, identity: Identity | None = None) -> bool:
        """Makes the finished features visible to other processes, under another identity if one is given.

        False if a folder of that name exists already: a faster process finished first.
        """
        assert self.begin == self.layout.blocks, f"{self.begin} blocks of {self.layout.blocks}"
        layout, identity = self.layout, identity or self.identity
        manifest = {"identity": identity, "shape": [layout.rows, layout.size], "dtype": layout.dtype.str}
        os.fsync(self._features.fileno())
        (self.folder / MANIFEST).write_text(json.dumps(manifest | {"block": layout.block, "crc32": self._sums}) + "\n")
        target = self.root / key_of(identity)
        (self.folder / BLOCKS).unlink()
        with contextlib.suppress(OSError):
            os.rename(self.folder, target)
        self.close()
        ours = not self.folder.exists()
        if not ours:
            shutil.rmtree(self.folder)
        return ours

    def close(self) -> None:
        """Leaves the finished blocks for the next process."""
        if not self._features.closed:
            self._features.close()
            self._blocks.close()
            os.close(self._lock)


def _locked_folder(root: pathlib.Path, key: str) -> tuple[pathlib.Path, int]:
    """An unfinished folder that no running process uses, and the lock on it."""
    import fcntl

    for number in range(AT_ONCE):
        folder = root / f"{key}.{number}.unfinished"
        folder.mkdir(exist_ok=True)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.stat(folder / LOCK).st_ino == os.fstat(lock).st_ino:
                return folder, lock
        except (BlockingIOError, FileNotFoundError):  # another process has it; or it was just finished and renamed
            pass
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)
    raise OSError(f"{root}: {AT_ONCE} processes compute the same features already; stop some of them")


def load(path: pathlib.Path, most: float) -> np.ndarray:
    """The features: in memory up to ``most`` bytes, else memory-mapped, read-only."""
    if path.stat().st_size <= most:
        return np.load(path)
    return np.load(path, mmap_mode="r")


def remove(root: pathlib.Path, identity: Identity) -> None:
    """Removes what ``find`` calls damaged. Raises OSError where that is not allowed."""
    shutil.rmtree(root / key_of(identity))
