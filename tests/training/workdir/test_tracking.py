"""Trackers: fakes that record the calls, the packages themselves where they are installed, and servers that fail."""

import importlib.machinery
import json
import sys
import threading
import types
import uuid

import pytest
from etils import epath

from ltjax import models
from ltjax.errors import InputError
from ltjax.training import loop, prepare
from ltjax.training.interrupt import Interrupted
from ltjax.training.workdir import tracking
from ltjax.training.workdir.metrics_log import MetricsLog
from ltjax.training.workdir.tracking import numbers, open_tracker
from tests.training import toy
from tests.training.test_loop import lines, stop_at
from tests.training.workdir.test_metrics_log import given, where


@pytest.fixture
def toys(monkeypatch):
    monkeypatch.setattr(prepare, "build", toy.build)
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)


class Server:
    """What a tracker's server holds: for each id its config, lines, tables and ends."""

    def __init__(self):
        self.runs, self.inits, self.logged_in = {}, [], True

    def init(self, **given):
        self.inits.append(given)
        id = given.get("id") or given["name"]
        resumed = id in self.runs
        assert given["resume"] == "allow"
        stored = self.runs.setdefault(id, {"config": given["config"], "lines": [], "tables": {}, "ends": []})
        return FakeRun(id, stored, resumed)


class FakeRun:
    def __init__(self, id, stored, resumed):
        self.id, self.stored, self.resumed = id, stored, resumed
        self.step = self._next_step = stored["lines"][-1][0] + 1 if stored["lines"] else 0

    def log(self, values, step):
        assert step >= self.step, f"step {step} is behind {self.step}"
        self.step = step
        if any(isinstance(value, tuple) for value in values.values()):
            self.stored["tables"] |= values
        else:
            self.stored["lines"].append((step, values))

    def finish(self, **ended):
        self.stored["ends"].append(ended)


def fake(monkeypatch, name, **members):
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None, origin="fake")
    module.__dict__.update(members)
    monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture(params=["wandb", "trackio"])
def server(request, monkeypatch):
    """A fake package, and what its server got."""
    made = Server()
    made.name = request.param
    table = {"Table": lambda columns, data: (columns, data)}
    if request.param == "trackio":
        fake(monkeypatch, "trackio", init=made.init, **table)
    else:
        settings = types.SimpleNamespace(settings=types.SimpleNamespace(mode="online"))
        fake(
            monkeypatch, "wandb", init=made.init, setup=lambda: settings, Settings=dict,
            login=lambda prompt, verify: made.logged_in and not prompt, **table,
        )  # fmt: skip
    return made


def only(server):
    (run,) = server.runs.values()
    return run


def test_a_run_that_was_interrupted_goes_on_in_the_same_entry_with_each_line_once(toys, server, tmp_path, monkeypatch):
    config = toy.config(tracker=server.name, tracking__project="flowers")
    stop_at(monkeypatch, 3, 7)
    for _ in range(2):
        with pytest.raises(Interrupted):
            loop.train(config, str(tmp_path / "parts"))
    results = loop.train(config, str(tmp_path / "parts"))
    run, logged = only(server), lines(tmp_path / "parts")
    assert [step for step, _ in run["lines"]] == [line["step"] for line in logged] == [2, 4, 5, 6, 8, 10]
    for (_, values), line in zip(run["lines"], logged, strict=True):
        assert numbers(line, (0,)).items() <= values.items()
    assert run["lines"][-1][1].keys() >= {"test/all", "time/step_ms", "epoch"}  # the evaluation is in the last line
    assert run["config"]["optimizer"]["learning_rate"] == 0.02 and len(run["ends"]) == 3 and run["ends"][-1] == {}
    columns, rows = run["tables"]["results"]
    assert columns == ["measure", "value", "std"] and ["accuracy/all", results["accuracy"]["all"], None] in rows
    first = server.inits[0]
    assert first["project"] == "flowers" and first["name"].startswith("parts") and len(server.inits) == 3
    stored = json.loads((tmp_path / "parts" / "tracker.json").read_text())
    assert stored == {"tracker": server.name, "project": "flowers", "id": stored["id"], "step": 10}


def log_of(folder, settings, reports, seeds=(0,)):
    return MetricsLog(epath.Path(folder), seeds, reports.append, open_tracker(settings, folder, reports.append))


