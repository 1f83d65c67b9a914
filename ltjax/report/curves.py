"""Curves from metrics.jsonl over epochs: losses, accuracy, learning rate, gradients, losses of watched classes.

For several seeds a line is their mean, and a band spans the lowest to the highest seed: unlike mean ± deviation, it
stays above zero on the log scale of a loss.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ltjax.report.fonts import drawn
from ltjax.report.style import COLORS, INK, LINE_COLORS, legend_label, new_figure, png

SMOOTH_FROM = 300  # with more points the curve is a running mean (for one seed drawn over the faint raw values)
LOG_FROM = 30  # a panel that may be logarithmic is, from this ratio of its largest to its smallest value
AVERAGED = re.compile("(loss|accuracy|precision_at_1|class_loss)(/|$)")  # logged values are means since the line before
TOTALS = {
    "loss": "total",
    "accuracy": "training batches",
    "precision_at_1": "likeliest class of training images",
    "learning_rate": "learning rate",
}  # drawn in dark grey, on top
DASHES = ("-", "--", ":", "-.")
GRADIENTS = {"frequent": COLORS["many"], "rare": COLORS["few"]}


class Line(NamedTuple):
    """A curve.

    Attributes:
      label: the entry in the legend.
      color: of the line.
      x: float [n], epochs of the rows with a finite value.
      y: float [n], the values.
      each: float [n, S], the values of every seed, NaN where unknown.
      dashes: line style of matplotlib.
    """

    label: str
    color: str
    x: np.ndarray
    y: np.ndarray
    each: np.ndarray
    dashes: str = "-"


class Panel(NamedTuple):
    """Lines that share a y axis.

    Attributes:
      title: the label of the y axis.
      lines: the curves.
      height: relative height of the panel.
      limits: of the y axis; None: from the lines.
      log: whether the axis may be logarithmic.
      legend: whether a single line gets a legend, too.
    """

    title: str
    lines: list[Line]
    height: float = 1.0
    limits: tuple[float | None, float | None] = (None, None)
    log: bool = False
    legend: bool = False


class MetricsLog:
    """The logged rows, their positions in epochs, and (start, name) of the stages."""

    def __init__(self, metrics: Sequence[dict[str, Any]], seeds: int) -> None:
        self.metrics, self.seeds = metrics, seeds
        self.x, self.stages = epochs_of(metrics)
        self.steps = steps_of(metrics)
        self.names = list(dict.fromkeys(name for row in metrics for name in row))

    def lines(self, styles: Mapping[str, tuple[str, str]], scale: float = 1) -> list[Line]:
        """The line of each metric, from its finite values; ``styles``: metric -> (label, colour)."""
        lines = []
        for name, (label, color) in styles.items():
            values = [value if isinstance(value := row.get(name), int | float) else math.nan for row in self.metrics]
            y = np.array(values, float)
            each = np.array([_per_seed(row, name, self.seeds) for row in self.metrics], float)
            x = self.x
            if AVERAGED.match(name):
                x, y, each = whole_windows(self.x, y, each, self.steps, [edge for edge, _ in self.stages])
            finite = np.isfinite(y)
            if finite.any():
                lines.append(Line(label, color, x[finite], scale * y[finite], scale * each[finite]))
        return lines

    def names_starting_with(self, prefix: str) -> list[str]:
        return [name for name in self.names if name.startswith(prefix)]


def training_panels(log: MetricsLog) -> list[Panel]:
    """The loss, its terms, training and test accuracy, and the learning rate; none if no step was trained."""
    if not any(name == "loss" or name.startswith("accuracy") for name in log.names):
        return []  # a classifier that was solved in closed form: its evaluation alone is no curve
    tested = [n for n in log.names if re.fullmatch("(test|validation)/(all|many|medium|few)", n)]
    several_labels = "precision_at_1" in log.names  # the tests of such runs are of average precision
    accuracies = ["precision_at_1", "accuracy", *log.names_starting_with("accuracy/"), *tested]
    rates = [n for n in log.names if n.split("/")[0] == "learning_rate"]
    groups = [color for color in LINE_COLORS if color not in COLORS.values()]  # without the colours of the groups
    terms = log.names_starting_with("loss/")
    return [
        Panel("loss", log.lines(_styles(["loss"], LINE_COLORS)), 1.2 if terms else 2, log=True),
        Panel("terms of the loss", log.lines(_styles(terms, LINE_COLORS)), 1.6, log=True, legend=True),
        Panel(
            "precision (%)" if several_labels else "accuracy (%)",
            log.lines(_styles(accuracies, groups), 100),
            1.6,
            (-2, 102),
            legend=True,
        ),
        Panel("learning rate", log.lines(_styles(rates, groups)), limits=(0, None)),
    ]


def training_curves(metrics: Sequence[dict[str, Any]], seeds: int = 1) -> bytes | None:
    """``training_panels`` as a PNG; None if there is nothing to draw."""
    log = MetricsLog(metrics, seeds)
    return draw_column("Training", training_panels(log), log)


def gradient_panels(log: MetricsLog) -> list[Panel]:
    """Cosine and norm of the gradients of frequent and rare classes.

    As in figure 1 of "Asynchronous modeling: a dual-phase perspective for long-tailed recognition".
    """
    groups = {name: (f"{name} classes", color) for name, color in GRADIENTS.items()}
    cosines = log.lines({f"gradient/cosine_{name}": style for name, style in groups.items()})
    norms = {f"gradient/norm_{name}": style for name, style in groups.items()} | {
        "gradient/norm": ("full gradient", INK)
    }
    lowest = min((np.fmin(line.y, np.fmin.reduce(line.each, 1)).min() for line in cosines), default=0.0)
    return [
        Panel("cosine with the full gradient", cosines, 1.6, (min(0.0, lowest) - 0.05, 1.05), legend=True),
        Panel("norm", log.lines(norms), 1.6, log=True, legend=True),
    ]


def gradient_curves(metrics: Sequence[dict[str, Any]], seeds: int = 1) -> bytes | None:
    """``gradient_panels`` as a PNG; None if no gradient is logged."""
    log = MetricsLog(metrics, seeds)
    return draw_column("Gradients of frequent and of rare classes", gradient_panels(log), log)


def class_loss_panels(log: MetricsLog, labels: Mapping[int, str]) -> list[Panel]:
    """The mean training loss of each watched class.

    As figure 2 of "To balance or not to balance" (Zhang et al.), with one head and one tail class. Each class has a
    colour; several streams or classifiers of a class (``class_loss/<c>/<part>``) have different line styles.
    ``labels``: class -> its name in the legend, in the order of the legend.
    """
    names = {c: [n for n in log.names if re.fullmatch(rf"class_loss/{c}(/.+)?", n)] for c in labels}
    parts = sorted({_part(name) for of_class in names.values() for name in of_class})  # "" first
    colors, lines = iter(LINE_COLORS * len(labels)), []
    for c, of_class in names.items():
        color = next(colors) if of_class else ""
        for name in of_class:
            label = legend_label(", ".join(filter(None, (labels[c], _part(name)))))
            dashes = DASHES[parts.index(_part(name)) % len(DASHES)]
            lines += [line._replace(dashes=dashes) for line in log.lines({name: (label, color)})]
    return [Panel("loss", lines, 2.4, log=True, legend=True)]


def class_loss_curves(metrics: Sequence[dict[str, Any]], labels: Mapping[int, str], seeds: int = 1) -> bytes | None:
    """``class_loss_panels`` as a PNG; None if no class was watched."""
    log = MetricsLog(metrics, seeds)
    return draw_column("Training loss of single classes", class_loss_panels(log, labels), log)


def _part(name: str) -> str:
    """The part of a metric's name after the class.

    Example:
      >>> _part("class_loss/7/random"), _part("class_loss/7")
      ('random', '')
    """
    return "/".join(name.split("/")[2:])


def _styles(names: Sequence[str], colors: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Label and colour of each metric: totals in dark grey, groups in the groups' colours, the others in turn."""
    styles, unused = {}, iter(list(colors) * (len(names) + 1))
    for name in names:
        color = INK if name in TOTALS else COLORS.get(name.rpartition("/")[2]) or next(unused)
        label = re.sub("^accuracy/", f"{TOTALS['accuracy']}, ", name.removeprefix("loss/"))
        styles[name] = (TOTALS.get(name, legend_label(label.replace("/", " "))), color)
    return styles


