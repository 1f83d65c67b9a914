"""The style of the figures: colours that colour-blind readers can tell apart, fonts, and shared drawing functions."""

import io
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ltjax import escape
from ltjax.report.fonts import drawn, families
from ltjax.report.run import GROUPS

# Okabe & Ito (2008); markers differ too, for prints without colour
COLORS = {"many": "#0072B2", "medium": "#009E73", "few": "#D55E00"}
MARKERS = {"many": "o", "medium": "s", "few": "^"}
LINE_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINE_DASHES = ("-", "--", ":", "-.")
LINE_MARKERS = ("o", "s", "^", "D", "v", "P")
INK = "#333333"
LEGEND_WIDTH = 32  # columns of a line in a legend beside the axes

STYLE: dict[Any, Any] = {
    "text.usetex": False,
    "text.parse_math": True,  # what is no formula has its $ escaped
    "font.size": 11,
    "axes.titlesize": 13,
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.labelsize": 11,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "lines.linewidth": 1.8,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


def heat_colours(heat: np.ndarray) -> np.ndarray:
    """float [..., 3] in 0..1: the colours of heat [...] in 0..1, from dark to bright."""
    return colormaps["inferno"](heat)[..., :3]


def line_styles(count: int) -> list[dict[str, Any]]:
    """Colour, dashes and marker of each of several lines; the colours repeat with other dashes.

    Example:
      >>> line_styles(7)[0], line_styles(7)[6]["linestyle"]
      ({'color': '#0072B2', 'linestyle': '-', 'marker': 'o'}, '--')
    """
    colors, markers, dashes = len(LINE_COLORS), len(LINE_MARKERS), len(LINE_DASHES)
    return [
        {
            "color": LINE_COLORS[i % colors],
            "linestyle": LINE_DASHES[i // colors % dashes],
            "marker": LINE_MARKERS[(i + i // colors) % markers],
        }
        for i in range(count)
    ]


def new_figure(width: float, height: float) -> Figure:
    """A new figure; sizes in inches. Without pyplot, so that no figure stays open."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png(figure: Figure) -> bytes:
    """The bytes of a PNG; equal figures give equal bytes."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
    figure.set_layout_engine("none")  # the layout is done; anything outside it now enlarges the image
    for axes in figure.axes:
        legend = axes.get_legend()
        if legend is not None:
            legend.set_in_layout(True)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, bbox_inches="tight", pad_inches=0.12, metadata={"Software": None})
    return buffer.getvalue()


def style_for(texts: Iterable[str]) -> dict[Any, Any]:
    """The style of a figure that shows these texts: with fonts that have their letters."""
    return STYLE | {"font.family": families(texts)}


def legend_label(text: str) -> str:
    """A text for a legend beside the axes, in several lines if it is long."""
    label = textwrap.fill(drawn(text, 3 * LEGEND_WIDTH), LEGEND_WIDTH)
    return f" {label}" if label.startswith("_") else label  # matplotlib leaves labels that begin with _ out


def name_ticks(axes: Axes, positions: Sequence[float] | np.ndarray, labels: Sequence[str], room: int = 70) -> None:
    """Names as tick labels, slanted if they would overlap.

    ``room``: the characters that the axis has room for; the default is that of a figure's width.
    """
    slanted = len(labels) * max(map(escape.columns, labels)) > room
    shown = [drawn(label) for label in labels]
    axes.set_xticks(positions, shown, rotation=45 if slanted else 0, ha="right" if slanted else "center")
    if slanted:
        for tick in axes.get_xticklabels():
            tick.set_rotation_mode("anchor")


def group_spans(sizes: Sequence[int]) -> list[tuple[str, int, int]]:
    """(group, first rank, last rank + 1) of every group that has classes.

    Example:
      >>> group_spans((3, 0, 2))
      [('many', 0, 3), ('few', 3, 5)]
    """
    edges = np.concatenate([[0], np.cumsum(sizes)]).tolist()
    return [(g, a, b) for g, a, b in zip(GROUPS, edges[:-1], edges[1:], strict=True) if b > a]


def shade_groups(axes: Axes, spans: Sequence[tuple[str, int, int]], edges: Sequence[float]) -> None:
    """Tints the background between edges[i] and edges[i+1] in the colour of the i-th group."""
    for (group, _, _), left, right in zip(spans, edges[:-1], edges[1:], strict=True):
        axes.axvspan(left, right, color=COLORS[group], alpha=0.07, linewidth=0, zorder=0)
    for edge in edges[1:-1]:
        axes.axvline(edge, color="#999999", linewidth=1, linestyle=(0, (4, 3)), zorder=1)


def group_legend(axes: Axes, labels: dict[str, str], markers: bool) -> None:
    """Puts the legend in one row between the title and the axes."""
    handles: list[Line2D | Patch] = []
    for group, label in labels.items():
        color = COLORS[group]
        if markers:
            handles.append(Line2D([], [], color=color, marker=MARKERS[group], linestyle="", label=label))
        else:
            handles.append(Patch(color=color, label=label))
    legend = axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(handles), borderaxespad=0.2,
        borderpad=0.2, handletextpad=0.4, columnspacing=1.6,
    )  # fmt: skip
    legend.set_in_layout(False)  # otherwise a legend wider than the axes would shrink them
    axes.set_title(axes.get_title(loc="left"), pad=30)


def bounded(values: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """The lengths [2, n] of error bars of percentages, below and above: within 0..100.

    Example:
      >>> bounded(np.array([2.0, 50.0]), np.array([5.0, 5.0])).tolist()
      [[2.0, 5.0], [5.0, 5.0]]
    """
    return np.stack([np.fmin(deviations, values), np.fmin(deviations, 100 - values)])


def legend_beside(axes: Axes) -> None:
    """The legend of the axes' lines or bars to their right; the axes keep their width, and another legend stays."""
    before = axes.get_legend()
    handles, labels = axes.get_legend_handles_labels()
    legend = axes.legend(handles, labels, loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)
    legend.set_in_layout(False)  # png() enlarges the image for it
    if before is not None:
        axes.add_artist(before)


def _places() -> list[tuple[float, float, str, str]]:
    """Label positions around a point, the best first: offsets in points and alignments, with increasing distance."""
    across = ((0, "center"), (1, "left"), (-1, "right"))
    places: list[tuple[float, float, str, str]] = []
    for radius in (7, 16, 27, 38, 50, 62, 74, 86):
        for dy, vertical in ((1, "bottom"), (-1, "top")):
            places += [(0.8 * radius * dx, radius * dy, horizontal, vertical) for dx, horizontal in across]
        places += [(radius, 0, "left", "center"), (-radius, 0, "right", "center")]
    return places


PLACES = _places()


def place_labels(axes: Axes, x: np.ndarray, y: np.ndarray, labels: Sequence[str], reach: np.ndarray) -> None:
    """Writes each label at the first position beside its point where it covers no point, line, bar or other label.

    ``reach`` float [n]: half the length of each point's error bar, 0 for none. The axes must have their final limits
    and lines. A label without a free position goes above its point.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # fixes the layout, so that the pixel positions below are final
    points = axes.transData.transform(np.column_stack([x, y]))
    radius = 5 * figure.dpi / 72
    taken = [(px - radius, py - radius, px + radius, py + radius) for px, py in points]
    low, high = (axes.transData.transform(np.column_stack([x, y + sign * reach]))[:, 1] for sign in (-1, 1))
    bars = [(px - 1, a, px + 1, b) for (px, _), a, b in zip(points, low, high, strict=True) if b > a]
    for line in axes.lines:  # all are horizontal or vertical, so the extent is the area they cover
        box = line.get_window_extent()
        taken.append((box.x0 - 1, box.y0 - 1, box.x1 + 1, box.y1 + 1))
    frame = axes.get_window_extent()
    for i, label in enumerate(labels):
        text = axes.annotate(
            drawn(label), (x[i], y[i]), xytext=(0, 0), textcoords="offset points", fontsize=9.5, zorder=5
        )
        others = taken[:i] + taken[i + 1 :] + bars  # without its own point: all positions are outside it
        for place in [*PLACES, PLACES[0]]:
            text.set(position=place[:2], horizontalalignment=place[2], verticalalignment=place[3])
            box = text.get_window_extent()
            inside = box.x0 >= frame.x0 and box.x1 <= frame.x1 and box.y0 >= frame.y0 and box.y1 <= frame.y1
            if inside and not any(box.x0 < c and a < box.x1 and box.y0 < d and b < box.y1 for a, b, c, d in others):
                break
        taken.append((box.x0, box.y0, box.x1, box.y1))
        if max(map(abs, place[:2])) > 7:  # too far away without a line to its point
            leader: dict[str, Any] = {
                "arrowstyle": "-",
                "color": "#888888",
                "linewidth": 0.7,
                "shrinkA": 0,
                "shrinkB": 3,
            }
            axes.annotate("", (x[i], y[i]), xytext=place[:2], textcoords="offset points", arrowprops=leader)
