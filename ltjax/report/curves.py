"""Training curves out of metrics.jsonl: losses, accuracy, learning rate over epochs.

Over several seeds a line is their mean and a band reaches from the lowest to the highest seed: unlike mean ± deviation
it stays above zero on the log scale of a loss.
"""

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ltjax.report.style import COLORS, INK, LINE_COLORS, new_figure, png

TOTALS = ("loss", "accuracy", "learning_rate")  # drawn in ink, over the others
SMOOTH_FROM = 300  # with more points than this the curve is a running mean (of one seed: over the faint raw values)


class Line(NamedTuple):
    """x, y: float [n], of the rows that hold a finite number. each: float [n, S], every seed's, NaN where unknown."""

    name: str
    x: np.ndarray
    y: np.ndarray
    each: np.ndarray


def training_curves(metrics: Sequence[dict[str, Any]], seeds: int = 1) -> bytes | None:
    """Loss and its terms, training and test accuracy, learning rate, one under the other; None if nothing is logged."""
    x, boundaries = epochs_of(metrics)
    names = list(dict.fromkeys(name for row in metrics for name in row))
    accuracies = [n for n in names if n == "accuracy" or re.fullmatch("(test|validation)/(all|many|medium|few)", n)]
    panels = [
        ("loss", _lines(metrics, x, seeds, [n for n in names if n == "loss" or n.startswith("loss/")])),
        ("accuracy (%)", _lines(metrics, x, seeds, accuracies, 100)),
        ("learning rate", _lines(metrics, x, seeds, [n for n in names if n.split("/")[0] == "learning_rate"])),
    ]
    panels = [(title, lines) for title, lines in panels if lines]
    if not panels:
        return None
    heights = [2 if title == "loss" else 1.6 if title == "accuracy (%)" else 1 for title, _ in panels]
    figure = new_figure(8.4, 1.0 + 1.6 * sum(heights))
    edges = [edge for edge, _ in boundaries]
    column = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (title, lines) in zip(column, panels, strict=True):
        _draw_panel(axes, title, lines, edges)
        for edge in edges[1:]:
            axes.axvline(edge, color="#777777", linewidth=1, linestyle=(0, (4, 3)))
    column[-1].set_xlabel("epoch")
    end = x.max() or 1.0
    column[-1].set_xlim(-0.01 * end, 1.01 * end)
    levels = _name_stages(column[0], boundaries) if len(boundaries) > 1 else 0
    title = f"Training: mean of {seeds} seeds, band from the lowest to the highest" if seeds > 1 else "Training"
    column[0].set_title(title, pad=10 + 14 * levels)
    figure.align_ylabels(column.tolist())
    return png(figure)


def epochs_of(metrics: Sequence[dict[str, Any]]) -> tuple[np.ndarray, list[tuple[float, str]]]:
    """Where each row stands, in epochs since the start of the run, and (start, name) of every stage.

    A row's ``epoch`` is how many epochs of its stage were done, so each stage begins at 0 again.

    Example:
      >>> rows = [{"epoch": 0.5, "stage": "a"}, {"epoch": 1.0, "stage": "a"}, {"epoch": 0.5, "stage": "b"}]
      >>> x, stages = epochs_of(rows)
      >>> x.tolist(), stages
      ([0.5, 1.0, 1.5], [(0.0, 'a'), (1.0, 'b')])
    """
    x, offset = np.zeros(len(metrics)), 0.0
    stages: list[tuple[float, str]] = []
    for i, row in enumerate(metrics):
        stage = str(row.get("stage", ""))
        if not stages or stages[-1][1] != stage:
            offset = float(math.ceil(x[i - 1])) if i else 0.0
            stages.append((offset, stage))
        x[i] = offset + row.get("epoch", i)
    return x, stages


