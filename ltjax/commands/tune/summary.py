"""What a study leaves for its reader: the table of its trials, and the best settings as a command."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ltjax import escape
from ltjax.commands.tune.study import Definition
from ltjax.commands.tune.trial import best_command, searched
from ltjax.report import percent
from ltjax.report.text import markdown_table

if TYPE_CHECKING:
    import optuna

TABLE, BEST = "trials.md", "best.sh"
GROUPS = ("many", "medium", "few")


def best_trial(trials: Sequence["optuna.trial.FrozenTrial"]) -> "optuna.trial.FrozenTrial | None":
    """The finished trial of the highest objective, of equal ones the first; None if none has finished."""
    finished = [one for one in trials if one.state.name == "COMPLETE" and one.value is not None]
    return max(finished, key=lambda one: (one.value, -one.number), default=None)


def table(trials: Sequence["optuna.trial.FrozenTrial"], definition: Definition) -> str:
    """The trials as Markdown, the best first, with what their numbers are."""
    measured = [definition.objective, *(group for group in GROUPS if group != definition.objective)]
    header = ["trial", "state", *(f"{name} (%)" for name in measured), *(one.key for one in definition.space), "s"]
    order = sorted(trials, key=lambda one: (one.state.name != "COMPLETE", -(one.value or 0), one.number))
    rows = [_row(one, measured, definition) for one in order]
    return "\n\n".join(["# Trials", _explained(trials, definition), markdown_table(header, rows)]) + "\n"


def _row(trial: "optuna.trial.FrozenTrial", measured: Sequence[str], definition: Definition) -> list[str]:
    attributes = trial.user_attrs
    accuracy: Mapping[str, Any] = attributes.get("accuracy", {})
    numbers = [percent(accuracy[name], attributes["std"].get(name)) if name in accuracy else "" for name in measured]
    values = searched(definition.space, trial.params)
    seconds = f"{attributes['seconds']:.1f}" if "seconds" in attributes else ""
    settings = [escape.markdown(values.get(one.key, "")) for one in definition.space]
    return [str(trial.number), escape.markdown(_state(trial)), *numbers, *settings, seconds]


def _state(trial: "optuna.trial.FrozenTrial") -> str:
    names = {"COMPLETE": "finished", "RUNNING": "begun", "FAIL": "failed", "WAITING": "waiting"}
    if "error" in trial.user_attrs:
        return str(trial.user_attrs["error"])[:200]
    if trial.state.name == "PRUNED":
        return f"pruned at evaluation {len(trial.intermediate_values)}"
    return names[trial.state.name]


def _explained(trials: Sequence["optuna.trial.FrozenTrial"], definition: Definition) -> str:
    settings = definition.settings
    seeds = f"; mean ± sample standard deviation over {settings.num_seeds} seeds" if settings.num_seeds > 1 else ""
    return (
        f"Accuracy on held-out training images (data.validation_fraction={settings.data.validation_fraction:g}), last "
        f"epoch, chosen by {definition.objective}{seeds}. {len(trials)} trials: the best of them is an optimistic "
        "number, and no result on the test set."
    )


def best_text(
    trials: Sequence["optuna.trial.FrozenTrial"], definition: Definition, argv: Sequence[str], to: str
) -> str:
    """What best.sh holds; "" without a finished trial.

    Args:
      trials: of the study.
      definition: of the study.
      argv: the command line of a run without the searched settings.
      to: the workdir of the command.
    """
    best = best_trial(trials)
    if best is None or best.value is None:
        return ""
    fraction = definition.settings.data.validation_fraction
    accuracy = f"{definition.objective} {100 * best.value:.1f} %"
    return (
        f"# trial {best.number} of {len(trials)}: {accuracy} on validation images, which are training images that were "
        f"held out (data.validation_fraction={fraction:g}); no result on the test set\n"
        f"# trains the best settings on all training images, and evaluates the test set once:\n"
        f"{best_command(argv, searched(definition.space, best.params), to)}\n"
    )
