"""What worker processes need beside their work: no Ctrl-C of their own, and no life without their parent."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from multiprocessing import resource_tracker


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


@contextlib.contextmanager
def children_without_signals() -> Iterator[None]:
    """Processes that this thread starts inside never see SIGINT and SIGTERM: they end when their parent ends them.

    A terminal, Slurm and systemd send them to all processes of a command. A worker that they kill leaves a trace of its
    own and its shared memory; its parent saves the state and ends it properly. Works in every thread.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})  # inherited by processes
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def tidy_up_quietly() -> None:
    """What a killed worker leaves in shared memory is removed at the end, as always, but without a warning of leaks.

    Whatever ``-W`` or PYTHONWARNINGS say: the process that removes it is started with these options, the last of which
    counts.
    """
    quiet = "ignore:resource_tracker"
    sys.warnoptions.append(quiet)
    try:
        resource_tracker.ensure_running()
    finally:
        sys.warnoptions.remove(quiet)


def end_with_parent() -> None:
    """In a worker process: it ends with its parent, even when that is killed, instead of waiting forever."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, name="ltjax-parent", daemon=True).start()
