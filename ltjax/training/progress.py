"""The progress line of a run, and the time that the host and a step take."""

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import jax

from ltjax import escape
from ltjax.training.workdir.metrics_log import Record


class Clock:
    """Mean time of a training step: of the host alone (preparing batches, starting programs), and in all.

    With all data on the device the host only starts programs, ahead of the device, so its time is hidden.
    """

    def __init__(self) -> None:
        self.steps, self.busy, self.whole = 0, 0.0, 0.0
        self.running_since: float | None = None

    def start(self) -> None:
        self.running_since = time.perf_counter()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Excludes what is not training: compilation, evaluation, checkpoints. The device must be idle."""
        self.stop()
        yield
        self.start()

    def add(self, steps: int, seconds: float) -> None:
        self.steps += steps
        self.busy += seconds

    def stop(self) -> None:
        """A stage ends, or a pause begins."""
        if self.running_since is not None:
            self.whole += time.perf_counter() - self.running_since
        self.running_since = None

    def total(self) -> dict[str, float | None]:
        """{"host_ms_per_step", "step_ms"} over the steps so far; None before the first step that did not compile."""
        if not self.steps:
            return {"host_ms_per_step": None, "step_ms": None}
        running = 0.0 if self.running_since is None else time.perf_counter() - self.running_since
        return {
            "host_ms_per_step": round(1e3 * self.busy / self.steps, 3),
            "step_ms": round(1e3 * (self.whole + running) / self.steps, 3),
        }


class Progress:
    """A live line on a terminal, plain lines elsewhere: step, epoch, loss, images/s, time left."""

    def __init__(self, total_steps: int, images_per_step: int, stream: Any = None):
        self.total, self.images = total_steps, images_per_step
        self.stream = sys.stderr if stream is None else stream
        self.live = self.stream.isatty()
        self.quiet = jax.process_index() != 0
        self.started = time.monotonic()
        self.compiled: tuple[int, float] | None = None  # (step, time) from which on the rate is measured
        self.clock = Clock()

    def seconds(self) -> float:
        """Since this process began the run."""
        return time.monotonic() - self.started

    @contextlib.contextmanager
    def host(self, count: int) -> Iterator[None]:
        """Measures the host's work for ``count`` steps."""
        began = time.perf_counter()
        yield
        self.clock.add(count, time.perf_counter() - began)

    @contextlib.contextmanager
    def compiling(self, end: int) -> Iterator[None]:
        """Excludes a call up to step ``end`` that compiles. The device must be idle before and after it."""
        with self.clock.paused():
            yield
        self.compiled = self.compiled or (end, time.monotonic())

    def show(self, record: Record | None) -> None:
        if self.quiet or record is None:
            return
        step, rate, left = record["step"], "", ""
        if self.compiled and step > self.compiled[0]:
            per_step = (time.monotonic() - self.compiled[1]) / (step - self.compiled[0])
            host = self.clock.total()["host_ms_per_step"]
            rate = f"  {self.images / per_step:,.0f} images/s" + ("" if host is None else f", host {host} ms a step")
            left = f"  {duration((self.total - step) * per_step)} left"
        loss = f"  loss {record['loss']:.4f}" if "loss" in record else ""
        tests = "".join(f"  {k} {100 * v:.1f}%" for k, v in record.items() if k.endswith("/all"))
        # A run without steps, of closed forms or a solver, has its result only.
        place = f"step {step}/{self.total}  epoch {record['epoch']:.2f}" if self.total else f"stage {record['stage']}"
        self.report(f"{place}{loss}{tests}{rate}{left}", live=self.live)

    def report(self, text: str, live: bool = False) -> None:
        if not self.quiet:
            clear = "\r\x1b[2K" if self.live else ""
            self._write(clear + escape.terminal(text) + ("" if live else "\n"))

    def _write(self, text: str) -> None:
        """Writes to the stream; without a reader, or with a full disk behind it, the run goes on silently."""
        try:
            self.stream.write(text)
            self.stream.flush()
        except OSError:
            self.quiet = True

    def end(self) -> None:
        """Ends the live line."""
        if self.live and not self.quiet:
            self._write("\n")


def duration(seconds: float) -> str:
    """Example:
    >>> duration(42), duration(187), duration(7500)
    ('42s', '3m07s', '2h05m')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
