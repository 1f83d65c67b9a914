"""The folder FILE.parts: rows of whole blocks of images, written block by block, from which FILE is made at the end.

    about.json            what was asked for; a command that asks for anything else does not go on here
    prior.json            the class distribution of --test-prior=estimate, once it is known
    alive                 touched by the first process while it estimates
    00000017.rows         the rows of block 17
    00000017.skipped      its unreadable images, if there are any: [[position, path, reason], ...]
    00000017.npy          logits that are still needed, of --test-prior=estimate

A file is there whole or not at all, so that a command that was killed goes on with the blocks that are missing. Several
processes share the folder: each writes blocks of its own, and the first one joins them.
"""

import contextlib
import dataclasses
import io
import json
import os
import pathlib
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ltjax.commands.predict.rows import Format, Table
from ltjax.data.storage.paths import unfinished_name, write_atomically
from ltjax.errors import InputError, shortened

SHARED_WAIT = 60.0  # seconds that the first process's folder may take to appear on a shared disk
PATIENCE = 600.0  # seconds without a new file of the other processes
BEAT = 20.0  # seconds between two signs of life of a process that the others wait for


Skipped = tuple[int, str, str]  # position, path, reason


@dataclasses.dataclass(frozen=True)
class Parts:
    """The folder of one command.

    Attributes:
      out: the file to be made.
      folder: FILE.parts.
      blocks: how many there are.
      block: images of a block.
    """

    out: pathlib.Path
    folder: pathlib.Path
    blocks: int
    block: int

    def path(self, block: int, suffix: str) -> pathlib.Path:
        return self.folder / f"{block:08}.{suffix}"

    def missing(self, suffix: str) -> tuple[int, ...]:
        """The blocks that are not there yet."""
        there = {name for name in os.listdir(self.folder) if name.endswith(f".{suffix}")}
        return tuple(block for block in range(self.blocks) if f"{block:08}.{suffix}" not in there)

    def write_rows(self, block: int, content: bytes) -> None:
        write_atomically(self.path(block, "rows"), content)

    def write_skipped(self, block: int, skipped: Sequence[Skipped]) -> None:
        """The unreadable images of a block, before its rows or logits; an earlier list is of an interrupted command."""
        path, text = self.path(block, "skipped"), json.dumps(skipped)
        if not skipped:
            path.unlink(missing_ok=True)
        elif not path.exists() or path.read_text() != text:
            write_atomically(path, text)

    def write_logits(self, block: int, logits: np.ndarray) -> None:
        buffer = io.BytesIO()
        np.save(buffer, logits)
        write_atomically(self.path(block, "npy"), buffer.getvalue())

    def logits(self, block: int) -> np.ndarray:
        """Those of the images of a block, in order; NaN for an unreadable one."""
        return np.asarray(np.load(self.path(block, "npy")))

    def wait_for(self, suffix: str) -> None:
        """Waits until all blocks have this file: other processes may still be computing theirs.

        Raises:
          InputError: if no new one appears for ``PATIENCE`` seconds.
        """
        before, since = -1, time.monotonic()
        while self.folder.exists() and (missing := self._missing_or_joined(suffix)):
            if len(missing) != before:
                before, since = len(missing), time.monotonic()
            elif time.monotonic() - since > PATIENCE:
                raise InputError(
                    f"{shortened(str(self.path(missing[0], suffix)))}: not there after {PATIENCE:.0f} s without news "
                    "of the other processes; all of them need the same --out on a disk that they share: run the same "
                    "command to go on"
                )
            time.sleep(0.2)

    def wait_for_file(self, path: pathlib.Path) -> None:
        """Waits for a file that the first process writes once all have done their share, as long as it is ``alive``.

        Raises:
          InputError: without a sign of life for ``PATIENCE`` seconds.
        """
        before, since = self._last_beat(), time.monotonic()
        while not path.exists():
            beat = self._last_beat()
            if beat != before:
                before, since = beat, time.monotonic()
            elif time.monotonic() - since > PATIENCE:
                raise InputError(f"{shortened(str(path))}: the first process has not written it; run the command again")
            time.sleep(0.2)

    @contextlib.contextmanager
    def alive(self) -> Iterator[None]:
        """Meanwhile the other processes wait for this one, however long it takes."""
        done, path = threading.Event(), self.folder / "alive"

        def beat() -> None:
            with contextlib.suppress(OSError):
                while not done.is_set():
                    path.touch()
                    done.wait(BEAT)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _last_beat(self) -> int | None:
        """By the clock of the disk, which may differ from that of this machine."""
        try:
            return (self.folder / "alive").stat().st_mtime_ns
        except OSError:
            return None

    def _missing_or_joined(self, suffix: str) -> tuple[int, ...]:
        """Nothing is missing any more once the first process has made the file and removed the folder."""
        try:
            return self.missing(suffix)
        except FileNotFoundError:
            return ()

    def skipped(self) -> list[tuple[int, str, str]]:
        """(position, path, reason) of all unreadable images, in order."""
        found = [json.loads(path.read_text()) for path in sorted(self.folder.glob("*.skipped"))]
        return [(position, name, reason) for some in found for position, name, reason in some]

    def skipped_of(self, block: int) -> list[tuple[int, str, str]]:
        """Those of a block."""
        path = self.path(block, "skipped")
        return [(i, name, reason) for i, name, reason in json.loads(path.read_text())] if path.exists() else []

    def join(self, how: Format, table: Table) -> None:
        """Makes the file of all rows in order, then removes the folder."""
        unfinished = self.out.parent / unfinished_name(self.out.name)
        try:
            with unfinished.open("wb") as file:
                how.join([str(self.path(block, "rows")) for block in range(self.blocks)], file, table)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(self.out)
        except BaseException:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            raise
        self.remove()

    def remove(self) -> None:
        """Removes the folder; about.json last, so that what a kill leaves is still known."""
        for path in sorted(self.folder.iterdir(), key=lambda path: path.name == "about.json"):
            path.unlink()
        self.folder.rmdir()

    def remove_if_empty(self) -> None:
        """Removes the folder if it holds no block."""
        if not any(path.name[:8].isdigit() for path in self.folder.iterdir()):
            shutil.rmtree(self.folder, ignore_errors=True)


