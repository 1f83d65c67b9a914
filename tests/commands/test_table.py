"""The table's command: what it runs in which order, what it skips, how it stops, and the text that it leaves."""

import json
import os
import pathlib
import signal

import pytest

from ltjax.commands import table
from ltjax.commands.paper_tables.benchmarks import BENCHMARKS, TABLE_METHODS
from ltjax.errors import InputError
from ltjax.methods import configure
from ltjax.settings.identity import to_json
from tests import recipes

RESULTS = {
    "method": "reslt", "dataset": "cifar100", "split": "test", "epochs": 200, "epoch_rule": "last",
    "seeds": [0, 1, 2], "parameter_count": 470_388, "train_size": 10_847, "wall_time_s": 1234.56,
    "hardware": "1 x NVIDIA H200 (x86_64, 1 process(es))", "train_index_sha256": "0123456789abcdef" * 4,
    "commits": ["5c0ffee" + 33 * "0"], "skipped": [{"index": 3, "reason": "/home/me/photos/a.jpg: is no image"}],
    "convention": "index", "shots": {"index": {"classes": [35, 35, 30]}},
    "accuracy": {"all": 0.4521, "many": 0.6212, "medium": 0.4333, "few": None},
    "std": {"accuracy": {"all": 0.0042, "many": 0.011, "medium": 0.0, "few": None}},
}  # fmt: skip
FOUR = ("cifar100_if100_reslt", "cifar100_if100_ce", "cifar100_if50_reslt", "cifar100_if50_ce")


class Runner:
    """Instead of training: writes what a run leaves, or does what `outcomes` says for the cell."""

    def __init__(self):
        self.calls, self.outcomes, self.arguments = [], {}, []

    def __call__(self, argv):
        config, workdir = configure.from_command_line(argv)
        folder = pathlib.Path(workdir)
        print("the run's own table")
        self.calls.append(folder.name)
        self.arguments.append(list(argv))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(to_json(config))
        outcome = self.outcomes.get(folder.name, 0)
        if callable(outcome):
            outcome = outcome()
        if isinstance(outcome, BaseException):
            raise outcome
        if outcome == 0:
            one = {} if config.num_seeds > 1 else {"seeds": [config.seed], "std": {}}
            (folder / "results.json").write_text(json.dumps(RESULTS | one))
            (folder / "report").mkdir(exist_ok=True)
            (folder / "report" / "report.md").write_text("")
        return outcome


@pytest.fixture
def runner(monkeypatch):
    """Two methods of the table, and nothing is trained."""
    two = {name: TABLE_METHODS[name] for name in ("reslt", "ce")}
    monkeypatch.setattr(
        table, "TABLES", {"cifar": BENCHMARKS["cifar"]._replace(methods=two), "mnist5k": BENCHMARKS["mnist5k"]}
    )
    monkeypatch.setattr(table, "train_and_report", stub := Runner())
    return stub


def make(root, *arguments):
    return table.main([f"--root={root}", *arguments])


def test_cells_run_in_order_and_finished_ones_are_skipped(tmp_path, runner, capsys):
    assert make(tmp_path, "--only=if50,cifar100_if100", "--num-seeds=8", "--config.data.dir=D") == 0
    assert runner.calls == [*FOUR, "cifar10_if50_reslt", "cifar10_if50_ce"]
    assert runner.arguments[0] == [
        "--config=configs/cifar100_reslt.py:imbalance=100", f"--workdir={tmp_path}/cifar100_if100_reslt",
        "--config.num_seeds=8", "--config.data.dir=D",
    ]  # fmt: skip
    out = capsys.readouterr().out
    assert out == (tmp_path / "table.md").read_text() and out.count("45.2 ± 0.4") == 6
    runner.calls.clear()
    assert make(tmp_path, "--only", "cifar100_ce", "cifar10_if100_ce", "--num-seeds=8", "--config.data.dir=E") == 0
    assert runner.calls == ["cifar100_if10_ce", "cifar10_if100_ce"]
    captured = capsys.readouterr()
    assert "cifar100_if100_ce: finished, skipped" in captured.err and captured.out.count("45.2 ± 0.4") == 8


