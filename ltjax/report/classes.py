"""The long tail itself: images of every class, the most frequent first."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator

from ltjax.class_counts import frequency_order
from ltjax.report.style import COLORS, INK, LINE_COLORS, STYLE, group_legend, group_spans, new_figure, png, shade_groups

NAMED = 40  # up to so many classes are named
LONGEST = 18  # letters of a name
MANY_BARS = 200  # with more, bars touch


def class_curve(counts: Mapping[str, Any], groups: Mapping[str, Any], class_names: Sequence[str] | None) -> bytes:
    """Training images of every class as bars in the colours of the groups, other splits as points; log scale.

    Args:
      counts: split -> int [C]; "train" decides the order.
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
    with matplotlib.rc_context(STYLE):
        return _draw({split: np.asarray(own) for split, own in counts.items()}, groups, class_names)


def _draw(counts: dict[str, np.ndarray], groups: Mapping[str, Any], class_names: Sequence[str] | None) -> bytes:
    train, order = counts["train"], frequency_order(counts["train"])
    classes = len(order)
    spans = group_spans([int(np.sum(mask)) for mask in groups.values()])
    figure = new_figure(8, 4.6)
    axes = figure.subplots()
    axes.set(yscale="log", ylabel="images of the class (log scale)", xlim=(0.5, classes + 0.5))
    shade_groups(axes, spans, [0.5, *(end + 0.5 for _, _, end in spans)])
    legend = {}
    ranks = np.arange(1, classes + 1)
    for group, start, end in spans:
        own = train[order[start:end]]
        _bars(axes, ranks[start:end], own, COLORS[group], classes)
        legend[group] = f"{group}: {end - start:,} class{'' if end - start == 1 else 'es'}, {own.sum():,} images"
    others = {split: own for split, own in counts.items() if split != "train"}
    colors = [INK, *(color for color in LINE_COLORS if color not in COLORS.values())]
    for (split, own), color, marker in zip(others.items(), colors, "_x+", strict=False):
        size = 60 if classes <= MANY_BARS else 8
        axes.scatter(
            ranks, np.maximum(own[order], 0.5), size, color, marker=marker, zorder=4, linewidths=1.4, label=split
        )
    _ticks(axes, max(int(own.max()) for own in counts.values()), any((own == 0).any() for own in counts.values()))
    _name_classes(axes, [_label(class_names[c] if class_names else c) for c in order])
    several = " to ".join(f"{count:,}" for count in (train[order[0]], train[order[-1]]))
    axes.set_title(f"Training images of each class: {several}")
    if others:
        axes.add_artist(axes.legend(loc="upper right"))
    group_legend(axes, legend, markers=False)
    return png(figure)


def _bars(axes: Axes, ranks: np.ndarray, counts: np.ndarray, color: str, classes: int) -> None:
    """From below the axis to the count; an outline of all where single bars would be too thin."""
    if classes <= MANY_BARS:
        axes.bar(ranks, counts, 0.8, color=color, alpha=0.85, zorder=3, linewidth=0)
    else:
        edges = np.concatenate([ranks - 0.5, ranks[-1:] + 0.5])
        axes.stairs(counts, edges, baseline=0.1, fill=True, color=color, alpha=0.85, zorder=3, linewidth=0)


def _ticks(axes: Axes, largest: int, zeros: bool) -> None:
    """Plain numbers; "0" lies half an image high, where a class has none."""
    axes.set_ylim(0.4 if zeros else 0.8, 1.5 * largest)
    firsts = (1, 2, 5) if largest < 2000 else (1,)
    counts = [first * 10**power for power in range(9) for first in firsts]
    axes.set_yticks([0.5] * zeros + [count for count in counts if count <= 1.5 * largest])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: "0" if value < 1 else f"{value:,.0f}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _label(name: object) -> str:
    """Short enough to stand beside others, and no formula."""
    text = str(name)
    return (text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…").replace("$", r"\$")


def _name_classes(axes: Axes, names: list[str]) -> None:
    if len(names) > NAMED:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.set_xlabel("rank of the class, most frequent first")
        return
    slanted = len(names) * max(map(len, names)) > 70
    axes.set_xticks(
        range(1, len(names) + 1), names, rotation=45 if slanted else 0, ha="right" if slanted else "center",
        rotation_mode="anchor",
    )  # fmt: skip
    axes.set_xlabel("class, most frequent first")
