"""Trains every cell of a table of results with one command; finished cells are skipped.

python -m ltjax.table --root=runs/table [--table=cifar] [--only=CELL ...] [--num-seeds=3] [--short] [--list]
    [--config.KEY=VALUE ...]

Stop it at any time and run the same command again: it resumes the cell that was being trained, so several short leases
of a machine add up to one table. Exit status: 0 all chosen cells are finished, 1 a cell failed, 2 bad input, 130 / 143
stopped by SIGINT / SIGTERM.
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

from ltjax.commands.cli import Parser, guarded, one_line
from ltjax.commands.paper_numbers import TABLES, Table, published
from ltjax.commands.train import run as train_and_report
from ltjax.errors import InputError, choose, did_you_mean

FINISHED = "finished"
# The settings that define a cell, and the flag that chooses them.
FIXED = {
    "method": "--only", "data.name": "--only", "data.imbalance": "--only", "init_from": "--only",
    "num_seeds": "--num-seeds",
}  # fmt: skip


class Cell(NamedTuple):
    """One run of the table.

    Attributes:
      config: "family" or "family:words", as in ``TableMethod``.
      published: the accuracy (%) in the paper, or None.
      starts_from: the name of the cell whose run is its first stage, or "".
    """

    dataset: str
    imbalance: int
    method: str
    config: str
    published: float | None
    starts_from: str = ""

    @property
    def name(self) -> str:
        return f"{self.dataset}_if{self.imbalance}_{self.method}"

    @property
    def labels(self) -> set[str]:
        """The words of --only that choose it: its name, and the parts of it that other cells share."""
        d, i, m = self.dataset, f"if{self.imbalance}", self.method
        return {self.name, d, i, m, f"{d}_{i}", f"{d}_{m}", f"{i}_{m}"}


class State(NamedTuple):
    """The state of a cell in words, and its results.json if it is finished with the settings of this command."""

    text: str
    results: dict[str, Any] | None = None


class Stopped(BaseException):
    """SIGTERM between two cells, when nothing has to be saved."""


def cells(table: Table) -> list[Cell]:
    """Every cell of a table in the order in which it is trained.

    Example:
      >>> [cell.name for cell in cells(TABLES["cifar"])][:3]
      ['cifar100_if100_ce', 'cifar100_if100_reslt', 'cifar100_if100_ldam_drw']
    """
    return [
        Cell(
            dataset, imbalance, name, method.config, published(method, dataset, i),
            f"{dataset}_if{imbalance}_{method.starts_from}" if method.starts_from else "",
        )
        for dataset, factors in table.datasets
        for i, imbalance in enumerate(factors)
        for name, method in table.methods.items()
    ]  # fmt: skip


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
    parser.add_argument("--root", required=True, help="the table's folder; each cell is a workdir in it")
    parser.add_argument("--table", default="cifar", help=f"which table: {', '.join(TABLES)}")
    parser.add_argument("--only", action="extend", nargs="+", default=[], metavar="CELL", help="train only these cells")
    parser.add_argument("--num-seeds", type=int, default=3, help="seeds of each cell (3)")
    parser.add_argument("--short", action="store_true", help="ten epochs instead of the published schedule")
    parser.add_argument("--list", action="store_true", help="print the cells, their states and commands; train nothing")
    words = [w for word in argv for w in (("--only", word[7:]) if word.startswith("--only=") else (word,))]
    options, settings = parser.parse_known_args(words)
    if options.num_seeds < 1:
        raise InputError(f"--num-seeds: impossible value {options.num_seeds}; allowed: an integer >= 1")
    for word in settings:
        key = word.removeprefix("--no").removeprefix("--").partition("=")[0].removeprefix("config.")
        if not word.startswith(("--config.", "--noconfig.")):
            raise InputError(f"unexpected argument '{word}'; write settings as --config.KEY=VALUE")
        if key in FIXED:
            raise InputError(f"{word}: the table sets config.{key} for each cell; choose with {FIXED[key]}")
    options.only = [name for words in options.only for name in words.split(",")]
    return options, settings


def arguments(cell: Cell, options: argparse.Namespace, settings: Sequence[str]) -> list[str]:
    """The arguments of ``ltjax train`` for this cell."""
    family, _, words = cell.config.partition(":")
    argument = ",".join([*words.split(), *(["short"] if options.short else []), f"imbalance={cell.imbalance}"])
    after = [f"--config.init_from={os.path.join(options.root, cell.starts_from)}"] if cell.starts_from else []
    return [
        f"--config=configs/{cell.dataset}_{family}.py:{argument}",
        f"--workdir={os.path.join(options.root, cell.name)}",
        f"--config.num_seeds={options.num_seeds}",
        *after,
        *settings,
    ]


def state_of(argv: Sequence[str]) -> State:
    """The state of the run with these arguments; changes nothing and starts no device."""
    from ltjax.methods.configure import from_command_line
    from ltjax.settings.identity import difference
    from ltjax.training.workdir.identity import absolute

    try:
        config, workdir = from_command_line(argv)
    except InputError as error:
        return State(f"bad setting: {one_line(error)}")
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
        return State(f"unreadable config.json or results.json: {one_line(error)}")


def run_cell(cell: Cell, argv: Sequence[str]) -> int:
    """Trains or resumes a cell; an error is reported with its name and the next cell follows."""
    try:
        with contextlib.redirect_stdout(sys.stderr):  # this command's output is the table alone
            return train_and_report(argv)
    except ImportError:  # a missing package: every other cell would fail as well
        raise
    except (InputError, FloatingPointError, OSError) as error:
        log(f"error: {cell.name}: {one_line(error)}")
        return 2 if isinstance(error, InputError) else 1
    except Exception as error:  # out of device memory, for one
        traceback.print_exc()
        log(f"error: {cell.name}: {type(error).__name__}: {one_line(error)[:300]}")
        return 1


def run_cells(chosen_cells: Sequence[Cell], options: argparse.Namespace, settings: Sequence[str]) -> int:
    """Trains the unfinished cells and rewrites the table after each; returns the exit status."""
    statuses = []
    try:
        with _sigterm_raises():
            for cell in chosen_cells:
                argv = arguments(cell, options, settings)
                state = state_of(argv)
                log(f"{cell.name}: {state.text}{', skipped' if state.text == FINISHED else ''}")
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
    """Writes ``<root>/table.md`` atomically from the runs in the root; returns the text."""
    from ltjax.data.storage.paths import write_atomically
    from ltjax.training.workdir.identity import absolute

    text = format_markdown(options, settings)
    absolute(options.root).mkdir(parents=True, exist_ok=True)
    write_atomically(absolute(options.root) / "table.md", text)
    return text


def format_markdown(options: argparse.Namespace, settings: Sequence[str]) -> str:
    """All cells of the table, also those that --only leaves out: a section for each data set and imbalance."""
    from ltjax.report import Entry, format_comparison
    from ltjax.settings.identity import run_only

    contents = TABLES[options.table]
    shown = [f"`{s}`" for s in settings if s.removeprefix("--config.").partition("=")[0] not in run_only()]
    changed = f" Settings: {', '.join(shown)}." if shown else ""
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
                state = state_of(arguments(cell, options, settings))
                entries.append(Entry(cell.method, state.results, state.text.partition(":")[0], cell.published))
        parts += [f"## {dataset}, imbalance {imbalance}", format_comparison(entries)]
    if any(cell.published for cell in table):
        sources: dict[str, list[str]] = {}
        for name, method in contents.methods.items():
            sources.setdefault(method.source, []).append(name)
        cited = ". ".join(f"{', '.join(names)}: {source}" for source, names in sources.items() if source)
        parts.append(f"Paper: all classes, full schedule. {cited}.")
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
    print(text, file=sys.stderr, flush=True)


def run(argv: Sequence[str]) -> int:
    options, settings = parse_options(argv)
    selected = chosen(cells(choose(TABLES, options.table, "--table")), options.only)
    if options.list:
        for cell in selected:
            words = arguments(cell, options, settings)
            print(f"{cell.name}: {state_of(words).text}\n    {shlex.join(['python', '-m', 'ltjax.main', *words])}")
        return 0
    from ltjax.training.execution.mesh import several_processes

    if several_processes():
        raise InputError("a table is trained by one process; train its cells one by one with the commands of --list")
    status = run_cells(selected, options, settings)
    print(write_table(options, settings), end="")
    return status


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return guarded(run, argv)


if __name__ == "__main__":
    sys.exit(main())
