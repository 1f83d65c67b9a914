"""What commands with worker processes share: a progress bar, Ctrl-C for the parent alone, no orphans."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator


@contextlib.contextmanager
def without_interrupts() -> Iterator[None]:
    """Processes that are started inside take no notice of SIGINT."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def end_with_parent() -> None:
    """In a worker: it ends when its parent was killed, where it would wait for work for ever."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


class Bar:
    """A progress bar on stderr: one line that changes on a terminal, else one every half minute."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.began, self.shown = total, 0, time.monotonic(), -1e9
        self.terminal = sys.stderr.isatty()

    def add(self, count: int) -> None:
        self.show(self.done + count)

    def show(self, done: int) -> None:
        """Shows that so many records of all are done."""
        self.done, now = done, time.monotonic()
        if now - self.shown >= (0.2 if self.terminal else 30):
            self.shown = now
            self._print()

    def end(self) -> None:
        """The last line."""
        self.done = self.total
        self._print()
        if self.terminal:
            print(file=sys.stderr)

    def _print(self) -> None:
        rate = self.done / max(time.monotonic() - self.began, 1e-9)
        filled = 30 * self.done // max(self.total, 1)
        left = (self.total - self.done) / rate if rate else 0
        text = f"[{'#' * filled:.<30}] {self.done:,} of {self.total:,} images, {rate:,.0f}/s, {left:,.0f} s left"
        print(f"\r{text}  " if self.terminal else text, end="" if self.terminal else "\n", file=sys.stderr, flush=True)
