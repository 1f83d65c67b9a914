"""Trains every cell of a table of results with one command; finished cells are skipped.

python -m ltjax.table --root=runs/table [--table=reslt:3] [--only=CELL ...] [--num-seeds=3] [--short] [--list]
    [--data=mnist5k] [--epochs=N] [--weights NAME=FILE ...] [--data-dir NAME=DIR ...] [--config.KEY=VALUE ...]
    [--separate-seeds] [--publish=FOLDER]

--table is cifar or mnist5k (every method on these sets), or a table of a paper: reslt:1 to 9, decoupling:1 to 12,
asynchronous:1 to 5, auxiliary:1 to 5, lift:1 to 7 and 16, and some of the figures (--table=all --list names all of
them).
--table=ablation:cifar100_best adds the ingredients of that config file, or of your own, one after another;
--table=candidates:cifar100_best changes one of them at a time.
--data=mnist5k runs the structure of a paper's table on MNIST-5k-LT, which needs no download. Tables in one root share
the cells that they have in common.
Stop it at any time and run the same command again: it resumes the cell that was being trained, so several short leases
of a machine add up to one table. With --separate-seeds each seed is a run of its own, in CELL/seed_N, so that a larger
--num-seeds trains the new seeds only. --publish copies the numbers of finished cells to a folder that can be shared.
Exit status: 0 all chosen cells are finished, 1 a cell failed, 2 bad input, 130 / 143
stopped by SIGINT / SIGTERM.
"""

import argparse
import contextlib
import shlex
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from ltjax import escape
from ltjax.commands.cli import Parser, guarded, one_line
from ltjax.commands.paper_tables import TABLES, Table
from ltjax.commands.paper_tables.ablation import KINDS, Ablation, is_of_ingredients, read_ablation
from ltjax.commands.paper_tables.benchmarks import Benchmark
from ltjax.commands.paper_tables.publish import command_of, published_state, write_published
from ltjax.commands.paper_tables.runs import arguments, missing_weights, mixed_up, runs_of, state_of, state_of_cell
from ltjax.commands.paper_tables.structure import (
    DATASETS,
    FINISHED,
    SPEED,
    SUBSTITUTES,
    WEIGHTS,
    Cell,
    PaperTable,
    State,
    check_substitute,
)
from ltjax.commands.train import run as train_and_report
from ltjax.errors import InputError, OutOfMemory, choose, did_you_mean

ALL = "all"  # every table, for --list
OF_INGREDIENTS = tuple(f"{kind}:FILE" for kind in KINDS)
# The settings that define a cell, and the flag that chooses them.
FIXED = {
    "method": "--only", "data.name": "--data", "data.imbalance": "--only", "init_from": "--only",
    "num_seeds": "--num-seeds",
}  # fmt: skip


class Stopped(BaseException):
    """SIGTERM between two cells, when nothing has to be saved."""


def chosen(table: Sequence[Cell], words: Sequence[str]) -> list[Cell]:
    """The cells that --only chooses and those that they start from, in the table's order; all without --only.

    Raises:
      InputError: for a word that is neither a cell's name nor a part of one.
    """
    known: set[str] = set().union(*(cell.labels for cell in table))
    for word in words:
        if word not in known:
            some = ", ".join([table[0].name, *sorted(table[0].labels - {table[0].name})])
            hint = did_you_mean(word, sorted(known))
            raise InputError(f"--only: no cell '{word}'{hint}; allowed: such as {some}; --list prints all")
    matching = [cell for cell in table if not words or cell.labels & set(words)]
    first = {cell.starts_from for cell in matching}
    return [cell for cell in table if cell in matching or cell.name in first]


