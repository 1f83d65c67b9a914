"""The figures: what they show, that no labels overlap, and that their colours can be told apart by everybody."""

import itertools

import matplotlib
import numpy as np
import pytest

from ltjax.report.compare import bars, choose_sweep, classes, feature_map, gradients, sweep_figure
from ltjax.report.compare.feature_map import FeatureMap, chosen_classes
from ltjax.report.compare.figures import draw
from ltjax.report.compare.gradients import gradient_conflict, joined
from ltjax.report.compare.groups import group_by_seed
from ltjax.report.curves import Line
from ltjax.report.style import LINE_COLORS, STYLE
from tests.report.compare import rows
from tests.report.compare.rows import member
from tests.report.synthetic import CIFAR10, counts_of, results_of_seeds

PNG = b"\x89PNG"
LONG = "asynchronous, with a label that somebody has written at length, 18 exemplars"


@pytest.fixture
def figures(monkeypatch):
    """The figures in place of their PNGs, laid out as they are written."""
    made = []

    def laid_out(figure):
        figure.get_layout_engine().execute(figure)
        figure.set_layout_engine("none")
        made.append(figure)
        return PNG

    for module in (bars, classes, feature_map, gradients, sweep_figure):
        monkeypatch.setattr(module, "png", laid_out)
    with matplotlib.rc_context(STYLE):
        yield made


def texts_of(figure):
    """The texts that are drawn: tick labels outside the limits of their axis are not."""
    figure.draw_without_rendering()
    outside = set()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        outside |= {id(tick.label1) for tick in ticks if not low <= tick.get_loc() <= high}
    found = figure.findobj(matplotlib.text.Text)
    return [t for t in found if t.get_visible() and t.get_text().strip() and id(t) not in outside]


def assert_apart(figure):
    """No two upright texts cover each other."""
    boxes = [(t.get_text(), t.get_window_extent()) for t in texts_of(figure) if t.get_rotation() in (0, 90)]
    assert len(boxes) > 5
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        assert not a.padded(-0.5).overlaps(b.padded(-0.5)), f"{one!r} covers {other!r}"


def lines_of(axes):
    return {line.get_label(): line.get_ydata() for line in axes.lines if not line.get_label().startswith("_")}


@pytest.mark.parametrize("count", [10, 365, 8142])
def test_labels_of_class_figures_do_not_overlap(figures, count):
    counts = counts_of(count, 1280, 256)
    names = list(CIFAR10) if count == 10 else [f"class {i}" for i in range(count)]
    groups = group_by_seed(
        [member(m, counts=counts, class_names=names) for m in ("ce", "reslt", "ride")]
        + [member("asynchronous", counts=counts, class_names=names, name=LONG)]
    )
    assert classes.accuracy_by_class(groups) and classes.weight_norms(groups)
    assert classes.class_gains(groups, groups[:1])
    assert len(figures) == 3
    for figure in figures:
        assert_apart(figure)


def test_lines_are_sorted_by_frequency_and_are_single_classes_when_these_are_few(figures):
    (group,) = group_by_seed([member(counts=[5, 200, 50])])
    classes.accuracy_by_class([group])
    accuracies = 100 * np.array(group.results["per_class"])
    np.testing.assert_allclose(lines_of(figures[0].axes[1])["ce"], accuracies[[1, 2, 0]])
    names = [tick.get_text() for tick in figures[0].axes[1].get_xticklabels()]
    assert names == ["1", "2", "0"]


def test_gains_are_differences_in_percentage_points(figures):
    groups = group_by_seed([member("ce"), member("reslt"), member("ride")])
    classes.class_gains(groups, groups[:2])
    titles = [axes.get_title(loc="left") for axes in figures[0].axes]
    assert [title.partition(":")[0] for title in titles] == ["ride over ce", "ride over reslt"]
    heights = [patch.get_height() for patch in figures[0].axes[0].containers[0]]
    ride, ce = (np.array(groups[i].results["per_class"]) for i in (2, 0))
    np.testing.assert_allclose(heights, 100 * (ride - ce))


def test_bars_of_many_classes_are_means_and_keep_every_class(figures):
    groups = group_by_seed([member(m, counts=counts_of(365, 500, 100)) for m in ("ce", "reslt")])
    classes.class_gains(groups, groups[:1])
    bars_ = figures[0].axes[0].containers[0]
    assert len(bars_) == 182 and "mean of 2 classes a bar" in figures[0].get_supylabel()
    gain = 100 * (np.array(groups[1].results["per_class"]) - np.array(groups[0].results["per_class"]))
    assert bars_[-1].get_height() == pytest.approx(gain[-3:].mean())


def test_views_are_bars_beside_the_result(figures):
    views = {"expert_0": {"accuracy": {"all": 0.5, "many": 0.6, "medium": None, "few": 0.1}}}
    assert bars.views(group_by_seed([member("ce")])) is None
    bars.views(group_by_seed([member("ride", views=views), member("ce")]))
    (axes,) = figures[0].axes
    assert [container.get_label() for container in axes.containers] == ["the result", "expert 0"]
    heights = [patch.get_height() for patch in axes.containers[1]]
    np.testing.assert_allclose(heights, [60, np.nan, 10, 50])


