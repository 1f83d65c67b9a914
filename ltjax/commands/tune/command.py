"""Searches over settings with Optuna, on training images that are held out: the test set chooses nothing.

python -m ltjax.tune --config=configs/cifar100_ce.py --space=space.toml --trials=20 --study=runs/study
    --config.data.validation_fraction=0.2 [--seed=0] [--objective=mean_class] [--no-pruning] [--config.KEY=VALUE ...]

space.toml has the settings to search, such as optimizer.learning_rate = {low = 0.01, high = 0.3, log = true} and
batch_size = [64, 128]. Each trial is a run in STUDY/trials; one whose evaluations are below the median of the others
is ended. Stop it at any time and run the same command again: it goes on where it was. Several processes with the same
command share the study. STUDY/trials.md has the table, STUDY/best.sh the command with the best settings. Exit status:
0 done, 1 no trial has finished, 2 bad input, 130 / 143 stopped by SIGINT / SIGTERM.
"""

import argparse
import itertools
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ltjax import escape
from ltjax.commands.cli import Parser, guarded, use_devices
from ltjax.errors import InputError
from ltjax.settings import Settings

if TYPE_CHECKING:
    import optuna
    from etils import epath

    from ltjax.commands.tune.study import Definition

OBJECTIVES = ("mean_class", "all", "many", "medium", "few", "worst_class", "harmonic_mean")
AGAIN = "run the same command to go on"


def parse_options(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The flags of this command, and those of every run: --config=FILE and --config.KEY=VALUE."""
    parser = Parser("tune", "ltjax.tune", __doc__, epilog="--config=FILE[:WORDS], --config.KEY=VALUE: as for a run")
    add = parser.add_argument
    add("--space", required=True, help="TOML file with the settings to search")
    add("--study", required=True, help="folder of the study: its trials, their runs, the table")
    add("--trials", type=int, required=True, help="trials of the study in all, those of earlier starts included")
    add("--seed", type=int, default=0, help="seed of the proposals (0); the runs' is --config.seed")
    add("--objective", choices=OBJECTIVES, default=OBJECTIVES[0], help="the accuracy to maximise (mean_class)")
    add("--no-pruning", action="store_true", help="train every trial to its end")
    options, rest = parser.parse_known_args(argv)
    if options.trials < 1:
        raise InputError(f"--trials: impossible value {options.trials}; allowed: an integer >= 1")
    if not 0 <= options.seed < 2**32:
        raise InputError(f"--seed: impossible value {options.seed}; allowed: an integer in [0, 2**32)")
    for word in rest:
        if word.lstrip("-").startswith("workdir"):
            raise InputError(f"{word}: the trials have workdirs below --study={options.study}; leave it out")
    for before, word in itertools.pairwise(["", *rest]):  # a setting is one word: it is looked for and left out as one
        if not re.match("--?[A-Za-z]", word) and before not in ("--config", "-config"):
            raise InputError(f"unexpected argument '{word}'; write settings as --config.KEY=VALUE")
    return options, rest


def check_held_out(settings: Settings) -> None:
    """Raises InputError unless the runs evaluate held-out training images."""
    data = settings.data
    if not data.validation_fraction:
        raise InputError(
            "config.data.validation_fraction: a search chooses by training images that are held out, never by the test "
            "set; add --config.data.validation_fraction=0.2"
        )
    if data.validation_use != "evaluate":
        raise InputError(
            f"config.data.validation_use={data.validation_use}: the runs would evaluate the test set, which chooses "
            "nothing; use --config.data.validation_use=evaluate"
        )


def run(argv: Sequence[str]) -> int:
    options, words = parse_options(argv)
    from ltjax.commands.tune.space import check_choices, read_space
    from ltjax.commands.tune.study import Definition, check_package, open_study
    from ltjax.commands.tune.trial import arguments, every_epochs
    from ltjax.methods.configure import from_command_line
    from ltjax.training.execution.processes import this_run
    from ltjax.training.workdir.identity import absolute, check_path

    settings, _ = from_command_line([*words, "--workdir=none"])
    check_held_out(settings)
    space = read_space(options.space, words, settings)
    check_package()
    if this_run().count > 1:
        raise InputError("a trial is trained by one process; start this command once for each device, on one --study")
    folder = absolute(options.study)
    check_path(str(folder), "--study")
    use_devices(settings.dtype)
    check_choices(space, words, settings)
    pruning = not options.no_pruning
    definition = Definition(settings, space, options.seed, options.objective, pruning)
    every = every_epochs(words, settings)
    study = open_study(folder, definition, first=settings.epochs // every // 3 if every else 0)
    from optuna.exceptions import StorageInternalError

    try:
        status = work(study, definition, arguments(words, settings, pruning), folder, options.trials)
        text, best = write_summary(study, definition, words, folder)
    except StorageInternalError as error:  # a disk that is full or gone
        raise OSError(f"--study={folder}: cannot be read or written ({error})") from error
    print(text, end="")
    print(f"\n{best}" if best else "no trial has finished yet", end="" if best else "\n")
    return status or (0 if best else 1)


def work(study: "optuna.Study", definition: "Definition", argv: Sequence[str], folder: "epath.Path", total: int) -> int:
    """Trains trials until the study has ``total``; returns the exit status."""
    from ltjax.commands.tune.study import next_trial
    from ltjax.commands.tune.trial import work_on
    from ltjax.training.interrupt import Interrupted

    while (claimed := next_trial(study, definition, total, folder)) is not None:
        number = claimed.trial.number
        try:
            log(f"trial {number}: {work_on(claimed, argv, definition)}")
        except Interrupted as interrupt:
            log(f"stopped by {interrupt}; trial {number} is saved: {AGAIN}")
            return interrupt.status
        finally:
            claimed.lock.release()
        write_summary(study, definition, argv, folder)
    return 0


def write_summary(
    study: "optuna.Study", definition: "Definition", argv: Sequence[str], folder: "epath.Path"
) -> tuple[str, str]:
    """Writes trials.md and best.sh; returns their texts."""
    from ltjax.commands.tune.summary import BEST, TABLE, best_text, table
    from ltjax.data.storage.paths import write_atomically

    trials = study.get_trials(deepcopy=False)
    text, best = table(trials, definition), best_text(trials, definition, argv, str(folder / "best"))
    write_atomically(folder / TABLE, text)
    if best:
        write_atomically(folder / BEST, best)
    return text, best


def log(text: str) -> None:
    print(escape.terminal(text), file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return guarded(run, argv, f"finished trials are kept: {AGAIN}")


if __name__ == "__main__":
    sys.exit(main())
