"""Pieces of the page: tables, paragraphs, names."""

from collections.abc import Sequence

from ltjax import escape
from ltjax.report.run import GROUPS, Run, group_sizes

NAME_WIDTH, PATH_WIDTH = 48, 120  # columns of a class name and of a path; longer ones are cut


def name(text: str, width: int = NAME_WIDTH) -> str:
    """A name from outside, apart from the direction of the letters around it."""
    return f"<bdi>{escape.html(escape.shortened(escape.terminal(text), width))}</bdi>"


def paragraph(text: str, kind: str = "") -> str:
    """Plain text as a paragraph."""
    return f"<p{_class(kind)}>{escape.html(text)}</p>"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "", kind: str = "") -> str:
    """A table of HTML cells: the first column names the row. It scrolls by itself where the page is narrow."""
    heads = "".join(f'<th scope="col">{cell}</th>' for cell in header)
    body = "".join(
        "<tr>" + f'<th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in rest) + "</tr>"
        for first, *rest in rows
    )
    title = f"<caption>{escape.html(caption)}</caption>" if caption else ""
    label = escape.html(caption or header[0] or "table")
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table{_class(kind)}>{title}'
        f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def plain_table(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "", kind: str = "") -> str:
    """``table`` of plain text."""
    return table(
        [escape.html(cell) for cell in header], [[escape.html(cell) for cell in row] for row in rows], caption, kind
    )


def folded(summary: str, content: str) -> str:
    """Content that is shown on request."""
    return f"<details><summary>{escape.html(summary)}</summary>{content}</details>"


def group_of_ranks(run: Run) -> list[str]:
    """The group of each class, the most frequent class first."""
    return [group for group, size in zip(GROUPS, group_sizes(run.results), strict=True) for _ in range(size)]


def share(part: float, whole: float) -> str:
    """Percent without decimals; nothing of nothing is a dash.

    Example:
      >>> share(1, 3), share(0, 0)
      ('33 %', '-')
    """
    return f"{100 * part / whole:.0f} %" if whole else "-"


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
