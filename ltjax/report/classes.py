"""The figure of the class distribution: training images of each class, the most frequent first."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator

from ltjax import escape
from ltjax.class_counts import frequency_order
from ltjax.report.fonts import class_ticks, numbered
from ltjax.report.style import (
    COLORS,
    INK,
    LINE_COLORS,
    group_legend,
    group_spans,
    name_ticks,
    new_figure,
    png,
    shade_groups,
    style_for,
)

MAX_NAMED_CLASSES = 40  # with more classes the axis shows ranks instead of names
MAX_SINGLE_BARS = 200  # with more classes one outline is drawn instead of bars


def class_curve(counts: Mapping[str, Any], groups: Mapping[str, Any], class_names: Sequence[str] | None) -> bytes:
    """Draws the training images of each class as a bar in the colour of its group, other splits as points; log scale.

    Args:
      counts: split -> int [C]; "train" determines the order.
      groups: ``shot_groups`` of the training counts.
      class_names: C names, or None.

    Returns:
      The bytes of a PNG.

    Example:
      >>> from ltjax.class_counts import shot_groups
      >>> counts = {"train": [3, 200, 40], "test": [5, 5, 0]}
      >>> class_curve(counts, shot_groups(counts["train"], "strict"), ["ant", "bee", "cat"])[:4]
      b'\\x89PNG'
    """
    names = _names(counts, class_names)
    with matplotlib.rc_context(style_for(names)):
        return _draw({split: np.asarray(values) for split, values in counts.items()}, groups, class_ticks(names))


def numbered_classes(counts: Mapping[str, Any], class_names: Sequence[str] | None) -> dict[int, str]:
    """Class number -> name, of the classes that ``class_curve`` shows by number, for no font has the name's letters."""
    names = _names(counts, class_names)
    with matplotlib.rc_context(style_for(names)):
        return numbered(names) if len(names) <= MAX_NAMED_CLASSES else {}


def _names(counts: Mapping[str, Any], class_names: Sequence[str] | None) -> list[str]:
    return escape.distinct(class_names) if class_names else [str(c) for c in range(len(counts["train"]))]


def _draw(counts: dict[str, np.ndarray], groups: Mapping[str, Any], names: Sequence[str]) -> bytes:
    train, order = counts["train"], frequency_order(counts["train"])
    classes = len(order)
    spans = group_spans([int(np.sum(mask)) for mask in groups.values()])
    figure = new_figure(8, 4.6)
    axes = figure.subplots()
    axes.set(yscale="log", ylabel="images per class (log scale)", xlim=(0.5, classes + 0.5))
    shade_groups(axes, spans, [0.5, *(end + 0.5 for _, _, end in spans)])
    legend = {}
    ranks = np.arange(1, classes + 1)
    for group, start, end in spans:
        of_group = train[order[start:end]]
        _bars(axes, ranks[start:end], of_group, COLORS[group], classes)
        legend[group] = f"{group}: {end - start:,} class{'' if end - start == 1 else 'es'}, {of_group.sum():,} images"
    others = {split: values for split, values in counts.items() if split != "train"}
    colors = [INK, *(color for color in LINE_COLORS if color not in COLORS.values())]
    for (split, values), color, marker in zip(others.items(), colors, "_x+", strict=False):
        size = 60 if classes <= MAX_SINGLE_BARS else 8
        axes.scatter(
            ranks, np.maximum(values[order], 0.5), size, color, marker=marker, zorder=4, linewidths=1.4, label=split
        )
    _ticks(axes, max(int(n.max()) for n in counts.values()), any((n == 0).any() for n in counts.values()))
    _name_classes(axes, [names[c] for c in order])
    axes.set_title(f"Training images per class: {train[order[0]]:,} to {train[order[-1]]:,}")
    if others:
        axes.add_artist(axes.legend(loc="upper right"))
    group_legend(axes, legend, markers=False)
    return png(figure)


def _bars(axes: Axes, ranks: np.ndarray, counts: np.ndarray, color: str, classes: int) -> None:
    """Draws bars from below the axis to the counts, or one filled outline if single bars would be too thin."""
    if classes <= MAX_SINGLE_BARS:
        axes.bar(ranks, counts, 0.8, color=color, alpha=0.85, zorder=3, linewidth=0)
    else:
        edges = np.concatenate([ranks - 0.5, ranks[-1:] + 0.5])
        axes.stairs(counts, edges, baseline=0.1, fill=True, color=color, alpha=0.85, zorder=3, linewidth=0)


def _ticks(axes: Axes, largest: int, zeros: bool) -> None:
    """Plain numbers as ticks; a class without images is drawn at 0.5 and labelled 0."""
    axes.set_ylim(0.4 if zeros else 0.8, 1.5 * largest)
    firsts = (1, 2, 5) if largest < 2000 else (1,)
    counts = [first * 10**power for power in range(9) for first in firsts]
    axes.set_yticks([0.5] * zeros + [count for count in counts if count <= 1.5 * largest])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: "0" if value < 1 else f"{value:,.0f}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _name_classes(axes: Axes, names: list[str]) -> None:
    if len(names) > MAX_NAMED_CLASSES:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.set_xlabel("rank of the class, most frequent first")
        return
    name_ticks(axes, range(1, len(names) + 1), names)
    axes.set_xlabel("class, most frequent first")
