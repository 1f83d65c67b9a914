"""What image files are, looked at in several processes: whole or not, the hash of their content, mode and size."""

import hashlib
import multiprocessing
import os
import pickle
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple

import numpy as np

from ltjax.commands.worker_pool import Bar, end_with_parent, without_interrupts
from ltjax.data.augment import decode
from ltjax.errors import InputError

PIECE = 32  # files that a worker looks at in a row

Read = Callable[[int], bytes]
Job = tuple[str, list[int]]  # (split, its records)


class Look(NamedTuple):
    """What one file is.

    Attributes:
      fault: why it cannot be used; "" where it can.
      sha256: of its bytes; b"" where they cannot be read.
      format, mode, height, width, orientation: as ``decode.describe`` has them; "" and 0 where there is no telling.
    """

    fault: str = ""
    sha256: bytes = b""
    format: str = ""
    mode: str = ""
    height: int = 0
    width: int = 0
    orientation: int = 1


def look(read: Read, record: int) -> Look:
    """Reads and decodes the whole file; whatever goes wrong is its fault.

    Example:
      >>> look(lambda record: b"no picture", 0).fault
      "not a picture (10 bytes that begin with b'no pictu')"
    """
    seen = Look()
    try:
        content = read(record)
        seen = seen._replace(sha256=hashlib.sha256(content).digest())
        seen = seen._replace(**decode.describe(content)._asdict())
        decode.decode(content)
    except InputError as error:
        return seen._replace(fault=str(error))
    except Exception as error:  # of a reader, or of a decoder that came upon something new
        return seen._replace(fault=f"{type(error).__name__}: {error}".splitlines()[0])
    return seen


def sample(count: int, most: int) -> np.ndarray:
    """At most ``most`` of 0 .. count - 1, evenly spread, with the first and the last; int64, ascending.

    Example:
      >>> sample(9, 3).tolist()
      [0, 4, 8]
    """
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))


def look_at(
    reads: Mapping[str, Read], records: Mapping[str, np.ndarray], workers: int, piece: int = PIECE
) -> dict[str, dict[int, Look]]:
    """Looks at these records of every split, with a progress bar on stderr.

    Args:
      reads: split -> (record -> the bytes of its file); picklable where there are several workers.
      records: split -> int64 [n].
      workers: processes; with 1, or little to do, it is done in this one.
      piece: records that a process takes at a time.

    Returns:
      split -> record -> its look.

    Raises:
      InputError: when a worker process ends.
    """
    jobs: list[Job] = [
        (split, own[start : start + piece].tolist())
        for split, own in records.items()
        for start in range(0, len(own), piece)
    ]
    bar = Bar(sum(len(job[1]) for job in jobs))
    seen: dict[str, dict[int, Look]] = {split: {} for split in records}
    for (split, own), looks in _all(reads, jobs, min(workers, len(jobs))):
        seen[split].update(zip(own, looks, strict=True))
        bar.add(len(own))
    if jobs:
        bar.end()
    return {split: {record: seen[split][record] for record in own.tolist()} for split, own in records.items()}


def _all(reads: Mapping[str, Read], jobs: list[Job], workers: int) -> Iterable[tuple[Job, list[Look]]]:
    """Every job with its looks, in the order in which they are done."""
    if workers <= 1:
        yield from ((job, _looks(reads, job)) for job in jobs)
        return
    # By a file: a worker that ends while it is still being sent much leaves its parent waiting for ever.
    with tempfile.TemporaryDirectory() as folder:
        handed = os.path.join(folder, "reads")
        with open(handed, "wb") as file:
            pickle.dump(dict(reads), file)
        context = multiprocessing.get_context("spawn")
        pool = futures.ProcessPoolExecutor(workers, context, _begin, (handed,))
        try:
            with without_interrupts():  # the workers are started here, and Ctrl-C is for their parent
                waiting = {pool.submit(_work, job): job for job in jobs}
            for done in futures.as_completed(waiting):
                yield waiting[done], done.result()
        except BrokenProcessPool:
            raise InputError("a worker process ended (out of memory?); try fewer --workers") from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _looks(reads: Mapping[str, Read], job: Job) -> list[Look]:
    split, records = job
    return [look(reads[split], record) for record in records]


_held: dict[str, Read] = {}  # of a worker process


def _begin(handed: str) -> None:
    end_with_parent()
    with open(handed, "rb") as file:
        _held.update(pickle.load(file))


def _work(job: Job) -> list[Look]:
    return _looks(_held, job)
