"""What worker processes need beside their work: no Ctrl-C of their own, and no life without their parent."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def without_interrupts() -> Iterator[None]:
    """Processes that are started inside ignore SIGINT: Ctrl-C reaches all processes of a terminal, and is the parent's.

    Without effect outside the main thread, which alone may set signal handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def end_with_parent() -> None:
    """In a worker process: it ends with its parent, even when that is killed, instead of waiting forever."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, name="ltjax-parent", daemon=True).start()
