"""Ablation tables: the base of a config file of ingredients, and a row for each ingredient that is added in turn.

The file is one of ``configs/*_best.py``, or the user's: ``INGREDIENTS`` (name -> settings) beside its ``get_config``,
which ends with ``ltjax.methods.ingredients.with_ingredients``.
"""

import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ltjax import escape
from ltjax.commands.paper_tables.render import RUNS, StateOf, run_row
from ltjax.commands.paper_tables.structure import Cell, State, join_words, name_of
from ltjax.errors import InputError
from ltjax.report import explain_groups, percent
from ltjax.report.text import DASH, markdown_table
from ltjax.settings import command_line
from ltjax.settings.user_code import load_file

PREFIX = "ablation:"
BASE = "base"
MEAN = "mean_class"  # the result of a row: the mean over the classes, on a balanced test set the same as all
COLUMNS = {"many": "many", "medium": "medium", "few": "few", "mean over classes": MEAN}


class Ablation(NamedTuple):
    """The rows of one config file.

    Attributes:
      file: as it was given, a name in configs or a path.
      ingredients: their names, in the order in which they are added.
      epochs: of every row, in place of the file's; 0 = the file's.
    """

    file: str
    ingredients: tuple[str, ...]
    epochs: int = 0

    @property
    def stem(self) -> str:
        return pathlib.PurePath(self.file).stem

    def cells(self, data: str = "", short: bool = False) -> list[Cell]:
        """One cell for each row; ``data`` and ``short`` have to be empty."""
        assert not data and not short
        return [self._cell(rows) for rows in range(len(self.ingredients) + 1)]

    def _cell(self, added: int) -> Cell:
        words = [BASE, *self.ingredients[:added], *([f"epochs={self.epochs}"] if self.epochs else [])]
        name = name_of(join_words(self.stem, words))
        return Cell(name, join_words(self.file, words), words=frozenset((self.stem, *words)))


def read_ablation(table: str, epochs: int = 0) -> Ablation:
    """The table that "ablation:FILE" names.

    Raises:
      InputError: if there is no such file, or it has no ingredients.

    Example:
      >>> [cell.config for cell in read_ablation("ablation:mnist5k_best", epochs=2).cells()][:2]
      ['mnist5k_best:base,epochs=2', 'mnist5k_best:base,balanced,epochs=2']
    """
    file = table.removeprefix(PREFIX)
    path = command_line.find(file)
    ingredients = getattr(load_file(path, "--table"), "INGREDIENTS", None)
    if not isinstance(ingredients, Mapping) or not ingredients:
        raise InputError(
            f"--table={table}: {path} has no INGREDIENTS; an ablation needs a config file with them, such as "
            "cifar100_best, or your own (docs/guides/tuning.md)"
        )
    shipped = file.removeprefix("configs/").removesuffix(".py")
    is_shipped = "/" not in shipped and not pathlib.Path(file).is_file()
    return Ablation(shipped if is_shipped else file, tuple(ingredients), epochs)


def ablation_sections(table: Ablation, state_of: StateOf) -> list[str]:
    """The paragraphs of the table: what was added and what it changed, and the runs."""
    states = [state_of(cell) for cell in table.cells()]
    header = ["", *COLUMNS, "difference to the row before", "state"]
    befores: list[State | None] = [None, *states[:-1]]
    labels = ["base", *(f"+ {name}" for name in table.ingredients)]
    rows = [_row(*row) for row in zip(labels, states, befores, strict=True)]
    parts = [
        "Each row has the ingredients of the rows above it. The difference is the mean over seeds of the difference "
        "of runs with the same seed, ± its sample standard deviation.",
        markdown_table(header, rows),
    ]
    finished = [state.results for state in states if state.results]
    if finished:
        parts.append(explain_groups(finished[0]))
    runs = [run_row(cell.name, state) for cell, state in zip(table.cells(), states, strict=True)]
    return [*parts, "## Runs", markdown_table(RUNS, runs)]


def _row(label: str, state: State, before: State | None) -> list[str]:
    results = state.results
    if results is None:
        return [escape.markdown(label), *[""] * (len(COLUMNS) + 1), escape.markdown(state.text)]
    deviations = results.get("std", {}).get("accuracy", {})
    numbers = [percent(results["accuracy"].get(key), deviations.get(key)) for key in COLUMNS.values()]
    changed = difference(before.results, results) if before and before.results else DASH
    return [escape.markdown(label), *numbers, changed, escape.markdown(state.text)]


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """The change of the result in points, over the seeds that both runs have.

    Example:
      >>> def run(*accuracies):
      ...     return {"seeds": [0, 1], "per_seed": [
      ...         {"seed": seed, "accuracy": {"mean_class": a}} for seed, a in enumerate(accuracies)]}
      >>> difference(run(0.40, 0.50), run(0.43, 0.51))
      '+2.0 ± 1.4'
    """
    first, second = _by_seed(before), _by_seed(after)
    changes = [100 * (second[seed] - first[seed]) for seed in first if seed in second]
    if not changes:
        return DASH
    spread = f" ± {statistics.stdev(changes):.1f}" if len(changes) > 1 else ""
    return f"{statistics.fmean(changes):+.1f}{spread}"


def _by_seed(results: Mapping[str, Any]) -> dict[int, float]:
    each: Sequence[Mapping[str, Any]] = results.get("per_seed") or [{**results, "seed": results["seeds"][0]}]
    return {one["seed"]: one["accuracy"][MEAN] for one in each if one["accuracy"].get(MEAN) is not None}
