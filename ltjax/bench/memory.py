"""The memory of this process and all its descendants."""

import pathlib
import re
from typing import NamedTuple

MEGABYTE = 1e6


def memory_of_all_processes() -> float:
    """Megabytes of this process and all its descendants, with shared memory counted once; 0 if not on Linux.

    Example:
      >>> memory_of_all_processes() >= 0
      True
    """
    return sum(_proportional(pid) for pid in _process_ids()) / MEGABYTE


class Held(NamedTuple):
    """Megabytes that a process holds, with shared pages in full (RSS), the peak of that, and with its share (PSS)."""

    now: float
    peak: float
    share: float


def held_by_workers(number: int) -> list[Held]:
    """What the ``number`` largest descendants of this process hold; nothing if not on Linux.

    Example:
      >>> held_by_workers(0)
      []
    """
    found = filter(None, (_held(pid) for pid in _process_ids()[1:]))
    return sorted(found, reverse=True)[:number]


def _held(pid: int) -> Held | None:
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:  # the process has ended
        return None
    sizes = (re.search(rf"^{name}:\s*(\d+) kB", status, re.MULTILINE) for name in ("VmRSS", "VmHWM"))
    now, peak = (1024 * int(size[1]) / MEGABYTE if size else 0.0 for size in sizes)
    return Held(now, peak, _proportional(pid) / MEGABYTE)


def _process_ids() -> list[int]:
    found, new = [], [0]
    this = pathlib.Path("/proc/self")
    if not this.exists():
        return []
    new = [int(this.resolve().name)]
    while new:
        found += new
        new = [child for pid in new for child in _children(pid)]
    return found


def _children(pid: int) -> list[int]:
    """The processes that the threads of this process have started."""
    try:
        tasks = list(pathlib.Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:  # the process has ended
        return []


def _proportional(pid: int) -> int:
    """Bytes of private memory and the proportional share of shared memory (Pss)."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
