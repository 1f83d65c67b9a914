"""The figure of features in two dimensions (t-SNE): a panel for each row, a point for each test image."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from ltjax.class_counts import frequency_order
from ltjax.report.fonts import drawn
from ltjax.report.run import GROUPS
from ltjax.report.style import COLORS, LINE_MARKERS, new_figure, place_labels, png

CLASSES_PER_GROUP = 6  # as in figure 4 of "To balance or not to balance": 18 classes, evenly from the three groups


class FeatureMap(NamedTuple):
    """Test images of some classes in the plane.

    Attributes:
      label: of the row.
      points: float [n, 2].
      classes: int [n], the class of each image.
    """

    label: str
    points: np.ndarray
    classes: np.ndarray


def chosen_classes(class_counts: Sequence[int], sizes: Sequence[int]) -> dict[str, list[int]]:
    """Group -> up to six of its classes, evenly spaced by frequency.

    Args:
      class_counts: training images of each class.
      sizes: number of classes in many, medium and few.

    Example:
      >>> chosen_classes([9, 8, 7, 6, 5, 4, 3, 2, 1, 0], (8, 1, 1))
      {'many': [0, 1, 3, 4, 6, 7], 'medium': [8], 'few': [9]}
    """
    order, begin, chosen = frequency_order(class_counts), 0, {}
    for group, size in zip(GROUPS, sizes, strict=True):
        ranks = np.linspace(begin, begin + size - 1, min(size, CLASSES_PER_GROUP)).round().astype(int)
        chosen[group] = [int(order[rank]) for rank in ranks]
        begin += size
    return chosen


def draw_feature_maps(maps: Sequence[FeatureMap], chosen: Mapping[str, Sequence[int]]) -> bytes:
    """Colour is the group of the class, the marker its place in the group; the number is the class's index."""
    columns = min(len(maps), 3)
    rows = -(-len(maps) // columns)
    figure = new_figure(5.2 * columns, 0.9 + 5 * rows)
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes, one in zip(panels.flat, maps, strict=False):
        _draw(axes, one, chosen)
        axes.set_title(drawn(one.label), fontsize=12)
    for axes in panels.flat[len(maps) :]:
        axes.set_visible(False)
    handles = [Patch(color=COLORS[group], label=f"{group}-shot classes") for group, of in chosen.items() if of]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    figure.draw_without_rendering()
    for axes, one in zip(panels.flat, maps, strict=False):
        _number_classes(axes, one, chosen)
    return png(figure)


def _draw(axes: Axes, one: FeatureMap, chosen: Mapping[str, Sequence[int]]) -> None:
    for group, classes in chosen.items():
        for place, of_class in enumerate(classes):
            points = one.points[one.classes == of_class]
            axes.scatter(
                points[:, 0], points[:, 1], 16, COLORS[group], marker=LINE_MARKERS[place % len(LINE_MARKERS)],
                alpha=0.55, linewidths=0,
            )  # fmt: skip
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    axes.margins(0.06)
    axes.spines[:].set_visible(True)


def _number_classes(axes: Axes, one: FeatureMap, chosen: Mapping[str, Sequence[int]]) -> None:
    shown = [c for classes in chosen.values() for c in classes if (one.classes == c).any()]
    middle = np.array([np.median(one.points[one.classes == c], axis=0) for c in shown])
    place_labels(axes, middle[:, 0], middle[:, 1], [str(c) for c in shown], np.zeros(len(shown)))
    for text in axes.texts:
        if text.get_text():
            text.set(bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 0.4})
