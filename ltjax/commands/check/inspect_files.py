"""Image files inspected in several processes: whether they decode, the hash of their content, format, mode and size."""

import hashlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from ltjax.commands.worker_pool import Advance, run_jobs
from ltjax.data.augment import decode
from ltjax.errors import InputError

FILES_PER_JOB = 32

Read = Callable[[int], bytes]
Job = tuple[str, list[int]]  # (split, its records)


class Inspection(NamedTuple):
    """What one file is.

    Attributes:
      fault: why it cannot be used; "" where it can.
      sha256: of its bytes; b"" where they cannot be read.
      format, mode, height, width, orientation: as ``decode.describe`` has them; "" and 0 where they are unknown.
    """

    fault: str = ""
    sha256: bytes = b""
    format: str = ""
    mode: str = ""
    height: int = 0
    width: int = 0
    orientation: int = 1


def inspect_file(read: Read, record: int) -> Inspection:
    """Reads and decodes the whole file; whatever goes wrong is its fault.

    Example:
      >>> inspect_file(lambda record: b"no image", 0).fault
      "not an image (8 bytes that begin with b'no image')"
    """
    found = Inspection()
    try:
        content = read(record)
        found = found._replace(sha256=hashlib.sha256(content).digest())
        found = found._replace(**decode.describe(content)._asdict())
        decode.decode(content)
    except InputError as error:
        return found._replace(fault=str(error))
    except Exception as error:  # a reader or decoder may raise anything for a damaged file
        return found._replace(fault=f"{type(error).__name__}: {error}".splitlines()[0])
    return found


def evenly_spread(count: int, most: int) -> np.ndarray:
    """At most ``most`` of 0 .. count - 1, evenly spread, with the first and the last; int64, ascending.

    Example:
      >>> evenly_spread(9, 3).tolist()
      [0, 4, 8]
    """
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))


def inspect_files(
    reads: Mapping[str, Read], records: Mapping[str, np.ndarray], workers: int, files_per_job: int = FILES_PER_JOB
) -> dict[str, dict[int, Inspection]]:
    """Inspects these records of every split, with a progress bar on stderr.

    Args:
      reads: split -> (record -> the bytes of its file); picklable where there are several workers.
      records: split -> int64 [n].
      workers: processes; with 1, or little to do, it is done in this one.
      files_per_job: records that a process takes at a time.

    Returns:
      split -> record -> its inspection.

    Raises:
      InputError: when a worker process dies.
    """
    jobs: list[Job] = [
        (split, chosen[start : start + files_per_job].tolist())
        for split, chosen in records.items()
        for start in range(0, len(chosen), files_per_job)
    ]
    total = sum(len(chosen) for chosen in records.values())
    found: dict[str, dict[int, Inspection]] = {split: {} for split in records}
    for (split, chosen), inspections in run_jobs(
        _inspect_job, dict(reads), jobs, workers=workers, total=total, advice="use fewer --workers"
    ):
        found[split].update(zip(chosen, inspections, strict=True))
    return {split: {record: found[split][record] for record in chosen.tolist()} for split, chosen in records.items()}


def _inspect_job(reads: dict[str, Read], job: Job, advance: Advance) -> list[Inspection]:
    split, records = job
    found = []
    for record in records:
        found.append(inspect_file(reads[split], record))
        advance(1)
    return found
