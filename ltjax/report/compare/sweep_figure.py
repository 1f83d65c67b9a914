"""The figure of a swept setting: accuracy over all classes and by group against its values."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from ltjax.report.compare.bars import draw_bars, percent_of
from ltjax.report.compare.groups import short_key, short_value
from ltjax.report.compare.sweep import Series, Sweep
from ltjax.report.run import GROUPS
from ltjax.report.style import (
    COLORS,
    INK,
    MARKERS,
    legend_beside,
    legend_label,
    line_styles,
    name_ticks,
    new_figure,
    plain,
    png,
)

LOG_FROM = 30  # positive values are on a log axis, from this ratio of the largest to the smallest
NAMED = {"many": "many-shot", "medium": "medium-shot", "few": "few-shot", "all": "all classes"}


def draw_sweep(sweep: Sweep) -> bytes:
    """One line: all classes above, many, medium and few below. Several: a panel for each of the four.

    All classes have a panel of their own, for they change less than the groups. Values that are no numbers have bars.
    """
    if not sweep.numeric:
        return _categories(sweep)
    if len(sweep.series) == 1 and not sweep.references:
        return _one_line(sweep, sweep.series[0])
    return _several_lines(sweep)


def _one_line(sweep: Sweep, line: Series) -> bytes:
    figure = new_figure(7.2, 6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1, 1.5])
    _draw_line(above, sweep, line, "all", {"color": INK, "marker": "o", "label": NAMED["all"]})
    for group in GROUPS:
        _draw_line(below, sweep, line, group, {"color": COLORS[group], "marker": MARKERS[group], "label": NAMED[group]})
    for axes in (above, below):
        axes.set_ylabel("accuracy (%)")
        axes.margins(y=0.15)
        legend_beside(axes)
    _value_axis(below, sweep)
    above.set_title(plain(f"{line.label}: accuracy against {short_key(sweep.key)}"))
    figure.align_ylabels([above, below])
    return png(figure)


def _several_lines(sweep: Sweep) -> bytes:
    figure = new_figure(10, 7)
    panels = figure.subplots(2, 2, sharex=True)
    styles = line_styles(len(sweep.series) + len(sweep.references))
    for axes, key in zip(panels.flat, ("all", *GROUPS), strict=True):
        for line, style in zip(sweep.series, styles, strict=False):
            _draw_line(axes, sweep, line, key, style | {"label": legend_label(line.label)})
        for group, style in zip(sweep.references, styles[len(sweep.series) :], strict=True):
            mean = percent_of(group.accuracy(key)[0])
            style = {"color": style["color"], "linestyle": style["linestyle"] if style["linestyle"] != "-" else "--"}
            if math.isfinite(mean):
                axes.axhline(mean, label=legend_label(group.label), linewidth=1.4, zorder=1, **style)
        axes.set_title(NAMED[key], fontsize=11)
        axes.margins(y=0.15)
    for axes in panels[:, 0]:
        axes.set_ylabel("accuracy (%)")
    for axes in panels[1]:
        _value_axis(axes, sweep)
    legend_beside(panels[0, 1])
    figure.suptitle(f"Accuracy against {short_key(sweep.key)}", x=0.01, ha="left", fontsize=13)
    return png(figure)


def _categories(sweep: Sweep) -> bytes:
    """A cluster of bars for each value, in the order in which the runs were given."""
    names = [short_value(value) for value in sweep.values]
    figure = new_figure(max(7.2, 0.5 * len(names) * (len(sweep.series) + 1)), 8)
    panels = figure.subplots(4, 1, sharex=True)
    for axes, key in zip(panels, ("all", *GROUPS), strict=True):
        bars = []
        for line in sweep.series:
            at = {short_value(group.settings.get(sweep.key)): group.accuracy(key) for group in line.groups}
            pairs = [at.get(name, (None, None)) for name in names]
            bars.append((line.label, [percent_of(mean) for mean, _ in pairs], [percent_of(std) for _, std in pairs]))
        draw_bars(axes, names, bars)
        for group in sweep.references:
            mean = percent_of(group.accuracy(key)[0])
            if math.isfinite(mean):
                axes.axhline(mean, color=INK, linestyle="--", linewidth=1.2, label=legend_label(group.label))
        axes.set_title(NAMED[key], fontsize=11)
        axes.set_ylabel("accuracy (%)")
    name_ticks(panels[-1], range(len(names)), names)
    panels[-1].set_xlabel(short_key(sweep.key))
    legend_beside(panels[0])
    figure.suptitle(f"Accuracy against {short_key(sweep.key)}", x=0.01, ha="left", fontsize=13)
    return png(figure)


def _draw_line(axes: Axes, sweep: Sweep, line: Series, key: str, style: dict[str, Any]) -> None:
    """Means with their deviations as error bars; rows without classes in the group are left out."""
    known = [(g.settings[sweep.key], *g.accuracy(key)) for g in line.groups if g.accuracy(key)[0] is not None]
    x, means = [value for value, _, _ in known], [percent_of(mean) for _, mean, _ in known]
    deviations = [0.0 if std is None else 100 * std for _, _, std in known]
    if x:
        axes.plot(x, means, markersize=5, zorder=3, **style)
        if any(deviations):
            axes.errorbar(x, means, deviations, fmt="none", ecolor=style["color"], capsize=3, elinewidth=1, zorder=2.5)


def _value_axis(axes: Axes, sweep: Sweep) -> None:
    """Ticks at the values themselves, as long as they do not crowd."""
    values = sweep.values
    axes.set_xlabel(short_key(sweep.key))
    if min(values) > 0 and max(values) > LOG_FROM * min(values):
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(f"{short_key(sweep.key)} (log scale)")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    elif _apart(values):
        axes.set_xticks(values, [short_value(value) for value in values])


def _apart(values: Sequence[float]) -> bool:
    """Whether labels at these sorted values leave room between them.

    Example:
      >>> _apart([0.1, 0.5, 1.0]), _apart([0.99, 0.995, 1, 9])
      (True, False)
    """
    width = (values[-1] - values[0]) / 12
    return all(b - a >= width for a, b in itertools.pairwise(values))
