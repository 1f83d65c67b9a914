"""The figure of a swept setting: accuracy over all classes and by group against its values."""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from ltjax.report.compare.bars import percent_of
from ltjax.report.compare.groups import short_key, short_value
from ltjax.report.compare.sweep import Series, Sweep
from ltjax.report.fonts import drawn
from ltjax.report.run import GROUPS
from ltjax.report.style import (
    COLORS,
    INK,
    MARKERS,
    bounded,
    legend_beside,
    legend_label,
    line_styles,
    name_ticks,
    new_figure,
    png,
)

LOG_FROM = 30  # positive values may be on a log axis, from this ratio of the largest to the smallest
NAMED = {"many": "many-shot", "medium": "medium-shot", "few": "few-shot", "all": "all classes"}


class Axis(NamedTuple):
    """The horizontal axis.

    Attributes:
      positions: of the values.
      note: how they are spaced, for its label; "" = in proportion.
      log: whether the axis is logarithmic.
    """

    positions: list[float]
    note: str = ""
    log: bool = False


def draw_sweep(sweep: Sweep) -> bytes:
    """One line: all classes above, many, medium and few below. Several, or words: a panel for each of the four.

    All classes have a panel of their own, for they change less than the groups. Words are points beside each other.
    """
    if sweep.numeric and len(sweep.series) == 1 and not sweep.references:
        return _one_line(sweep, sweep.series[0])
    return _four_panels(sweep)


def axis_of(values: Sequence[Any], numeric: bool) -> Axis:
    """Values in proportion, logarithmic or, where their labels would overlap otherwise, evenly spaced.

    Example:
      >>> axis_of([0.1, 0.5, 1.0], True).positions, axis_of([0.9, 0.99, 0.995, 1], True)
      ([0.1, 0.5, 1.0], Axis(positions=[0.0, 1.0, 2.0, 3.0], note='evenly spaced', log=False))
    """
    if numeric:
        low, high = min(values), max(values)
        if low > 0 and high > LOG_FROM * low and _apart([math.log(value) for value in values]):
            return Axis([float(value) for value in values], "log scale", True)
        if _apart(values):
            return Axis([float(value) for value in values])
    return Axis([float(i) for i in range(len(values))], "evenly spaced" if numeric else "")


def _one_line(sweep: Sweep, line: Series) -> bytes:
    figure = new_figure(7.2, 6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1, 1.5])
    _draw_line(above, sweep, line, "all", {"color": INK, "marker": "o", "label": NAMED["all"]})
    for group in GROUPS:
        _draw_line(below, sweep, line, group, {"color": COLORS[group], "marker": MARKERS[group], "label": NAMED[group]})
    for axes in (above, below):
        axes.set_ylabel(f"{line.groups[0].measure} (%)")
        axes.margins(y=0.15)
        legend_beside(axes)
    _value_axis(below, sweep)
    above.set_title(f"{drawn(line.label)}: {line.groups[0].measure} against {drawn(short_key(sweep.key))}")
    figure.align_ylabels([above, below])
    return png(figure)


def _four_panels(sweep: Sweep) -> bytes:
    wide = 0.35 * len(sweep.values) * len(sweep.series) if not sweep.numeric else 0.0
    figure = new_figure(max(10.0, 2 * wide), 7.5)
    panels = figure.subplots(2, 2, sharex=True)
    styles, what = line_styles(len(sweep.series) + len(sweep.references)), sweep.series[0].groups[0].measure
    for axes, key in zip(panels.flat, ("all", *GROUPS), strict=True):
        for i, (line, style) in enumerate(zip(sweep.series, styles, strict=False)):
            if not sweep.numeric:
                style = style | {"linestyle": ""}
            shift = 0.0 if sweep.numeric else 0.6 * ((i + 0.5) / len(sweep.series) - 0.5)
            _draw_line(axes, sweep, line, key, style | {"label": legend_label(line.label)}, shift)
        for group, style in zip(sweep.references, styles[len(sweep.series) :], strict=True):
            mean = percent_of(group.accuracy(key)[0])
            dashes = style["linestyle"] if style["linestyle"] != "-" else "--"
            if math.isfinite(mean):
                look: dict[str, Any] = {"color": style["color"], "linestyle": dashes, "linewidth": 1.4, "zorder": 1}
                axes.axhline(mean, label=legend_label(group.label), **look)
        axes.set_title(NAMED[key], fontsize=11)
        axes.margins(y=0.15)
    for axes in panels[:, 0]:
        axes.set_ylabel(f"{what} (%)")
    for axes in panels[1]:
        _value_axis(axes, sweep)
    legend_beside(panels[0, 1])
    figure.suptitle(f"{what.capitalize()} against {drawn(short_key(sweep.key))}", x=0.01, ha="left", fontsize=13)
    return png(figure)


def _draw_line(axes: Axes, sweep: Sweep, line: Series, key: str, style: dict[str, Any], shift: float = 0.0) -> None:
    """Means with their deviations as error bars; rows without classes in the group are left out."""
    places = axis_of(sweep.values, sweep.numeric).positions
    known = [(sweep.values.index(g.settings[sweep.key]), *g.accuracy(key)) for g in line.groups]
    known = [one for one in known if one[1] is not None]
    x, means = [places[i] + shift for i, _, _ in known], [percent_of(mean) for _, mean, _ in known]
    deviations = [0.0 if std is None else 100 * std for _, _, std in known]
    if x:
        axes.plot(x, means, markersize=5, zorder=3, **style)
        if any(deviations):
            reach = bounded(np.array(means), np.array(deviations))
            axes.errorbar(x, means, reach, fmt="none", ecolor=style["color"], capsize=3, elinewidth=1, zorder=2.5)


def _value_axis(axes: Axes, sweep: Sweep) -> None:
    """A tick at each value."""
    axis = axis_of(sweep.values, sweep.numeric)
    if axis.log:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    name_ticks(axes, axis.positions, [short_value(value) for value in sweep.values], room=40)
    if not sweep.numeric:
        axes.set_xlim(-0.5, len(sweep.values) - 0.5)
    axes.set_xlabel(drawn(short_key(sweep.key)) + (f" ({axis.note})" if axis.note else ""))


def _apart(values: Sequence[float]) -> bool:
    """Whether labels at these sorted values leave room between them.

    Example:
      >>> _apart([0.1, 0.5, 1.0]), _apart([0.99, 0.995, 1, 9])
      (True, False)
    """
    width = (values[-1] - values[0]) / 12
    return all(b - a >= width for a, b in itertools.pairwise(values))