def test_what_a_kill_left_behind_or_doubled_is_made_good(server, tmp_path):
    settings, reports = toy.config(tracker=server.name), []
    log = log_of(tmp_path, settings, reports)
    log.rewind(0, [], where(every=1))
    given(log, 1, 1.0, 2.0, 3.0, 4.0)
    log.write(4)
    log.close()
    run = only(server)
    assert [step for step, _ in run["lines"]] == [1, 2, 3]  # the last is held
    del run["lines"][1:]  # it had not arrived when the process was killed
    log = log_of(tmp_path, settings, reports)
    log.rewind(3, [], where(every=1))
    given(log, 4, 4.0, 5.0)
    log.write(5)
    log.close()
    log = log_of(tmp_path, settings, reports)
    log.rewind(2, [], where(every=1))  # the checkpoint is behind what the tracker has
    given(log, 3, 3.0, 4.0, 5.0)
    log.write(5)
    log.amend(5, {"test/all": 0.5})
    log.results({"step": 5, "accuracy": {"all": 0.5}})
    log.close()
    assert [(step, values["loss"]) for step, values in run["lines"]] == [(n, float(n)) for n in (1, 2, 3, 4, 5)]
    assert run["lines"][-1][1]["test/all"] == 0.5 and reports == []


def test_another_project_is_another_entry_with_all_lines(server, tmp_path):
    for project in ("one", "two"):
        log = log_of(tmp_path, toy.config(tracker=server.name, tracking__project=project, tracking__name=project), [])
        log.rewind(2 if project == "two" else 0, [], where(every=1))
        if project == "one":
            given(log, 1, 1.0, 2.0)
            log.write(2)
        log.results({"step": 2})
        log.close()
    one, two = server.runs.values()
    assert one["lines"] == two["lines"] and [step for step, _ in one["lines"]] == [1, 2]
    assert [init["project"] for init in server.inits] == ["one", "two"]


def test_the_tracker_gets_every_seeds_numbers(server, tmp_path):
    log = log_of(tmp_path, toy.config(tracker=server.name), [], seeds=(5, 6))
    log.rewind(0, [], where(every=1))
    log.add(1, {"loss": [[1.0, 2.0]], "learning_rate": [[0.5, 0.5]]})
    log.write(1, {"test/all": [0.5, 0.25]})
    log.results({"step": 1})
    log.close()
    ((_, values),) = only(server)["lines"]
    assert values["loss"] == 1.5 and values["seed_6/loss"] == 2.0 and values["seed_5/test/all"] == 0.5


def test_a_run_without_a_tracker_starts_no_thread(toys, tmp_path):
    loop.train(toy.config(epochs=1), str(tmp_path))
    assert not (tmp_path / "tracker.json").exists() and "tracker" not in [t.name for t in threading.enumerate()]


def test_the_tracker_is_no_part_of_a_runs_identity(toys, server, tmp_path, monkeypatch):
    stop_at(monkeypatch, 4)
    with pytest.raises(Interrupted):
        loop.train(toy.config(), str(tmp_path))
    loop.train(toy.config(tracker=server.name), str(tmp_path))
    assert [step for step, _ in only(server)["lines"]] == [2, 4, 5, 6, 8, 10]  # those of the first start, too


def test_other_processes_log_nothing(toys, server, tmp_path, monkeypatch):
    monkeypatch.setattr("jax.process_index", lambda: 1)
    log = log_of(tmp_path, toy.config(tracker=server.name), [])
    log.rewind(0, [], where())
    log.close()
    assert not server.inits


def test_a_folder_of_its_name_is_no_package(tmp_path, monkeypatch):
    (tmp_path / "of_a_tracker").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=r"config.tracker: of_a_tracker is not installed"):
        tracking.check_tracker(types.SimpleNamespace(tracker="of_a_tracker"))


def test_a_line_without_values_of_the_seeds_has_its_means():
    assert numbers({"step": 20, "loss": 0.5, "per_seed": None}, (0, 1)) == {"loss": 0.5}
    assert numbers({"step": 20, "per_seed": {"loss": [0.5], "rate": None}}, (0, 1)) == {"seed_0/loss": 0.5}


@pytest.mark.parametrize("name", ["trackio", "wandb", "mlflow"])
def test_a_missing_package_is_one_line_before_anything_is_done(toys, tmp_path, monkeypatch, name):
    monkeypatch.setattr("importlib.util.find_spec", lambda package: None)
    with pytest.raises(InputError, match=rf"config.tracker: {name} is not installed; .* 'ltjax\[{name}\]'"):
        loop.train(toy.config(tracker=name), str(tmp_path / "run"))
    assert not list((tmp_path / "run").glob("c*"))


def test_an_unknown_tracker_is_refused():
    with pytest.raises(InputError, match=r"config.tracker: impossible value 'wandv'.*did you mean.*wandb"):
        toy.config(tracker="wandv")


@pytest.mark.parametrize("call", ["open", "log", "table", "finish"])
def test_a_tracker_that_fails_is_one_line_and_the_run_goes_on(toys, tmp_path, monkeypatch, capsys, call):
    class Failing:
        id, last_step = "x", -1

        def __getattr__(self, name):
            def called(*given):
                if name == call:
                    raise ConnectionError("no\nnetwork")

            return called

    def opened(entry, new_id):
        if call == "open":
            raise SystemExit("no\nnetwork")
        return Failing()

    fake(monkeypatch, "mlflow")
    monkeypatch.setitem(tracking.SERVICES, "mlflow", opened)
    assert loop.train(toy.config(epochs=1, tracker="mlflow"), str(tmp_path))["step"] == 5
    told = [line for line in capsys.readouterr().err.splitlines() if "tracker" in line]
    assert told == ["config.tracker: mlflow failed (no network); the run goes on without"]


