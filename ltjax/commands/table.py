"""Makes a table of results with one command: cell after cell, and what is finished is skipped.

python -m ltjax.table --root=runs/table [--table=cifar] [--only=CELL ...] [--num-seeds=3] [--short] [--list]
    [--config.KEY=VALUE ...]

Stop it at any moment and give the same command again: it goes on with the cell that was under way, so several short
leases of a machine add up to one table. Exit status: 0 all asked cells are finished, 1 a cell failed, 2 bad input,
130 / 143 told to stop.
"""

import argparse
import contextlib
import json
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

from ltjax.commands.cli import Parser, guarded
from ltjax.commands.paper_numbers import TABLES, Table, published
from ltjax.commands.train import run as train_and_report
from ltjax.errors import InputError, choose, did_you_mean

FINISHED = "finished"
# What makes a cell the one that its name says, and the flag that chooses it.
FIXED = {
    "method": "--only", "data.name": "--only", "data.imbalance": "--only", "init_from": "--only",
    "num_seeds": "--num-seeds",
}  # fmt: skip


class Cell(NamedTuple):
    """One run of the table.

    Attributes:
      config: "family" or "family:words", as the row has it.
      published: the paper's accuracy (%) or None.
      after: the name of the cell that it starts from, or "".
    """

    dataset: str
    imbalance: int
    method: str
    config: str
    published: float | None
    after: str = ""

    @property
    def name(self) -> str:
        return f"{self.dataset}_if{self.imbalance}_{self.method}"

    @property
    def names(self) -> set[str]:
        """What --only may call it: its name, or a part of it that other cells share."""
        d, i, m = self.dataset, f"if{self.imbalance}", self.method
        return {self.name, d, i, m, f"{d}_{i}", f"{d}_{m}", f"{i}_{m}"}


class State(NamedTuple):
    """Where a cell stands, in words, and its results.json if it is finished under the settings asked for."""

    text: str
    results: dict[str, Any] | None = None


class Stopped(BaseException):
    """SIGTERM outside of training, where nothing has to be saved."""


def cells(table: Table) -> list[Cell]:
    """Every cell of a table in the order in which it is made.

    Example:
      >>> [cell.name for cell in cells(TABLES["cifar"])][:3]
      ['cifar100_if100_ce', 'cifar100_if100_reslt', 'cifar100_if100_ldam_drw']
    """
    return [
        Cell(
            dataset, imbalance, method, row.config, published(row, dataset, i),
            f"{dataset}_if{imbalance}_{row.after}" if row.after else "",
        )
        for dataset, factors in table.sets
        for i, imbalance in enumerate(factors)
        for method, row in table.rows.items()
    ]  # fmt: skip


def chosen(table: Sequence[Cell], words: Sequence[str]) -> list[Cell]:
    """The cells that --only names and those that they start from, in the table's order; all without --only.

    Raises:
      InputError: for a word that is no cell's name nor a part of one.
    """
    known: set[str] = set().union(*(cell.names for cell in table))
    for word in words:
        if word not in known:
            some = ", ".join([table[0].name, *sorted(table[0].names - {table[0].name})])
            hint = did_you_mean(word, sorted(known))
            raise InputError(f"--only: no cell '{word}'{hint}; allowed: such as {some} (--list names every cell)")
    asked = [cell for cell in table if not words or cell.names & set(words)]
    first = {cell.after for cell in asked}
    return [cell for cell in table if cell in asked or cell.name in first]


