"""The search over settings: what it refuses, what it runs, and that a study goes on as if it had not been stopped."""

import dataclasses
import json
import pathlib

import pytest
from etils import epath

from ltjax.commands.tune import command, trial
from ltjax.commands.tune.space import read_space
from ltjax.errors import InputError
from ltjax.methods import METHODS
from ltjax.methods.configure import from_command_line
from ltjax.methods.method import Method
from ltjax.settings import Block
from ltjax.training import prepare
from ltjax.training.interrupt import Interrupted
from tests.training import toy

MNIST = ["--config=configs/mnist5k_ce.py"]
HELD_OUT = "--config.data.validation_fraction=0.2"
SPACE = """
batch_size = [32, 64]
[optimizer]
schedule.name = ["cosine", "constant"]
learning_rate = {low = 0.001, high = 1.0, log = true}
nesterov = [true, false]
"""


@pytest.fixture
def space(tmp_path):
    path = tmp_path / "space.toml"
    path.write_text("optimizer.learning_rate = {low = 0.001, high = 1.0, log = true}\nepochs = {low = 2, high = 9}\n")
    return path


def read(tmp_path, text, *argv):
    (tmp_path / "s.toml").write_text(text)
    words = [*MNIST, *argv]
    return read_space(str(tmp_path / "s.toml"), words, from_command_line([*words, "--workdir=w"])[0])


def test_a_space_names_settings_as_the_command_line_does(tmp_path):
    found = {one.key: one for one in read(tmp_path, SPACE)}
    assert list(found) == ["batch_size", "optimizer.schedule.name", "optimizer.learning_rate", "optimizer.nesterov"]
    assert found["batch_size"].choices == ("32", "64") and found["optimizer.nesterov"].choices == ("true", "false")
    assert found["optimizer.learning_rate"].log and found["optimizer.learning_rate"].text(0.123456) == "0.1235"
    (milestones,) = read(tmp_path, "optimizer.schedule.milestones = [[5, 10], [10, 15]]")
    assert milestones.choices == ("(5,10)", "(10,15)")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("optimizer.learning_rat = [1, 2]", "did you mean 'optimizer.learning_rate'"),
        ("optimizer.learning_rate = {low = 0.1, high = -1.0}", "low = 0.1 is not below high = -1.0"),
        ("optimizer.learning_rate = {low = -1.0, high = 1.0}", "config.optimizer.learning_rate: impossible value -1.0"),
        ("optimizer.learning_rate = {low = 0, high = 1.0, log = true}", "needs low > 0"),
        ("optimizer.learning_rate = {low = 0.1, hi = 1.0}", "unknown word 'hi'"),
        ("optimizer.learning_rate = {low = 0.1}", "high = None; give a number"),
        ("optimizer.learning_rate = 0.1", "set it as --config.optimizer.learning_rate=0.1"),
        ("epochs = {low = 0.5, high = 3}", "low = 0.5; give an integer"),
        ("data.sampler = {low = 1, high = 2}", "str has no range"),
        ("batch_size = [64]", "are not two or more different values"),
        ("seed = [1, 2]", "is nothing to search"),
        ("data.imbalance = [10.0, 100.0]", "is nothing to search"),
        ("evaluation.every_epochs = [1, 2]", "is nothing to search"),
        ("data.workers = [1, 2]", "is nothing to search"),
        ("batch_size = [", "is no TOML file"),
        ("", "has no settings"),
    ],
)
def test_a_space_that_cannot_be_searched_is_one_line(tmp_path, text, line):
    with pytest.raises(InputError, match=r"s\.toml") as raised:
        read(tmp_path, text)
    assert line in str(raised.value) and "\n" not in str(raised.value)


def test_a_setting_is_searched_or_set(tmp_path):
    with pytest.raises(InputError, match="leave one out"):
        read(tmp_path, "batch_size = [32, 64]", "--config.batch_size=32")