def test_a_tracker_that_never_answers_delays_no_step_and_is_given_up_at_the_end(toys, tmp_path, monkeypatch, capsys):
    asked = threading.Event()
    monkeypatch.setattr(tracking, "PATIENCE", 0.05)
    fake(monkeypatch, "mlflow")
    monkeypatch.setitem(tracking.SERVICES, "mlflow", lambda entry, new_id: asked.wait())
    assert loop.train(toy.config(epochs=1, tracker="mlflow"), str(tmp_path))["step"] == 5
    asked.set()
    assert "config.tracker: mlflow does not answer; the results are in the workdir" in capsys.readouterr().err


def test_without_a_key_wandb_asks_for_none(tmp_path, monkeypatch):
    settings = types.SimpleNamespace(settings=types.SimpleNamespace(mode="online"))
    fake(monkeypatch, "wandb", setup=lambda: settings, login=lambda prompt, verify: prompt, init=pytest.fail)
    reports = []
    log = log_of(tmp_path, toy.config(tracker="wandb"), reports)
    log.rewind(0, [], where())
    log.close()
    assert len(reports) == 1 and "not logged in; run `wandb login`, or set WANDB_MODE=offline" in reports[0]


def train_in_parts(config, folder, monkeypatch):
    """Interrupted once. Returns the lines of the log."""
    monkeypatch.setattr(tracking, "PATIENCE", 120.0)
    monkeypatch.setattr(tracking, "PATIENCE_INTERRUPTED", 120.0)
    stop_at(monkeypatch, 7)
    with pytest.raises(Interrupted):
        loop.train(config, str(folder))
    loop.train(config, str(folder))
    return lines(folder)


@pytest.mark.slow
def test_trackio_itself_has_each_line_once(toys, tmp_path, monkeypatch):
    pytest.importorskip("trackio", reason="trackio is not installed: pip install 'ltjax[trackio]'")
    from trackio import Api
    from trackio.sqlite_storage import SQLiteStorage

    project = f"test-{uuid.uuid4().hex[:8]}"
    monkeypatch.setattr("trackio.sqlite_storage.TRACKIO_DIR", tmp_path / "trackio")
    logged = train_in_parts(toy.config(tracker="trackio", tracking__project=project), tmp_path / "run", monkeypatch)
    (run,) = Api().runs(project)
    stored = SQLiteStorage.get_logs(project, run.name)
    values = [one for one in stored if "results" not in one]
    assert [one["step"] for one in values] == [line["step"] for line in logged]
    assert [one["loss"] for one in values] == [line["loss"] for line in logged]
    assert values[-1]["test/all"] == logged[-1]["test/all"] and run.config["optimizer"]["learning_rate"] == 0.02
    assert any(row["measure"] == "accuracy/all" for row in stored[-1]["results"]["_value"])


@pytest.mark.slow
def test_mlflow_itself_has_each_line_once(toys, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed: pip install 'ltjax[mlflow]'")
    monkeypatch.chdir(tmp_path)  # its artifacts go to ./mlruns
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    try:
        logged = train_in_parts(toy.config(tracker="mlflow"), tmp_path / "run", monkeypatch)
        client = mlflow.MlflowClient()
        experiment = client.get_experiment_by_name("ltjax").experiment_id
        (run,) = client.search_runs([experiment])
        history = client.get_metric_history(run.info.run_id, "loss")
        table = client.load_table(experiment, "results.json", run_ids=[run.info.run_id])
    finally:
        mlflow.set_tracking_uri(before)
    assert [(m.step, m.value) for m in history] == [(line["step"], line["loss"]) for line in logged]
    assert run.data.metrics["test/all"] == logged[-1]["test/all"] and run.info.status == "FINISHED"
    assert run.data.params["optimizer.learning_rate"] == "0.02" and run.info.run_name == "run"
    assert "accuracy/all" in list(table["measure"])


@pytest.mark.slow
def test_wandb_itself_takes_the_calls_offline(toys, tmp_path, monkeypatch, capsys):
    pytest.importorskip("wandb", reason="wandb is not installed: pip install 'ltjax[wandb]'")
    monkeypatch.setenv("WANDB_MODE", "offline")
    train_in_parts(toy.config(tracker="wandb"), tmp_path / "run", monkeypatch)
    assert "config.tracker" not in capsys.readouterr().err
    id = json.loads((tmp_path / "run" / "tracker.json").read_text())["id"]
    files = list((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"))
    assert files and {file.name for file in files} == {f"run-{id}.wandb"}
    content = b"".join(file.read_bytes() for file in files)
    assert b"learning_rate" in content and b"test/all" in content
