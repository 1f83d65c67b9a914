"""One run at a time in a workdir: ``lock.json``, which process 0 holds from before its first write to its end.

On a local disk it is a flock, which the kernel releases however its holder ends. On a shared file system or in a bucket
a flock may not be there, or not reach other machines; so the file is a lease as well. The holder renews it every
``BEAT`` seconds, and another machine takes it over after it has watched it for ``LEASE`` seconds without a renewal.
Both count on a monotonic clock of their own: clocks that differ or jump do no harm.
"""

import contextlib
import datetime
import functools
import json
import os
import pathlib
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
from etils import epath

from ltjax.data.loading.prefetch import to_stderr
from ltjax.errors import InputError
from ltjax.training.execution.agreement import of_first

NAME = "lock.json"
BEAT = 4.0  # seconds between renewals
LEASE = 25.0  # seconds without a renewal after which the holder counts as dead
SETTLE = 2.0  # seconds after which a write by another machine is seen
GRACE = 10.0  # seconds that the worker processes of a killed run may take to end
SIZE = 512  # bytes of the file, always: a renewal replaces it in one write
# Disks of one machine: whoever holds a flock there is the only one.
LOCAL_DISKS = {
    "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "ntfs3", "overlay", "ramfs", "tmpfs", "vfat",
    "xfs", "zfs",
}  # fmt: skip

Holder = dict[str, Any]  # the file's content


class InUse(InputError):
    """A living run has the lock."""


class _Changed(Exception):
    """The file was released or replaced while it was read: look again."""


class Lock:
    """The lock of a workdir. ``lost`` says who has it, should another run have taken it over."""

    def __init__(self, folder: epath.Path, report: Callable[[str], None] = to_stderr, name: str = NAME) -> None:
        self.folder, self.path, self.report = folder, folder / name, report
        self.lost = ""
        self._file: int | None = None  # open while the lock is held, except in a bucket
        self._in_bucket = "://" in str(folder)
        self._flocked: bool | None = False
        self._certain = False  # certain: no other machine can have it
        self._content: Holder = {}
        self._stop, self._busy = threading.Event(), threading.Lock()

    def take(self) -> None:
        """Takes the lock. Raises InUse if another run has it, InputError if the folder cannot be written."""
        began = time.monotonic()
        try:
            while True:
                with contextlib.suppress(_Changed):
                    self._try(began)
                    break
        except BaseException as error:
            self._close()
            if isinstance(error, InputError) or not isinstance(error, Exception):
                raise
            # also what the client of a bucket raises
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200] or type(error).__name__
            raise InputError(f"--workdir={self.folder}: cannot be written ({reason}); use another --workdir") from error
        self._since = time.monotonic()
        threading.Thread(target=self._renew_until_stopped, name="ltjax-lock", daemon=True).start()

    def _try(self, began: float) -> None:
        self._close()
        new = self._open()
        self._flocked = self._flock()
        before = b"" if new else self._read()
        if before is None:
            raise _Changed
        holder = _parsed(before)
        if self._flocked is None:
            # A killed run's workers end a moment after it, and have its lock until then.
            if _dead(holder) and time.monotonic() - began < GRACE:
                time.sleep(0.1)
                raise _Changed
            if new or _same_boot(holder) or on_local_disk(self.folder):
                raise self._held(holder)
            # A file server may keep the flock of a machine that is gone: the lease decides.
        if self._file is not None and not self._is_the_file():
            raise _Changed
        self._certain = bool(self._flocked) and on_local_disk(self.folder)
        if not (new or self._certain or (self._flocked and _same_boot(holder)) or _dead(holder)):
            self._watch(before)
        self._content = _me()
        self._write()

    def _open(self) -> bool:
        """Whether the file is new."""
        if self._in_bucket:
            return not self.path.exists()
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            return True
        except FileExistsError:
            with contextlib.suppress(FileNotFoundError):
                self._file = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
                return False
        raise _Changed

    def _flock(self) -> bool | None:
        """True: this process has it; None: another one has it; False: there is none here."""
        if self._file is None:
            return False
        try:
            import fcntl

            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        except (ImportError, OSError):
            return False
        return True

    def _is_the_file(self) -> bool:
        """Whether the open file is still the one at the path."""
        with contextlib.suppress(FileNotFoundError):
            there, here = os.stat(self.path), os.fstat(self._file or 0)
            return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
        return False

    def _watch(self, before: bytes) -> None:
        """Returns if nobody renews the lease. Raises InputError if its holder lives."""
        holder, began = _parsed(before), time.monotonic()
        if _alive(holder):
            raise self._held(holder)
        self.report(f"--workdir={self.folder}: waiting up to {LEASE:.0f} s for signs of life of {_named(holder)}")
        while time.monotonic() - began < LEASE:
            time.sleep(BEAT / 4)
            now = self._read()
            if now is None:
                raise _Changed
            if now != before:
                raise self._held(_parsed(now))

    def _held(self, holder: Holder) -> InUse:
        return InUse(
            f"--workdir={self.folder}: is in use by {_named(holder)} ({self.path.name}); wait until that run has "
            "ended, stop it, or use another --workdir"
        )

    def _read(self) -> bytes | None:
        """The content of the file at the path, opened anew, as shared file systems need it; None if there is none."""
        try:
            return bytes(self.path.read_bytes())
        except FileNotFoundError:
            return None

    def _write(self) -> None:
        content = json.dumps(self._content).encode().ljust(SIZE - 1) + b"\n"
        if self._file is None:
            self.path.write_bytes(content)
            return
        os.pwrite(self._file, content, 0)
        os.ftruncate(self._file, len(content))
        if not self._certain:
            os.fsync(self._file)

    def confirm(self) -> None:
        """Before the first write: waits until a run that began at the same moment elsewhere would be seen."""
        if self._content and not self._certain:
            time.sleep(max(0.0, self._since + SETTLE - time.monotonic()))
        self.check()

    def check(self) -> None:
        """Raises InputError if another run has taken the lock over, as after a long pause of this one.

        All processes must call it at the same step, and all of them raise.
        """
        if self._content and not self._certain:
            self._renew()
        lost = of_first(self.lost)
        if lost:
            raise InputError(lost)

    def _renew_until_stopped(self) -> None:
        while not self._stop.wait(BEAT) and not self.lost:
            self._renew()

    def _renew(self) -> None:
        # a disk or network that fails for a while, each with errors of its own; tried again at the next beat
        with self._busy, contextlib.suppress(Exception):
            if self._stop.is_set():
                return
            there = self._read()
            holder = _parsed(there or b"")
            if there is None and not self.folder.exists():
                self.lost = f"--workdir={self.folder}: was removed while the run was in it; this run ends"
            elif holder.get("token", self._content["token"]) != self._content["token"]:
                self.lost = f"--workdir={self.folder}: was taken over by {_named(holder)}; this run ends"
            elif there is None and not self._in_bucket:
                self._again()
            else:
                self._content = self._content | {"renewals": self._content["renewals"] + 1}
                self._write()

    def _again(self) -> None:
        """Makes the file again that somebody removed."""
        old = self._file
        try:
            if self._open():
                self._flocked = bool(self._flock())
                self._write()
        except _Changed:
            return
        finally:
            if self._file != old and old is not None:
                os.close(old)

    def release(self) -> None:
        """Gives the lock back: the file is removed."""
        self._stop.set()
        if not self._busy.acquire(timeout=BEAT):  # a renewal hangs with its disk, and so would this
            return
        if self._content and not self.lost:
            with contextlib.suppress(Exception):
                if _parsed(self._read() or b"").get("token") == self._content["token"]:
                    self.path.unlink()
        self._close()
        self._busy.release()

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