@pytest.mark.parametrize("flag", ["--config.optimizer.nesterov", "--noconfig.optimizer.nesterov"])
def test_a_true_or_false_without_a_value_is_set_as_well(tmp_path, flag):
    with pytest.raises(InputError, match="leave one out"):
        read(tmp_path, "optimizer.nesterov = [true, false]", flag)


def test_settings_of_the_command_line_are_one_word_each():
    own = ["--space=s.toml", "--study=s", "--trials", "2"]
    for value in ("0.2", "-1"):
        with pytest.raises(InputError, match=f"unexpected argument '{value}'; write settings as --config.KEY=VALUE"):
            command.parse_options([*MNIST, *own, "--config.data.validation_fraction", value])
    words = ["--config", "mnist5k_ce", HELD_OUT, "--config.optimizer.nesterov", "--noconfig.fsdp", "--config.epochs=-1"]
    assert command.parse_options([*own, *words])[1] == words


TOGETHER = [
    'loss.smoothing = ["uniform", "concave"]\nloss.label_smoothing = {low = 0.1, high = 0.4}',
    "optimizer.sam_below = [20, 100]\noptimizer.sam_rho = [0.05, 0.1]",
    """
    loss.tail_smoothing = {low = 0.0, high = 0.05}
    loss.label_smoothing = {low = 0.1, high = 0.4}
    loss.smoothing = ["concave", "uniform"]
    """,
]
MANY = """
epochs = {low = 2, high = 9}
batch_size = [32, 64, 128, 256]
data.augment = ["none", "pad_crop"]
optimizer.momentum = [0.8, 0.9, 0.95]
optimizer.weight_decay = {low = 1e-4, high = 1e-3}
optimizer.learning_rate = {low = 0.01, high = 0.1}
"""


@pytest.mark.parametrize("more", ["", MANY])
@pytest.mark.parametrize("text", TOGETHER)
def test_settings_that_need_each_other_are_searched_together(tmp_path, text, more):
    assert len(read(tmp_path, text + "\n" + more)) == (text + more).count(" = [") + (text + more).count(" = {")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('loss.smoothing = ["uniform", "concave"]\nbatch_size = [32, 64]', "config.loss.smoothing: impossible value"),
        (
            "loss.label_smoothing = {low = 0.1, high = 0.4}\nloss.tail_smoothing = [0.01, 0.02]",
            "config.loss.tail_smoothing: impossible value 0.01; allowed: 0 with config.loss.smoothing=uniform",
        ),
        (MANY + "optimizer.sam_below = [0, 20]", "sam_below: impossible value 20; allowed: 0 with"),
    ],
)
def test_a_value_that_fits_no_combination_is_one_line(tmp_path, text, line):
    with pytest.raises(InputError, match=r"s\.toml") as raised:
        read(tmp_path, text)
    assert line in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        ([], "never by the test set; add --config.data.validation_fraction=0.2"),
        ([HELD_OUT, "--config.data.validation_use=choose"], "the runs would evaluate the test set"),
        ([HELD_OUT, "--trials=0"], "--trials: impossible value 0"),
        ([HELD_OUT, "--seed=-1"], "--seed: impossible value -1"),
        ([HELD_OUT, "--workdir=w"], "leave it out"),
        ([HELD_OUT, "--space=none.toml"], "none.toml: No such file"),
        ([HELD_OUT, "--objective=best"], "invalid choice"),
    ],
)
def test_what_a_search_refuses_is_one_line(argv, line, space, tmp_path, capsys):
    first = [*MNIST, f"--space={space}", "--trials=2", f"--study={tmp_path}/study"]
    assert command.main([*first, *argv]) == 2
    err = capsys.readouterr().err
    assert line in err and err.count("\n") == 1
    assert not (tmp_path / "study").exists()


