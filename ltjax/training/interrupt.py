"""SIGTERM and Ctrl-C set a flag that the loop reads between steps; a later second signal ends the process at once.

Signals that come together, as from a terminal and a scheduler, are one.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

from ltjax.errors import InputError
from ltjax.training.execution.agreement import highest

TOGETHER = 1.0  # seconds in which further signals are the same wish
LOST = 1000  # in place of a signal's number: another run has taken the workdir over


class Interrupted(Exception):
    """The run was stopped by a signal, and its state is saved. `status` is the exit status (143 or 130)."""

    def __init__(self, signum: int):
        super().__init__(signal.Signals(signum).name)
        self.status = 128 + signum


class Interrupt:
    """Within the `with` block, SIGTERM and SIGINT are recorded in `signum`.

    Args:
      lost: why the workdir is no longer this run's, "" while it is (``Lock.lost``).
    """

    def __init__(self, lost: Callable[[], str] = lambda: "") -> None:
        self.signum = 0
        self.lost = lost
        self.before: dict[int, object] = {}
        self.since = 0.0

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGTERM, signal.SIGINT):
                self.before[signum] = signal.signal(signum, self._record)
        return self

    def __exit__(self, *error: object) -> None:
        for signum, handler in self.before.items():
            signal.signal(signum, handler)  # type: ignore[arg-type]

    def _record(self, signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self.signum:
            self.signum, self.since = signum, now
        elif now - self.since > TOGETHER:
            name = signal.Signals(signum).name
            os.write(2, f"\nended at once by {name}: run the same command to resume from the last save\n".encode())
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)

    def agreed(self) -> int:
        """The signal that any process got, 0 for none: the same in all of them, which must call it at the same step.

        Raises:
          InputError: in all of them, if another run has taken the workdir over; nothing may be saved then.
        """
        lost = self.lost()
        signum = highest(LOST if lost else self.signum)
        if signum == LOST:
            raise InputError(lost or "another run has taken the workdir over; this one ends")
        return signum

    def raise_if_signalled(self) -> None:
        """Raises Interrupted if any process got a signal, where nothing is left to save. Call it like ``agreed``."""
        signum = self.agreed()
        if signum:
            raise Interrupted(signum)