def draw_column(title: str, panels: Sequence[Panel], log: MetricsLog) -> bytes | None:
    """Draws the panels that have lines in one column over the epochs, as a PNG; None if there is none."""
    panels = [panel for panel in panels if panel.lines]
    if not panels:
        return None
    heights = [panel.height for panel in panels]
    figure = new_figure(8.4, 1.0 + 1.6 * sum(heights))
    edges = [edge for edge, _ in log.stages]
    column = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, panel in zip(column, panels, strict=True):
        _draw_panel(axes, panel, edges)
        for edge in edges[1:]:
            axes.axvline(edge, color="#777777", linewidth=1, linestyle=(0, (4, 3)))
    column[-1].set_xlabel("epoch")
    end = log.x.max() or 1.0
    column[-1].set_xlim(-0.01 * end, 1.01 * end)
    levels = _name_stages(column[0], log.stages) if len(log.stages) > 1 else 0
    if log.seeds > 1:
        title += f": mean of {log.seeds} seeds, band from the lowest to the highest"
    column[0].set_title(title, pad=10 + 14 * levels)
    figure.align_ylabels(column.tolist())
    return png(figure)


def epochs_of(metrics: Sequence[dict[str, Any]]) -> tuple[np.ndarray, list[tuple[float, str]]]:
    """The position of each row in epochs since the start of the run, and (start, name) of each stage.

    ``epoch`` of a row counts the finished epochs of its stage, so it starts at 0 in each stage.

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


def steps_of(metrics: Sequence[dict[str, Any]]) -> np.ndarray:
    """float [n]: the steps that each row averages, those since the row before; 1 where that is not known.

    Example:
      >>> steps_of([{"step": 10}, {"step": 20}, {"step": 21}, {"loss": 1.0}]).tolist()
      [10.0, 10.0, 1.0, 1.0]
    """
    steps = np.array([row.get("step", math.nan) for row in metrics], float)
    since = np.diff(steps, prepend=0.0)
    return np.where(since > 0, since, 1.0)


def whole_windows(
    x: np.ndarray, y: np.ndarray, each: np.ndarray, steps: np.ndarray, stages: Sequence[float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Joins points until each averages about as many steps as most do, weighted by their steps.

    The end of an epoch ends a line of the log, too: there a point may average one step beside points that average ten,
    and would stand out as a tooth.

    Args:
      x: float [n], ascending. A window ends at the x of its last point.
      y, each: float [n] and [n, S], NaN where unknown.
      steps: float [n], the steps that a point averages.
      stages: the x where each stage begins; no window lies in two.

    Example:
      >>> x, y, _ = whole_windows(np.array([1.0, 1.1, 2.0]), np.array([3.0, 13.0, 3.0]), np.zeros([3, 1]),
      ...                         np.array([10.0, 1.0, 9.0]), [0.0])
      >>> x.tolist(), y.tolist()
      ([1.0, 2.0], [3.0, 4.0])
    """
    full = np.median(np.repeat(steps, np.maximum(steps.astype(int), 1)))  # the point that a step in the middle lies in
    stage = np.searchsorted(stages, x, side="left")
    windows, total = np.zeros(len(x), int), 0.0
    for i in range(1, len(x)):
        total += steps[i - 1]
        begins = stage[i] != stage[i - 1] or total >= 0.75 * full
        windows[i] = windows[i - 1] + begins
        total = 0.0 if begins else total
    weights = np.bincount(windows, steps)
    # what is left at the end of a stage joins the window before
    last = {int(windows[i]) for i in range(len(x)) if i + 1 == len(x) or stage[i + 1] != stage[i]}
    for window in sorted(last, reverse=True):
        first = int(np.argmax(windows == window))
        if weights[window] < 0.75 * full and first > 0 and stage[first - 1] == stage[first]:
            windows[first:] -= 1
    ends = np.flatnonzero(np.diff(windows, append=windows[-1:] + 1))
    return x[ends], _weighted(y[:, None], steps, windows)[:, 0], _weighted(each, steps, windows)


