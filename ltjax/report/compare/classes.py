"""Figures of several runs over the classes, the most frequent first: accuracy, gain over baselines, weight norms."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from ltjax.class_counts import frequency_order
from ltjax.report.compare.groups import SeedGroup
from ltjax.report.compare.table import signed
from ltjax.report.fonts import class_ticks, drawn
from ltjax.report.run import class_labels, group_sizes
from ltjax.report.style import (
    COLORS,
    INK,
    group_spans,
    legend_beside,
    legend_label,
    line_styles,
    name_ticks,
    new_figure,
    png,
    shade_groups,
)

MAX_NAMED_CLASSES = 20  # with more classes the axis shows ranks instead of names
MAX_BARS = 200  # with more classes a bar is the mean of several
WIDTH = 8.4  # inches
GREYS = {"many": "#555555", "medium": "#999999", "few": "#cccccc"}


def accuracy_by_class(groups: Sequence[SeedGroup]) -> bytes | None:
    """Training images of each class above the accuracy of each row; None if no class was tested."""
    values = [_accuracies(group) for group in groups]
    what = groups[0].measure
    title = f"{what.capitalize()} by class ({drawn(groups[0].results['split'])} images)"
    lowest = min((float(np.nanmin(one)) for one in values if np.isfinite(one).any()), default=0.0)
    return _below_counts(groups, values, title, f"{what} (%)", (max(-4.0, lowest - 8), 104))


def weight_norms(groups: Sequence[SeedGroup]) -> bytes | None:
    """Training images of each class above the norm of its classifier weights; None if no row has norms."""
    known = [group for group in groups if group.weight_norms is not None]
    values = [np.asarray(group.weight_norms, float) for group in known]
    title = "Norm of the classifier weights by class"
    return _below_counts(known, values, title, "L2 norm of the weights", (0, None))


def _below_counts(
    groups: Sequence[SeedGroup],
    values: Sequence[np.ndarray],
    title: str,
    what: str,
    limits: tuple[float, float | None],
) -> bytes | None:
    """A line for each row below the training images; None if no value is finite.

    With many classes a line is the mean over neighbouring classes, for that of single ones covers the page. The groups
    of classes are grey, for the colours are the rows'.
    """
    if not any(np.isfinite(one).any() for one in values):
        return None
    results = groups[0].results
    order = frequency_order(results["class_counts"])
    figure = new_figure(WIDTH, 6)
    above, axes = figure.subplots(2, 1, sharex=True, height_ratios=[1, 3])
    _draw_counts(above, results, order)
    window = _window(len(order))
    for group, one, style in zip(groups, values, line_styles(len(groups)), strict=True):
        marker = {"marker": style["marker"] if window == 1 else "", "markersize": 5}
        ranks = np.arange(1, len(one) + 1)
        axes.plot(ranks, _smooth(one[order], window), label=legend_label(group.label), zorder=3, **(style | marker))
    axes.set_ylim(*limits)
    axes.set_ylabel(what + (f"\nmean of {window} neighbouring classes" if window > 1 else ""))
    _class_axis(axes, results, order)
    above.set_title(title, pad=30)
    legend_beside(axes)
    figure.align_ylabels([above, axes])
    return png(figure)


def class_gains(groups: Sequence[SeedGroup], baselines: Sequence[SeedGroup]) -> bytes | None:
    """For every other row and every baseline a panel of bars: the row's accuracy minus the baseline's, by class."""
    order = frequency_order(groups[0].results["class_counts"])
    others = [group for group in groups if not any(group is base for base in baselines)]
    pairs = [(group, base) for group in others or baselines[1:] for base in baselines if group is not base]
    gains = [(_accuracies(group) - _accuracies(base))[order] for group, base in pairs]
    if not any(np.isfinite(one).any() for one in gains):
        return None
    results = groups[0].results
    spans = group_spans(group_sizes(results))
    per_bar = -(-len(order) // MAX_BARS)
    starts = np.arange(0, len(order) - per_bar + 1, per_bar)  # the last bar may have more classes, never fewer
    figure = new_figure(WIDTH, 1.2 + 1.9 * len(pairs))
    column = figure.subplots(len(pairs), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, (group, base), gain in zip(column, pairs, gains, strict=True):
        _draw_gain(axes, gain, spans, starts)
        axes.set_title(
            f"{drawn(group.label)} over {drawn(base.label)}: {_mean_gains(group, base)}", fontsize=10.5, pad=4
        )
    column[0].margins(y=0.12)
    each = f", mean of {per_bar} classes a bar" if per_bar > 1 else ""
    what = groups[0].measure
    between = " " if what == "accuracy" else "\n"
    figure.supylabel(f"gain in {what}{between}(percentage points{each})", fontsize=11, color=INK)
    _class_axis(column[-1], results, order)
    return png(figure)


def _draw_gain(axes: Axes, gain: np.ndarray, spans: Sequence[tuple[str, int, int]], starts: np.ndarray) -> None:
    """Bars in the colours of the groups of classes."""
    shade_groups(axes, spans, [0.5, *(b + 0.5 for _, _, b in spans)])
    ends = np.append(starts[1:], len(gain))
    names = np.array([group for group, a, b in spans for _ in range(b - a)])
    axes.bar(
        (starts + ends + 1) / 2, _binned(gain, starts), 0.85 * (ends - starts), linewidth=0, zorder=3,
        color=[COLORS[name] for name in names[(starts + ends) // 2]],
    )  # fmt: skip
    axes.axhline(0, color=INK, linewidth=0.8, zorder=4)


def _binned(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Means of the known values from each start to the next; NaN where none is known.

    Example:
      >>> _binned(np.array([1.0, 3.0, 5.0, math.nan]), np.array([0, 2])).tolist()
      [2.0, 5.0]
    """
    known = np.isfinite(values)
    total = np.add.reduceat(np.where(known, values, 0.0), starts)
    number = np.add.reduceat(known.astype(float), starts)
    return np.divide(total, number, out=np.full(len(starts), np.nan), where=number > 0)