def test_a_sweep_has_all_classes_above_and_the_groups_below(figures):
    members = [member("reslt", settings={"reslt.alpha": a}, seed=s) for a in (0.1, 0.5, 1.0) for s in (0, 1)]
    sweep_figure.draw_sweep(choose_sweep(group_by_seed(members)))
    above, below = figures[0].axes
    assert [sorted(lines_of(axes)) for axes in (above, below)] == [
        ["all classes"],
        ["few-shot", "many-shot", "medium-shot"],
    ]
    assert [tick.get_text() for tick in below.get_xticklabels()] == ["0.1", "0.5", "1"]
    assert_apart(figures[0])


def test_values_close_together_are_spaced_evenly_or_by_their_logarithms(figures):
    for values, places in (((0.9, 0.99, 0.995, 1.0), [0, 1, 2, 3]), ((0.001, 0.01, 0.1), [0.001, 0.01, 0.1])):
        members = [member("reslt", settings={"reslt.alpha": value}) for value in values]
        sweep_figure.draw_sweep(choose_sweep(group_by_seed(members)))
        line = figures[-1].axes[0].lines[0]
        assert line.get_xdata().tolist() == places
        assert_apart(figures[-1])


def test_a_sweep_of_words_has_points_beside_each_other_and_a_plain_run_is_a_line(figures):
    samplers = ("instance_balanced", "square_root", "progressive", "class_balanced")
    members = [member(m, settings={"data.sampler": s}) for m in ("ce", "reslt") for s in samplers]
    sweep_figure.draw_sweep(choose_sweep(group_by_seed([*members, member("ldam_drw", settings={"x": 1})])))
    first = {line.get_label(): line for line in figures[0].axes[0].lines}
    assert {"ce", "reslt", "ldam_drw"} <= set(first)
    np.testing.assert_allclose(first["reslt"].get_xdata() - first["ce"].get_xdata(), 0.3)
    assert_apart(figures[0])


def test_gradients_of_several_runs_share_five_panels(figures):
    groups = group_by_seed(
        [member(m, logged=rows.gradients(s), seed=s) for m, s in (("ce", 0), ("ce", 1), ("reslt", 2))]
        + [member("ride")]
    )
    gradient_conflict(groups)
    assert [sorted(lines_of(axes)) for axes in figures[0].axes] == [["ce", "reslt"]] * 5
    np.testing.assert_allclose(lines_of(figures[0].axes[0])["ce"], 0.205)
    assert gradient_conflict(groups[2:]) is None


def test_runs_that_logged_other_epochs_are_joined_where_both_did():
    def line(x, y):
        return [Line("ce", "b", np.array(x), np.array(y), np.full((len(x), 1), np.nan))]

    both = joined([line([1.0, 2.0, 3.0], [0.1, 0.2, 0.3]), line([2.0, 3.0], [0.4, 0.5])])
    assert both.x.tolist() == [2, 3]
    np.testing.assert_allclose(both.y, [0.3, 0.4])
    np.testing.assert_allclose(both.each, [[0.2, 0.4], [0.3, 0.5]])
    assert joined([[], line([1.0], [0.1])]).x.tolist() == [1] and joined([[], []]) is None
    assert joined([line([1.0], [0.1]), line([2.0], [0.1])]) is None


def test_features_are_coloured_by_group_and_numbered(figures):
    chosen = chosen_classes(list(range(40, 0, -1)), (10, 20, 10))
    assert [len(of) for of in chosen.values()] == [6, 6, 6] and chosen["few"][-1] == 39
    labels = np.repeat([c for of in chosen.values() for c in of], 5)
    random = np.random.default_rng(0)
    maps = [FeatureMap(name, random.normal(size=(90, 2)) * scale, labels) for name, scale in (("ce", 1), (LONG, 30))]
    feature_map.draw_feature_maps(maps, chosen)
    for axes in figures[0].axes:
        written = [text for text in axes.texts if text.get_text()]
        assert sorted(int(text.get_text()) for text in written) == sorted(set(labels.tolist()))
        boxes = [text.get_window_extent() for text in written]
        assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


@pytest.mark.filterwarnings("error")
def test_what_is_not_drawn_has_a_reason():
    several = results_of_seeds(rows.COUNTS, 2, method="ce")
    groups = group_by_seed([member(seed=5, **several), member("reslt", counts=[9, 3])])
    figures, missing = draw(groups, [], choose_sweep(groups))
    assert figures == {}
    assert set(missing) == {"accuracy_by_class", "class_gains", "weight_norms", "views", "gradients", "sweep"}
    assert "every_steps" in missing["gradients"] and "--baseline" in missing["class_gains"]


# Matrices on linear RGB at severity 1 of Machado, Oliveira and Fernandes (2009)
DICHROMATS = {
    "normal": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def lab(linear):
    """CIELAB (D65) of linear RGB."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(to_xyz @ np.clip(linear, 0, 1) / np.array([0.9505, 1, 1.089]))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("eye", DICHROMATS)
def test_every_two_line_colours_differ_for_every_eye(eye):
    rgb = np.array([matplotlib.colors.to_rgb(color) for color in LINE_COLORS])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = [lab(DICHROMATS[eye] @ color) for color in linear]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 12