def test_every_cell_has_its_turn_and_a_config_file(tmp_path, runner):
    assert make(tmp_path, "--short") == 0
    assert len(runner.calls) == len(set(runner.calls)) == 12 and tuple(runner.calls[:4]) == FOUR
    assert runner.arguments[3][0] == "--config=configs/cifar100_ce.py:imbalance=50,short"
    assert "not run yet" not in (tmp_path / "table.md").read_text()


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_method_of_every_table_is_a_config(name, tmp_path):
    options, _ = table.parse_options([f"--root={tmp_path}", "--short"])
    made = BENCHMARKS[name].cells(short=True)
    assert len({cell.name for cell in made}) == len(made)
    for cell in made if name == "mnist5k" else [cell for cell in made if "if100" in cell.labels]:
        config, _ = configure.from_command_line(table.arguments(cell, options, []))
        assert recipes.file_of(config.recipe) == cell.dataset
        assert config.data.imbalance == (40 if name == "mnist5k" else 100)
        assert not cell.starts_from or config.init_from.endswith(cell.starts_from)
    assert all(len(method.cifar100) == len(method.cifar10) == 3 for method in BENCHMARKS[name].methods.values())


def test_a_cell_that_starts_from_another_brings_it_along(tmp_path, runner):
    assert make(tmp_path, "--table=mnist5k", "--only=tau") == 0
    assert runner.calls == ["mnist5k_if40_ce", "mnist5k_if40_tau"]
    assert f"--config.init_from={tmp_path}/mnist5k_if40_ce" in runner.arguments[1]


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (143, 143),  # training saved and ended by itself
        (130, 130),
        (KeyboardInterrupt(), 130),  # outside of training
        (lambda: os.kill(os.getpid(), signal.SIGTERM) or 0, 143),
    ],
)
def test_a_signal_stops_it_with_the_table_so_far_and_the_next_time_it_resumes(
    tmp_path, runner, capsys, outcome, status
):
    runner.outcomes["cifar100_if100_ce"] = outcome
    before = signal.getsignal(signal.SIGTERM)
    assert make(tmp_path) == status
    assert signal.getsignal(signal.SIGTERM) is before
    assert runner.calls == list(FOUR[:2])
    out = capsys.readouterr().out
    assert out == (tmp_path / "table.md").read_text()
    assert "| reslt | 62.1 ± 1.1 |" in out and "| ce | begun, not finished |" in out and "| not run yet |" in out
    runner.outcomes.clear()
    assert make(tmp_path, "--only=cifar100") == 0
    assert runner.calls[2:4] == ["cifar100_if100_ce", "cifar100_if50_reslt"]


def test_a_run_killed_before_its_report_is_not_skipped(tmp_path, runner):
    assert make(tmp_path, "--only=cifar100_if100_ce") == 0
    (tmp_path / "cifar100_if100_ce" / "report" / "report.md").unlink()
    assert make(tmp_path, "--only=cifar100_if100_ce") == 0
    assert runner.calls == ["cifar100_if100_ce"] * 2


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [
        (InputError("config.data.dir: no\ndata"), 0, 1),
        (InputError("config.data.dir: no\ndata"), RuntimeError("out of memory"), 1),
        (FloatingPointError("no\ndata"), FloatingPointError("no"), 1),
        (InputError("config.data.dir: no\ndata"), InputError("config.data.dir: no data"), 2),
    ],
)
def test_a_cell_that_fails_is_named_and_the_others_go_on(tmp_path, runner, capsys, first, second, status):
    runner.outcomes |= {"cifar100_if100_reslt": first, "cifar100_if100_ce": second}
    assert make(tmp_path, "--only=cifar100_if100") == status
    assert runner.calls == list(FOUR[:2])
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == (2 if second else 1)
    assert errors[0].startswith("error: cifar100_if100_reslt: ") and "no data" in errors[0]
    assert not second or errors[1].startswith("error: cifar100_if100_ce: ")


def test_a_finished_cell_of_other_settings_is_refused_by_name(tmp_path, runner, capsys, monkeypatch):
    assert make(tmp_path, "--only=cifar100_if100") == 0
    capsys.readouterr()
    from ltjax.commands.train import run

    monkeypatch.setattr(table, "train_and_report", run)  # the refusal is the main job's own
    assert make(tmp_path, "--only=cifar100_if100_ce", "--num-seeds=8") == 2
    captured = capsys.readouterr()
    error = next(line for line in captured.err.splitlines() if line.startswith("error: "))
    assert error.startswith("error: cifar100_if100_ce: ") and "config.num_seeds is 3 there and 8 here" in error
    assert captured.out.count("| holds another config |") == 2 and "45.2" not in captured.out


