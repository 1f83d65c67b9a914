"""SIGTERM and Ctrl-C become a flag that the loop looks at between steps; a second one ends the process at once."""

import signal
import threading
from types import FrameType

import jax
import numpy as np


class Interrupted(Exception):
    """The run was told to stop, and everything is saved. `status` is the exit status (143 or 130)."""

    def __init__(self, signum: int):
        super().__init__(signal.Signals(signum).name)
        self.status = 128 + signum


class Interrupt:
    """Within the `with` block, SIGTERM and SIGINT are remembered in `signum`."""

    def __init__(self) -> None:
        self.signum = 0
        self.before: dict[int, object] = {}

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGTERM, signal.SIGINT):
                self.before[signum] = signal.signal(signum, self._remember)
        return self

    def __exit__(self, *error: object) -> None:
        for signum, handler in self.before.items():
            signal.signal(signum, handler)  # type: ignore[arg-type]

    def _remember(self, signum: int, frame: FrameType | None) -> None:
        self.signum = signum
        for one in self.before:
            signal.signal(one, signal.SIG_DFL)

    def agreed(self) -> int:
        """The signal that any process got, the same answer in all of them; call it at the same step everywhere."""
        if jax.process_count() == 1:
            return self.signum
        from jax.experimental import multihost_utils

        return int(np.max(multihost_utils.process_allgather(np.int32(self.signum))))

    def raise_if_told(self) -> None:
        """Raises Interrupted once any process was told to stop and nothing is left to save; like ``agreed``."""
        signum = self.agreed()
        if signum:
            raise Interrupted(signum)
