"""Lines about work that takes minutes: what it is, now and then that it still goes on, and how long it took."""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator

Log = Callable[[str], None]  # reports a line of progress
FIRST, LATER = 20.0, 60.0  # seconds until the first line that says that the work goes on, and between later ones


@contextlib.contextmanager
def reported(what: str, log: Log, first: float = FIRST, later: float = LATER) -> Iterator[None]:
    """Logs ``what`` at the start, and as long as the block runs how long it has run.

    The lines come from a thread of their own: the compiler runs for minutes within one call.

    Example:
      >>> lines = []
      >>> with reported("compiling the train step", lines.append, first=0.01, later=9):
      ...     time.sleep(0.2)
      >>> lines
      ['compiling the train step ...', '  still compiling the train step after 0 s']
    """
    done, began = threading.Event(), time.monotonic()

    def goes_on() -> None:
        for wait in itertools.chain([first], itertools.repeat(later)):
            if done.wait(wait):
                return
            log(f"  still {what} after {time.monotonic() - began:.0f} s")

    log(f"{what} ...")
    thread = threading.Thread(target=goes_on, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