def parse_options(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The command's own flags, and the settings that every cell gets."""
    epilog = "--config.KEY=VALUE changes a setting in every cell, such as --config.data.dir=DIR"
    parser = Parser("table", "ltjax.table", __doc__, epilog=epilog)
    parser.add_argument("--root", required=True, help="the table's folder; each cell is a workdir in it")
    parser.add_argument("--table", default="cifar", help=f"which table: {', '.join(TABLES)}")
    parser.add_argument("--only", action="extend", nargs="+", default=[], metavar="CELL", help="run no other cells")
    parser.add_argument("--num-seeds", type=int, default=3, help="seeds of a cell (3)")
    parser.add_argument("--short", action="store_true", help="ten epochs, not the published schedule")
    parser.add_argument("--list", action="store_true", help="print cells, their state and commands; run nothing")
    words = [w for word in argv for w in (("--only", word[7:]) if word.startswith("--only=") else (word,))]
    options, settings = parser.parse_known_args(words)
    if options.num_seeds < 1:
        raise InputError(f"--num-seeds: impossible value {options.num_seeds}; allowed: an integer >= 1")
    for word in settings:
        key = word.removeprefix("--no").removeprefix("--").partition("=")[0].removeprefix("config.")
        if not word.startswith(("--config.", "--noconfig.")):
            raise InputError(f"unexpected argument '{word}'; settings are written --config.KEY=VALUE")
        if key in FIXED:
            raise InputError(f"{word}: a table sets config.{key} itself, cell by cell; choose with {FIXED[key]}")
    options.only = [name for words in options.only for name in words.split(",")]
    return options, settings


def arguments(cell: Cell, options: argparse.Namespace, settings: Sequence[str]) -> list[str]:
    """What `python -m ltjax.main` is given for this cell."""
    family, _, words = cell.config.partition(":")
    argument = ",".join([*words.split(), *(["short"] if options.short else []), f"imbalance={cell.imbalance}"])
    after = [f"--config.init_from={os.path.join(options.root, cell.after)}"] if cell.after else []
    return [
        f"--config=configs/{cell.dataset}_{family}.py:{argument}",
        f"--workdir={os.path.join(options.root, cell.name)}",
        f"--config.num_seeds={options.num_seeds}",
        *after,
        *settings,
    ]


def look(argv: Sequence[str]) -> State:
    """What the workdir of these arguments holds; touches neither it nor a device."""
    from ltjax.config import parse
    from ltjax.training.workdir.identity import absolute, difference

    try:
        config, workdir = parse(argv)
    except InputError as error:
        return State(f"bad setting: {_one_line(error)}")
    folder = absolute(workdir)
    stored, results = folder / "config.json", folder / "results.json"
    if not stored.exists():
        return State("a run without its config.json" if results.exists() else "not run yet")
    try:
        other = difference(config, json.loads(stored.read_text()))
        if other:
            return State(f"holds another config: {other}")
        if not results.exists():
            return State("begun, not finished")
        report = (folder / "report" / "report.md").exists()  # main writes it last
        return State(FINISHED if report else "finished, without its report", json.loads(results.read_text()))
    except ValueError as error:
        return State(f"unreadable config.json or results.json: {_one_line(error)}")


def run_cell(cell: Cell, argv: Sequence[str]) -> int:
    """Trains what is left of it; a failure is told with its name, so that the others still get their turn."""
    try:
        with contextlib.redirect_stdout(sys.stderr):  # this command's output is the table alone
            return train_and_report(argv)
    except ImportError:  # no cell would do better
        raise
    except (InputError, FloatingPointError, OSError) as error:
        say(f"error: {cell.name}: {_one_line(error)}")
        return 2 if isinstance(error, InputError) else 1
    except Exception as error:  # out of device memory, for one
        traceback.print_exc()
        say(f"error: {cell.name}: {type(error).__name__}: {_one_line(error)[:300]}")
        return 1


def run_cells(asked: Sequence[Cell], options: argparse.Namespace, settings: Sequence[str]) -> int:
    """Every asked cell that is not finished, the table rewritten after each; returns the exit status."""
    statuses = []
    try:
        with _sigterm_raises():
            for cell in asked:
                argv = arguments(cell, options, settings)
                state = look(argv)
                say(f"{cell.name}: {state.text}{', skipped' if state.text == FINISHED else ''}")
                statuses.append(0 if state.text == FINISHED else run_cell(cell, argv))
                if statuses[-1] in (130, 143):
                    return statuses[-1]
                write_table(options, settings)
    except KeyboardInterrupt:
        return 130
    except Stopped:
        return 143
    return 0 if not any(statuses) else 2 if set(statuses) == {2} else 1


def write_table(options: argparse.Namespace, settings: Sequence[str]) -> str:
    """Writes ``<root>/table.md`` from what lies in the root, all of it or nothing; returns the text."""
    from ltjax.data.storage.paths import write_atomically
    from ltjax.training.workdir.identity import absolute

    text = format_markdown(options, settings)
    absolute(options.root).mkdir(parents=True, exist_ok=True)
    write_atomically(absolute(options.root) / "table.md", text)
    return text


def format_markdown(options: argparse.Namespace, settings: Sequence[str]) -> str:
    """All cells of the table, those too that are not asked for: one section for each data set and imbalance."""
    from ltjax.report import Entry, format_comparison
    from ltjax.training.workdir.identity import RUN_ONLY

    contents = TABLES[options.table]
    told = [f"`{s}`" for s in settings if s.removeprefix("--config.").partition("=")[0] not in RUN_ONLY]
    changed = f" Settings: {', '.join(told)}." if told else ""
    schedule = "Ten epochs (`:short`)." if options.short else "Schedules of the config files."
    parts = [
        f"# {options.table}",
        f"Accuracy in % of the last epoch, mean ± sample standard deviation over the seeds. {schedule}{changed}",
    ]
    table = cells(contents)
    for dataset, imbalance in dict.fromkeys((cell.dataset, cell.imbalance) for cell in table):
        entries = []
        for cell in table:
            if (cell.dataset, cell.imbalance) == (dataset, imbalance):
                state = look(arguments(cell, options, settings))
                entries.append(Entry(cell.method, state.results, state.text.partition(":")[0], cell.published))
        parts += [f"## {dataset}, imbalance {imbalance}", format_comparison(entries)]
    if any(cell.published for cell in table):
        sources: dict[str, list[str]] = {}
        for method, row in contents.rows.items():
            sources.setdefault(row.source, []).append(method)
        told_of = ". ".join(f"{', '.join(methods)}: {source}" for source, methods in sources.items() if source)
        parts.append(f"Paper: all classes, full schedule. {told_of}.")
    parts.append("Data: SHA-256 of the training index list, 12 digits.")
    return "\n\n".join(parts) + "\n"


@contextlib.contextmanager
def _sigterm_raises() -> Iterator[None]:
    """SIGTERM ends the table, not the process; while it trains, the training's own handler is in force."""

    def stop(*_: object) -> NoReturn:
        raise Stopped

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run(argv: Sequence[str]) -> int:
    options, settings = parse_options(argv)
    asked = chosen(cells(choose(TABLES, options.table, "--table")), options.only)
    if options.list:
        for cell in asked:
            words = arguments(cell, options, settings)
            print(f"{cell.name}: {look(words).text}\n    {shlex.join(['python', '-m', 'ltjax.main', *words])}")
        return 0
    from ltjax.training.execution.mesh import several_processes

    if several_processes():
        raise InputError("a table is made by one process (jax joins its processes once); run its cells with --list")
    status = run_cells(asked, options, settings)
    print(write_table(options, settings), end="")
    return status


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return guarded(run, argv)


if __name__ == "__main__":
    sys.exit(main())