def test_the_table_has_a_line_for_each_method_with_its_paper(tmp_path, runner, capsys):
    assert make(tmp_path, "--only=cifar100_if100_reslt", "--config.data.dir=D", "--config.seed=4") == 0
    section = capsys.readouterr().out.partition("\n\n## cifar100, imbalance 50")[0]
    assert section == "\n".join(
        [
            "# cifar",
            "",
            "Accuracy in % of the last epoch, mean ± sample standard deviation over the seeds. "
            "Schedules of the config files. Settings: `--config.seed=4`.",
            "",
            "## cifar100, imbalance 100",
            "",
            "| method | many | medium | few | all | seeds | paper | parameters | wall time (s) | hardware | data "
            "| commit |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
            "| reslt | 62.1 ± 1.1 | 43.3 ± 0.0 | - | 45.2 ± 0.4 | 3 | 45.3 | 470,388 | 1,234.6 "
            "| 1 x NVIDIA H200 (x86_64, 1 process(es)) | `0123456789ab` | `5c0ffee` |",
            "| ce | not run yet |  |  |  |  | 38.3 |  |  |  |  |  |",
            "",
            "10,847 training images; `index` groups of 35 / 35 / 30 classes; accuracy on the test split.",
        ]
    )


def test_the_list_names_states_and_commands_and_runs_nothing(tmp_path, runner, capsys):
    root = tmp_path / "a table"
    assert make(root, "--list", "--only=ce", "--config.optimizer.schedule.milestones=(1,2)") == 0
    lines = capsys.readouterr().out.splitlines()
    assert not runner.calls and not root.exists()
    assert [line.partition(":")[0] for line in lines[12:]] == ["data", "data", "hours"]
    assert lines[0] == "cifar100_if100_ce: not run yet"
    assert lines[1] == (
        f"    python -m ltjax.main --config=configs/cifar100_ce.py:imbalance=100 '--workdir={root}/cifar100_if100_ce' "
        "--config.num_seeds=3 '--config.optimizer.schedule.milestones=(1,2)'"
    )


def test_finished_cells_are_published_without_paths_and_results_of_several_machines_add_up(tmp_path, runner, capsys):
    here, there, kept = tmp_path / "here", tmp_path / "there", tmp_path / "results" / "cifar"
    data = f"--config.data.dir={tmp_path}/data"
    assert make(here, "--only=cifar100_if100_reslt", data) == 0
    assert make(there, "--only=cifar100_if100_ce", data) == 0
    capsys.readouterr()
    assert make(here, "--only=cifar100_if100", f"--publish={kept}", data) == 0
    captured = capsys.readouterr()
    assert captured.err.splitlines() == ["cifar100_if100_reslt: published", "cifar100_if100_ce: not run yet"]
    assert make(there, f"--publish={kept}") == 0  # the data's place is no part of what was run
    text = capsys.readouterr().out
    assert text == (kept / "table.md").read_text()
    assert "| reslt | 62.1" in text and "| ce | 62.1" in text and "not run yet" not in text and "cifar10," not in text
    files = sorted(str(path.relative_to(kept)) for path in kept.rglob("*.json"))
    assert files == ["cifar100_if100_ce/results.json", "cifar100_if100_reslt/results.json"]
    published = json.loads((kept / files[1]).read_text())
    command = "python -m ltjax.main --config=configs/cifar100_reslt.py:imbalance=100 --config.num_seeds=3"
    assert published == RESULTS | {"command": command, "skipped": [{"index": 3}]}
    assert str(tmp_path) not in (everything := "".join(path.read_text() for path in kept.rglob("*.*")))
    assert "/home" not in everything


def test_a_second_stage_is_published_with_the_name_of_its_first(tmp_path, runner):
    root, kept = tmp_path / "runs", tmp_path / "results"
    assert make(root, "--table=mnist5k", "--only=tau") == 0
    assert make(root, "--table=mnist5k", f"--publish={kept}") == 0
    assert json.loads((kept / "mnist5k_if40_tau" / "results.json").read_text())["command"] == (
        "python -m ltjax.main --config=configs/mnist5k_decoupling.py:tau,imbalance=40 --config.num_seeds=3 "
        "--config.init_from=mnist5k_if40_ce"
    )


