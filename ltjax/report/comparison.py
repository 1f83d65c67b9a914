"""Comparing runs: one Markdown table with a row per run, and what its numbers depend on."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from ltjax import escape
from ltjax.report.run import GROUPS
from ltjax.report.text import DASH, markdown_table, percent

COLUMNS = (*GROUPS, "all")
HEADER = ["method", *COLUMNS, "seeds", "paper", "parameters", "wall time (s)", "hardware", "data", "commit"]


class Entry(NamedTuple):
    """One row of the table.

    Attributes:
      label: the name of the run.
      results: the content of results.json; None if the run is not finished.
      state: why there are no results.
      published: the accuracy (%) in the paper, or None.
    """

    label: str
    results: dict[str, Any] | None
    state: str
    published: float | None


def format_comparison(entries: Sequence[Entry]) -> str:
    """A table of accuracy (%) by group and over all classes, mean ± sample standard deviation; below it the groups.

    Example:
      >>> print(format_comparison([Entry("ce", None, "not run yet", 38.32)]).splitlines()[-1])
      | ce | not run yet |  |  |  |  | 38.3 |  |  |  |  |  |
    """
    table = markdown_table(HEADER, [_row(entry) for entry in entries])
    done = [entry.results for entry in entries if entry.results is not None]
    return f"{table}\n\n{explain_groups(done[0])}" if done else table


def _row(entry: Entry) -> list[str]:
    published = DASH if entry.published is None else f"{entry.published:.1f}"
    results = entry.results
    if results is None:
        return [escape.markdown(entry.label), escape.markdown(entry.state), *4 * [""], published, *5 * [""]]
    deviations = results.get("std", {}).get("accuracy", {})
    return [
        escape.markdown(entry.label),
        *(percent(results["accuracy"].get(key), deviations.get(key)) for key in COLUMNS),
        str(len(results["seeds"])),
        published,
        f"{results['parameter_count']:,}",
        f"{results['wall_time_s']:,.1f}",
        escape.markdown(str(results["hardware"])),
        f"`{results['train_index_sha256'][:12]}`",
        commits_of(results),
    ]


def commits_of(results: dict[str, Any]) -> str:
    """The commits of the code that a run was trained with, the first digits of each; a dash where none is known.

    Where only some are known, "unknown" stands for the rest.

    Example:
      >>> commits_of({"commits": ["f0e1d2c3b4a5" + 28 * "0", "01234567" + 32 * "8" + "-dirty"]}), commits_of({})
      ('`f0e1d2c`, `0123456-dirty`', '-')
      >>> commits_of({"commits": [None, "f0e1d2c3b4a5" + 28 * "0"]}), commits_of({"commits": [None]})
      ('unknown, `f0e1d2c`', '-')
    """
    commits = results.get("commits", ())
    if not any(commits):
        return DASH
    return ", ".join(f"`{one[:7]}{'-dirty' * one.endswith('-dirty')}`" if one else "unknown" for one in commits)


def explain_groups(results: dict[str, Any]) -> str:
    convention = results["convention"]
    sizes = " / ".join(str(n) for n in results["shots"][convention]["classes"])
    images, split = f"{results['train_size']:,} training images", results["split"]
    return f"{images}; `{convention}` groups of {sizes} classes; accuracy on the {split} split."
