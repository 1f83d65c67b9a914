"""One trial: a run of its own in a workdir below the study, whose evaluations Optuna sees as they are logged."""

import contextlib
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from etils import epath

from ltjax.commands.cli import one_line, spelled
from ltjax.commands.tune.space import Dimension, refusal
from ltjax.commands.tune.study import Claimed, Definition
from ltjax.errors import InputError, OutOfMemory
from ltjax.settings import Settings

if TYPE_CHECKING:
    import optuna

EVALUATE = "evaluation.every_epochs"
EVALUATIONS = 10  # of a run whose config evaluates the last epoch alone


class Pruned(Exception):
    """The trial is hopeless, by Optuna's judgement of its evaluations."""


def searched(dimensions: Sequence[Dimension], params: Mapping[str, Any]) -> dict[str, str]:
    """The searched settings of a trial, as the command line has them."""
    return {one.key: one.text(params[one.key]) for one in dimensions if one.key in params}


def every_epochs(argv: Sequence[str], settings: Settings) -> int:
    """Epochs between evaluations: as the user or the config file has set it, else for some to prune by."""
    given = any(word.lstrip("-").startswith(f"config.{EVALUATE}") for word in argv)
    every = settings.evaluation.every_epochs
    return every if given or 0 < every <= settings.epochs // 2 else max(1, settings.epochs // EVALUATIONS)


def arguments(argv: Sequence[str], settings: Settings, pruning: bool) -> list[str]:
    """The command line of every trial: with evaluations to prune by."""
    every = every_epochs(argv, settings)
    if not pruning or every == settings.evaluation.every_epochs:
        return list(argv)
    return [*argv, f"--config.{EVALUATE}={every}"]


def best_command(argv: Sequence[str], changes: Mapping[str, str], workdir: str) -> str:
    """The command that trains these settings on all training images, and evaluates the test set."""
    kept = [word for word in argv if not word.lstrip("-").startswith(("config.data.validation_", f"config.{EVALUATE}"))]
    words = [*kept, f"--workdir={workdir}", *(f"--config.{key}={value}" for key, value in changes.items())]
    return f"{spelled('train', 'ltjax.main')} {shlex.join([*words, '--config.data.validation_fraction=0'])}"


def evaluations(workdir: epath.Path, objective: str) -> list[float]:
    """The objective in the evaluations that a run has logged, in order."""
    path = workdir / "metrics.jsonl"
    found = []
    for line in path.read_bytes().decode(errors="replace").splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            values = [value for name, value in record.items() if name.endswith(f"/{objective}")]
            found += [float(value) for value in values[:1]]
    return found


class Watcher:
    """Gives a trial's evaluations to Optuna, each once, also those from before a kill; raises Pruned."""

    def __init__(self, trial: "optuna.Trial", workdir: epath.Path, objective: str, pruning: bool) -> None:
        self.trial, self.workdir, self.objective, self.pruning = trial, workdir, objective, pruning
        self.known = {*trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values}

    def __call__(self) -> None:
        for number, value in enumerate(evaluations(self.workdir, self.objective), 1):
            if number not in self.known:
                self.trial.report(value, number)
                self.known.add(number)
        if self.pruning and self.trial.should_prune():
            raise Pruned


def train(argv: Sequence[str], watcher: Watcher) -> dict[str, Any]:
    """Trains or resumes a trial; returns its results.json."""
    from ltjax.methods.configure import from_command_line
    from ltjax.training.loop import train as train_run

    config, workdir = from_command_line(argv)
    with contextlib.redirect_stdout(sys.stderr):  # this command's output is the table alone
        return train_run(config, workdir, evaluated=watcher)


def is_unfit(argv: Sequence[str], plain: Sequence[str]) -> bool:
    """Whether a run is refused for its searched settings: ``plain``, the command line without them, is possible."""
    from ltjax.training.prepare import prepare

    for check in (lambda settings: None, prepare):  # the settings first, which needs no data
        if refusal(argv, check) is not None:
            return refusal(plain, check) is None
    return False


def work_on(claimed: Claimed, argv: Sequence[str], definition: Definition) -> str:
    """Trains a trial and tells the study what came out; returns it in words.

    Raises:
      Interrupted: after a signal; the trial stays open, and the next start goes on with it.
      InputError: of a trial that cannot be trained, if no other one could be either.
      OSError: of a disk; the trial stays open.
    """
    import optuna

    trial, study = claimed.trial, claimed.trial.study
    changes = searched(definition.space, trial.params)
    words = [*argv, f"--workdir={claimed.folder}", *(f"--config.{key}={value}" for key, value in changes.items())]
    watcher = Watcher(trial, claimed.folder, definition.objective, definition.pruning)
    state = optuna.trial.TrialState
    try:
        results = train(words, watcher)
    except Pruned:
        study.tell(trial, state=state.PRUNED)
        return f"pruned at evaluation {len(watcher.known)}"
    except FloatingPointError as error:  # as pruned trials are, settings like these are avoided
        trial.set_user_attr("error", f"diverged: {one_line(error)}")
        study.tell(trial, state=state.PRUNED)
        return f"diverged: {one_line(error)}"
    except (InputError, OutOfMemory) as error:
        if isinstance(error, InputError) and is_unfit(words, [*argv, "--workdir=none"]):
            trial.set_user_attr("error", one_line(error))
            study.tell(trial, state=state.PRUNED)
            return f"settings do not fit together: {one_line(error)}"
        trial.set_user_attr("error", one_line(error))
        study.tell(trial, state=state.FAIL)
        if not any(one.state == state.COMPLETE for one in study.get_trials(deepcopy=False)):
            raise
        return f"failed: {one_line(error)}"
    measure = "accuracy" if "accuracy" in results else "average_precision"  # of several labels an image
    accuracy = results[measure]
    if definition.objective not in accuracy:
        raise InputError(
            f"--objective={definition.objective}: {measure} has no such number; use one of {', '.join(accuracy)}, and "
            "another --study"
        )
    if accuracy[definition.objective] is None:
        raise InputError(f"--objective={definition.objective}: the data has no such class; use another one and --study")
    trial.set_user_attr("accuracy", accuracy)
    trial.set_user_attr("std", results.get("std", {}).get(measure, {}))
    trial.set_user_attr("seconds", results["wall_time_s"])
    study.tell(trial, accuracy[definition.objective])
    return f"{definition.objective} {100 * accuracy[definition.objective]:.1f} %"
