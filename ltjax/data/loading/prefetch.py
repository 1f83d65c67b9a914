"""Batches prefetched by grain, and supervised: slow reads are reported; a hanging one or a dead worker ends the run.

Batches in memory: with threads, ``PREFETCHED_BATCHES`` finished and ``READ_THREADS`` unfinished ones; with worker
processes, ``PER_WORKER`` finished and one unfinished batch each, and about as many that grain's reader has taken from
them (13 together of two workers, measured); and one batch that is ready for the caller.
"""

import atexit
import contextlib
import dataclasses
import errno
import functools
import gc
import multiprocessing
import os
import pathlib
import queue
import signal
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Protocol, SupportsInt, TypeAlias

import numpy as np

from ltjax import escape
from ltjax.data.loading.unreadable import Fault, from_arrays
from ltjax.errors import InputError
from ltjax.processes import children_without_signals, end_with_parent, tidy_up_quietly

READ_THREADS = 2
PREFETCHED_BATCHES = 4
PER_WORKER = 2
FAULTS = "faults"  # the entry of a batch that lists unreadable records; removed before the batch is handed out
SHARED_MEMORY = "/dev/shm"
WORKER = "grain-process-prefetch"  # how the names of grain's processes begin
FIRST_REPORT = 10.0  # seconds without a batch before the first report; the next ones follow after twice the time
START_REPORT = 30.0  # the same while worker processes start, which read nothing yet
POLL = 0.2  # seconds between looks at whether they have started
STOP_TIMEOUT = 2.0  # seconds that the current read may take to end
START_TIMEOUT = 30.0  # seconds that workers may take to start, when they are to end

Batch: TypeAlias = dict[str, Any]  # name -> array; in training stream -> {name: array}


class Elements(Protocol):
    """A sequence of batches that can be read in any order."""

    def __len__(self) -> int: ...

    def __getitem__(self, element: SupportsInt, /) -> Batch: ...


class BatchIterator(Iterator[Batch], Protocol):
    """What is used of grain's iterator."""

    def close(self) -> None: ...


def to_stderr(line: str) -> None:
    """Prints a line to stderr."""
    print(escape.terminal(line), file=sys.stderr, flush=True)


@dataclasses.dataclass(frozen=True)
class Watch:
    """What to do about unreadable files and slow disks.

    Attributes:
      on_faults: called in this process with the unreadable records of a batch, which have been replaced; may raise.
        None: an unreadable record is an error.
      timeout: seconds without a batch after which an error is raised; 0: never.
      report: logs a line.
    """

    on_faults: Callable[[list[Fault]], None] | None = None
    timeout: float = 0.0
    report: Callable[[str], None] = to_stderr


class Batches(Iterator[Batch]):
    """Batches prefetched in order; ``close()``, or dropping the object, stops its threads or processes."""

    def __init__(
        self, elements: Elements, workers: int, watch: Watch | None = None, first: int = 0, called: str = "step"
    ) -> None:
        """elements: the batches; workers: processes (0: threads). For messages, first: the number of the first batch;
        called: what it numbers."""
        self.watch, self.step, self._workers, self._called = watch or Watch(), first, workers, called
        self._ready: queue.Queue[Batch | BaseException] = queue.Queue(maxsize=1)
        self._stop = threading.Event()
        self._pids = tempfile.TemporaryDirectory(prefix="ltjax-", ignore_cleanup_errors=True) if workers else None
        folder = None if self._pids is None else self._pids.name
        self._iterator = _grain_iterator(elements, workers, folder) if len(elements) else None
        if self._iterator is not None:
            arguments = (self._iterator, self._ready, self._stop, workers > 0)
            self._reader = threading.Thread(target=_read, args=arguments, name="ltjax-batches", daemon=True)
            self._reader.start()
            weakref.finalize(self, self._stop.set)
        _OPEN.add(self)
        # Exit handlers run in reverse order: this one has to run before those that grain's multiprocessing registered.
        atexit.unregister(_close_open)
        atexit.register(_close_open)

    def __next__(self) -> Batch:
        if self._iterator is None:
            raise StopIteration
        try:
            batch = self._wait()
            if isinstance(batch, BaseException):
                raise batch
            found = batch.pop(FAULTS, None)
            if found is not None and self.watch.on_faults is not None:
                self.watch.on_faults(from_arrays(found))
        except BaseException:
            self.close()
            raise
        self.step += 1
        return batch

    def _wait(self) -> Batch | BaseException:
        """The next batch, or the exception of the reader thread; reports a long wait."""
        began, reading_since, starting = time.monotonic(), 0.0, self._starting()
        next_report = START_REPORT if starting else FIRST_REPORT
        limit = self.watch.timeout or float("inf")
        while True:
            waited = time.monotonic() - began
            if waited >= limit:
                raise TimeoutError(
                    f"no data for {waited:.0f} s at {self._called} {self.step} (config.data.timeout); check the disk "
                    "or network that holds the data, then run the same command to resume from the last checkpoint"
                )
            if starting and not self._starting():
                starting, reading_since, next_report = False, waited, waited + FIRST_REPORT
            if waited >= next_report:
                read = waited - reading_since
                waiting = f"waiting for data: {read:.0f} s at {self._called} {self.step}"
                self.watch.report(f"starting {self._workers} data workers: {read:.0f} s" if starting else waiting)
                next_report += read
            pause = min(next_report, limit) - waited + 1e-3
            try:
                return self._ready.get(timeout=min(pause, POLL) if starting else pause)
            except queue.Empty:
                continue

    def _starting(self) -> bool:
        """Whether worker processes have not all begun: they import what they need, and read nothing yet."""
        return self._pids is not None and len(os.listdir(self._pids.name)) < self._workers

    def close(self) -> None:
        """Stops prefetching; there are no further batches."""
        iterator, self._iterator = self._iterator, None
        if iterator is None:
            return
        self._stop.set()
        self._wait_for_start()
        self._reader.join(STOP_TIMEOUT)
        if self._pids is not None:
            if self._reader.is_alive():  # a worker hangs in a read
                for process in multiprocessing.active_children():
                    if os.path.exists(os.path.join(self._pids.name, str(process.pid))):
                        process.kill()
                self._reader.join(STOP_TIMEOUT)
            self._pids.cleanup()

    def _wait_for_start(self) -> None:
        """Waits for workers that are still starting: ended halfway they print traces, and so does grain."""
        limit = time.monotonic() + START_TIMEOUT
        while self._pids is not None and self._reader.is_alive() and time.monotonic() < limit:
            if not self._starting():
                return
            self._reader.join(0.05)