def test_without_optuna_the_line_names_what_to_install(space, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert command.main([*MNIST, HELD_OUT, f"--space={space}", "--trials=2", f"--study={tmp_path}/study"]) == 2
    assert "pip install 'ltjax[tune]'" in capsys.readouterr().err


class Fake:
    """In the place of training: the accuracy is the best at a learning rate of 0.1, and rises with the epochs."""

    def __init__(self):
        self.seen, self.outcomes = [], {}

    def __call__(self, argv, watcher):
        config, workdir = from_command_line(argv)
        folder = pathlib.Path(workdir)
        self.seen.append((folder.name, config.optimizer.learning_rate, config.epochs))
        outcome = self.outcomes.pop(folder.name, None)
        value = 1 / (1 + abs(config.optimizer.learning_rate - 0.1)) - 0.1 / config.epochs
        lines = [json.dumps({"epoch": e, "validation/mean_class": value * e / 3}) for e in (1, 2)]
        for count in (1, 2):
            (folder / "metrics.jsonl").write_text("".join(line + "\n" for line in lines[:count]))
            if outcome is not None:
                raise outcome
            watcher()
        accuracy = {"all": value, "mean_class": value, "many": value, "medium": value, "few": None}
        return {"accuracy": accuracy, "split": "validation", "wall_time_s": 1.5}


@pytest.fixture
def fake(monkeypatch):
    pytest.importorskip("optuna", reason="optuna is not installed: pip install 'ltjax[tune]'")
    monkeypatch.setattr(trial, "train", stub := Fake())
    monkeypatch.setattr(prepare, "build", held_out)
    return stub


def held_out(settings):
    return dataclasses.replace(toy.build(settings), split="validation")


def search(space, study, trials, *more):
    return command.main([*MNIST, HELD_OUT, f"--space={space}", f"--study={study}", f"--trials={trials}", *more])


def test_a_study_leaves_its_table_and_the_best_settings_as_a_command(fake, space, tmp_path, capsys):
    assert search(space, tmp_path / "s", 8, "--no-pruning") == 0
    out = capsys.readouterr().out
    assert (tmp_path / "s" / "trials.md").read_text() in out and (tmp_path / "s" / "best.sh").read_text() in out
    assert "held-out training images" in out and "no result on the test set" in out
    best = min(fake.seen, key=lambda one: 0.1 / one[2] - 1 / (1 + abs(one[1] - 0.1)))
    line = out.splitlines()[-1]
    assert f"--config.optimizer.learning_rate={best[1]:.4g} --config.epochs={best[2]}" in line
    made, workdir = from_command_line(line.split()[3:])
    assert made.data.validation_fraction == 0 and made.optimizer.learning_rate == best[1]
    assert workdir == f"{tmp_path}/s/best" and out.count("| finished |") == 8


def test_names_and_data_are_checked_before_the_first_trial(fake, tmp_path, capsys, monkeypatch):
    (tmp_path / "s.toml").write_text("data.sampler = ['class_balanced', 'clas']")
    assert search(tmp_path / "s.toml", tmp_path / "s", 2) == 2
    assert "config.data.sampler: unknown value 'clas'" in capsys.readouterr().err
    monkeypatch.setattr(prepare, "build", toy.build)
    (tmp_path / "s.toml").write_text("data.sampler = ['class_balanced', 'progressive']")
    assert search(tmp_path / "s.toml", tmp_path / "s", 2) == 2
    assert "holds no training images out" in capsys.readouterr().err and not fake.seen


def test_a_study_that_was_stopped_ends_as_an_undisturbed_one(fake, space, tmp_path, capsys):
    assert search(space, tmp_path / "whole", 12) == 0
    whole, fake.seen = fake.seen, []
    table = (tmp_path / "whole" / "trials.md").read_text()
    fake.outcomes = {"0003": Interrupted(2), "0011": KeyboardInterrupt()}
    assert search(space, tmp_path / "parts", 12) == 130  # saved by the run
    assert "trial 3 is saved: run the same command" in capsys.readouterr().err
    assert search(space, tmp_path / "parts", 11) == 0
    assert search(space, tmp_path / "parts", 12) == 130  # not saved: it begins again
    assert search(space, tmp_path / "parts", 12) == 0
    again = list(dict.fromkeys(fake.seen))
    assert again == whole and len(fake.seen) == len(whole) + 2
    assert (tmp_path / "parts" / "trials.md").read_text() == table
    assert search(space, tmp_path / "parts", 12) == 0 and len(fake.seen) == len(whole) + 2


def test_a_trial_that_diverges_or_cannot_be_trained_does_not_end_the_study(fake, space, tmp_path, capsys):
    fake.outcomes = {
        "0001": FloatingPointError("the loss is nan"), "0002": InputError("no such\nthing"),
    }  # fmt: skip
    assert search(space, tmp_path / "s", 4) == 0
    captured = capsys.readouterr()
    assert "trial 1: diverged: the loss is nan" in captured.err and "trial 2: failed: no such thing" in captured.err
    assert captured.out.count("| finished |") == 2 and "diverged: the loss is nan" in captured.out


def test_a_first_trial_that_cannot_be_trained_ends_the_search(fake, space, tmp_path, capsys):
    fake.outcomes = {"0000": InputError("no data")}
    assert search(space, tmp_path / "s", 4) == 2
    assert capsys.readouterr().err.endswith("error: no data\n")
    assert search(space, tmp_path / "s", 4) == 0 and len(fake.seen) == 4


def test_trials_whose_settings_do_not_fit_together_do_not_end_the_study(fake, tmp_path, capsys):
    (tmp_path / "s.toml").write_text(TOGETHER[2])
    assert search(tmp_path / "s.toml", tmp_path / "s", 12) == 0
    captured = capsys.readouterr()
    reason = "config.loss.tail_smoothing: impossible value"
    unfit = captured.out.count(f"| {reason}")
    assert "do not fit together: config.loss.tail_smoothing" in captured.err
    assert 0 < unfit < 12 and len(fake.seen) == 12 - unfit


def test_a_first_trial_whose_run_is_refused_for_its_settings_does_not_end_the_study(
    fake, tmp_path, monkeypatch, capsys
):
    def train(argv, watcher):
        prepare.prepare(from_command_line(argv)[0])  # as training does; it knows the epochs of each stage
        return fake(argv, watcher)

    monkeypatch.setattr(trial, "train", train)
    (tmp_path / "s.toml").write_text("epochs = [2, 9]\noptimizer.schedule.warmup_epochs = [3, 5]")
    assert search(tmp_path / "s.toml", tmp_path / "s", 6, "--config.batch_size=8", "--seed=2") == 0
    captured = capsys.readouterr()
    assert "trial 0: settings do not fit together: config.optimizer.schedule.warmup_epochs" in captured.err
    assert "| config.optimizer.schedule.warmup_epochs" in captured.out and "| finished |" in captured.out


def test_a_config_file_that_is_gone_is_no_fault_of_the_searched_settings(tmp_path):
    (tmp_path / "mine.py").write_text(pathlib.Path("configs/mnist5k_ce.py").read_text())
    words = [f"--config={tmp_path}/mine.py", "--workdir=none"]
    assert trial.is_unfit([*words, "--config.optimizer.sam_below=20"], words)
    (tmp_path / "mine.py").unlink()
    assert not trial.is_unfit([*words, "--config.optimizer.sam_below=20"], words)


def test_a_group_that_the_data_does_not_have_is_no_objective(fake, space, tmp_path, capsys):
    assert search(space, tmp_path / "s", 1, "--objective=few") == 2
    assert "--objective=few: the data has no such class" in capsys.readouterr().err


def test_hopeless_trials_are_pruned_by_their_evaluations(fake, space, tmp_path, capsys):
    assert search(space, tmp_path / "s", 12) == 0
    assert "pruned at evaluation 1" in capsys.readouterr().out


@pytest.mark.parametrize("more", [["--seed=1"], ["--objective=all"], ["--config.optimizer.momentum=0.8"]])
def test_a_study_of_other_settings_is_refused(fake, space, tmp_path, capsys, more):
    assert search(space, tmp_path / "s", 1) == 0
    assert search(space, tmp_path / "s", 2, *more) == 2
    assert "holds another study" in capsys.readouterr().err and len(fake.seen) == 1


def test_processes_share_a_study_and_never_a_trial(fake, space, tmp_path):
    from ltjax.commands.tune.study import Definition, next_trial, open_study

    settings, _ = from_command_line([*MNIST, HELD_OUT, "--workdir=w"])
    definition = Definition(settings, read_space(str(space), MNIST, settings), 0, "mean_class", True)
    folder = epath.Path(tmp_path / "s")
    first, second = open_study(folder, definition), open_study(folder, definition)
    one, two = next_trial(first, definition, 3, folder), next_trial(second, definition, 3, folder)
    assert (one.trial.number, two.trial.number) == (0, 1)
    one.lock.release()  # as a process that was killed
    left = next_trial(second, definition, 3, folder)
    assert left.trial.number == 0 and left.trial.params == one.trial.params
    three = next_trial(first, definition, 3, folder)
    assert three.trial.number == 2 and next_trial(second, definition, 3, folder) is None
    for claimed in (two, left, three):
        claimed.lock.release()


def test_where_locks_of_sqlite_do_not_reach_the_study_is_a_journal(fake, space, tmp_path, monkeypatch):
    monkeypatch.setattr("ltjax.commands.tune.study.on_local_disk", lambda folder: False)
    assert search(space, tmp_path / "s", 2) == 0
    assert (tmp_path / "s" / "study.journal").exists() and not (tmp_path / "s" / "study.db").exists()
    monkeypatch.setattr("ltjax.commands.tune.study.on_local_disk", lambda folder: True)
    assert search(space, tmp_path / "s", 3) == 0 and len(fake.seen) == 3


def test_a_damaged_study_is_one_line(fake, space, tmp_path, capsys):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "study.db").write_text("no database, but longer than a header of one" * 9)
    assert search(space, tmp_path / "s", 2) == 2
    err = capsys.readouterr().err
    assert "cannot be read" in err and err.count("\n") == 1