def test_results_of_other_settings_and_damaged_ones_are_not_shown_as_these(tmp_path, runner, capsys):
    root, kept = tmp_path / "runs", tmp_path / "results"
    assert make(root, "--only=cifar100_if100") == 0
    assert make(root, "--only=cifar100_if100", f"--publish={kept}") == 0
    other, (reslt, ce) = tmp_path / "others", FOUR[:2]
    assert make(other, f"--only={reslt}", "--config.batch_size=64") == 0
    (kept / ce / "results.json").write_text("{")
    capsys.readouterr()
    assert make(other, "--config.batch_size=64", f"--publish={kept}") == 0
    assert "| reslt | 62.1" in (text := capsys.readouterr().out) and "| ce |" not in text
    assert make(root, f"--only={ce}", f"--publish={kept}") == 0
    assert "| reslt |" not in (text := capsys.readouterr().out) and "| ce | 62.1" in text


def test_where_nothing_is_finished_nothing_is_published(tmp_path, runner, capsys):
    kept = tmp_path / "results"
    assert make(tmp_path / "runs", f"--publish={kept}") == 2
    assert "--publish: no cell is finished in --root" in (line := capsys.readouterr().err) and line.count("\n") == 1
    assert not kept.exists()
    assert make(tmp_path / "runs", "--only=cifar100_if100_ce") == 0
    (tmp_path / "file").write_text("")
    capsys.readouterr()
    assert make(tmp_path / "runs", "--only=cifar100_if100_ce", f"--publish={tmp_path}/file/x") == 2
    assert "--publish=" in (line := capsys.readouterr().err) and line.count("\n") == 1


def test_with_separate_seeds_more_of_them_train_the_new_ones_only(tmp_path, runner, capsys):
    def seeds(count, *others):
        runner.calls.clear()
        runner.arguments.clear()
        status = make(tmp_path, "--table=mnist5k", "--only=tau", "--separate-seeds", f"--num-seeds={count}", *others)
        of = [next(word for word in words if word.startswith("--workdir")) for words in runner.arguments]
        return status, [word.removeprefix(f"--workdir={tmp_path}/") for word in of]

    assert seeds(1) == (0, ["mnist5k_if40_ce/seed_0", "mnist5k_if40_tau/seed_0"])
    assert runner.arguments[1][1:] == [
        f"--workdir={tmp_path}/mnist5k_if40_tau/seed_0", "--config.num_seeds=1", "--config.seed=0",
        f"--config.init_from={tmp_path}/mnist5k_if40_ce/seed_0",
    ]  # fmt: skip
    runner.outcomes["seed_2"] = 143
    assert seeds(3) == (143, ["mnist5k_if40_ce/seed_1", "mnist5k_if40_ce/seed_2"])
    assert "| ce | 62.1 ± 0.0 |" in capsys.readouterr().out  # of the seeds that are there
    runner.outcomes.clear()
    assert seeds(3, "--list") == (0, [])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "mnist5k_if40_ce: 2 of 3 seeds; seed 2: begun, not finished"
    assert [line.rpartition("--config.seed=")[2] for line in lines[1:4]] == ["0", "1", "2"]
    assert seeds(3) == (0, [f"mnist5k_if40_{run}" for run in ("ce/seed_2", "tau/seed_1", "tau/seed_2")])
    assert seeds(3) == (0, [])


def test_separate_seeds_are_one_row(tmp_path, runner, capsys, monkeypatch):
    def of_seed(seed, accuracy):
        groups = {"all": accuracy, "mean_class": accuracy, "many": 0.5, "medium": accuracy, "few": None}
        return RESULTS | {
            "accuracy": groups, "per_class": [accuracy, 0.5], "wall_time_s": 10.0,
            "train_loss_last_epoch": accuracy, "commits": [f"{seed:07}" + 33 * "a"],
        }  # fmt: skip

    for seed, accuracy in enumerate((0.40, 0.44)):
        monkeypatch.setitem(globals(), "RESULTS", of_seed(seed, accuracy))
        assert make(tmp_path, "--only=cifar100_if100_ce", "--separate-seeds", f"--num-seeds={seed + 1}") == 0
    out = capsys.readouterr().out.rpartition("# cifar\n")[2]
    assert (
        "| ce | 50.0 ± 0.0 | 42.0 ± 2.8 | - | 42.0 ± 2.8 | 2 | 38.3 | 470,388 | 20.0 "
        "| 1 x NVIDIA H200 (x86_64, 1 process(es)) | `0123456789ab` | `0000000`, `0000001` |"
    ) in out
    assert make(tmp_path, "--separate-seeds", "--num-seeds=2", f"--publish={tmp_path}/kept") == 0
    published = json.loads((tmp_path / "kept" / "cifar100_if100_ce" / "results.json").read_text())
    assert [one["accuracy"]["all"] for one in published["per_seed"]] == [0.40, 0.44]
    assert published["per_class"] == pytest.approx([0.42, 0.5]) and published["command"].endswith("--config.seed=0")


