"""Names in figures: fonts that have their letters, and what is drawn where no font has them. Never a box.

The character maps of the fonts decide: matplotlib's own font first, then the installed ones by name: the same machine
always draws the same figure.
"""

import functools
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

import matplotlib
from matplotlib import font_manager

from ltjax import escape

BASE = "DejaVu Sans"  # comes with matplotlib
NO_TEXT = ("Last Resort", "cm", "STIX", "DejaVu Math", "DejaVu Sans Display", "DejaVu Serif Display")  # boxes, symbols
SHAPES_TEXT = tuple(map(int, matplotlib.__version__.split(".")[:2])) >= (3, 11)  # joins and orders letters by HarfBuzz
NAME_WIDTH = 18  # columns of a class name; longer ones are cut
LABEL_WIDTH = 64  # of a row's label


def families(texts: Iterable[str]) -> list[str]:
    """The fonts, by family, that together have the letters of the texts as far as any installed font has them.

    Example:
      >>> families(["rose", "тюльпан"])
      ['DejaVu Sans']
    """
    missing = {letter for text in texts for letter in escape.plot(text) if not _ignorable(letter)} - letters(BASE)
    chosen = [BASE]
    others = _installed() if missing else []
    while missing:
        best = max(others, key=lambda family: len(missing & letters(family)), default=BASE)  # the first of equals
        if not missing & letters(best):
            break
        chosen.append(best)
        missing -= letters(best)
    return chosen


def _installed() -> list[str]:
    names = {
        entry.name
        for entry in font_manager.fontManager.ttflist
        if entry.weight in (400, "normal", "regular") and entry.style == entry.stretch == "normal"
    }
    return sorted(name for name in names if not name.startswith((".", *NO_TEXT)))


@functools.cache
def letters(family: str) -> frozenset[str]:
    """The letters of a family's regular font."""
    try:
        path = font_manager.findfont(font_manager.FontProperties(family=[family]), fallback_to_default=False)
        return frozenset(map(chr, font_manager.get_font(path).get_charmap()))
    except (ValueError, RuntimeError, OSError):  # no regular font, or one that FreeType cannot read
        return frozenset()


def _ignorable(letter: str) -> bool:
    """Joiners and variation selectors, which are no letters themselves."""
    return letter in escape.JOINERS or 0xFE00 <= ord(letter) <= 0xFE0F


def _known() -> frozenset[str]:
    """The letters of the fonts of the figure that is being drawn."""
    return frozenset().union(*map(letters, matplotlib.rcParams["font.family"]))


def drawable(text: str) -> bool:
    """Whether the figure's fonts (``font.family``) have all letters of the text, and matplotlib can set them."""
    plain = escape.plot(text)
    known = _known()
    return all(letter in known or _ignorable(letter) for letter in plain) and (SHAPES_TEXT or not _needs_shaping(plain))


def _needs_shaping(text: str) -> bool:
    """Whether letters join, are reordered or carry marks, as in Arabic, Hebrew, Hindi and Thai."""
    return any(unicodedata.bidirectional(c) in ("R", "AL") or unicodedata.category(c) in ("Mn", "Mc") for c in text)


def drawn(text: str, width: int = LABEL_WIDTH) -> str:
    r"""A text for a figure, cut to ``width`` columns; a letter that no font has is written as an escape (``\u73ab``).

    Example:
      >>> print(drawn("a$b$"), drawn("\ue123"))
      a\$b\$ \ue123
    """
    known = _known()
    kept = "".join(c for c in escape.shortened(escape.terminal(text), width) if c in known or not _ignorable(c))
    return "".join(c if c in known else c.encode("unicode_escape").decode() for c in escape.plot(kept))


def class_ticks(names: Sequence[str]) -> list[str]:
    """Class names for a figure: short, all different, and the class number for a name that no font can draw.

    Args:
      names: of all classes, ``class_labels``.

    Example:
      >>> class_ticks(["rose", "\ue123", "a very long name of a bird", "a very long name of a bat"])
      ['rose', '1', 'a very long n… (2)', 'a very long n… (3)']
    """
    whole = [escape.terminal(name) for name in names]
    shown = [escape.shortened(name, NAME_WIDTH) if drawable(name) else str(c) for c, name in enumerate(whole)]
    times = Counter(shown)
    ends = [f" ({c})" for c in range(len(names))]
    return [
        one if times[one] == 1 else escape.shortened(whole[c], NAME_WIDTH - len(ends[c])) + ends[c]
        for c, one in enumerate(shown)
    ]


def numbered(names: Sequence[str]) -> dict[int, str]:
    """Class number -> name, of the classes that ``class_ticks`` shows by their numbers."""
    return {c: name for c, name in enumerate(names) if not drawable(name)}
