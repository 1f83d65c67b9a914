"""Names from outside (files, folders, classes, settings) as text that terminals, pages, tables and figures only show.

A name may hold anything: line breaks, terminal sequences, Markdown, a spreadsheet's formula, LaTeX, bytes that are not
UTF-8. There is one function for each place where a name is shown; JSON files keep every name exactly as it is.

Python holds the bytes of a file name that are not UTF-8 as single surrogates; ``os.fsencode(name)`` has the bytes.
"""

import html as html_module
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

JOINERS = "\u200c\u200d"  # invisible, but part of how Persian, Indic scripts and emoji are written
FORMULA = "=+-@\uff1d\uff0b\uff0d\uff20"  # begins one in a spreadsheet; the last four are the full-width forms
SPECIAL_IN_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "[": "{[}", "]": "{]}", "`": "{`}",
}  # fmt: skip  # behind a line's \\, a [ or a * would be its argument


def terminal(text: str) -> str:
    r"""One line: control and other invisible characters, and bytes that are not UTF-8, become escapes such as ``\x1b``.

    Example:
      >>> print(terminal("rose\n\x1b[2Jred.jpg"), terminal(b"caf\xe9".decode("utf-8", "surrogateescape")))
      rose\n\x1b[2Jred.jpg caf\xe9
    """
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"  # a character of the same number is written \\u00..
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in JOINERS:
        return f"\\u{code:04x}" if 0x80 <= code <= 0xFF else character.encode("unicode_escape").decode()
    return character


def markdown(text: str) -> str:
    r"""Plain text in a paragraph or a table cell: no code, emphasis, link, image, HTML, formula or further cell.

    Example:
      >>> print(markdown("hot_dog <b>|*"), markdown("[x](http://y)"))
      hot_dog &lt;b&gt;&#124;\* \[x\](http&#58;//y)
    """
    text = re.sub(r"[\\`*\[\]~$]", r"\\\g<0>", terminal(text))
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\_", text)  # within a word it is no emphasis
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("|", "&#124;")
    text = text.replace("://", "&#58;//").replace("@", "&#64;")  # no link, no mention
    return re.sub(r"\b(www)\.", r"\1&#46;", text, flags=re.IGNORECASE)


def markdown_code(text: str) -> str:
    """A code span in Markdown, with as many backticks around it as the text needs.

    Example:
      >>> print(markdown_code("runs/ce"), markdown_code("a`b"))
      `runs/ce` `` a`b ``
    """
    shown = terminal(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    space = " " if len(fence) > 1 or shown != shown.strip() or not shown else ""
    return f"{fence}{space}{shown}{space}{fence}"


def html(text: str) -> str:
    """Plain text in HTML, between tags or in a quoted attribute.

    Example:
      >>> print(html('<b>"&"'))
      &lt;b&gt;&quot;&amp;&quot;
    """
    return html_module.escape(terminal(text))


def csv_cell(text: str) -> str:
    r"""A name in a CSV file that a spreadsheet may open: no formula, no control character, always UTF-8.

    A name that begins with ``= + - @`` or ``'`` gets a ``'`` in front, which spreadsheets take as "this is text". What
    ``terminal`` escapes is escaped here, and so is the backslash (``\\``). ``from_csv_cell`` is the inverse.

    Example:
      >>> print(csv_cell("=cmd|'/c calc'!A1"), csv_cell("rose/1.jpg"), csv_cell("a\nb"))
      '=cmd|'/c calc'!A1 rose/1.jpg a\nb
    """
    first = "'" if text[:1] and text[0] in FORMULA + "'" else ""
    return first + terminal(text.replace("\\", r"\\"))


def from_csv_cell(cell: str) -> str:
    r"""The name that ``csv_cell`` wrote.

    Example:
      >>> from_csv_cell(csv_cell("'=\\\n\udce9")) == "'=\\\n\udce9"
      True
    """
    escapes = r"\\(\\|n|t|r|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})"
    return re.sub(escapes, _read_escape, cell.removeprefix("'"))


def _read_escape(found: re.Match[str]) -> str:
    word = found[1]
    if len(word) == 1:
        return {"n": "\n", "t": "\t", "r": "\r"}.get(word, word)
    code = int(word[1:], 16)
    return chr(0xDC00 + code if word[0] == "x" and code >= 0x80 else code)


def latex(text: str) -> str:
    r"""Plain text in LaTeX, also as the first cell of a row.

    Example:
      >>> print(latex("a_b & 50 %"), latex("[x]*"))
      a\_b \& 50 \% {[}x{]}{*}
    """
    return "".join(SPECIAL_IN_LATEX.get(c, "{*}" if c == "*" else c) for c in terminal(text))


def plot(text: str) -> str:
    r"""A text in a figure of matplotlib's: one line, composed letters, and no ``$`` that begins a formula.

    Example:
      >>> print(plot("5$ or 6$"))
      5\$ or 6\$
    """
    return terminal(unicodedata.normalize("NFC", text)).replace("$", r"\$")


def distinct(names: Sequence[object]) -> list[str]:
    """Names of classes that a reader can tell apart: an empty name, spaces at an end, and look-alikes become visible.

    Look-alikes are equal in Unicode's composed form (macOS decomposes file names); they get the class number.

    Example:
      >>> distinct(["rose", " rose", "", "e\u0301", "\u00e9"])
      ['rose', '" rose"', '""', 'é (class 3)', 'é (class 4)']
    """
    shown = [_quoted_at_ends(unicodedata.normalize("NFC", str(name))) for name in names]
    times = Counter(map(terminal, shown))
    return [f"{one} (class {c})" if times[terminal(one)] > 1 else one for c, one in enumerate(shown)]


def _quoted_at_ends(name: str) -> str:
    return name if name and name == name.strip() else f'"{name}"'


def columns(text: str) -> int:
    """The width of a text: two columns for a letter of Chinese, Japanese and Korean, none for a mark."""
    return sum(map(_columns, text))


def _columns(character: str) -> int:
    marks = unicodedata.category(character) in ("Mn", "Me", "Cf")
    return 0 if marks else 1 + (unicodedata.east_asian_width(character) in "WF")


def shortened(text: str, width: int) -> str:
    """At most ``width`` columns, with an ellipsis where it is cut.

    Example:
      >>> shortened("Tyrannosaurus", 8), shortened("rose", 8)
      ('Tyranno…', 'rose')
    """
    ends, used = [], 0  # ends: where a prefix leaves room for the ellipsis and splits no letter from its marks
    for i, character in enumerate(text):
        size = _columns(character)
        if used < width and size and not (i and text[i - 1] in JOINERS):
            ends.append(i)
        used += size
    return text if used <= width else f"{text[: ends[-1] if ends else 0]}…"
