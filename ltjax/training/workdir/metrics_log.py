"""What a run writes while it trains: metrics.jsonl, TensorBoard events, and lines for a tracker.

metrics.jsonl has each logged step once and in order, also after kills: the values since the last line (`pending`) are
saved in the checkpoint, and lines beyond the restored step are removed before the run continues.
"""

import contextlib
import json
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from ltjax.data.loading.prefetch import to_stderr
from ltjax.data.storage.paths import write_atomically
from ltjax.training.workdir.events import Events
from ltjax.training.workdir.tracking import Tracker, numbers

Record = dict[str, Any]


class StageLines(NamedTuple):
    """At which steps a stage writes a line: every ``every`` steps, and at the end of each epoch.

    Steps count over all stages.
    """

    stage: str
    offset: int  # steps of the stages before
    per_epoch: int
    every: int

    def end_at(self, step: int) -> bool:
        of_stage = step - self.offset
        return of_stage % self.every == 0 or of_stage % self.per_epoch == 0


class MetricsLog:
    """Averages the metrics of steps and writes a line at every logged step. Only process 0 writes.

    With several seeds a value is the mean over the seeds, and ``per_seed`` in the same line has each seed's.
    """

    def __init__(
        self,
        workdir: epath.Path,
        seeds: Sequence[int] = (0,),
        report: Callable[[str], None] = to_stderr,
        tracker: Tracker | None = None,
    ) -> None:
        self.workdir, self.path, self.seeds, self.report = workdir, workdir / "metrics.jsonl", tuple(seeds), report
        self.unread: list[tuple[int, dict[str, Any]]] = []  # (last step, values that are still on the device)
        self.pending: list[dict[str, Any]] = []  # a dict of numbers for each step after the last line
        self.written = 0  # the step of the last line
        self.lines: list[str] = self._existing()
        self.later: list[str] = []  # lines beyond the step where the run continues
        self.offset = 0  # steps of the stages before the one that is logged
        self.writes = jax.process_index() == 0
        self.appends = "://" not in str(workdir)  # a file in a bucket can't be appended to
        self.behind = self.reported = False  # the file lacks lines, because it could not be written; once reported
        self.events: Events | None = None
        self.seed_events: list[Events] = []  # with several seeds one for each
        self.tracker = tracker if self.writes else None

    def rewind(self, step: int, pending: list[dict[str, Any]], stage_lines: StageLines) -> None:
        """Keeps the lines up to `step`, where the run continues, and the values for the next line.

        Lines beyond come back when a later stage continues behind them: where steps of the stage before are trained
        again, because its last checkpoint is damaged.
        """
        known = self.lines
        if stage_lines.offset > self.offset:
            last = _step_of(known[-1]) if known else -1
            known = known + [line for line in self.later if _step_of(line) > last]
        self.lines = [line for line in known if _step_of(line) <= step]
        self.later = [line for line in known if _step_of(line) > step]
        self.unread, self.pending, self.written = [], list(pending), step - len(pending)
        self.stage_lines, self.offset = stage_lines, stage_lines.offset
        if self.writes:
            self._rewrite()
            if self.events is None:
                self.events = Events(self.workdir, step + 1, self.report)
                folders = [f"seed_{seed}" for seed in self.seeds] if len(self.seeds) > 1 else []
                self.seed_events = [Events(self.workdir, step + 1, self.report, folder) for folder in folders]
        if self.tracker is not None:
            self.tracker.start()
            for line in self.lines:  # it skips those that it has
                record = json.loads(line)
                self.tracker.add(record["step"], numbers(record, self.seeds))

    def _existing(self) -> list[str]:
        """The lines of the file that are records of rising steps; others are damaged and reported.

        A last line without its end was cut short by a kill, and is nothing to report.
        """
        if not self.path.exists():
            return []
        texts = self.path.read_bytes().decode(errors="replace").split("\n")
        kept: list[str] = []
        damaged, last = [], -1
        for number, text in enumerate(texts, 1):
            step = _step_of(text)
            if step > last:
                kept.append(text)
                last = step
            elif text and number < len(texts):
                damaged.append(number)
        if damaged:
            more = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
            self.report(f"{self.path}: line {damaged[0]}{more} cannot be read; the log goes on without")
        return kept

    def _rewrite(self) -> None:
        """Writes the whole file. If that fails the lines stay in memory, and are written with the next save."""
        try:
            write_atomically(self.path, "".join(line + "\n" for line in self.lines))
            self.behind = False
        except Exception as error:  # the client of a bucket has errors of its own
            if not self.reported:
                reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
                self.report(f"{self.path}: cannot be written ({reason}); tried again at every save")
            self.behind = self.reported = True

    def add(self, step: int, metrics: dict[str, Any]) -> None:
        """The values, [n] or [n, seeds], of the n steps up to `step`; they stay on the device until written."""
        self.unread.append((step, metrics))

    def _read(self, through: int) -> None:
        """Fetches the metrics of steps up to `through`. Raises FloatingPointError if a loss is not finite."""
        due = [metrics for step, metrics in self.unread if step <= through]
        self.unread, known = self.unread[len(due) :], len(self.pending)
        for metrics in jax.device_get(due):
            values = {name: _without_missing(value).tolist() for name, value in metrics.items()}
            self.pending += [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
        for step, row in enumerate(self.pending[known:], self.written + known + 1):
            bad = np.flatnonzero(~np.isfinite(np.ravel(row["loss"])))
            if bad.size:
                whose = f" (seed {', '.join(str(self.seeds[i]) for i in bad)})" if len(self.seeds) > 1 else ""
                raise FloatingPointError(
                    f"the loss is not finite at step {step}{whose}; try a smaller config.optimizer.learning_rate"
                )

    def write(self, through: int, extra: dict[str, Any] | None = None) -> Record | None:
        """Writes the lines that end at or before step `through`, and returns the last of them.

        `extra` (name -> number, or one a seed) goes into the line of `through` itself. Without a line that ends there
        nothing is fetched from the device.
        """
        if not any(self.stage_lines.end_at(step) for step in range(self.written + 1, through + 1)):
            return None
        self._read(through)
        record = None
        for step in range(self.written + 1, self.written + len(self.pending) + 1):
            if self.stage_lines.end_at(step):
                record = self._line(step, extra if step == through else None)
        return record

    def settle(self, through: int) -> Record | None:
        """The same; all other values up to step `through` are in `pending` afterwards, and the lines on the disk."""
        record = self.write(through)
        self._read(through)
        if self.writes and (self.behind or not self.appends):
            self._rewrite()
        elif self.writes and self.path.exists():
            with contextlib.suppress(OSError), self.path.open("rb") as file:
                os.fsync(file.fileno())
        return record

    def _line(self, step: int, extra: dict[str, Any] | None) -> Record:
        """The means since the last line; the learning rate is the last step's."""
        stage, count = self.stage_lines, step - self.written
        rows, self.pending, self.written = self.pending[:count], self.pending[count:], step
        epoch = (step - stage.offset) / stage.per_epoch
        record: Record = {"step": step, "epoch": round(epoch, 6), "stage": stage.stage}
        values: dict[str, Any] = {}
        names = dict.fromkeys(name for row in rows for name in row)
        for name in sorted(names, key=lambda name: not name.startswith("loss")):
            values[name] = _mean([row.get(name, np.nan) for row in rows])
        values["learning_rate"] = np.ravel(rows[-1]["learning_rate"])[0].item()
        values = {name: value for name, value in values.items() if value is not None}
        record |= mean_and_each(values | (extra or {}))
        self.lines.append(json.dumps(record))
        if self.writes and self.appends and not self.behind:
            try:
                with self.path.open("a") as file:
                    file.write(self.lines[-1] + "\n")
            except OSError:
                self.behind = True  # part of a line may be there: the whole file is written with the next save
        self.to_events(step, record)
        return record

    def amend(self, step: int, extra: dict[str, Any]) -> Record:
        """Adds values to the last line, of `step` (the evaluation of the last epoch), and returns it."""
        if self.has(step):
            record: Record = json.loads(self.lines.pop())
        else:
            stage = self.stage_lines
            record = {"step": step, "epoch": max(0.0, (step - stage.offset) / stage.per_epoch), "stage": stage.stage}
        added = mean_and_each(extra)
        per_seed = record.pop("per_seed", {}) | added.pop("per_seed", {})
        record |= added | ({"per_seed": per_seed} if per_seed else {})
        self.lines.append(json.dumps(record))
        if self.writes:
            self._rewrite()
        self.to_events(record["step"], added)
        return record

    def has(self, *steps: int) -> bool:
        """Whether there is a line for each of the steps; of a damaged file some may be lost."""
        return set(steps) <= {_step_of(line) for line in self.lines}

    def to_events(self, step: int, values: Record) -> None:
        """The numbers among `values` as TensorBoard scalars, each seed's in its folder, and for the tracker."""
        if self.tracker is not None:
            self.tracker.add(step, numbers(values, self.seeds))
        if self.events is not None:
            for name, value in values.items():
                if isinstance(value, float):
                    self.events.scalar(name, value, step)
            for name, each in values.get("per_seed", {}).items():
                for events, value in zip(self.seed_events, each, strict=False):
                    if isinstance(value, float):
                        events.scalar(name, value, step)

    def mean_of_last(self, name: str, steps: int) -> list[float] | None:
        """Each seed's mean over the last `steps` steps, if lines begin where they do (an epoch always ends a line)."""
        records = [json.loads(line) for line in self.lines]
        ends = [0, *(record["step"] for record in records)]
        last = [
            (np.atleast_1d(record.get("per_seed", record)[name]), end - begin)
            for record, begin, end in zip(records, ends, ends[1:], strict=False)
            if end > ends[-1] - steps and name in record
        ]
        return (sum(v * n for v, n in last) / sum(n for _, n in last)).tolist() if last else None

    def sync(self) -> None:
        """Makes what was logged visible."""
        if self.writes and self.behind:
            self._rewrite()
        for events in [self.events, *self.seed_events]:
            if events is not None:
                events.flush()

    def results(self, results: Record) -> None:
        """The content of results.json for the tracker."""
        if self.tracker is not None:
            self.tracker.results(results)

    def close(self) -> None:
        if self.writes and not self.appends and self.lines:
            self._rewrite()
        self.sync()
        if self.tracker is not None:
            self.tracker.close()


def _step_of(line: str) -> int:
    """The step of a line; -1 if it is not a record.

    Example:
      >>> _step_of('{"step": 20, "loss": 0.5}'), _step_of('{"step": 2'), _step_of("[20]")
      (20, -1, -1)
    """
    try:
        step = json.loads(line)["step"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return -1
    return step if type(step) is int else -1


def _without_missing(values: np.ndarray) -> np.ndarray:
    """float64, with NaN in place of ``ltjax.methods.stage.missing``.

    Example:
      >>> _without_missing(np.array([1, np.finfo(np.float32).min], np.float32))
      array([ 1., nan])
    """
    values = np.asarray(values)
    lowest = float(jnp.finfo(values.dtype).min) if jnp.issubdtype(values.dtype, jnp.floating) else np.nan
    wide = values.astype(np.float64)
    return np.where(wide == lowest, np.nan, wide)


def _mean(column: list[Any]) -> Any:
    """The mean over steps, for each seed if there are several; NaN = a step without the value; None if all are.

    Example:
      >>> nan = float("nan")
      >>> _mean([1.0, nan, 2.0]), _mean([[1.0, 2.0], nan]), _mean([[nan, 2.0], [nan, 4.0]]), _mean([nan])
      (1.5, [1.0, 2.0], [None, 3.0], None)
    """
    seeds = max(np.size(value) for value in column)
    values = np.stack([np.broadcast_to(np.asarray(value, np.float64), seeds) for value in column])
    there = ~np.isnan(values)
    if not there.any():
        return None
    sums, counts = np.where(there, values, 0).sum(0), there.sum(0)
    means = [float(total / count) if count else None for total, count in zip(sums, counts, strict=True)]
    return means if any(np.ndim(value) for value in column) else means[0]


def mean_and_each(values: dict[str, Any]) -> Record:
    """Means over the seeds of values that have one number for each seed, which go under ``per_seed``.

    None = a seed without the value, such as the loss of a class that it did not draw.

    Example:
      >>> mean_and_each({"loss": [1.0, 3.0], "learning_rate": 0.1})
      {'loss': 2.0, 'learning_rate': 0.1, 'per_seed': {'loss': [1.0, 3.0]}}
      >>> mean_and_each({"class_loss/9": [None, 2.0]})
      {'class_loss/9': 2.0, 'per_seed': {'class_loss/9': [None, 2.0]}}
    """
    many = {name: value for name, value in values.items() if isinstance(value, list)}
    means = {name: _mean_of_seeds(value) if name in many else value for name, value in values.items()}
    return means | ({"per_seed": many} if many else {})


def _mean_of_seeds(values: list[float | None]) -> float:
    return float(np.mean([value for value in values if value is not None]))
