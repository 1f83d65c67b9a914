"""Charts as inline SVG: text stays text, and colours are the page's own, so that they follow light and dark.

All sizes are in units of the drawing, which the page scales to the width that it has.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ltjax import escape
from ltjax.report.style import COLORS, INK, LINE_COLORS

# the hexadecimal colours of report.md's figures -> variables of the page's style sheet
VARIABLES = dict(zip(LINE_COLORS, ("blue", "vermilion", "green", "purple", "yellow", "sky"), strict=True)) | {
    INK: "ink"
}
SHAPES = {"many": "circle", "medium": "square", "few": "triangle"}
DASHES = {"-": "", "--": "7 4", ":": "2 3", "-.": "8 3 2 3"}
CHARACTER = 6.6  # the mean width of a letter, in units
MOST_POINTS = 300  # of a line


def color(of: str) -> str:
    """The CSS colour of a group (many, medium, few), or of a colour of the figures in report.md.

    Example:
      >>> color("many"), color("#D55E00"), color("#333333")
      ('var(--blue)', 'var(--vermilion)', 'var(--ink)')
    """
    return f"var(--{VARIABLES[COLORS.get(of, of)]})"


def number(value: float) -> str:
    """A coordinate with one decimal, as short as possible.

    Example:
      >>> number(12.04), number(3.06)
      ('12', '3.1')
    """
    return f"{value:.1f}".removesuffix(".0")


class Scale(NamedTuple):
    """From values low..high to coordinates start..end."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, values: float | np.ndarray) -> np.ndarray:
        """The coordinates, those of values outside at the ends."""
        low, high = (math.log(one) if self.log else one for one in (self.low, self.high))
        given = np.log(np.maximum(values, 1e-300)) if self.log else np.asarray(values, float)
        return self.start + np.clip((given - low) / ((high - low) or 1.0), 0, 1) * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[float]:
        """Round numbers from low to high.

        Example:
          >>> Scale(0, 1, 0, 100).ticks(), Scale(3, 700, 0, 100, log=True).ticks()
          ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0])
        """
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            for firsts in ((1, 2, 5), (1, 3), (1,)):
                found = [first * 10.0**power for power in powers for first in firsts]
                found = [one for one in found if self.low * 0.999 <= one <= self.high * 1.001]
                if len(found) <= most + 1:
                    return found
            return found[:: -(-len(found) // most)]
        span = (self.high - self.low) or 1.0
        step = 10.0 ** math.floor(math.log10(span / most))
        step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= most)
        first = math.ceil(self.low / step - 1e-9)
        return [round(step * k, 12) for k in range(first, math.floor(self.high / step + 1e-9) + 1)]


def short_number(value: float) -> str:
    """The number at a tick.

    Example:
      >>> short_number(20000), short_number(0.05), short_number(0.00002)
      ('20,000', '0.05', '2e-05')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"


class Chart:
    """A drawing with two axes; what is added later lies on top.

    Args:
      title: what the chart shows, for those who cannot see it.
      x, y: (lowest, highest) value of each axis.
      labels: of the x and the y axis.
      log: whether x and y are logarithmic.
      size: width and height.
    """

    def __init__(
        self,
        title: str,
        x: tuple[float, float],
        y: tuple[float, float],
        labels: tuple[str, str],
        log: tuple[bool, bool] = (False, False),
        size: tuple[int, int] = (520, 300),
    ) -> None:
        width, height = size
        self.title, self.size = title, size
        self.x = Scale(*x, 52, width - 14, log[0])
        self.y = Scale(*y, height - 42, 26, log[1])
        self.parts: list[str] = []
        self.taken: list[tuple[float, float, float, float]] = []
        self._axes(labels)

    def _axes(self, labels: tuple[str, str]) -> None:
        left, right, bottom, top = self.x.start, self.x.end, self.y.start, self.y.end
        for value in self.y.ticks():
            at = number(float(self.y.at(value)))
            self.parts.append(f'<path class="grid" d="M{number(left)} {at}H{number(right)}"/>')
            self.text(left - 6, float(at) + 4, short_number(value), "end", "tick")
        for value in self.x.ticks(7):
            self.text(float(self.x.at(value)), bottom + 16, short_number(value), "middle", "tick")
        self.parts.append(f'<path class="axis" d="M{number(left)} {number(bottom)}H{number(right)}"/>')
        self.text((left + right) / 2, self.size[1] - 7, labels[0], "middle", "label")
        self.text(4, top - 11, labels[1], "start", "label")

    def text(self, x: float, y: float, content: str, anchor: str = "start", kind: str = "name") -> None:
        """Text at a coordinate (not a value)."""
        self.parts.append(
            f'<text class="{kind}" x="{number(x)}" y="{number(y)}" text-anchor="{anchor}">{escape.html(content)}</text>'
        )

    def line(
        self, x: np.ndarray, y: np.ndarray, css: str, dashes: str = "-", faint: bool = False, dotted: bool = False
    ) -> None:
        """A line through the finite points; a single point is a dot. ``dotted``: with a dot at each point."""
        there = np.isfinite(y)
        px, py = self.x.at(x[there]), self.y.at(y[there])
        if len(px) == 1 or dotted:
            self.dots(x[there], y[there], css, "circle", 2.5)
        if len(px) > 1:
            points = " ".join(f"{number(a)} {number(b)}" for a, b in zip(px, py, strict=True))
            dash = f' stroke-dasharray="{DASHES[dashes]}"' if DASHES[dashes] else ""
            kind = "line faint" if faint else "line"
            self.parts.append(f'<path class="{kind}" style="color:{css}"{dash} d="M{points}"/>')

    def area(self, x: Sequence[float], y: Sequence[float], css: str) -> None:
        """A tinted polygon through these values."""
        points = " ".join(f"{number(a)} {number(b)}" for a, b in zip(self.x.at(np.array(x)), self.y.at(np.array(y))))  # noqa: B905
        self.parts.append(f'<path class="tint" style="color:{css}" d="M{points}Z"/>')

    def dots(
        self, x: np.ndarray, y: np.ndarray, css: str, shape: str, size: float, titles: Sequence[str] | None = None
    ) -> None:
        """Points; with ``titles`` each has its own, shown under the pointer. Without, they are one path."""
        px, py = self.x.at(x), self.y.at(y)
        outlines = [outline(shape, a, b, size) for a, b in zip(px, py, strict=True)]
        if titles is None:
            self.parts.append(f'<path class="dots" style="color:{css}" d="{"".join(outlines)}"/>')
            return
        self.parts.append(f'<g class="dots" style="color:{css}">')
        for path, title in zip(outlines, titles, strict=True):
            self.parts.append(f'<path d="{path}"><title>{escape.html(title)}</title></path>')
        self.parts.append("</g>")

    def bars(self, x: np.ndarray, low: np.ndarray, high: np.ndarray, css: str) -> None:
        """Vertical error bars."""
        bars = zip(self.x.at(x), self.y.at(low), self.y.at(high), strict=True)
        path = "".join(f"M{number(a)} {number(b)}V{number(c)}" for a, b, c in bars)
        self.parts.append(f'<path class="error" style="color:{css}" d="{path}"/>')

    def rectangle(self, x: tuple[float, float], y: tuple[float, float], css: str, title: str, faint: bool) -> None:
        """A filled rectangle between two values of each axis."""
        (left, right), (bottom, top) = self.x.at(np.array(x)), self.y.at(np.array(y))
        top = min(top, bottom - 2)  # a bar of height 0 is seen, too
        width, height = number(max(right - left - 1, 0.5)), number(bottom - top)
        self.parts.append(
            f'<rect class="{"bar faint" if faint else "bar"}" style="color:{css}" x="{number(left + 0.5)}" '
            f'y="{number(top)}" width="{width}" height="{height}">'
            f"<title>{escape.html(title)}</title></rect>"
        )

    def edge(self, x: float, name: str = "") -> None:
        """A dashed vertical line, with a name beside its upper end."""
        at = float(self.x.at(x))
        self.parts.append(f'<path class="edge" d="M{number(at)} {number(self.y.start)}V{number(self.y.end)}"/>')
        if name:
            self.text(at + 4, self.y.end + 10, name, "start", "tick")

    def keep_free(self, x: np.ndarray, y: np.ndarray, size: float = 4) -> None:
        """Names stay off these points."""
        self.taken += [
            (a - size, b - size, a + size, b + size) for a, b in zip(self.x.at(x), self.y.at(y), strict=True)
        ]

    def names(self, x: np.ndarray, y: np.ndarray, names: Iterable[str]) -> None:
        """A name beside each point, where it covers no other name and no point of ``keep_free``; else none."""
        for a, b, name in zip(self.x.at(x), self.y.at(y), names, strict=True):
            width = CHARACTER * escape.columns(name)
            for distance in (0, 8, 18, 30):
                box = self._free(float(a), float(b), width, distance)
                if box is not None:
                    self.taken.append(box)
                    if distance > 8:
                        end = f"{number(box[0] + width / 2)} {number(box[3] if box[3] < b else box[1])}"
                        self.parts.append(f'<path class="leader" d="M{number(a)} {number(b)}L{end}"/>')
                    self.text(box[0], box[3] - 3, name)
                    break

    def _free(self, x: float, y: float, width: float, distance: float) -> tuple[float, float, float, float] | None:
        """The first free box for a name: right, left, above, below."""
        beside = [] if distance > 8 else [(x + 8 + distance, y - 7), (x - 8 - distance - width, y - 7)]
        across = [x - width / 2, x, x - width]
        places = beside + [(c, y + dy) for dy in (-19 - distance, 5 + distance) for c in across]
        for left, top in places:
            box = (left, top, left + width, top + 14)
            inside = left >= self.x.start and box[2] <= self.size[0] - 2 and top >= 14 and box[3] <= self.y.start
            if inside and not any(box[0] < c and a < box[2] and box[1] < d and b < box[3] for a, b, c, d in self.taken):
                return box
        return None

    def svg(self, scrolls: bool = False) -> str:
        """The chart as an element."""
        return picture(self.title, self.size, self.parts, scrolls)


def picture(title: str, size: tuple[float, float], parts: Iterable[str], scrolls: bool = False) -> str:
    """An SVG element; ``scrolls``: it keeps a readable width, and its container scrolls where the page is narrower."""
    width, height = (number(one) for one in size)
    style = f' style="min-width:{0.8 * size[0]:.0f}px;max-width:{1.25 * size[0]:.0f}px"' if scrolls else ""
    label = escape.html(title)
    drawn = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}"{style}>{"".join(parts)}</svg>'
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">{drawn}</div>' if scrolls else drawn


def outline(shape: str, x: float, y: float, size: float) -> str:
    """The path of a marker.

    Example:
      >>> outline("square", 10, 10, 2)
      'M8 8h4v4h-4z'
    """
    a, b, s = number(x - size), number(y - size), number(2 * size)
    if shape == "square":
        return f"M{a} {b}h{s}v{s}h-{s}z"
    if shape == "triangle":
        return f"M{a} {number(y + size)}h{s}L{number(x)} {number(y - size)}z"
    r = number(size)
    return f"M{a} {number(y)}a{r} {r} 0 1 0 {s} 0a{r} {r} 0 1 0 -{s} 0z"


def legend(entries: Iterable[tuple[str, str, str]]) -> str:
    """A list of (CSS colour, marker or dashes, text), which breaks into as many lines as it needs."""
    items = []
    for css, mark, text in entries:
        if mark in DASHES:
            dash = f' stroke-dasharray="{DASHES[mark]}"' if DASHES[mark] else ""
            drawn = f'<path class="line"{dash} d="M0 7H24"/>'
        else:
            drawn = f'<path class="dots" d="{outline(mark, 12, 7, 5)}"/>'
        icon = f'<svg viewBox="0 0 24 14" aria-hidden="true" style="color:{css}">{drawn}</svg>'
        items.append(f"<li>{icon}{escape.html(text)}</li>")
    return f'<ul class="legend">{"".join(items)}</ul>'


def thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A long line as means over neighbouring points: float [n], [n] or [n, k] -> at most ``MOST_POINTS``.

    Example:
      >>> len(thinned(np.arange(1000.0), np.arange(1000.0))[0])
      250
    """
    size = -(-len(x) // MOST_POINTS)
    starts = np.arange(0, len(x), size)
    known = np.isfinite(y).astype(float)
    sums, counts = np.add.reduceat(np.nan_to_num(y), starts), np.add.reduceat(known, starts)
    means = np.divide(sums, counts, out=np.full_like(sums, np.nan, dtype=float), where=counts > 0)
    return np.maximum.reduceat(x, starts), means