@pytest.mark.slow
def test_a_real_study_on_the_toy(tmp_path, monkeypatch, capsys):
    pytest.importorskip("optuna", reason="optuna is not installed: pip install 'ltjax[tune]'")

    monkeypatch.setattr(prepare, "build", held_out)
    path = tmp_path / "toy.toml"
    path.write_text("optimizer.learning_rate = {low = 0.001, high = 0.1, log = true}\n")
    monkeypatch.setitem(METHODS, "ce", Method(lambda settings, own, data: [toy.stage(settings)], Block))
    made = "from tests.training import toy\n\n\ndef get_config():\n    return toy.recipe()\n"
    (tmp_path / "toy_ce.py").write_text(made)
    argv = [f"--config={tmp_path}/toy_ce.py", HELD_OUT, f"--space={path}", f"--study={tmp_path}/s", "--trials=2"]
    assert command.main(argv) == 0
    out = capsys.readouterr().out
    assert out.count("| finished |") == 2 and "--config.data.validation_fraction=0" in out
    lines = (tmp_path / "s" / "trials" / "0001" / "metrics.jsonl").read_text().splitlines()
    assert sum("validation/mean_class" in line for line in lines) == 2


@pytest.mark.parametrize(
    ("more", "every"),
    [([], 5), (["--config.epochs=6"], 1), (["--config.epochs=30", "--config.evaluation.every_epochs=0"], 0)],
)
def test_a_trial_is_evaluated_often_enough_to_be_pruned_unless_the_user_says_how_often(more, every):
    words = [*MNIST, HELD_OUT, *more]
    settings, _ = from_command_line([*words, "--workdir=w"])
    assert trial.every_epochs(words, settings) == every
    made, _ = from_command_line([*trial.arguments(words, settings, True), "--workdir=w"])
    assert made.evaluation.every_epochs == every
    assert trial.arguments(words, settings, False) == words
