"""All figures of a comparison, and why the others are not drawn."""

from collections.abc import Collection, Sequence

import matplotlib

from ltjax.report.compare.bars import views
from ltjax.report.compare.classes import (
    MAX_NAMED_CLASSES,
    accuracy_by_class,
    class_gains,
    weight_norms,
)
from ltjax.report.compare.feature_map import FeatureMap, chosen_classes, draw_feature_maps
from ltjax.report.compare.gradients import gradient_conflict
from ltjax.report.compare.groups import SeedGroup, same_classes, short_value
from ltjax.report.compare.sweep import Sweep
from ltjax.report.compare.sweep_figure import draw_sweep
from ltjax.report.fonts import numbered
from ltjax.report.run import class_labels, group_sizes
from ltjax.report.style import style_for

OTHER_CLASSES = "the runs have other classes, or other numbers of training images in them"
NO_DATA = {
    "accuracy_by_class": "no class has test images",
    "class_gains": "no class has test images in both",
    "weight_norms": "no run recorded them (a network without one linear or cosine classifier)",
    "views": "no run has views",
    "gradients": "no run measured gradients; train with --config.gradients.every_steps=20",
}


def draw(
    groups: Sequence[SeedGroup], baselines: Sequence[SeedGroup], sweep: Sweep | str
) -> tuple[dict[str, bytes], dict[str, str]]:
    """Name -> PNG of what can be drawn, name -> reason of what cannot."""
    figures: dict[str, bytes | None] = {}
    missing: dict[str, str] = {}
    with matplotlib.rc_context(style_for(_texts(groups, sweep))):
        if same_classes(groups):
            figures["accuracy_by_class"] = accuracy_by_class(groups)
            figures["weight_norms"] = weight_norms(groups)
            if baselines:
                figures["class_gains"] = class_gains(groups, baselines)
        else:
            missing |= dict.fromkeys(("accuracy_by_class", "class_gains", "weight_norms"), OTHER_CLASSES)
        if not baselines:
            missing["class_gains"] = "--baseline was not given"
        figures["views"] = views(groups)
        figures["gradients"] = gradient_conflict(groups)
        if isinstance(sweep, Sweep):
            figures["sweep"] = draw_sweep(sweep)
        else:
            missing["sweep"] = sweep
    missing |= {name: NO_DATA[name] for name, figure in figures.items() if figure is None}
    return {name: figure for name, figure in figures.items() if figure is not None}, missing


def _texts(groups: Sequence[SeedGroup], sweep: Sweep | str) -> list[str]:
    """The names from outside that the figures show."""
    texts = [group.label for group in groups] + class_labels(groups[0].results)
    if isinstance(sweep, Sweep):
        texts += [*(short_value(value) for value in sweep.values), *(line.label for line in sweep.series)]
    return texts


def numbered_classes(groups: Sequence[SeedGroup], figures: Collection[str]) -> dict[int, str]:
    """Class number -> name, of the classes that these figures show by number, for no font has the name's letters."""
    names = class_labels(groups[0].results)
    if len(names) > MAX_NAMED_CLASSES or not {"accuracy_by_class", "class_gains", "weight_norms"} & set(figures):
        return {}
    with matplotlib.rc_context(style_for(_texts(groups, ""))):
        return numbered(names)


def feature_figure(groups: Sequence[SeedGroup], maps: Sequence[FeatureMap]) -> bytes:
    """The figure of the rows' features."""
    results = groups[0].results
    with matplotlib.rc_context(style_for(_texts(groups, ""))):
        return draw_feature_maps(maps, chosen_classes(results["class_counts"], group_sizes(results)))
