"""Which classes are taken for which: a matrix with names, one of blocks of classes, and the most confused pairs."""

from typing import NamedTuple

import numpy as np

from ltjax import escape
from ltjax.class_counts import frequency_order
from ltjax.report.page.parts import group_of_ranks, name, paragraph, share, table
from ltjax.report.page.svg import CHARACTER, color, legend, number, picture
from ltjax.report.run import Run, class_labels, group_sizes
from ltjax.report.style import group_spans

NAMED = 50  # with more classes a row of the matrix is a block of them
BLOCKS = 40
PAIRS = 20
IN_CELLS = 20  # with more classes the cells have no numbers
LABEL = 20  # columns of a name beside the matrix


class Mistakes(NamedTuple):
    """Test images by what they are taken for, all seeds together.

    label, taken, images: int [k], pairs of different classes and how many images they have; total, right: int [C].
    """

    label: np.ndarray
    taken: np.ndarray
    images: np.ndarray
    total: np.ndarray
    right: np.ndarray


def mistakes_of(run: Run) -> Mistakes | None:
    """From the predictions, or else the confusion matrix; None where the workdir has neither."""
    classes = len(run.results["class_counts"])
    if run.predictions is not None:
        said = run.predictions.prediction
        label = np.broadcast_to(run.predictions.label, said.shape)[said >= 0]
        cells, images = np.unique(label.astype(np.int64) * classes + said[said >= 0], return_counts=True)
        label, taken = np.divmod(cells, classes)
        total = np.bincount(run.predictions.label, minlength=classes) * len(said)
    elif run.confusion is not None:
        label, taken = np.nonzero(run.confusion)
        images, total = run.confusion[label, taken], run.confusion.sum(1)
    else:
        return None
    hits = label == taken
    right = np.zeros(classes, np.int64)
    right[label[hits]] = images[hits]
    return Mistakes(label[~hits], taken[~hits], images[~hits], total, right)


def section(run: Run) -> str:
    """The matrix, and the most confused pairs."""
    mistakes = mistakes_of(run)
    if mistakes is None:
        return paragraph("Not drawn: the workdir has neither predictions nor a confusion matrix.", "missing")
    return matrix(run, mistakes) + pairs(run, mistakes)


