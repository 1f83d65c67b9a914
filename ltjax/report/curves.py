"""Training curves out of metrics.jsonl: losses, accuracy, learning rate over epochs."""

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ltjax.report.style import COLORS, INK, LINE_COLORS, new_figure, png

SMOOTH_FROM = 300  # with more points than this the curve is a running mean over the faint raw values


def training_curves(metrics: Sequence[dict[str, Any]]) -> bytes | None:
    """Loss and its terms, training and test accuracy, learning rate, one under the other; None if nothing is logged."""
    x, boundaries = epochs_of(metrics)
    names = list(dict.fromkeys(name for row in metrics for name in row))
    accuracies = [n for n in names if n == "accuracy" or re.fullmatch("(test|validation)/(all|many|medium|few)", n)]
    panels = [
        ("loss", _lines(metrics, x, [n for n in names if n == "loss" or n.startswith("loss/")])),
        ("accuracy (%)", _lines(metrics, x, accuracies, 100)),
        ("learning rate", _lines(metrics, x, [n for n in names if n.split("/")[0] == "learning_rate"])),
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
    column[0].set_title("Training", pad=10 + 14 * levels)
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
    metrics: Sequence[dict[str, Any]], x: np.ndarray, names: Sequence[str], scale: float = 1
) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """(name, x, y) of every name, at the rows that hold a finite number for it."""
    lines = []
    for name in names:
        y = np.array([v if isinstance(v := row.get(name), int | float) else math.nan for row in metrics], float)
        finite = np.isfinite(y)
        if finite.any():
            lines.append((name, x[finite], scale * y[finite]))
    return lines


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


def _draw_panel(
    axes: Axes, title: str, lines: Sequence[tuple[str, np.ndarray, np.ndarray]], edges: Sequence[float]
) -> None:
    free = [c for c in LINE_COLORS if title == "loss" or c not in COLORS.values()]  # groups keep their own colours
    colors = iter(free * len(lines))
    for name, x, y in lines:
        group = name.rpartition("/")[2]
        total = name in ("loss", "accuracy", "learning_rate")
        color = INK if total else COLORS.get(group) or next(colors)
        label = {"loss": "total", "accuracy": "training batches"}.get(
            name, name.removeprefix("loss/").replace("/", " ")
        )
        order = 3 if total else 2
        marker = "o" if len(x) <= 40 else ""
        for part in np.split(
            np.arange(len(x)), np.searchsorted(x, edges[1:], side="right")
        ):  # no line across two stages
            part_x, part_y = x[part], y[part]
            if len(part) > SMOOTH_FROM:
                axes.plot(part_x, part_y, color=color, linewidth=0.6, alpha=0.25)
                part_x, part_y = _running_mean(part_x, part_y)
            axes.plot(part_x, part_y, color=color, label=label, zorder=order, marker=marker, markersize=4)
            label = "_again"  # matplotlib leaves a name with an underscore out of the legend
    values = np.concatenate([y for _, _, y in lines])
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


def _running_mean(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over a hundredth of the points; the first and last windows are whole, so the ends are as steady."""
    window = max(3, len(y) // 100)
    weights = np.ones(window) / window
    return np.convolve(x, weights, "valid"), np.convolve(y, weights, "valid")
