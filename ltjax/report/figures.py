"""The figures of a finished run: accuracy by class, confusion matrix, weight norms; the curves are in curves.py."""

import math
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from ltjax.class_counts import frequency_order
from ltjax.report.curves import class_loss_curves, gradient_curves, training_curves
from ltjax.report.fonts import class_ticks, drawn, numbered
from ltjax.report.run import Run, class_labels, group_sizes, measure, several_seeds
from ltjax.report.style import (
    COLORS,
    MARKERS,
    bounded,
    group_legend,
    group_spans,
    name_ticks,
    new_figure,
    place_labels,
    png,
    shade_groups,
    style_for,
)

# boundaries of the groups in training images, off by half so that no class lies on a boundary
THRESHOLDS = {"strict": {"many": 100.5, "medium": 19.5}, "inclusive": {"many": 99.5, "medium": 20.5}}
MAX_NAMED_CLASSES = 20  # with more classes the figures show ranks instead of names
FEW_COUNTS = (
    3  # with at most so many different counts (the step profile has 2) these are the ticks, and ties spread out
)
MAX_CELLS = 200  # a confusion matrix with more rows is drawn in bins of classes


def draw(run: Run) -> dict[str, bytes]:
    """Draws the figures that the run has data for: name -> PNG."""
    figures: dict[str, bytes | None] = {}
    seeds = len(run.results["seeds"])
    with matplotlib.rc_context(style_for(_texts(run))):
        figures["training"] = training_curves(run.metrics, seeds)
        figures["gradients"] = gradient_curves(run.metrics, seeds)
        figures["class_losses"] = class_loss_curves(run.metrics, labels_with_counts(run.results), seeds)
        figures["accuracy_per_class"] = accuracy_per_class(run.results)
        if run.confusion is not None:
            figures["confusion"] = confusion_matrix(run.results, run.confusion)
        if run.weight_norms is not None:
            figures["weight_norms"] = weight_norms(run.results, run.weight_norms)
    return {name: figure for name, figure in figures.items() if figure is not None}


def _texts(run: Run) -> list[str]:
    """The names from outside that the figures show."""
    stages = {str(row.get("stage", "")) for row in run.metrics}
    terms = {name for row in run.metrics for name in row}
    return [*class_labels(run.results), str(run.results["split"]), *sorted(stages | terms)]


def numbered_classes(run: Run) -> dict[int, str]:
    """Class number -> name, of the classes that the figures show by number, for no font has the name's letters."""
    with matplotlib.rc_context(style_for(_texts(run))):
        found = numbered(class_labels(run.results))
    few = len(run.results["class_counts"]) <= MAX_NAMED_CLASSES  # with more only the watched ones are named
    watched = {name.split("/")[1] for row in run.metrics for name in row if name.startswith("class_loss/")}
    return {c: name for c, name in found.items() if few or str(c) in watched}


def accuracy_per_class(results: dict[str, Any]) -> bytes | None:
    """Draws the accuracy of each class over its training images, with shaded groups; None if no class was tested.

    For several seeds the points are means, with error bars of one sample standard deviation.
    """
    order = frequency_order(results["class_counts"])
    counts = np.maximum(np.asarray(results["class_counts"], float)[order], 0.5)  # 0 does not exist on a log axis
    values = np.array([math.nan if a is None else 100 * a for a in results["per_class"]], float)[order]
    if not np.isfinite(values).any():
        return None
    deviations = class_deviations(results)[order]
    spans = group_spans(group_sizes(results))
    figure = new_figure(8, 4.8)
    axes = figure.subplots()
    ties = "; equal counts side by side" if len(counts) > len(np.unique(counts)) <= FEW_COUNTS else ""
    axes.set(xscale="log", xlabel=f"training images per class (log scale{ties})")
    axes.set_ylabel(f"{measure(results)} per class (%{_of_seeds(results, 'mean ± deviation of')})")
    x = spread_ties(counts)
    margin = math.exp(0.05 + 0.06 * math.log(x.max() / x.min()))
    left, right = x.min() / margin, x.max() * margin
    # spans go from the most frequent classes, on the right, to the rarest
    thresholds = THRESHOLDS.get(results["convention"], {})
    cuts = [thresholds.get(group, math.sqrt(counts[b - 1] * counts[b])) for group, _, b in spans[:-1]]
    edges = [right, *cuts, left]
    shade_groups(axes, spans, edges)
    legend = {}
    for (group, a, b), high, low in zip(spans, edges[:-1], edges[1:], strict=True):
        size = 36 if len(counts) <= 200 else 14
        axes.scatter(
            x[a:b], values[a:b], size, COLORS[group], marker=MARKERS[group], zorder=3, linewidths=0,
            alpha=0.85 if len(counts) <= 200 else 0.45,
        )  # fmt: skip
        if several_seeds(results):
            bars = bounded(values[a:b], deviations[a:b])
            axes.errorbar(
                x[a:b], values[a:b], bars, fmt="none", ecolor=COLORS[group], zorder=2.5,
                elinewidth=1.2 if len(counts) <= 200 else 0.5, alpha=0.45,
            )  # fmt: skip
        # with deviations there is no room for the word
        legend[group] = f"{group} ({f'{b - a:,}' if several_seeds(results) else _classes(b - a)})"
        if np.isfinite(values[a:b]).any():
            mean = np.nanmean(values[a:b])
            axes.plot([low, high], [mean, mean], color=COLORS[group], linewidth=1.6, alpha=0.7, zorder=2)
            legend[group] += f": {mean:.1f}{_group_deviation(results, group)} %"
    axes.set(xlim=(left, right), ylim=(-4, 104))
    _count_ticks(axes, counts)
    axes.set_title(
        f"{measure(results).capitalize()} per class and mean of each group ({drawn(results['split'])} images)"
    )
    group_legend(axes, legend, markers=True)
    if len(counts) <= MAX_NAMED_CLASSES:
        shown = np.flatnonzero(np.isfinite(values))
        labels = class_ticks(class_labels(results))
        place_labels(axes, x[shown], values[shown], [labels[order[i]] for i in shown], deviations[shown])
    return png(figure)


