"""A table of ingredients as Markdown: the accuracy of each row, and what its ingredient changed."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ltjax import escape
from ltjax.commands.paper_tables.ablation import Ablation
from ltjax.commands.paper_tables.render import RUNS, StateOf, run_row
from ltjax.commands.paper_tables.structure import State
from ltjax.report import explain_groups, percent
from ltjax.report.text import DASH, markdown_table

MEAN = "mean_class"  # the result of a row: the mean over the classes, on a balanced test set the same as all
COLUMNS = {"many": "many", "medium": "medium", "few": "few", "mean over classes": MEAN}


# kind of table -> what its rows are, and the heading of their differences
EXPLAINED = {
    "ablation": ("Each row has the ingredients of the rows above it.", "difference to the row before"),
    "candidates": ("Each row is the recipe with one change.", "difference to the recipe"),
}


def ablation_sections(table: Ablation, state_of: StateOf, only_finished: bool = False) -> list[str]:
    """The paragraphs of the table: what was added and what it changed, and the runs.

    With ``only_finished`` without the rows that have no results.
    """
    states = [state_of(cell) for cell in table.cells()]
    rows_are, heading = EXPLAINED[table.kind]
    rows = [
        _row(row.label, state, None if row.against is None else states[row.against])
        for row, state in zip(table.rows, states, strict=True)
        if state.results or not only_finished
    ]
    parts = [
        f"{rows_are} The difference is the mean over seeds of the difference of runs with the same seed, ± its sample "
        "standard deviation.",
        markdown_table(["", *COLUMNS, heading, "state"], rows),
    ]
    finished = [state.results for state in states if state.results]
    if finished:
        parts.append(explain_groups(finished[0]))
    each = zip(table.cells(), states, strict=True)
    runs = [run_row(cell.name, state) for cell, state in each if state.results or not only_finished]
    return [*parts, "## Runs", markdown_table(RUNS, runs)]


def _row(label: str, state: State, against: State | None) -> list[str]:
    results = state.results
    if results is None:
        return [escape.markdown(label), *[""] * (len(COLUMNS) + 1), escape.markdown(state.text)]
    deviations = results.get("std", {}).get("accuracy", {})
    numbers = [percent(results["accuracy"].get(key), deviations.get(key)) for key in COLUMNS.values()]
    changed = difference(against.results, results) if against and against.results else DASH
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