def _read(
    iterator: BatchIterator, ready: "queue.Queue[Batch | BaseException]", stop: threading.Event, copy: bool
) -> None:
    """The reader thread: queues every batch, then the exception that ended them, until ``stop`` is set."""

    def put(item: Batch | BaseException) -> None:
        while not stop.is_set():
            try:
                return ready.put(item, timeout=0.05)
            except queue.Full:
                continue

    try:
        while not stop.is_set():
            with children_without_signals() if copy else contextlib.nullcontext():
                batch = next(iterator)  # the first one starts the workers
            # A worker's arrays are in shared memory, which must be released before the interpreter shuts down.
            put(_copied(batch) if copy else batch)
            del batch
    except StopIteration:
        put(StopIteration())
    except RuntimeError as error:
        put(_of_worker(error))
    except OSError as error:
        full = copy and error.errno in (errno.ENOSPC, errno.ENOSYS, errno.EROFS)
        put(_without_shared_memory(error) if full else error)
    except BaseException as error:
        put(error)
    finally:
        iterator.close()
        if copy:
            gc.collect()  # a reference cycle through the exception keeps the last arrays


def _of_worker(error: RuntimeError) -> BaseException:
    """grain's RuntimeError for a dead worker as an OSError, which commands print as one line."""
    if "terminated unexpectedly" not in str(error):
        return error
    resume = "run the same command to resume from the last checkpoint"
    if f"exit code {-signal.SIGBUS}." in str(error):
        return ChildProcessError(
            f"shared memory is full ({_shared_memory()}): start the container with more (docker run --shm-size=2g), or "
            f"lower config.data.workers or the batch size, and {resume}"
        )
    return ChildProcessError(
        f"a process that reads data was killed ({str(error).splitlines()[0]}), perhaps for lack of memory; lower "
        f"config.data.workers, and {resume}"
    )


def _shared_memory() -> str:
    """How large the shared memory is."""
    try:
        found = os.statvfs(SHARED_MEMORY)
    except OSError:
        return f"there is no {SHARED_MEMORY}"
    total, free = (blocks * found.f_frsize / 2**20 for blocks in (found.f_blocks, found.f_bavail))
    return f"{SHARED_MEMORY} has {total:,.0f} MiB, {free:,.0f} free"


def _check_shared_memory() -> None:
    """Raises InputError where processes cannot share memory, as in containers without /dev/shm."""
    from multiprocessing import shared_memory

    try:
        multiprocessing.get_context("spawn").Lock()
        block = shared_memory.SharedMemory(create=True, size=1)
    except (OSError, ImportError) as error:
        raise _without_shared_memory(error) from error
    block.close()
    block.unlink()


def _without_shared_memory(error: Exception) -> InputError:
    return InputError(
        f"config.data.workers: worker processes pass batches through shared memory, which does not work here ({error}; "
        f"{_shared_memory()}); set it to 0, or start the container with more (docker run --shm-size=2g)"
    )


_OPEN: weakref.WeakSet[Batches] = weakref.WeakSet()


def _close_open() -> None:
    """Closes all open ``Batches`` when the interpreter exits, before multiprocessing shuts down.

    It would wait for workers that are still starting, for they do not see its SIGTERM.
    """
    for batches in list(_OPEN):
        batches.close()
    for process in multiprocessing.active_children():
        if process.name.startswith(WORKER):
            process.kill()


def _begin_worker(folder: str, number: int, workers: int) -> None:
    """In a new worker: writes its process id to the folder, and makes it end with its parent, even a killed one."""
    del number, workers
    pathlib.Path(folder, str(os.getpid())).touch()
    end_with_parent()


def _grain_iterator(elements: Elements, workers: int, folder: str | None) -> BatchIterator:
    try:
        import grain
    except ImportError:
        raise InputError('making batches needs grain: pip install "ltjax[train]"') from None
    threads, ahead = (0, 0) if workers else (READ_THREADS, PREFETCHED_BATCHES)
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead)
    dataset = grain.MapDataset.source(elements).to_iter_dataset(options)
    if folder is not None:
        tidy_up_quietly()
        _check_shared_memory()
        _mark_flags_parsed()
        options = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=PER_WORKER)
        dataset = dataset.mp_prefetch(options, functools.partial(_begin_worker, folder))
    with children_without_signals():
        return iter(dataset)


def _copied(batch: Batch) -> Batch:
    return {name: _copied(value) if isinstance(value, dict) else np.array(value) for name, value in batch.items()}


def _mark_flags_parsed() -> None:
    """grain's workers read absl flags, which only ``absl.app.run`` parses; without it they have their defaults."""
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
