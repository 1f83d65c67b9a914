"""Classes: accuracy and weight norms against frequency, the worst classes, and a table of all."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ltjax import escape
from ltjax.class_counts import frequency_order
from ltjax.report.figures import class_deviations, spread_ties
from ltjax.report.page.confusion import Mistakes, mistakes_of
from ltjax.report.page.parts import folded, group_of_ranks, name, paragraph, share, table
from ltjax.report.page.svg import MOST_POINTS, SHAPES, Chart, color, legend
from ltjax.report.run import Run, class_labels, group_sizes, measure, of_one_label, several_seeds
from ltjax.report.style import bounded, group_spans
from ltjax.report.text import percent

NAMED = 20  # with more classes only those far from the trend are named
OUTLIERS = 5  # classes named above, and below, the trend
FAR = 5.0  # percentage points from the trend that are worth naming
WORST = 20  # classes in the table of the worst
ALL = 1000  # with more classes the page has no table of all
SEPARATE_POINTS = 1000  # with more classes points have no names under the pointer


def accuracy(run: Run) -> str:
    """Accuracy of each class against its training images, with the trend and the classes far from it."""
    results = run.results
    order = frequency_order(results["class_counts"])
    counts = np.maximum(np.asarray(results["class_counts"], float)[order], 0.5)
    values = np.array([np.nan if a is None else 100 * a for a in results["per_class"]], float)[order]
    if not np.isfinite(values).any():
        return paragraph("Not drawn: no class has a test image.", "missing")
    names = class_labels(results)
    labels = [escape.terminal(names[c]) for c in order]
    x, tested = spread_ties(counts), np.isfinite(values)
    low, high = x.min() / 1.15, x.max() * 1.15
    chart = Chart(
        f"{measure(results).capitalize()} of each class against its training images", (low, high), (0, 100),
        ("training images of the class (log scale)", f"{measure(results)} (%)"), (True, False), (760, 400),
    )  # fmt: skip
    _edges(chart, x, run)
    trend = np.clip(_trend(np.log(counts), values), 0, 100)
    some = np.unique(np.linspace(0, len(counts) - 1, MOST_POINTS).astype(int))
    chart.line(counts[some], trend[some], "var(--muted)", "--")
    if several_seeds(results):
        below, above = bounded(values, class_deviations(results)[order])
        chart.bars(x[tested], (values - below)[tested], (values + above)[tested], "var(--muted)")
    titles = _point_titles(run, labels, order)
    entries = _dots(chart, run, x, values, titles, ".1f")
    chart.keep_free(x[tested], values[tested])
    residual = np.where(tested, values - trend, 0.0)
    far = np.argsort(residual, kind="stable")
    extremes = [i for i in (*far[:OUTLIERS], *far[::-1][:OUTLIERS]) if abs(residual[i]) >= FAR]
    named = np.flatnonzero(tested) if len(counts) <= NAMED else np.array(list(dict.fromkeys(extremes)), int)
    chart.names(x[named], values[named], [escape.shortened(labels[i], 18) for i in named])
    entries.append(("var(--muted)", "--", "trend over log training images"))
    figure = f"<figure>{legend(entries)}{chart.svg(scrolls=True)}</figure>"
    if len(counts) < 4:
        return figure
    lists = [
        ("Better than their frequency suggests", [i for i in far[::-1][:OUTLIERS] if residual[i] >= FAR]),
        ("Worse than their frequency suggests", [i for i in far[:OUTLIERS] if residual[i] <= -FAR]),
    ]
    spelled = ""
    for title, found in lists:
        listed = [f"{name(labels[i])} ({counts[i]:,.0f} images, {values[i]:.0f} %)" for i in found]
        spelled += f"<p><b>{title}</b>: {', '.join(listed)}.</p>" if listed else ""
    return figure + spelled


def _trend(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A straight line through the known y; their mean where x does not vary."""
    known = np.isfinite(y)
    if known.sum() < 3 or np.ptp(x[known]) == 0:
        return np.full(len(x), np.nanmean(y))
    return np.polyval(np.polyfit(x[known], y[known], 1), x)


def _point_titles(run: Run, labels: Sequence[str], order: np.ndarray) -> list[str] | None:
    if len(order) > SEPARATE_POINTS:
        return None
    counts, accuracies = run.results["class_counts"], run.results["per_class"]
    tested = [""] * len(order) if run.test_counts is None else [f", {n:,} test images" for n in run.test_counts]
    return [
        f"{label}: {percent(accuracies[c])} %, {counts[c]:,} training images{tested[c]}"
        for label, c in zip(labels, order, strict=True)
    ]


def _edges(chart: Chart, x: np.ndarray, run: Run) -> None:
    """A line between two groups; the most frequent classes are on the right."""
    for _, start, _ in group_spans(group_sizes(run.results))[1:]:
        chart.edge(float(np.sqrt(x[start - 1] * x[start])))


def _dots(
    chart: Chart, run: Run, x: np.ndarray, y: np.ndarray, titles: list[str] | None, form: str
) -> list[tuple[str, str, str]]:
    """The points of each group; returns the entries of the legend, with means of this form."""
    entries = []
    size = 5.0 if len(x) <= 200 else 3.0 if len(x) <= SEPARATE_POINTS else 1.6
    for group, start, end in group_spans(group_sizes(run.results)):
        there = np.flatnonzero(np.isfinite(y[start:end])) + start
        own = None if titles is None else [titles[i] for i in there]
        chart.dots(x[there], y[there], color(group), SHAPES[group], size, own)
        mean = f", mean {np.mean(y[there]):{form}}" if len(there) else ""
        number = f"{end - start:,} class{'' if end - start == 1 else 'es'}"
        entries.append((color(group), SHAPES[group], f"{group}: {number}{mean}"))
    return entries