def test_one_row_of_separate_seeds_names_every_machine_and_every_unknown_commit(tmp_path, runner, capsys, monkeypatch):
    """Seeds come one after another, on other machines or on several, and from before a run noted its commit."""
    new = RESULTS | {"hardware": f"{RESULTS['hardware']}; 2 x cpu (arm64, 1 process(es))"}
    old = {key: value for key, value in RESULTS.items() if key != "commits"}
    for seed, results in enumerate((old, new)):
        monkeypatch.setitem(globals(), "RESULTS", results)
        make(tmp_path, "--only=cifar100_if100_ce", "--separate-seeds", f"--num-seeds={seed + 1}")
    *_, row = (line for line in capsys.readouterr().out.splitlines() if "NVIDIA" in line and line.startswith("| ce |"))
    assert "| 1 x NVIDIA H200 (x86_64, 1 process(es)); 2 x cpu (arm64, 1 process(es)) |" in row
    assert row.endswith("| unknown, `5c0ffee` |")


def test_a_cell_is_not_trained_within_one_of_the_other_kind(tmp_path, runner, capsys):
    for first, second, words in (
        ([], ["--separate-seeds"], "leave --separate-seeds out"),
        (["--separate-seeds"], [], "add --separate-seeds"),
    ):
        root = tmp_path / f"{len(first)}"
        assert make(root, "--only=cifar100_if100_ce", *first) == 0
        runner.calls.clear()
        capsys.readouterr()
        assert make(root, "--only=cifar100_if100_ce", *second) == 2 and not runner.calls
        assert words in capsys.readouterr().err


def test_seeds_of_different_data_are_not_one_row(tmp_path, runner, capsys, monkeypatch):
    for seed in range(2):
        changed = RESULTS | {"train_index_sha256": f"{seed}" * 64}
        monkeypatch.setitem(globals(), "RESULTS", changed)
        make(tmp_path, "--only=cifar100_if100_ce", "--separate-seeds", f"--num-seeds={seed + 1}")
    assert "its seeds are of different training images" in capsys.readouterr().out


MISTAKES = {
    "cell": (
        ["--only=cifar100_if100_reslr"],
        ["cifar100_if100_reslr", "did you mean 'cifar100_if100_reslt'", "--list"],
    ),
    "table": (["--table=cifr"], ["--table", "did you mean 'cifar'"]),
    "stray word": (["reslt"], ["unexpected argument 'reslt'"]),
    "flag": (["--num-seed=3"], ["unexpected argument '--num-seed=3'"]),
    "two of them": (["--publish=F", "--list"], ["--publish, --list"]),
    "seed": (["--separate-seeds", "--config.seed=1"], ["--config.seed", "--num-seeds"]),
    "seeds": (["--num-seeds=0"], ["--num-seeds", "0", ">= 1"]),
    "seeds as a setting": (["--config.num_seeds=3"], ["config.num_seeds", "--num-seeds"]),
    "imbalance as a setting": (["--config.data.imbalance=3"], ["config.data.imbalance", "--only"]),
}


@pytest.mark.parametrize("arguments, words", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_and_runs_nothing(tmp_path, runner, capsys, arguments, words):
    assert make(tmp_path, *arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and captured.out == "" and not runner.calls
    for word in words:
        assert word in captured.err, captured.err


def test_several_processes_are_refused(tmp_path, runner, capsys, monkeypatch):
    for name, value in {"NUM_PROCESSES": "2", "PROCESS_ID": "0", "COORDINATOR_ADDRESS": "localhost:80"}.items():
        monkeypatch.setenv(f"JAX_{name}", value)
    assert make(tmp_path) == 2 and not runner.calls
    assert "a table is trained by one process" in capsys.readouterr().err
