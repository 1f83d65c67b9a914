"""Experiment trackers, each behind the same few calls. Their packages are imported here, and only when they are used.

wandb and trackio have the same calls (``init``, ``log``, ``finish``); MLflow has a client of its own.
"""

import importlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from ltjax.settings.schema import flat

OPENING = 20.0  # seconds that wandb may take to reach its server, and at the end to upload
MOST_PARAMETERS, MOST_LETTERS = 100, 500  # of MLflow: parameters in a call, letters of a value


class Entry(NamedTuple):
    """A run's entry in a tracker.

    Attributes:
      project, name: what the tracker shows it under.
      id: what it was stored under in an earlier start; "" = it is new.
      config: the settings, nested.
      folder: a local folder for the tracker's own files; None where the workdir is in a bucket.
    """

    project: str
    name: str
    id: str
    config: Mapping[str, Any]
    folder: str | None


class Service(Protocol):
    """An opened entry.

    Attributes:
      id: what a later start finds it under.
      last_step: the step of the last line that it has, as far as it knows; -1 = none.
    """

    id: str
    last_step: int

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Adds a line; steps rise."""

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], step: int) -> None:
        """Adds a table."""

    def finish(self, done: bool) -> None:
        """Ends this start's part; ``done`` = the run has its results."""


class WandbLike:
    """The calls that wandb and trackio share."""

    def __init__(self, package: Any, run: Any, id: str, last_step: int, failed: Mapping[str, Any]) -> None:
        self.package, self.run, self.id, self.last_step, self.failed = package, run, id, last_step, failed

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.run.log(dict(values), step=step)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], step: int) -> None:
        table = self.package.Table(columns=list(columns), data=[list(row) for row in rows])
        self.run.log({name: table}, step=step)

    def finish(self, done: bool) -> None:
        self.run.finish(**({} if done else self.failed))


def open_wandb(entry: Entry, new_id: str) -> Service:
    """Never asks for a key: without one it fails, unless WANDB_MODE or ``wandb offline`` says that it isn't needed."""
    wandb = importlib.import_module("wandb")
    offline = wandb.setup().settings.mode in ("offline", "disabled", "dryrun")
    if not offline and not wandb.login(prompt=False, verify=False):
        raise RuntimeError("not logged in; run `wandb login`, or set WANDB_MODE=offline")
    settings = wandb.Settings(console="off", silent=True, init_timeout=OPENING, finish_timeout=OPENING)
    run = wandb.init(
        project=entry.project, name=entry.name, config=dict(entry.config), id=entry.id or new_id, resume="allow",
        dir=entry.folder, settings=settings,
    )  # fmt: skip
    # Its step is that of the last line, or of the next after a resume: a line of the same step is not accepted.
    return WandbLike(wandb, run, run.id, run.step - 1 if run.resumed else -1, {"exit_code": 1})


def open_trackio(entry: Entry, new_id: str) -> Service:
    """A run is found by its name, which therefore ends with its id."""
    trackio = importlib.import_module("trackio")
    id = entry.id or new_id
    name = f"{entry.name}-{id}"
    run = trackio.init(project=entry.project, name=name, config=dict(entry.config), resume="allow")
    return WandbLike(trackio, run, id, int(getattr(run, "_next_step", 0)) - 1, {})


class MLflow:
    """MLflow's tracking client: no global run, so that one of the user's stays as it is."""

    def __init__(self, client: Any, id: str, last_step: int) -> None:
        self.client, self.id, self.last_step = client, id, last_step

    def log(self, values: Mapping[str, float], step: int) -> None:
        metric, now = importlib.import_module("mlflow.entities").Metric, int(1000 * time.time())
        self.client.log_batch(self.id, metrics=[metric(_allowed(k), v, now, step) for k, v in values.items()])

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], step: int) -> None:
        del step
        data = {column: [row[i] for row in rows] for i, column in enumerate(columns)}
        self.client.log_table(self.id, data=data, artifact_file=f"{name}.json")

    def finish(self, done: bool) -> None:
        self.client.set_terminated(self.id, "FINISHED" if done else "KILLED")


def open_mlflow(entry: Entry, new_id: str) -> Service:
    """On the server, or in the database, that MLFLOW_TRACKING_URI names."""
    del new_id  # MLflow makes its own
    client = importlib.import_module("mlflow").MlflowClient()
    if entry.id:
        client.update_run(entry.id, status="RUNNING")
        steps = [metric.step for metric in client.get_metric_history(entry.id, "epoch")]  # every line has its epoch
        return MLflow(client, entry.id, max(steps, default=-1))
    experiment = client.get_experiment_by_name(entry.project)
    where = experiment.experiment_id if experiment is not None else client.create_experiment(entry.project)
    id = client.create_run(where, run_name=entry.name).info.run_id
    param = importlib.import_module("mlflow.entities").Param
    params = [param(_allowed(k), str(v)[:MOST_LETTERS]) for k, v in flat(entry.config).items()]
    for begin in range(0, len(params), MOST_PARAMETERS):
        client.log_batch(id, params=params[begin : begin + MOST_PARAMETERS])
    return MLflow(client, id, -1)


def _allowed(name: str) -> str:
    """A name with the letters that MLflow takes.

    Example:
      >>> _allowed("test/all"), _allowed("report/a=b")
      ('test/all', 'report/a_b')
    """
    return re.sub(r"[^\w\-. :/]", "_", name)


SERVICES: dict[str, Callable[[Entry, str], Service]] = {
    "trackio": open_trackio,
    "wandb": open_wandb,
    "mlflow": open_mlflow,
}