def open_parts(out: str, about: Mapping[str, Any], total: int, block: int, first: bool) -> Parts:
    """The folder beside ``out``: a new one, or the one of the same command, which is continued.

    Args:
      out: the file to be made.
      about: all that its bytes depend on, by a name for messages.
      total: images.
      block: images of a block in a new folder.
      first: whether this is the first process, which makes the folder.

    Raises:
      InputError: if the folder is of a command with other options.
      OSError: if it cannot be written.
    """
    path = pathlib.Path(out).absolute()
    folder = path.parent / f"{path.name}.parts"
    asked = json.loads(json.dumps({**about, "block": block}))
    if first:
        folder.mkdir(exist_ok=True)
        stored = read_about(folder)
        if stored is None:
            if any(part.name[:8].isdigit() for part in folder.iterdir()):
                raise InputError(f"{shortened(str(folder))}: its about.json cannot be read; remove the folder")
            write_atomically(folder / "about.json", json.dumps(asked, indent=2) + "\n")
    else:
        end = time.monotonic() + SHARED_WAIT
        while (stored := read_about(folder)) is None:
            if time.monotonic() > end:
                raise InputError(
                    f"{shortened(str(folder))}: the first process has made it, but it is not here; all processes need "
                    "the same --out on a disk that they share"
                )
            time.sleep(0.2)
    stored = stored or asked
    other = [name for name in {**stored, **asked} if name != "block" and stored.get(name) != asked.get(name)]
    if other:
        then, now = (shortened(str(one.get(other[0]))) for one in (stored, asked))
        raise InputError(
            f"{shortened(str(folder))}: was begun with another {other[0]} ({then}, now {now}); repeat the "
            "original options to go on, or remove the folder to begin anew"
        )
    return Parts(path, folder, -(-total // stored["block"]), stored["block"])


def read_about(folder: pathlib.Path) -> dict[str, Any] | None:
    """about.json; None if it is not there or cannot be read."""
    try:
        stored = json.loads((folder / "about.json").read_text())
        return stored if isinstance(stored, dict) and isinstance(stored.get("block"), int) else None
    except (OSError, ValueError):
        return None