def weight_norms(run: Run) -> str:
    """Norms of the classifier's weights by frequency rank."""
    results, norms = run.results, run.weight_norms
    if norms is None or not np.isfinite(norms).any():
        return paragraph(
            "Not drawn: this classifier has no weights for each class, or the run recorded none.", "missing"
        )
    order = frequency_order(results["class_counts"])
    values, ranks = np.asarray(norms, float)[order], np.arange(1.0, len(order) + 1)
    labels, known = class_labels(results), values[np.isfinite(values)]
    room = 0.1 * (float(np.ptp(known)) or float(known.max()) or 1.0)
    chart = Chart(
        "Norm of the classifier's weights of each class", (0.5, len(order) + 0.5),
        (max(0.0, float(known.min()) - room), float(known.max()) + room),
        ("rank of the class, most frequent first", "L2 norm"), size=(760, 300),
    )  # fmt: skip
    for _, start, _ in group_spans(group_sizes(results))[1:]:
        chart.edge(start + 0.5)
    titles = None
    if len(order) <= SEPARATE_POINTS:
        titles = [f"{escape.terminal(labels[c])}: {v:.3g}" for c, v in zip(order, values, strict=True)]
    entries = _dots(chart, run, ranks, values, titles, ".3g")
    note = "A norm that falls with the rank scores frequent classes higher (Kang et al., 2020, figure 2)."
    return f"<figure>{legend(entries)}{chart.svg(scrolls=True)}</figure>{paragraph(note, 'note')}"


def worst(run: Run) -> str:
    """The worst classes: what they are taken for, with their training and test images."""
    results = run.results
    tested = [c for c, accuracy in enumerate(results["per_class"]) if accuracy is not None]
    if not tested:
        return paragraph("No class has a test image.", "missing")
    counts = results["class_counts"]
    rows = sorted(tested, key=lambda c: (results["per_class"][c], counts[c], c))[:WORST]
    text = "" if mistakes_of(run) is not None or not of_one_label(run) else paragraph(
        "What they are taken for is not recorded in this workdir: it has no predictions. Its training command, run "
        "again after results.json is removed, writes them.", "missing"
    )  # fmt: skip
    return text + _class_table(run, rows, f"Lowest {measure(results)} first")


def all_classes(run: Run) -> str:
    """Every class, the most frequent first."""
    order = frequency_order(run.results["class_counts"])
    if len(order) > ALL:
        return paragraph(f"results.json has all {len(order):,} classes (class_counts, class_names, per_class).", "note")
    content = _class_table(run, order.tolist(), "Most frequent class first")
    return folded(f"All {len(order):,} classes", content)


def _class_table(run: Run, classes: Sequence[int], caption: str) -> str:
    results, labels, mistakes = run.results, class_labels(run.results), mistakes_of(run)
    counts, accuracies = results["class_counts"], results["per_class"]
    deviations: list[Any] = results.get("std", {}).get("per_class", [None] * len(counts))
    groups = dict(zip(frequency_order(counts).tolist(), group_of_ranks(run), strict=True))
    seeds = len(results["seeds"]) if mistakes is not None else 1
    rows = []
    for c in classes:
        tested = "-" if run.test_counts is None else f"{run.test_counts[c]:,}"
        taken = "" if mistakes is None else _taken_for(mistakes, c, labels)
        rows.append(
            [name(labels[c]), f'<span class="{groups[c]}">{groups[c]}</span>', f"{counts[c]:,}", tested,
             percent(accuracies[c], deviations[c]), taken]
        )  # fmt: skip
    taken_for = "taken for (images)" if seeds == 1 else f"taken for (images, {seeds} seeds together)"
    header = ["class", "group", "training images", "test images", f"{measure(results)} (%)", taken_for]
    width = None if of_one_label(run) else -1  # of several labels none is taken for another
    return table(header[:width], [row[:width] for row in rows], caption, "classes")


def _taken_for(mistakes: Mistakes, label: int, labels: Sequence[str], most: int = 3) -> str:
    """The classes that images of a class are taken for, the most frequent mistake first."""
    mine = np.flatnonzero(mistakes.label == label)
    mine = mine[np.argsort(-mistakes.images[mine], kind="stable")]
    listed = [f"{name(labels[mistakes.taken[i]], 28)} ({mistakes.images[i]:,})" for i in mine[:most]]
    more = int(mistakes.images[mine[most:]].sum())
    return ", ".join(listed) + (f", others ({more:,})" if more else "") or "-"


def group_table(run: Run) -> str:
    """Where the test images of each group go: right, or to which group of classes."""
    mistakes = mistakes_of(run)
    if mistakes is None:
        return ""
    groups, counts = group_of_ranks(run), run.results["class_counts"]
    of = np.array(groups)[np.argsort(frequency_order(counts))]
    there = [group for group, _, _ in group_spans(group_sizes(run.results))]
    rows = []
    for group in there:
        images, right = mistakes.total[of == group].sum(), mistakes.right[of == group].sum()
        own = of[mistakes.label] == group
        wrong = [mistakes.images[own & (of[mistakes.taken] == other)].sum() for other in there]
        rows.append([group, f"{images:,}", share(right, images), *(share(n, images) for n in wrong)])
    header = ["images of", "test images", "right", *(f"taken for another class of {other}" for other in there)]
    return table(header, rows, "Where the images of each group go")
