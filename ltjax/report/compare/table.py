"""The papers' table of several runs as Markdown, CSV and LaTeX: accuracy by group and over all classes, in percent.

Of images with several labels average precision is in the place of accuracy, with a column for all images and classes
together ("micro").
"""

import csv
import io
from collections.abc import Collection, Sequence
from typing import NamedTuple

from ltjax import escape
from ltjax.report.compare.groups import SeedGroup
from ltjax.report.run import GROUPS
from ltjax.report.text import DASH, markdown_table, percent

KEYS = (*GROUPS, "all")
OF_SEVERAL_LABELS = (*KEYS, "micro")
LATIN = 0x17F  # the last letter that pdfLaTeX has without further packages


class Line(NamedTuple):
    """A row of the table.

    Attributes:
      label: the name of the row.
      accuracies: (mean, deviation) for each of the table's keys, fractions; None where unknown.
      gains: over each baseline, in all classes; None for the baseline itself.
      seeds: how many.
      conditions: column -> value, for what the rows differ in.
    """

    label: str
    accuracies: list[tuple[float | None, float | None]]
    gains: list[float | None]
    seeds: int
    conditions: dict[str, str]


class Comparison(NamedTuple):
    """The table: its rows, the labels of the baselines that their gains are over, and the keys of its numbers."""

    lines: list[Line]
    baselines: list[str]
    keys: tuple[str, ...] = KEYS


def compare(
    groups: Sequence[SeedGroup], baselines: Sequence[SeedGroup] = (), differing: Collection[str] = ()
) -> Comparison:
    """The table of these rows, with a column for every aspect in which they differ (``differences``)."""
    lines, keys = [], KEYS if groups[0].measure == "accuracy" else OF_SEVERAL_LABELS
    for group in groups:
        mean = group.accuracy("all")[0]
        others = [base.accuracy("all")[0] if base is not group else None for base in baselines]
        gains = [None if mean is None or other is None else mean - other for other in others]
        accuracies = [group.accuracy(key) for key in keys]
        lines.append(Line(group.label, accuracies, gains, len(group.results["seeds"]), _conditions(group, differing)))
    return Comparison(lines, [base.label for base in baselines], keys)


def _conditions(group: SeedGroup, differing: Collection[str]) -> dict[str, str]:
    results = group.results
    values = {
        "epochs": {"epochs": str(group.epochs)},
        "test": {"test set": f"{results['dataset']} {results['split']}"},
        "groups": {"groups": str(results["convention"])},
        "data": {"data": f"{results['dataset']} {results['train_index_sha256'][:12]}"},
    }
    return {name: value for aspect, of in values.items() if aspect in differing for name, value in of.items()}


def as_markdown(table: Comparison) -> str:
    """Mean ± deviation with one decimal.

    Example:
      >>> pairs = [(0.9, None), (None, None), (0.4, 0.02), (0.7, 0.01)]
      >>> print(as_markdown(Comparison([Line("ce", pairs, [], 2, {})], [])))
      | method | many | medium | few | all | seeds |
      | --- | ---: | ---: | ---: | ---: | ---: |
      | ce | 90.0 | - | 40.0 ± 2.0 | 70.0 ± 1.0 | 2 |
    """
    header = ["method", *table.keys, *(f"gain over {base}" for base in table.baselines), "seeds", *_columns(table)]
    rows = [
        [escape.markdown(line.label), *(percent(*pair) for pair in line.accuracies), *map(_gain, line.gains),
         str(line.seeds), *map(escape.markdown, line.conditions.values())]
        for line in table.lines
    ]  # fmt: skip
    return markdown_table([escape.markdown(word) for word in header], rows)


def as_csv(table: Comparison) -> str:
    """Percentages with four decimals, mean and deviation in columns of their own; empty where unknown.

    Labels are written by ``escape.csv_cell``: no spreadsheet takes one for a formula.
    """
    spread = [word for key in table.keys for word in (key, f"{key}_std")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    gains_over = [escape.csv_cell(f"gain_over_{base}") for base in table.baselines]
    writer.writerow(["method", *spread, *gains_over, "seeds", *_columns(table)])
    for line in table.lines:
        numbers = [_number(value) for pair in line.accuracies for value in pair]
        gains = [_number(gain) for gain in line.gains]
        conditions = map(escape.csv_cell, line.conditions.values())
        writer.writerow([escape.csv_cell(line.label), *numbers, *gains, line.seeds, *conditions])
    return text.getvalue()


def as_latex(table: Comparison) -> str:
    """A tabular of booktabs.

    Example:
      >>> pairs = [(0.9, None), (None, None), (0.4, 0.02), (0.7, 0.01)]
      >>> print(as_latex(Comparison([Line("a_b", pairs, [], 2, {})], [])), end="")
      % \\usepackage{booktabs}
      \\begin{tabular}{lrrrrr}
      \\toprule
      Method & Many & Medium & Few & All & Seeds \\\\
      \\midrule
      a\\_b & $90.0$ & -- & $40.0 \\pm 2.0$ & $70.0 \\pm 1.0$ & 2 \\\\
      \\bottomrule
      \\end{tabular}
    """
    header = ["method", *table.keys, *(f"gain over {base}" for base in table.baselines), "seeds", *_columns(table)]
    rows = [
        [escape.latex(line.label), *(_math(percent(*pair)) for pair in line.accuracies),
         *(_math(_gain(gain)) for gain in line.gains), str(line.seeds), *map(escape.latex, line.conditions.values())]
        for line in table.lines
    ]  # fmt: skip
    first = [escape.latex(word[:1].upper() + word[1:]) for word in header]
    body = [r" \\".join([" & ".join(row), ""]).rstrip() for row in [first, *rows]]
    columns = "l" + "r" * (len(header) - 1)
    needs = [r"% \usepackage{booktabs}"]
    if any(ord(letter) > LATIN for row in [first, *rows] for cell in row for letter in cell):
        needs.append("% names in other scripts: compile with XeLaTeX or LuaLaTeX, and a font that has their letters")
    return "\n".join(
        [*needs, rf"\begin{{tabular}}{{{columns}}}", r"\toprule", body[0], r"\midrule", *body[1:],
         r"\bottomrule", r"\end{tabular}"]
    ) + "\n"  # fmt: skip


def _columns(table: Comparison) -> list[str]:
    return list(table.lines[0].conditions)


def _math(cell: str) -> str:
    return "--" if cell == DASH else f"${cell.replace('±', chr(92) + 'pm')}$"


def _gain(gain: float | None) -> str:
    return DASH if gain is None else signed(gain)


def signed(fraction: float) -> str:
    """A difference of fractions in percent, with its sign.

    Example:
      >>> signed(0.0123), signed(-0.0001)
      ('+1.2', '+0.0')
    """
    return f"{round(100 * fraction, 1) + 0.0:+.1f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.4f}"
