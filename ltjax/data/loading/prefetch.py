"""Batches prefetched by grain, and supervised: a slow disk is reported; a stuck one, or the death of a worker process,
ends the run.

In memory at a time: with threads ``PREFETCHED_BATCHES`` finished batches and ``READ_THREADS`` unfinished ones, with
workers ``PER_WORKER`` finished and one unfinished batch each; and one batch that waits to be taken.
"""

import atexit
import dataclasses
import functools
import gc
import multiprocessing
import os
import pathlib
import queue
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ltjax.data.loading.unreadable import Fault, from_arrays
from ltjax.errors import InputError
from ltjax.processes import end_with_parent

READ_THREADS = 2
PREFETCHED_BATCHES = 4
PER_WORKER = 2
FAULTS = "faults"  # the entry of a batch that lists unreadable records; removed before the batch is handed out
FIRST_WORD = 10.0  # seconds without a batch until that is reported, and again after twice, four times, ... as many
STOPPING = 2.0  # seconds that a read under way may take to end


def to_stderr(line: str) -> None:
    """Prints a line to stderr: where a ``Watch`` reports by default."""
    print(line, file=sys.stderr, flush=True)


@dataclasses.dataclass(frozen=True)
class Watch:
    """What is done about bad files and slow disks.

    Attributes:
      faults: called in this process with the records of a batch that could not be read and were replaced; may raise.
        None: the first one that cannot be read is an error.
      timeout: seconds without a batch that are an error; 0 waits for ever.
      say: logs a line.
    """

    faults: Callable[[list[Fault]], None] | None = None
    timeout: float = 0.0
    say: Callable[[str], None] = to_stderr


class Batches(Iterator[Any]):
    """Batches read ahead of the caller, in order; ``close()``, or dropping it, stops its threads or processes."""

    def __init__(self, elements: Any, workers: int, watch: Watch | None = None, first: int = 0) -> None:
        """elements: a sequence of batches that can be read in any order; first: what messages call the first of it."""
        self.watch, self.step = watch or Watch(), first
        self._ready: queue.Queue = queue.Queue(maxsize=1)
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
        # What is registered last runs first at exit: before what multiprocessing registered when grain imported it.
        atexit.unregister(_close_open)
        atexit.register(_close_open)

    def __next__(self) -> Any:
        if self._iterator is None:
            raise StopIteration
        try:
            batch = self._wait()
            if isinstance(batch, BaseException):
                raise batch
            found = batch.pop(FAULTS, None)
            if found is not None and self.watch.faults is not None:
                self.watch.faults(from_arrays(found))
        except BaseException:
            self.close()
            raise
        self.step += 1
        return batch

    def _wait(self) -> Any:
        """The next batch, or the exception that the reader thread met; reports a long wait."""
        began, word = time.monotonic(), FIRST_WORD
        limit = self.watch.timeout or float("inf")
        while True:
            waited = time.monotonic() - began
            if waited >= limit:
                raise TimeoutError(
                    f"no data for {waited:.0f} s at step {self.step} (config.data.timeout); check the disk or network "
                    "that holds the data, then run the same command: it resumes from the last checkpoint"
                )
            if waited >= word:
                self.watch.say(f"waiting for data: {waited:.0f} s at step {self.step}")
                word *= 2
            try:
                return self._ready.get(timeout=min(word, limit) - waited + 1e-3)
            except queue.Empty:
                continue

    def close(self) -> None:
        """Stops reading ahead; there are no further batches."""
        iterator, self._iterator = self._iterator, None
        if iterator is None:
            return
        self._stop.set()
        self._reader.join(STOPPING)
        if self._pids is not None:
            if self._reader.is_alive():  # a worker is in the middle of a read that does not end
                for process in multiprocessing.active_children():
                    if os.path.exists(os.path.join(self._pids.name, str(process.pid))):
                        process.kill()
                self._reader.join(STOPPING)
            self._pids.cleanup()


def _read(iterator: Any, ready: queue.Queue, stop: threading.Event, copy: bool) -> None:
    """The reader thread: puts every batch, then the exception that ended them, until ``stop`` is set."""

    def put(item: Any) -> None:
        while not stop.is_set():
            try:
                return ready.put(item, timeout=0.05)
            except queue.Full:
                continue

    try:
        while not stop.is_set():
            batch = next(iterator)
            # A worker's arrays lie in shared memory, which complains when they outlive the interpreter's shutdown.
            put(_copied(batch) if copy else batch)
            del batch
    except StopIteration:
        put(StopIteration())
    except RuntimeError as error:
        put(_of_worker(error))
    except BaseException as error:
        put(error)
    finally:
        iterator.close()
        if copy:
            gc.collect()  # grain's own frames, and in them the last arrays, are in a cycle with what ended them


def _of_worker(error: RuntimeError) -> BaseException:
    """grain's RuntimeError at the death of a worker as an OSError, which commands print as one line."""
    if "terminated unexpectedly" not in str(error):
        return error
    return ChildProcessError(
        f"a process that reads data was killed ({str(error).splitlines()[0]}); out of memory, or of shared memory (a "
        "container's --shm-size)? Try fewer of them (config.data.workers); the same command resumes from the "
        "last checkpoint"
    )


_OPEN: weakref.WeakSet[Batches] = weakref.WeakSet()


def _close_open() -> None:
    """Ends every loop that is still open when the interpreter ends, before multiprocessing tears itself down."""
    for batches in list(_OPEN):
        batches.close()


def _begin_worker(folder: str, number: int, workers: int) -> None:
    """In a new worker: leaves its process id in the folder, and ends with its parent, also when that is killed."""
    del number, workers
    pathlib.Path(folder, str(os.getpid())).touch()
    end_with_parent()


def _grain_iterator(elements: Any, workers: int, folder: str | None) -> Any:
    try:
        import grain
    except ImportError:
        raise InputError('batches are made by grain; pip install "ltjax[train]"') from None
    threads, ahead = (0, 0) if workers else (READ_THREADS, PREFETCHED_BATCHES)
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead)
    dataset = grain.MapDataset.source(elements).to_iter_dataset(options)
    if folder is not None:
        _mark_flags_parsed()
        options = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=PER_WORKER)
        dataset = dataset.mp_prefetch(options, functools.partial(_begin_worker, folder))
    return iter(dataset)


def _copied(tree: Any) -> Any:
    return {name: _copied(value) for name, value in tree.items()} if isinstance(tree, dict) else np.array(tree)


def _mark_flags_parsed() -> None:
    """grain's workers read absl flags, which only ``absl.app.run`` parses; elsewhere they keep their defaults."""
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