@contextlib.contextmanager
def locked(folder: epath.Path, report: Callable[[str], None] = to_stderr) -> Iterator[Lock]:
    """Within the block this run is the only one in the workdir. Of several processes the first one has the lock.

    Raises:
      InputError: in all processes, if another run has it.
    """
    lock, refused = Lock(folder, report), ""
    if jax.process_index() == 0:
        try:
            lock.take()
        except InputError as error:
            refused = str(error)
    refused = of_first(refused)
    if refused:
        raise InputError(refused)
    try:
        yield lock
    finally:
        lock.release()


def _me() -> Holder:
    now = datetime.datetime.now(datetime.UTC)
    return {
        "host": socket.gethostname()[:64],
        "pid": os.getpid(),
        "since": now.strftime("%Y-%m-%d %H:%M:%S UTC"),
        "born": _born(os.getpid()),
        "boot": _boot(),
        "namespace": _namespace(),
        "token": secrets.token_hex(8),
        "lease_s": LEASE,
        "renewals": 0,
    }


def _parsed(content: bytes) -> Holder:
    """The holder; empty if the file is."""
    try:
        holder = json.loads(content)
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def _named(holder: Holder) -> str:
    """Example:
    >>> _named({"pid": 12, "host": "node7", "since": "2026-11-29 01:00:00 UTC"}), _named({})
    ('process 12 on node7, since 2026-11-29 01:00:00 UTC', 'another run')
    """
    if not {"pid", "host", "since"} <= holder.keys():
        return "another run"
    return f"process {holder['pid']} on {holder['host']}, since {holder['since']}"


@functools.cache
def _boot() -> str:
    """Names this machine since it was started: no two machines have the same, whatever their names."""
    with contextlib.suppress(OSError):
        return pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return socket.gethostname()


def _namespace() -> str:
    """Process ids mean the same in processes with the same name here: those of one container, say."""
    with contextlib.suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return ""


def _born(pid: int) -> str:
    """When a living process began, in ticks since the machine started; "" if there is none. Ids are used again."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in (b"Z", b"X") else fields[19].decode()


def _same_boot(holder: Holder) -> bool:
    return holder.get("boot") == _boot()


def _here(holder: Holder) -> bool:
    """Whether the holder's process id means something in this process."""
    return _same_boot(holder) and holder.get("namespace") == _namespace() and isinstance(holder.get("pid"), int)


def _alive(holder: Holder) -> bool:
    """Whether the holder is known to live."""
    if not _here(holder):
        return False
    if _born(os.getpid()):
        return _born(holder["pid"]) == holder.get("born")
    with contextlib.suppress(OSError):  # no /proc
        os.kill(holder["pid"], 0)
        return True
    return False


def _dead(holder: Holder) -> bool:
    """Whether the holder is known to be dead."""
    return _here(holder) and not _alive(holder)


def on_local_disk(folder: epath.Path) -> bool:
    """Whether the folder's file system is one that no other machine can have mounted; False if that is unknown."""
    try:
        device = os.stat(folder).st_dev
        mounts = pathlib.Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return False
    number = f"{os.major(device)}:{os.minor(device)}"
    kinds = {line.partition(" - ")[2].split()[0] for line in mounts if line.split()[2] == number}
    return bool(kinds) and kinds <= LOCAL_DISKS