def parse_options(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The flags of this command, and the settings that every cell gets."""
    epilog = "--config.KEY=VALUE changes a setting in every cell, such as --config.data.dir=DIR"
    parser = Parser("table", "ltjax.table", __doc__, epilog=epilog)
    add, many = parser.add_argument, dict[str, Any](action="extend", nargs="+", default=[])
    add("--root", required=True, help="the folder of the tables; each cell is a workdir in it")
    add("--table", default="cifar", help=f"which table: {', '.join([*TABLES, ALL, *OF_INGREDIENTS])}")
    add("--only", metavar="CELL", help="train only these cells", **many)
    add("--num-seeds", type=int, default=3, help="seeds of each cell (3)")
    add("--separate-seeds", action="store_true", help="a run for each seed, so that seeds can be added later")
    add("--short", action="store_true", help="ten epochs on CIFAR and MNIST, a tenth of the others' published epochs")
    add("--epochs", type=int, default=0, help="of a table of ingredients: epochs of every row (those of its file)")
    add("--data", default="", help=f"run a paper's table on another data set: {', '.join(SUBSTITUTES)}")
    add("--weights", metavar="NAME=FILE", help="pretrained weights for the cells that need NAME (see --list)", **many)
    add("--data-dir", metavar="NAME=DIR", help=f"folder of one data set: {', '.join(DATASETS.values())}", **many)
    add("--list", action="store_true", help="print the cells, their states, commands and what they need; train nothing")
    add("--publish", metavar="FOLDER", default="", help="copy results.json of the finished cells to FOLDER/CELL, "
        "without paths of this machine, and write the table of that folder; train nothing")  # fmt: skip
    words = [w for word in argv for w in _separate(word)]
    options, settings = parser.parse_known_args(words)
    if options.num_seeds < 1:
        raise InputError(f"--num-seeds: impossible value {options.num_seeds}; allowed: an integer >= 1")
    if options.epochs < 0:
        raise InputError(f"--epochs: impossible value {options.epochs}; allowed: an integer >= 1")
    for word in settings:
        key = word.removeprefix("--no").removeprefix("--").partition("=")[0].removeprefix("config.")
        if not word.startswith(("--config.", "--noconfig.")):
            raise InputError(f"unexpected argument '{word}'; write settings as --config.KEY=VALUE")
        if key in FIXED:
            raise InputError(f"{word}: the table sets config.{key} for each cell; choose with {FIXED[key]}")
    if options.separate_seeds and any(word.startswith("--config.seed=") for word in settings):
        raise InputError("--config.seed: --separate-seeds sets it; choose with --num-seeds")
    options.only = [name for words in options.only for name in words.split(",")]
    options.weights = _pairs("--weights", options.weights)
    options.data_dir = _pairs("--data-dir", options.data_dir)
    for name in options.weights:
        choose(WEIGHTS, name, "--weights")
    for name in options.data_dir:
        choose(dict.fromkeys(DATASETS.values()), name, "--data-dir")
    check_substitute(options.data)
    if options.publish and options.list:
        raise InputError("--publish, --list: choose one of the two")
    return options, settings


def _separate(word: str) -> tuple[str, ...]:
    """``--only=X`` as two arguments, which argparse needs for a flag that takes several values."""
    flag, equals, value = word.partition("=")
    return (flag, value) if equals and flag in ("--only", "--weights", "--data-dir") else (word,)


def _pairs(flag: str, words: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE arguments, also several in one word, separated by commas."""
    found = {}
    for word in (one for words in words for one in words.split(",")):
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise InputError(
                f"{flag}: impossible value '{word}'; write {flag}=NAME={'FILE' if flag == '--weights' else 'DIR'}"
            )
        found[name] = value
    return found


def contents_of(options: argparse.Namespace) -> Table:
    """The table that the flags choose.

    Raises:
      InputError: for an unknown one, or a flag that it does not have.
    """
    if options.table == ALL:
        raise InputError(f"--table={ALL}: only with --list, which names all tables; make them one by one")
    if is_of_ingredients(options.table):
        for flag in ("data", "short"):
            if getattr(options, flag):
                raise InputError(
                    f"--{flag}: of '{options.table}' the config file says what is run; shorten it with --epochs=N"
                )
        return read_ablation(options.table, options.epochs)
    if options.epochs:
        raise InputError(
            f"--epochs: only with --table={' and '.join(OF_INGREDIENTS)}; shorten other tables with --short"
        )
    choose(dict.fromkeys([*TABLES, *OF_INGREDIENTS]), options.table, "--table")
    contents = TABLES[options.table]
    if options.data and isinstance(contents, Benchmark):
        raise InputError(f"--data: table '{options.table}' is of its own data sets; --data is for the papers' tables")
    if isinstance(contents, PaperTable) and options.data and options.data not in contents.substitutes:
        raise InputError(
            f"--data: '{options.data}' has no recipe for the rows of table '{options.table}'; allowed: "
            f"{', '.join(contents.substitutes)}"
        )
    return contents


def run_cell(cell: Cell, options: argparse.Namespace, settings: Sequence[str]) -> int:
    """Trains or resumes a cell; an error is reported with its name and the next cell follows."""
    try:
        needed = missing_weights(cell, options)
        if needed:
            raise InputError(f"it starts from pretrained weights: {needed}")
        other = mixed_up(cell, options)
        if other:
            raise InputError(other)
        for argv in runs_of(cell, options, settings):
            if state_of(argv).text == FINISHED:  # one of several seeds
                continue
            with contextlib.redirect_stdout(sys.stderr):  # this command's output is the table alone
                status = train_and_report(argv)
            if status:
                return status
            measure_speed(cell, argv, options)
        return 0
    except ImportError:  # a missing package: every other cell would fail as well
        raise
    except (InputError, FloatingPointError, OSError, OutOfMemory) as error:
        log(f"error: {cell.name}: {one_line(error)}")
        return 2 if isinstance(error, InputError) else 1
    except Exception as error:
        traceback.print_exc()
        log(f"error: {cell.name}: {type(error).__name__}: {one_line(error)[:300]}")
        return 1


def measure_speed(cell: Cell, argv: Sequence[str], options: argparse.Namespace) -> None:
    """Times the finished cell's network, if the table has a column of speed."""
    contents = contents_of(options)
    if isinstance(contents, PaperTable) and SPEED in contents.metrics.values():
        from ltjax.commands.paper_tables.speed import measure_once
        from ltjax.methods.configure import from_command_line
        from ltjax.training.workdir.identity import absolute

        config, workdir = from_command_line(argv)
        measure_once(absolute(workdir), config, contents.views(cell, options.data, options.short))


def run_cells(chosen_cells: Sequence[Cell], options: argparse.Namespace, settings: Sequence[str]) -> int:
    """Trains the unfinished cells and rewrites the table after each; returns the exit status."""
    statuses = []
    try:
        with _sigterm_raises():
            for cell in chosen_cells:
                state = state_of_cell(cell, options, settings)
                log(f"{cell.name}: {state.text}{', skipped' if state.text == FINISHED else ''}")
                statuses.append(0 if state.text == FINISHED else run_cell(cell, options, settings))
                if statuses[-1] in (130, 143):
                    return statuses[-1]
                write_table(options, settings)
    except KeyboardInterrupt:
        return 130
    except Stopped:
        return 143
    return 0 if not any(statuses) else 2 if set(statuses) == {2} else 1


def write_table(options: argparse.Namespace, settings: Sequence[str]) -> str:
    """Writes the table's Markdown file atomically from the runs in the root; returns the text."""
    from ltjax.data.storage.paths import write_atomically
    from ltjax.training.workdir.identity import absolute

    text, root = format_markdown(options, settings), absolute(options.publish or options.root)
    root.mkdir(parents=True, exist_ok=True)
    write_atomically(root / file_name(options), text)
    return text


def published_command(cell: Cell, options: argparse.Namespace, settings: Sequence[str]) -> str:
    """The cell's training command with names in place of this machine's paths; with --separate-seeds that of seed 0."""
    weights = {name: name for name in options.weights}
    named = argparse.Namespace(**vars(options) | {"root": "", "data_dir": {}, "weights": weights})
    return command_of(runs_of(cell, named, settings)[0])


def publish(cells: Sequence[Cell], options: argparse.Namespace, settings: Sequence[str]) -> str:
    """Copies the results of the finished cells to --publish, and writes the table of all that is there; returns it.

    Raises:
      InputError: if no cell is finished and none was published before.
    """
    commands = {cell: published_command(cell, options, settings) for cell in cells}
    states = {cell: state_of_cell(cell, options, settings) for cell in cells}
    before = {cell: published_state(options.publish, cell, command) for cell, command in commands.items()}
    if not any(state.results for state in [*states.values(), *before.values()]):
        seen = "; ".join(f"{cell.name}: {state.text}" for cell, state in [*states.items()][:3])
        more = "; ..." if len(cells) > 3 else ""
        raise InputError(f"--publish: no cell is finished in --root={options.root} ({seen}{more})")
    for cell, state in states.items():
        if state.results:
            write_published(options.publish, cell, state, commands[cell])
        earlier = "published before" if before[cell].results else state.text
        log(f"{cell.name}: {'published' if state.results else earlier}")
    return write_table(options, settings)


def file_name(options: argparse.Namespace) -> str:
    """table.md; of a paper's table its name, such as reslt_3.md or, on another data set, reslt_3_mnist5k.md; of an
    table of ingredients such as ablation_cifar100_best_epochs-10.md."""
    contents = contents_of(options)
    if isinstance(contents, Benchmark):
        return "table.md"
    if isinstance(contents, Ablation):
        return f"{contents.kind}_{contents.stem}{f'_epochs-{contents.epochs}' if contents.epochs else ''}.md"
    return f"{options.table.replace(':', '_')}{f'_{options.data}' if options.data else ''}.md"


def format_markdown(options: argparse.Namespace, settings: Sequence[str]) -> str:
    """All cells of the table, also those that --only leaves out; with --publish those of that folder."""
    from ltjax.commands.paper_tables.ablation_render import ablation_sections
    from ltjax.commands.paper_tables.render import benchmark_sections, paper_sections
    from ltjax.settings.identity import run_only

    contents = contents_of(options)

    def state(cell: Cell) -> State:
        if options.publish:
            return published_state(options.publish, cell, published_command(cell, options, settings))
        return state_of_cell(cell, options, settings)

    shown = [
        escape.markdown_code(s) for s in settings if s.removeprefix("--config.").partition("=")[0] not in run_only()
    ]
    changed = f" Settings: {', '.join(shown)}." if shown else ""
    accuracy = "Accuracy in % of the last epoch, mean ± sample standard deviation over the seeds."
    if isinstance(contents, Benchmark):
        schedule = "Ten epochs (`:short`)." if options.short else "Schedules of the config files."
        parts = [f"# {options.table}", f"{accuracy} {schedule}{changed}"]
        parts += benchmark_sections(contents, state, options.short, only_finished=bool(options.publish))
    elif isinstance(contents, Ablation):
        schedule = f"{contents.epochs} epochs." if contents.epochs else "Epochs of the config file."
        parts = [
            f"# {contents.kind.capitalize()} of {escape.markdown(contents.stem)}",
            f"{accuracy} {schedule}{changed}",
        ]
        parts += ablation_sections(contents, state, only_finished=bool(options.publish))
    else:
        schedule = "A tenth of the epochs (`--short`)." if options.short else "Schedules of the config files."
        place = f" On {options.data} in place of the paper's data and networks." if options.data else ""
        parts = [f"# {options.table}: {contents.title}", f"{accuracy} {schedule}{place}{changed}"]
        parts += paper_sections(contents, state, options.data, options.short)
    parts.append("Data: SHA-256 of the training index list, 12 digits.")
    return "\n\n".join(parts) + "\n"


@contextlib.contextmanager
def _sigterm_raises() -> Iterator[None]:
    """SIGTERM between two cells raises Stopped; while a cell is trained, the handler of training is installed."""

    def stop(*_: object) -> NoReturn:
        raise Stopped

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def log(text: str) -> None:
    print(escape.terminal(text), file=sys.stderr, flush=True)


def print_list(cells: Sequence[Cell], options: argparse.Namespace, settings: Sequence[str]) -> None:
    """The cells with their states and commands, then what is missing to run them."""
    for cell in cells:
        print(f"{cell.name}: {escape.terminal(state_of_cell(cell, options, settings).text)}")
        for words in runs_of(cell, options, settings):
            print(f"    {shlex.join(['python', '-m', 'ltjax.main', *words])}")
    for line in needs_of(cells, options, settings):
        print(line)


def needs_of(cells: Sequence[Cell], options: argparse.Namespace, settings: Sequence[str]) -> list[str]:
    """What is missing to run the cells that are not finished."""
    from ltjax.commands.cli import use_devices
    from ltjax.methods.configure import from_command_line

    use_devices("float32")
    from ltjax.commands.paper_tables.needs import needs

    rest = [cell for cell in cells if state_of_cell(cell, options, settings).text != FINISHED]
    given = {name: "FILE" for name in WEIGHTS} | options.weights
    filled = argparse.Namespace(**vars(options) | {"weights": given})
    runs = [from_command_line(arguments(cell, filled, settings))[0] for cell in rest]
    return needs(runs, [cell.weights for cell in rest], options.weights)


def print_overview(options: argparse.Namespace, settings: Sequence[str]) -> None:
    """Every table with the number of its cells and what is missing to run them."""
    for name, contents in TABLES.items():
        if options.data and (isinstance(contents, Benchmark) or options.data not in contents.substitutes):
            continue
        cells = contents.cells(options.data, options.short)
        title = f": {contents.title}" if isinstance(contents, PaperTable) else ""
        print(f"{name}{title} ({len(cells)} cells)")
        for line in needs_of(cells, options, settings):
            print(f"    {line}", flush=True)


def run(argv: Sequence[str]) -> int:
    options, settings = parse_options(argv)
    if options.table == ALL and options.list:
        print_overview(options, settings)
        return 0
    selected = chosen(contents_of(options).cells(options.data, options.short), options.only)
    if options.list:
        print_list(selected, options, settings)
        return 0
    if options.publish:
        print(publish(selected, options, settings), end="")
        return 0
    from ltjax.training.execution.processes import this_run

    if this_run().count > 1:
        raise InputError("a table is trained by one process; train its cells one by one with the commands of --list")
    status = run_cells(selected, options, settings)
    print(write_table(options, settings), end="")
    return status


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return guarded(run, argv)


if __name__ == "__main__":
    sys.exit(main())