def matrix(run: Run, mistakes: Mistakes) -> str:
    """Shares of the images of each class, or block of classes, the most frequent first."""
    results = run.results
    order = frequency_order(results["class_counts"])
    classes, rank = len(order), np.argsort(order)
    size = 1 if classes <= NAMED else -(-classes // BLOCKS)
    cells = -(-classes // size)
    images = np.zeros([cells, cells], np.int64)
    np.add.at(images, (rank[mistakes.label] // size, rank[mistakes.taken] // size), mistakes.images)
    right, total = (np.bincount(rank // size, of, cells).astype(np.int64) for of in (mistakes.right, mistakes.total))
    inside = np.diag(images).copy()
    images[np.diag_indices(cells)] += right
    names = _names(run, order, size)
    drawn = _draw(run, images, total, names, size, inside)
    unit = "a class" if size == 1 else f"{size} classes of neighbouring frequency"
    note = (
        f"A row is {unit}, a column what its images are taken for; both from frequent to rare. The stronger the "
        "colour, the larger the share of the row's images. Coloured edges: many, medium and few."
    )
    return paragraph(note, "note") + f"<figure>{_legend(run)}{drawn}</figure>"


def _names(run: Run, order: np.ndarray, size: int) -> list[str]:
    """The name of each row: of a class, or the training images of the classes in a block."""
    labels, counts = class_labels(run.results), run.results["class_counts"]
    if size == 1:
        return [escape.shortened(escape.terminal(labels[c]), LABEL) for c in order]
    blocks = [order[start : start + size] for start in range(0, len(order), size)]
    ends = [(counts[block[0]], counts[block[-1]]) for block in blocks]
    return [f"{low:,}" if low == high else f"{high:,} to {low:,}" for high, low in ends]


def _legend(run: Run) -> str:
    spans = group_spans(group_sizes(run.results))
    return legend([(color(group), "square", f"{group}: {end - start:,}") for group, start, end in spans])


def _draw(run: Run, images: np.ndarray, total: np.ndarray, names: list[str], size: int, inside: np.ndarray) -> str:
    cells = len(names)
    side = max(13.0, min(46.0, 600 / cells))
    wide = CHARACTER * max(map(escape.columns, names)) + 22
    left, top = wide, 8.0
    named = size == 1
    width, height = left + side * cells + 30, top + side * cells + (wide * 0.75 + 26 if named else 40)
    square = f'x="{number(left)}" y="{number(top)}" width="{number(side * cells)}" height="{number(side * cells)}"'
    parts = [f'<rect class="back" {square}/>']
    for row, column in np.argwhere(images):
        part = images[row, column] / max(total[row], 1)
        if part < 0.001:
            continue
        x, y = left + column * side, top + row * side
        parts.append(
            f'<rect class="heat" x="{number(x + 0.5)}" y="{number(y + 0.5)}" width="{number(side - 1)}" '
            f'height="{number(side - 1)}" fill-opacity="{part**0.5:.2f}">'
            f"<title>{escape.html(_title(names, row, column, images, total, size, inside))}</title></rect>"
        )
        if cells <= IN_CELLS and part >= 0.005:
            kind = "on-heat" if part > 0.4 else "cell"
            parts.append(
                f'<text class="{kind}" x="{number(x + side / 2)}" y="{number(y + side / 2 + 4)}" '
                f'text-anchor="middle">{100 * part:.0f}</text>'
            )
    for i, label in enumerate(names):
        middle = (i + 0.5) * side
        if named or i % max(1, round(14 / side)) == 0:
            parts.append(
                f'<text class="name" x="{number(left - 14)}" y="{number(top + middle + 4)}" text-anchor="end">'
                f"{escape.html(label)}</text>"
            )
        if named:
            x, y = number(left + middle + 3), number(top + side * cells + 20)
            parts.append(
                f'<text class="name" x="{x}" y="{y}" text-anchor="end" transform="rotate(-50 {x} {y})">'
                f"{escape.html(label)}</text>"
            )
    for group, start, end in group_spans(group_sizes(run.results)):
        a, b = number(start / size * side), number((end - start) / size * side)
        style = f'style="fill:{color(group)}"'
        parts.append(f'<rect {style} x="{number(left - 9)}" y="{number(top + float(a))}" width="5" height="{b}"/>')
        below = number(top + side * cells + 4)
        parts.append(f'<rect {style} x="{number(left + float(a))}" y="{below}" width="{b}" height="5"/>')
    if not named:
        place = f'x="{number(left)}" y="{number(top + side * cells + 28)}"'
        parts.append(f'<text class="label" {place}>taken for (rows: training images of the classes)</text>')
    return picture("Confusion matrix, classes from frequent to rare", (width, height), parts, scrolls=True)


def _title(
    names: list[str], row: int, column: int, images: np.ndarray, total: np.ndarray, size: int, inside: np.ndarray
) -> str:
    shown, whole = images[row, column], total[row]
    of = f"{shown:,} of {whole:,} images ({share(shown, whole)})"
    if size == 1:
        return f"{names[row]}, right: {of}" if row == column else f"{names[row]}, taken for {names[column]}: {of}"
    block = f"classes of {names[row]} training images"
    if row == column:
        wrong = inside[row]
        return f"{block}: {shown - wrong:,} of {whole:,} images right, {wrong:,} taken for another class of these"
    return f"{block}, taken for classes of {names[column]}: {of}"


def pairs(run: Run, mistakes: Mistakes) -> str:
    """The pairs of classes with the most mistakes."""
    if not len(mistakes.images):
        return paragraph("No test image is taken for another class.", "note")
    labels, counts = class_labels(run.results), run.results["class_counts"]
    groups = np.array(group_of_ranks(run))[np.argsort(frequency_order(counts))]
    parts = mistakes.images / np.maximum(mistakes.total[mistakes.label], 1)
    first = np.lexsort((-parts, -mistakes.images))[:PAIRS]
    rows = []
    for i in first:
        true, taken = int(mistakes.label[i]), int(mistakes.taken[i])
        cells = [f"{name(labels[c])} <small>{counts[c]:,} {groups[c]}</small>" for c in (true, taken)]
        of = mistakes.total[true]
        rows.append([*cells, f"{mistakes.images[i]:,} of {of:,}", share(mistakes.images[i], of)])
    header = ["class", "taken for", "test images", "share"]
    together = f", {len(run.results['seeds'])} seeds together" if len(run.results["seeds"]) > 1 else ""
    return table(header, rows, f"The most confused pairs (small: training images and group){together}", "pairs")
