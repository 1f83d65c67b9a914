"""The feature map of the page: test images in the plane by t-SNE."""

import numpy as np

from ltjax import escape
from ltjax.class_counts import frequency_order
from ltjax.report.page.parts import group_of_ranks, paragraph
from ltjax.report.page.svg import SHAPES, color, legend, outline, picture
from ltjax.report.run import GROUPS, Run, class_labels

WIDTH, HEIGHT = 760.0, 520.0


def section(run: Run) -> str:
    """A point for each image; a class's name at the middle of its points."""
    if run.features is None or not {"points", "classes"} <= set(run.features):
        return paragraph(
            "Not drawn by itself, for it reads test images again: python -m ltjax.report --run=DIR --tsne draws it "
            "(scikit-learn: pip install 'ltjax[tsne]').", "missing"
        )  # fmt: skip
    points, classes = np.asarray(run.features["points"], float), run.features["classes"].astype(int)
    low, high = points.min(0), points.max(0)
    at = 20 + (points - low) / np.maximum(high - low, 1e-12) * [WIDTH - 40, HEIGHT - 40]
    ranks = np.argsort(frequency_order(run.results["class_counts"]))
    of = np.array(group_of_ranks(run))[ranks]
    labels, parts = class_labels(run.results), []
    for c in np.unique(classes):
        own, group = at[classes == c], str(of[c])
        path = "".join(outline(SHAPES[group], x, y, 3.2) for x, y in own)
        title = escape.html(
            f"{escape.terminal(labels[c])}, {group}, {run.results['class_counts'][c]:,} training images"
        )
        parts.append(f'<path class="dots" style="color:{color(group)}" d="{path}"><title>{title}</title></path>')
    for c in np.unique(classes):
        x, y = np.median(at[classes == c], axis=0)
        shown = escape.html(escape.shortened(escape.terminal(labels[c]), 18))
        parts.append(f'<text class="name halo" x="{x:.0f}" y="{y:.0f}" text-anchor="middle">{shown}</text>')
    there = [group for group in GROUPS if (of[np.unique(classes)] == group).any()]
    drawn = picture("Features of test images (t-SNE)", (WIDTH, HEIGHT), parts, scrolls=True)
    note = (
        f"{len(points):,} test images of up to six classes of each group, up to 50 each; features of the first seed, "
        "perplexity 30, fixed random state. Distances between far clusters mean nothing."
    )
    return f"<figure>{legend((color(g), SHAPES[g], g) for g in there)}{drawn}</figure>{paragraph(note, 'note')}"