def labels_with_counts(results: dict[str, Any]) -> dict[int, str]:
    """class -> its name and number of training images, the most frequent class first."""
    labels, counts = class_ticks(class_labels(results)), results["class_counts"]
    return {int(c): f"{labels[c]} ({counts[c]:,} images)" for c in frequency_order(counts)}


def class_deviations(results: dict[str, Any]) -> np.ndarray:
    """float [C]: sample standard deviation over the seeds in percent; 0 if unknown or for one seed."""
    none: list[float | None] = [None] * len(results["class_counts"])
    return np.array([100 * (d or 0.0) for d in results.get("std", {}).get("per_class", none)])


def _group_deviation(results: dict[str, Any], group: str) -> str:
    if not several_seeds(results):
        return ""
    deviation = (results["std"]["shots"].get(results["convention"]) or {}).get(group)
    return "" if deviation is None else f" ± {100 * deviation:.1f}"


def _of_seeds(results: dict[str, Any], how: str) -> str:
    """How several seeds were combined, for a title or an axis."""
    return f"; {how} {len(results['seeds'])} seeds" if several_seeds(results) else ""


def confusion_matrix(results: dict[str, Any], confusion: np.ndarray) -> bytes:
    """Draws the confusion matrix in percent of the true class (row), with classes sorted by frequency."""
    order = frequency_order(results["class_counts"])
    classes = len(order)
    shares, per_bin = confusion_shares(confusion, order)
    end = per_bin * len(shares)  # the last bin may hold fewer classes; it is drawn in full width and clipped

    figure = new_figure(7.6, 7.2)
    axes = figure.subplots()
    axes.grid(False)
    axes.spines[:].set_visible(False)
    cmap = matplotlib.colormaps["Blues"].with_extremes(bad="#eeeeee")
    image = axes.imshow(
        shares, cmap=cmap, norm=PowerNorm(0.5, 0, 100), interpolation="nearest", extent=(0, end, end, 0)
    )
    bar = figure.colorbar(image, ax=axes, shrink=0.6, pad=0.02, ticks=[0, 1, 5, 10, 25, 50, 75, 100])
    bar.set_label("images of the true class (%)")
    bar.outline.set_visible(False)
    if classes <= MAX_NAMED_CLASSES:
        _name_cells(axes, results, order, shares)
    else:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(6, integer=True))
        each = f" ({per_bin} per cell)" if per_bin > 1 else ""
        axes.set_xlabel(f"predicted classes, most frequent first{each}")
        axes.set_ylabel(f"true classes, most frequent first{each}")
    legend = {}
    for group, a, b in group_spans(group_sizes(results)):
        strip: dict[str, Any] = {"color": COLORS[group], "linewidth": 5, "solid_capstyle": "butt", "clip_on": False}
        axes.plot([-0.012 * classes] * 2, [a, b], **strip)
        axes.plot([a, b], [1.012 * classes] * 2, **strip)
        if a > 0:
            axes.axhline(a, color="#777777", linewidth=0.8, linestyle=(0, (4, 3)))
            axes.axvline(a, color="#777777", linewidth=0.8, linestyle=(0, (4, 3)))
        legend[group] = f"{group} ({_classes(b - a)})"
    axes.set(xlim=(0, classes), ylim=(classes, 0))
    axes.tick_params(length=0, pad=10)
    axes.set_title(f"Confusion matrix ({drawn(results['split'])} images{_of_seeds(results, 'sum of')})")
    group_legend(axes, legend, markers=False)
    return png(figure)