def _lines(
    metrics: Sequence[dict[str, Any]], x: np.ndarray, seeds: int, names: Sequence[str], scale: float = 1
) -> list[Line]:
    """The line of every name, at the rows that hold a finite number for it."""
    lines = []
    for name in names:
        y = np.array([v if isinstance(v := row.get(name), int | float) else math.nan for row in metrics], float)
        finite = np.isfinite(y)
        if not finite.any():
            continue
        each = np.array([_per_seed(row, name, seeds) for row in metrics], float)
        lines.append(Line(name, x[finite], scale * y[finite], scale * each[finite]))
    return lines


def _per_seed(row: dict[str, Any], name: str, seeds: int) -> list[float]:
    """A number a seed, not-a-number where the row has none (one seed has no ``per_seed``)."""
    values = row.get("per_seed", {}).get(name)
    if not isinstance(values, list) or len(values) != seeds:
        return [math.nan] * seeds
    return [v if isinstance(v, int | float) else math.nan for v in values]


def _name_stages(axes: Axes, boundaries: Sequence[tuple[float, str]]) -> int:
    """Writes each stage's name over its start, a line higher where it would touch the one before; returns the lines."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.canvas.draw()  # fixes the layout, so that the extents below are those of the picture
    ends: list[float] = []  # right end of the last name on each line
    for edge, stage in boundaries:
        place: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
        text = axes.annotate(stage, (edge, 1), xytext=(3, 3), annotation_clip=False, **place)
        box = text.get_window_extent()
        level = next((i for i, end in enumerate(ends) if box.x0 > end), len(ends))
        text.set_position((3, 3 + 14 * level))
        ends[level : level + 1] = [box.x1 + 8]
    return len(ends)


def _draw_panel(axes: Axes, title: str, lines: Sequence[Line], edges: Sequence[float]) -> None:
    free = [c for c in LINE_COLORS if title == "loss" or c not in COLORS.values()]  # groups keep their own colours
    colors = iter(free * len(lines))
    for line in lines:
        group = line.name.rpartition("/")[2]
        color = INK if line.name in TOTALS else COLORS.get(group) or next(colors)
        _draw_line(axes, line, color, edges)
    values = np.concatenate([line.y for line in lines])
    if title == "loss" and values.min() > 0 and values.max() > 30 * values.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(10, (1.0, 2.0, 5.0) if values.max() < 1e3 * values.min() else (1.0,)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        title = "loss (log scale)"
    if title == "accuracy (%)":
        axes.set_ylim(-2, 102)
    if title == "learning rate":
        axes.set_ylim(bottom=0)
    axes.set_ylabel(title)
    if len(lines) > 1 or title == "accuracy (%)":
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)


def _draw_line(axes: Axes, line: Line, color: str, edges: Sequence[float]) -> None:
    """One curve and its seeds' band, stage by stage; many points are drawn as a running mean."""
    label = {"loss": "total", "accuracy": "training batches"}.get(
        line.name, line.name.removeprefix("loss/").replace("/", " ")
    )
    order = 3 if line.name in TOTALS else 2
    marker = "o" if len(line.x) <= 40 else ""
    banded = np.isfinite(line.each).all(1)
    # no line across two stages
    for part in np.split(np.arange(len(line.x)), np.searchsorted(line.x, edges[1:], side="right")):
        x, y, each = line.x[part], line.y[part], line.each[part]
        if len(part) > SMOOTH_FROM:
            if not banded.any():
                axes.plot(x, y, color=color, linewidth=0.6, alpha=0.25)
            x, y, each = _running_mean(x), _running_mean(y), np.apply_along_axis(_running_mean, 0, each)
        axes.plot(x, y, color=color, label=label, zorder=order, marker=marker, markersize=4)
        if banded[part].any():
            axes.fill_between(x, each.min(1), each.max(1), color=color, alpha=0.2, linewidth=0, zorder=order - 1)
        label = "_again"  # matplotlib leaves a name with an underscore out of the legend


def _running_mean(values: np.ndarray) -> np.ndarray:
    """Mean over a hundredth of the points; the first and last windows are whole, so the ends are as steady."""
    window = max(3, len(values) // 100)
    return np.convolve(values, np.ones(window) / window, "valid")