def _weighted(values: np.ndarray, steps: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """float [n, k] -> [windows, k]: the means of the known values, weighted by their steps."""
    known = np.isfinite(values) * steps[:, None]
    columns = zip(np.nan_to_num(values).T, known.T, strict=True)
    sums = [(np.bincount(windows, c * w), np.bincount(windows, w)) for c, w in columns]
    means = [np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0) for above, below in sums]
    return np.stack(means, -1) if means else np.zeros((windows[-1] + 1, 0))


def _per_seed(row: dict[str, Any], name: str, seeds: int) -> list[float]:
    """The value of each seed, NaN if the row has none (with one seed there is no ``per_seed``)."""
    values = row.get("per_seed", {}).get(name)
    if not isinstance(values, list) or len(values) != seeds:
        return [math.nan] * seeds
    return [v if isinstance(v, int | float) else math.nan for v in values]


def _name_stages(axes: Axes, boundaries: Sequence[tuple[float, str]]) -> int:
    """Writes each stage's name above its start, on a higher line if it would overlap; returns the number of lines."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # fixes the layout, so that the extents below are final
    ends: list[float] = []  # right end of the last name on each line
    for edge, stage in boundaries:
        place: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
        text = axes.annotate(drawn(stage), (edge, 1), xytext=(3, 3), annotation_clip=False, **place)
        box = text.get_window_extent()
        level = next((i for i, end in enumerate(ends) if box.x0 > end), len(ends))
        text.set_position((3, 3 + 14 * level))
        ends[level : level + 1] = [box.x1 + 8]
    return len(ends)


def _draw_panel(axes: Axes, panel: Panel, edges: Sequence[float]) -> None:
    for line in panel.lines:
        draw_line(axes, line, edges)
    finish_panel(axes, panel)


def is_logarithmic(panel: Panel) -> bool:
    """Whether the y axis of a panel with lines is logarithmic."""
    values = np.concatenate([line.y for line in panel.lines])
    return bool(panel.log and values.min() > 0 and values.max() > LOG_FROM * values.min())


def finish_panel(axes: Axes, panel: Panel) -> None:
    """The scale, the limits, the label and the legend of a panel whose lines are drawn."""
    title, lines = panel.title, panel.lines
    values = np.concatenate([line.y for line in lines])
    if is_logarithmic(panel):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(10, (1.0, 2.0, 5.0) if values.max() < 1e3 * values.min() else (1.0,)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        title = f"{title} (log scale)"
    if panel.limits != (None, None):
        axes.set_ylim(*panel.limits)
    axes.set_ylabel(title)
    if len(lines) > 1 or panel.legend:
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)


def draw_line(axes: Axes, line: Line, edges: Sequence[float]) -> None:
    """Draws a curve and the band of its seeds, stage by stage; long curves as a running mean.

    ``edges``: the starts of the stages, in epochs.
    """
    label, color = line.label, line.color
    order = 3 if color == INK else 2
    marker = "o" if len(line.x) <= 40 else ""
    banded = np.isfinite(line.each).any(1)
    # do not connect two stages
    for part in np.split(np.arange(len(line.x)), np.searchsorted(line.x, edges[1:], side="right")):
        x, y, each = line.x[part], line.y[part], line.each[part]
        if len(part) > SMOOTH_FROM:
            if not banded.any():
                axes.plot(x, y, color=color, linewidth=0.6, alpha=0.25)
            x, y, each = _running_mean(x), _running_mean(y), np.apply_along_axis(_running_mean, 0, each)
        axes.plot(x, y, color=color, label=label, zorder=order, marker=marker, markersize=4, linestyle=line.dashes)
        if banded[part].any():
            low, high = np.fmin.reduce(each, 1), np.fmax.reduce(each, 1)  # over the seeds with a value
            axes.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0, zorder=order - 1)
        label = "_continued"  # matplotlib omits names with a leading underscore from the legend


def _running_mean(values: np.ndarray) -> np.ndarray:
    """Running mean of the known values, over windows of a hundredth of the points, without partial windows.

    Example:
      >>> _running_mean(np.array([0.0, 3.0, 6.0, 3.0])).tolist(), _running_mean(np.array([1.0, math.nan, 3.0])).tolist()
      ([3.0, 4.0], [2.0])
    """
    window, known = np.ones(max(3, len(values) // 100)), np.isfinite(values)
    total, number = (np.convolve(part, window, "valid") for part in (np.where(known, values, 0.0), known.astype(float)))
    return np.divide(total, number, out=np.full_like(total, np.nan), where=number > 0)