def confusion_shares(confusion: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, int]:
    """Percentages of each row with classes in ``order``, and the classes per cell (1 up to MAX_CELLS classes).

    A row without images is NaN.

    Example:
      >>> confusion_shares(np.array([[1, 3], [0, 2]]), np.array([1, 0]))[0].tolist()
      [[100.0, 0.0], [75.0, 25.0]]
    """
    per_bin = -(-len(order) // MAX_CELLS)
    starts = np.arange(0, len(order), per_bin)
    cells = np.add.reduceat(confusion[order], starts, axis=0)[
        :, order
    ]  # rows first: with 8,142 classes the matrix takes half a GB
    cells = np.add.reduceat(cells, starts, axis=1).astype(float)
    rows = cells.sum(1, keepdims=True)
    return np.divide(100 * cells, rows, out=np.full_like(cells, np.nan), where=rows > 0), per_bin


def weight_norms(results: dict[str, Any], norms: np.ndarray) -> bytes | None:
    """Draws the norm of each class's classifier weights by frequency rank, groups shaded; None if none is finite."""
    order = frequency_order(results["class_counts"])
    values = np.asarray(norms, float)[order]
    if not np.isfinite(values).any():
        return None
    spans = group_spans(group_sizes(results))
    figure = new_figure(8, 4.2)
    axes = figure.subplots()
    shade_groups(axes, spans, [0.5, *(b + 0.5 for _, _, b in spans)])
    ranks = np.arange(1, len(values) + 1)
    legend = {}
    for group, a, b in spans:
        size = 36 if len(values) <= 200 else 10
        axes.scatter(ranks[a:b], values[a:b], size, COLORS[group], marker=MARKERS[group], zorder=3, linewidths=0)
        legend[group] = f"{group} ({_classes(b - a)})"
        if np.isfinite(values[a:b]).any():
            mean = np.nanmean(values[a:b])
            axes.plot([a + 0.5, b + 0.5], [mean, mean], color=COLORS[group], linewidth=1.6, alpha=0.7, zorder=2)
            legend[group] += f": {mean:.3g}"
    axes.set(xlim=(0.5, len(values) + 0.5), xlabel="class, most frequent first")
    axes.set_ylabel(f"L2 norm of the weights{_of_seeds(results, 'mean of')}")
    axes.margins(y=0.12)
    if len(values) <= MAX_NAMED_CLASSES:
        labels = class_ticks(class_labels(results))
        name_ticks(axes, ranks, [labels[c] for c in order])
    else:
        axes.set_xlabel("rank of the class, most frequent first")
    axes.set_title("Classifier weights: norm per class and mean of each group")
    group_legend(axes, legend, markers=True)
    return png(figure)


def _classes(number: int) -> str:
    return "1 class" if number == 1 else f"{number:,} classes"


def spread_ties(counts: np.ndarray) -> np.ndarray:
    """Positions of sorted counts on a log axis, with ties spread out: further if there are few different counts."""
    x = counts.copy()
    values, sizes = np.unique(counts, return_counts=True)
    room = 0.1 if len(values) > FEW_COUNTS else max(0.1, 0.08 * math.log(counts.max() / counts.min()))
    for value, size in zip(values, sizes, strict=True):
        if size > 1:
            x[counts == value] = value * np.exp(np.linspace(room, -room, size))
    return x


def _count_ticks(axes: Axes, counts: np.ndarray) -> None:
    """Ticks as plain numbers: the counts if there are few, otherwise 1, 2 and 5 (or only 1) times powers of ten."""
    if len(np.unique(counts)) <= FEW_COUNTS:
        axes.set_xticks(np.unique(counts))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        low, high = axes.get_xlim()
        subs = (1.0, 2.0, 5.0) if high / low < 2000 else (1.0,)
        axes.xaxis.set_major_locator(LogLocator(10, subs))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: "0" if value < 1 else f"{value:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _name_cells(axes: Axes, results: dict[str, Any], order: np.ndarray, shares: np.ndarray) -> None:
    """Class names on both axes (with training images on the rows), and whole percentages in the cells."""
    labels = class_ticks(class_labels(results))
    labels = [labels[c] for c in order]
    centres = np.arange(len(order)) + 0.5
    name_ticks(axes, centres, labels)
    counts = results["class_counts"]
    axes.set_yticks(centres, [f"{drawn(label)} ({counts[c]:,})" for label, c in zip(labels, order, strict=True)])
    axes.set(xlabel="predicted class", ylabel="true class (training images)")
    for row, column in np.argwhere(shares >= 0.5):
        share = shares[row, column]
        axes.text(
            centres[column], centres[row], f"{share:.0f}", ha="center", va="center",
            color="white" if share > 40 else "#333333", fontsize=11 if len(order) <= 12 else 8,
        )  # fmt: skip
