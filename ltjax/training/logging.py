"""What a run writes while it trains: metrics.jsonl, TensorBoard events, and one line for the person who waits.

metrics.jsonl has each logged step once and in order, also after kills: the values between two lines are held in
`pending`, travel in the checkpoint, and lines beyond the restored step are cut off before the run goes on.
"""

import json
import math
import pathlib
import shutil
import sys
import tempfile
import time
from typing import Any

import jax
import numpy as np
from etils import epath

Record = dict[str, Any]


def write_atomically(path: epath.Path, text: str) -> None:
    """All of it or nothing: through a file of another name beside it."""
    temporary = path.parent / f".{path.name}.tmp"
    temporary.write_text(text)
    temporary.replace(path)


class MetricsLog:
    """Averages what the steps give and writes a line at every logged step. Only process 0 writes."""

    def __init__(self, workdir: epath.Path):
        self.workdir, self.path = workdir, workdir / "metrics.jsonl"
        self.pending: list[dict[str, Any]] = []
        self.lines: list[str] = self._existing()
        self.writes = jax.process_index() == 0
        self.local = not str(workdir).startswith("gs://")  # elsewhere a file can't be appended to
        self.events: Any = None

    def rewind(self, step: int, pending: list[dict[str, float]]) -> None:
        """Keeps the lines up to `step`, where the run goes on, and the values that wait for the next line."""
        self.lines = [line for line in self.lines if json.loads(line)["step"] <= step]
        self.pending = list(pending)
        if self.writes:
            self._rewrite()
            if self.events is None:
                from tensorboardX import SummaryWriter

                folder = str(self.workdir / "tensorboard") if self.local else tempfile.mkdtemp(prefix="ltjax-events-")
                self.events = SummaryWriter(folder, purge_step=step + 1)

    def _existing(self) -> list[str]:
        """The whole lines of the file; a line cut short by a kill is none."""
        if not self.path.exists():
            return []
        lines = []
        for line in self.path.read_text().splitlines():
            try:
                json.loads(line)
            except ValueError:
                break
            lines.append(line)
        return lines

    def _rewrite(self) -> None:
        write_atomically(self.path, "".join(line + "\n" for line in self.lines))

    def add(self, metrics: dict[str, Any]) -> None:
        """One step's scalars; they stay on the device until somebody asks."""
        self.pending.append(metrics)

    def settle(self, step: int) -> list[dict[str, float]]:
        """The pending values as numbers. Raises FloatingPointError if a loss among them is not finite."""
        self.pending = [
            {name: float(value) for name, value in metrics.items()} for metrics in jax.device_get(self.pending)
        ]
        if not all(math.isfinite(metrics["loss"]) for metrics in self.pending):
            raise FloatingPointError(
                f"the loss is not finite between steps {step - len(self.pending) + 1} and {step}; "
                "try a smaller config.optimizer.learning_rate"
            )
        return list(self.pending)  # the caller's own: a checkpoint is written while steps are added

    def flush(self, step: int, epoch: float, stage: str, extra: Record | None = None) -> Record:
        """Writes the means since the last line; the learning rate is the last step's."""
        values = self.settle(step)
        record: Record = {"step": step, "epoch": round(epoch, 6), "stage": stage}
        for name in sorted(values[-1], key=lambda name: not name.startswith("loss")) if values else ():
            record[name] = float(np.mean([v[name] for v in values]))
        if values:
            record["learning_rate"] = values[-1]["learning_rate"]
        record |= extra or {}
        self.pending = []
        self.lines.append(json.dumps(record))
        if self.writes and self.local:
            with self.path.open("a") as file:
                file.write(self.lines[-1] + "\n")
        self._to_events(record, record)
        return record

    def amend(self, extra: Record) -> Record:
        """Adds values to the last line (the evaluation of the last epoch) and returns it."""
        record = (json.loads(self.lines[-1]) if self.lines else {"step": 0, "epoch": 0.0, "stage": ""}) | extra
        self.lines[-1:] = [json.dumps(record)]
        if self.writes:
            self._rewrite()
        self._to_events(record, extra)
        return record

    def _to_events(self, record: Record, values: Record) -> None:
        if self.events is not None:
            for name, value in values.items():
                if isinstance(value, float):
                    self.events.add_scalar(name, value, record["step"])

    def mean_of_last(self, name: str, steps: int) -> float | None:
        """Mean of a value over the last `steps` steps, if lines begin where they do (an epoch always ends a line)."""
        records = [json.loads(line) for line in self.lines]
        ends = [0, *(record["step"] for record in records)]
        last = [
            (record[name], end - begin)
            for record, begin, end in zip(records, ends, ends[1:], strict=False)
            if end > ends[-1] - steps and name in record
        ]
        return sum(v * n for v, n in last) / sum(n for _, n in last) if last else None

    def sync(self) -> None:
        """Makes what was logged visible: the event file, and copies of both texts where files can't be appended to."""
        if self.events is not None:
            self.events.flush()
            if not self.local:
                self._rewrite()
                self._copy_events()

    def _copy_events(self) -> None:
        folder = self.workdir / "tensorboard"
        folder.mkdir(parents=True, exist_ok=True)
        for file in pathlib.Path(self.events.logdir).iterdir():
            (folder / file.name).write_bytes(file.read_bytes())

    def close(self) -> None:
        self.sync()
        if self.events is not None:
            self.events.close()
            if not self.local:
                shutil.rmtree(self.events.logdir)


class Progress:
    """A live line on a terminal, plain lines elsewhere: step, epoch, loss, images/s, time left."""

    def __init__(self, total_steps: int, images_per_step: int, stream: Any = None):
        self.total, self.images = total_steps, images_per_step
        self.stream = sys.stderr if stream is None else stream
        self.live = self.stream.isatty()
        self.quiet = jax.process_index() != 0
        self.began: tuple[int, float] | None = None  # the first step of this process: compiling is not training

    def step(self, step: int) -> None:
        if self.began is None:
            self.began = (step, time.monotonic())

    def show(self, record: Record) -> None:
        if self.quiet:
            return
        step, rate, left = record["step"], "", ""
        if self.began and step > self.began[0]:
            per_step = (time.monotonic() - self.began[1]) / (step - self.began[0])
            rate = f"  {self.images / per_step:,.0f} images/s"
            left = f"  {duration((self.total - step) * per_step)} left"
        loss = f"  loss {record['loss']:.4f}" if "loss" in record else ""
        tests = "".join(f"  {k} {100 * v:.1f}%" for k, v in record.items() if k.endswith("/all"))
        self.say(f"step {step}/{self.total}  epoch {record['epoch']:.2f}{loss}{tests}{rate}{left}", live=self.live)

    def say(self, text: str, live: bool = False) -> None:
        if not self.quiet:
            clear = "\r\x1b[2K" if self.live else ""
            self.stream.write(clear + text + ("" if live else "\n"))
            self.stream.flush()

    def end(self) -> None:
        """Leaves the live line standing."""
        if self.live and not self.quiet:
            self.stream.write("\n")
            self.stream.flush()


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
