"""SIGTERM and Ctrl-C set a flag that the loop reads between steps; a second signal ends the process at once."""

import signal
import threading
from types import FrameType

import jax
import numpy as np


class Interrupted(Exception):
    """The run was stopped by a signal, and its state is saved. `status` is the exit status (143 or 130)."""

    def __init__(self, signum: int):
        super().__init__(signal.Signals(signum).name)
        self.status = 128 + signum


class Interrupt:
    """Within the `with` block, SIGTERM and SIGINT are recorded in `signum`."""

    def __init__(self) -> None:
        self.signum = 0
        self.before: dict[int, object] = {}

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGTERM, signal.SIGINT):
                self.before[signum] = signal.signal(signum, self._record)
        return self

    def __exit__(self, *error: object) -> None:
        for signum, handler in self.before.items():
            signal.signal(signum, handler)  # type: ignore[arg-type]

    def _record(self, signum: int, frame: FrameType | None) -> None:
        self.signum = signum
        for handled in self.before:
            signal.signal(handled, signal.SIG_DFL)

    def agreed(self) -> int:
        """The signal that any process got, 0 for none: the same in all of them, which must call it at the same step."""
        if jax.process_count() == 1:
            return self.signum
        from jax.experimental import multihost_utils

        return int(np.max(multihost_utils.process_allgather(np.int32(self.signum))))

    def raise_if_signalled(self) -> None:
        """Raises Interrupted if any process got a signal, where nothing is left to save. Call it like ``agreed``."""
        signum = self.agreed()
        if signum:
            raise Interrupted(signum)
