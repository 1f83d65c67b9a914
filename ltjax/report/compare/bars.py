"""Bars of the accuracies of several predictions of one network: its branches or experts alone, and the result."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ltjax.report.compare.groups import SeedGroup
from ltjax.report.fonts import drawn
from ltjax.report.run import GROUPS
from ltjax.report.style import INK, LINE_COLORS, bounded, legend_beside, legend_label, new_figure, png

KEYS = (*GROUPS, "all")
HATCHES = ("", "///", "...", "xxx")
RESULT = "the result"

# (label, mean, deviation of each of the positions), in percent, NaN where unknown
Bars = tuple[str, Sequence[float], Sequence[float]]


def views(groups: Sequence[SeedGroup]) -> bytes | None:
    """A panel for each row with views: many, medium, few and all by each view and by the result; None without any."""
    viewed = [group for group in groups if group.results.get("views")]
    if not viewed:
        return None
    figure = new_figure(8.4, 0.8 + 2.7 * len(viewed))
    column = figure.subplots(len(viewed), 1, sharey=True, squeeze=False)[:, 0]
    for axes, group in zip(column, viewed, strict=True):
        results = group.results
        each = [(RESULT, results["accuracy"], results.get("std", {}).get("accuracy", {}))]
        each += [
            (name.replace("_", " "), view["accuracy"], view.get("std", {}).get("accuracy", {}))
            for name, view in results["views"].items()
        ]
        bars = [
            (name, [percent_of(mean.get(key)) for key in KEYS], [percent_of(spread.get(key)) for key in KEYS])
            for name, mean, spread in each
        ]
        draw_bars(axes, KEYS, bars)
        axes.set_title(f"{drawn(group.label)}: each view of the network alone")
        axes.set_ylabel(f"{group.measure} (%)")
        legend_beside(axes)
    return png(figure)


def percent_of(fraction: float | None) -> float:
    return math.nan if fraction is None else 100 * fraction


def draw_bars(axes: Axes, positions: Sequence[str], bars: Sequence[Bars]) -> None:
    """A cluster of bars at each position, from zero, with the deviations as error bars."""
    width = 0.84 / len(bars)
    x = np.arange(len(positions))
    for i, (label, means, deviations) in enumerate(bars):
        left = x + (i - (len(bars) - 1) / 2) * width
        color, hatch = LINE_COLORS[i % len(LINE_COLORS)], HATCHES[i // len(LINE_COLORS) % len(HATCHES)]
        look: dict[str, Any] = {"color": color, "hatch": hatch, "edgecolor": "white", "linewidth": 0}
        axes.bar(left, means, 0.9 * width, label=legend_label(label), **look)
        spread = np.asarray(deviations, float)
        heights = np.asarray(means, float)
        known = np.isfinite(spread) & np.isfinite(heights)
        if known.any():
            axes.errorbar(
                left[known], heights[known], bounded(heights[known], spread[known]), fmt="none", ecolor=INK,
                elinewidth=1, capsize=min(3.0, 40 * width),
            )  # fmt: skip
    axes.set_xticks(x, [drawn(position) for position in positions])
    axes.grid(axis="x", visible=False)
