"""An experiment tracker (config.tracker) beside the metrics log: it gets the same lines, the config and the results.

All of its work is done by a thread of its own, so that a server that is slow or gone delays no step; when it fails, one
line is reported and the training goes on without. What a start could not hand over, the next one does: the lines are
in metrics.jsonl, and tracker.json has the entry's id and the step of the last line that was handed over.
"""

import importlib.util
import json
import queue
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from etils import epath

from ltjax.data.storage.paths import write_atomically
from ltjax.errors import InputError
from ltjax.settings import Settings
from ltjax.training.workdir.json_files import Record, read_object
from ltjax.training.workdir.tracking_services import SERVICES, Entry, Service

PATIENCE = 20.0  # seconds that a finished run waits for its tracker
PATIENCE_INTERRUPTED = 5.0  # the same where more is to come, in another start
COLUMNS = ("measure", "value", "std")


def check_tracker(settings: Settings) -> None:
    """Raises InputError if the package of config.tracker is not installed."""
    name = settings.tracker
    spec = importlib.util.find_spec(name) if name else None
    if name and (spec is None or spec.origin is None):  # a plain folder, such as wandb's own, has no origin
        raise InputError(f"config.tracker: {name} is not installed; install it with: pip install 'ltjax[{name}]'")


def open_tracker(settings: Settings, workdir: epath.Path, report: Callable[[str], None]) -> "Tracker | None":
    """The tracker of a run, which begins with ``start``; None without config.tracker."""
    return Tracker(settings, workdir, report) if settings.tracker else None


class Line(NamedTuple):
    """The numbers of a logged line."""

    step: int
    values: dict[str, float]


class Table(NamedTuple):
    """The results, which follow the line of the last step."""

    step: int
    rows: list[list[Any]]


class Tracker:
    """Hands lines over in a thread, each once and whole.

    A line is held until the next step's, because the evaluation of the last epoch is added to it; an interrupted run
    keeps it for the next start.
    """

    def __init__(self, settings: Settings, workdir: epath.Path, report: Callable[[str], None]) -> None:
        self.settings, self.workdir, self.report = settings, workdir, report
        self.path = workdir / "tracker.json"
        self.items: queue.SimpleQueue[Line | Table | None] = queue.SimpleQueue()
        self.held: Line | None = None
        self.done = self.reported = False
        self.thread = threading.Thread(target=self._work, name="tracker", daemon=True)

    def start(self) -> None:
        """Begins to hand over; again it does nothing."""
        if self.thread.ident is None:
            self.thread.start()

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Takes the numbers of a step. Those of the last step may grow; earlier steps are there already."""
        if self.held is not None and step < self.held.step:
            return
        if self.held is not None and step == self.held.step:
            self.held.values.update(values)
            return
        if self.held is not None:
            self.items.put(self.held)
        self.held = Line(step, dict(values))

    def results(self, results: Record) -> None:
        """Takes the content of results.json; the run is done."""
        if self.held is not None:
            self.items.put(self.held)
        self.items.put(Table(results["step"], result_rows(results)))
        self.done = True

    def close(self) -> None:
        """Waits, not for long, until all is handed over."""
        if self.thread.ident is None:
            return
        self.items.put(None)
        self.thread.join(PATIENCE if self.done else PATIENCE_INTERRUPTED)
        if self.thread.is_alive() and not self.reported:
            self.reported = True
            end = "the results are in the workdir" if self.done else "the next start hands over the rest"
            self.report(f"config.tracker: {self.settings.tracker} does not answer; {end}")

    def _work(self) -> None:
        try:
            self._hand_over()
        except (Exception, SystemExit) as error:  # each package has errors of its own, and wandb may exit
            if self.reported:  # the run has ended
                return
            self.reported = True
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            self.report(f"config.tracker: {self.settings.tracker} failed ({reason}); the run goes on without")

    def _hand_over(self) -> None:
        entry, last, new = self._entry()
        service = SERVICES[self.settings.tracker](entry, new)
        # What it says itself counts: a kill may have cost lines that were handed over.
        last = service.last_step if service.last_step >= 0 else last
        self._remember(service, last)
        while (item := self.items.get()) is not None:
            if isinstance(item, Table):
                service.table("results", COLUMNS, item.rows, item.step)
            elif item.step > last:
                service.log(item.values, item.step)
                last = item.step
            if self.items.empty():
                self._remember(service, last)
        self._remember(service, last)
        service.finish(self.done)

    def _entry(self) -> tuple[Entry, int, str]:
        """The entry, the step of its last line (-1 = none), and the id of a new one."""
        settings, name = self.settings, self.settings.tracking.name or self.workdir.name
        stored = (read_object(self.path) if self.path.exists() else None) or {}
        same = stored.get("tracker") == settings.tracker and stored.get("project") == settings.tracking.project
        id, step = (str(stored.get("id", "")), stored.get("step", -1)) if same else ("", -1)
        local = None if "://" in str(self.workdir) else str(self.workdir)
        entry = Entry(settings.tracking.project, name, id, settings.to_dict(), local)
        return entry, step if isinstance(step, int) else -1, uuid.uuid4().hex[:8]

    def _remember(self, service: Service, step: int) -> None:
        settings = self.settings
        record = {"tracker": settings.tracker, "project": settings.tracking.project, "id": service.id, "step": step}
        write_atomically(self.path, json.dumps(record) + "\n")


def numbers(record: Mapping[str, Any], seeds: Sequence[int]) -> dict[str, float]:
    """The numbers of a line: the means, and with several seeds each one's under its own name.

    Example:
      >>> numbers({"step": 20, "loss": 0.5, "per_seed": {"loss": [0.25, 0.75]}}, (0, 1))
      {'loss': 0.5, 'seed_0/loss': 0.25, 'seed_1/loss': 0.75}
    """
    means = {name: value for name, value in record.items() if isinstance(value, float)}
    each = {
        f"seed_{seed}/{name}": value
        for name, values in (record.get("per_seed") or {}).items()
        for seed, value in zip(seeds, values or (), strict=False)  # a line that was edited may lack some
        if isinstance(value, float)
    }
    return means | each


def result_rows(results: Mapping[str, Any]) -> list[list[Any]]:
    """[measure, value, standard deviation over the seeds] of results.json; a group without classes has no row.

    Example:
      >>> result_rows({"accuracy": {"all": 0.5, "few": None}, "train_loss_last_epoch": 0.25, "wall_time_s": 3.5})
      [['accuracy/all', 0.5, None], ['train_loss_last_epoch', 0.25, None], ['wall_time_s', 3.5, None]]
    """
    found, deviations = _measures(results), _measures(results.get("std", {}))
    return [[name, value, deviations.get(name)] for name, value in found.items() if value is not None]


def _measures(results: Mapping[str, Any]) -> dict[str, Any]:
    accuracies = {measure: results[measure] for measure in ("accuracy", "average_precision") if measure in results}
    accuracies |= {f"views/{view}": one["accuracy"] for view, one in results.get("views", {}).items()}
    found = {f"{group}/{name}": value for group, one in accuracies.items() for name, value in one.items()}
    found |= {f"report/{name}": value for name, value in results.get("report", {}).items()}
    single = ("train_loss_last_epoch", "parameter_count", "wall_time_s")
    return found | {name: results[name] for name in single if name in results}