def _mean_gains(group: SeedGroup, base: SeedGroup) -> str:
    words = []
    for key in ("many", "medium", "few", "all"):
        one, other = group.accuracy(key)[0], base.accuracy(key)[0]
        if one is not None and other is not None:
            words.append(f"{key} {signed(one - other)}")
    return ", ".join(words)


def _accuracies(group: SeedGroup) -> np.ndarray:
    """float [C] in percent, NaN for a class without test images."""
    return np.array([math.nan if a is None else 100 * a for a in group.results["per_class"]], float)


def _window(classes: int) -> int:
    """How many neighbouring classes a point of a line is the mean of: 1 as long as lines of single ones can be read.

    Example:
      >>> [_window(classes) for classes in (10, 40, 100, 365, 1000, 8142)]
      [1, 1, 5, 15, 41, 325]
    """
    return 1 if classes <= 40 else 2 * (classes // 50) + 1


def _smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Centred means of the known values; at the ends over those that there are.

    Example:
      >>> _smooth(np.array([1.0, 2.0, 6.0]), 3).tolist()
      [1.5, 3.0, 4.0]
    """
    known = np.isfinite(values)
    padded = [np.pad(part, window // 2) for part in (np.where(known, values, 0.0), known.astype(float))]
    total, number = (np.convolve(part, np.ones(window), "valid") for part in padded)
    return np.divide(total, number, out=np.full_like(total, np.nan), where=number > 0.5)


def _draw_counts(axes: Axes, results: dict[str, Any], order: np.ndarray) -> None:
    """Training images of each class, as a filled outline on a log axis; the greys are the groups of classes."""
    counts = np.maximum(np.asarray(results["class_counts"], float)[order], 0.5)  # 0 does not exist on a log axis
    edges = np.arange(len(counts) + 1) + 0.5
    handles = []
    for group, a, b in group_spans(group_sizes(results)):
        filled: dict[str, Any] = {"baseline": 0.1, "fill": True, "linewidth": 0, "color": GREYS[group]}
        axes.stairs(counts[a:b], edges[a : b + 1], **filled)
        handles.append(Patch(color=GREYS[group], label=f"{group} ({b - a:,} class{'es' if b - a > 1 else ''})"))
    axes.set(yscale="log", ylim=(0.8 if counts.min() >= 1 else 0.4, 1.6 * counts.max()), ylabel="training\nimages")
    axes.yaxis.set_major_locator(LogLocator(10, (1.0,), numticks=5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.tick_params(labelbottom=False, bottom=False)
    legend = axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2)
    legend.set_in_layout(False)


def _class_axis(axes: Axes, results: dict[str, Any], order: np.ndarray) -> None:
    """Names of the classes, or their ranks if there are many, and dashed lines between the groups."""
    classes = len(order)
    axes.set_xlim(0.5, classes + 0.5)
    for _, a, _ in group_spans(group_sizes(results))[1:]:
        axes.axvline(a + 0.5, color="#999999", linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    if classes > MAX_NAMED_CLASSES:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.set_xlabel("rank of the class, most frequent first")
        return
    labels = class_ticks(class_labels(results))
    name_ticks(axes, range(1, classes + 1), [labels[c] for c in order])
    axes.set_xlabel("class, most frequent first")
