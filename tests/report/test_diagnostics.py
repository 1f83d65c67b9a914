"""Optional contents: gradients by class group, losses of watched classes, views, selected hyper-parameters."""

import math

import numpy as np
import pytest

from ltjax.report import curves, write_report
from ltjax.report.curves import class_loss_curves, gradient_curves, training_curves
from ltjax.report.run import read_run
from ltjax.report.style import LINE_COLORS
from ltjax.report.text import format_report, percent
from tests.report.synthetic import counts_of, results_of, results_of_seeds, write_run

GRADIENT = {"cosine_frequent": 0.9, "cosine_rare": 0.2, "norm_frequent": 1.0, "norm_rare": 2.0, "norm": 2.5}
COUNTS = counts_of(10, 500, 100)


def rows(count=4, *, gradients=True, watched=(0, 9), stage="train"):
    """Gradients in every second row, the tail class (9) only in the first."""
    made = []
    for i in range(count):
        row = {"step": i + 1, "epoch": float(i + 1), "stage": stage, "loss": 2.0 / (i + 1)}
        if gradients and i % 2 == 0:
            row |= {f"gradient/{name}": value for name, value in GRADIENT.items()}
        row |= {f"class_loss/{c}": 1.0 + c for c in watched if c == 0 or i == 0}
        made.append(row)
    return made


@pytest.fixture
def drawn(monkeypatch):
    """The panels that would be drawn: title -> {label: (x, y)}."""
    seen = {}

    def column(title, panels, log):
        for panel in panels:
            if panel.lines:
                seen[panel.title] = {line.label: (line.x.tolist(), line.y.tolist()) for line in panel.lines}
        return b"png" if seen else None

    monkeypatch.setattr(curves, "draw_column", column)
    return seen


def test_gradients_are_two_panels_of_the_steps_that_measured_them(drawn):
    assert gradient_curves(rows())
    x = [1.0, 3.0]
    assert drawn == {
        "cosine with the full gradient": {"frequent classes": (x, [0.9, 0.9]), "rare classes": (x, [0.2, 0.2])},
        "norm": {
            "frequent classes": (x, [1.0, 1.0]),
            "rare classes": (x, [2.0, 2.0]),
            "full gradient": (x, [2.5, 2.5]),
        },
    }


def test_watched_classes_are_named_with_their_images_most_frequent_first(drawn):
    labels = {0: "airplane (500 images)", 5: "dog (38 images)", 9: "truck (5 images)"}
    assert class_loss_curves(rows(watched=(9, 0)), labels)
    assert list(drawn["loss"]) == ["airplane (500 images)", "truck (5 images)"]
    assert drawn["loss"]["truck (5 images)"] == ([1.0], [10.0])


def test_a_class_in_two_streams_keeps_its_colour(monkeypatch):
    seen = []
    monkeypatch.setattr(curves, "draw_column", lambda title, panels, log: seen.extend(panels[0].lines))
    names = ("class_loss/10", "class_loss/1/random", "class_loss/1", "class_loss/0/random", "class_loss/0")
    class_loss_curves([{"epoch": 1.0} | dict.fromkeys(names, 2.0)], {1: "one", 0: "zero", 3: "three"})
    styles = {line.label: (line.color, line.dashes) for line in seen}
    first, second = LINE_COLORS[:2]
    assert styles == {
        "one": (first, "-"),
        "one, random": (first, "--"),
        "zero": (second, "-"),
        "zero, random": (second, "--"),
    }


def test_accuracies_of_all_streams_share_a_panel(drawn):
    training_curves([{"epoch": 1.0, "accuracy": 0.5, "accuracy/rotation": 0.25, "test/all": 0.75}])
    labels = {"training batches": 50.0, "training batches, rotation": 25.0, "test all": 75.0}
    assert {label: y for label, (_, (y,)) in drawn["accuracy (%)"].items()} == labels


def test_loss_terms_have_a_separate_panel_because_they_are_logged_without_their_weights(drawn):
    terms = [{"epoch": 1.0, "loss": 1.5, "loss/classification": 1.0, "loss/proxy": -0.5, "learning_rate": 0.1}]
    assert training_curves(terms)
    assert drawn["loss"] == {"total": ([1.0], [1.5])}
    assert drawn["terms of the loss"] == {"classification": ([1.0], [1.0]), "proxy": ([1.0], [-0.5])}
    drawn.clear()
    training_curves([{"epoch": 1.0, "loss": 1.5}])
    assert list(drawn) == ["loss"]


def test_nothing_measured_draws_nothing():
    assert gradient_curves(rows(gradients=False)) is None
    assert class_loss_curves(rows(watched=()), {0: "airplane"}) is None


@pytest.mark.filterwarnings("error")
def test_optional_figures_are_written_only_with_data_and_never_reported_as_missing(tmp_path):
    results = results_of(COUNTS)
    write_run(tmp_path, results, metrics=rows() + rows(stage="second"))
    text = write_report(tmp_path).read_text()
    figures = {"gradients.png", "class_losses.png"}
    assert figures < {path.name for path in (tmp_path / "report").iterdir()}
    assert all(f"]({name})" in text for name in figures)
    write_run(tmp_path, results, metrics=rows(gradients=False, watched=()))
    text = write_report(tmp_path).read_text()
    assert not figures & {path.name for path in (tmp_path / "report").iterdir()}
    missed = next(line for line in text.splitlines() if line.startswith("Not drawn"))
    assert "Gradients" not in missed and "watched classes" not in missed and "Confusion" in missed


@pytest.mark.filterwarnings("error")
def test_a_band_is_of_the_seeds_that_have_a_number():
    logged = rows(400)
    for i, row in enumerate(logged):
        each = {name: [value, value + 1, None] for name, value in row.items() if name.startswith("gradient/")}
        row["per_seed"] = each | {"loss": [row["loss"]] * 3, "class_loss/0": [1.0, None if i % 3 else 2.0, None]}
    assert gradient_curves(logged, 3).startswith(b"\x89PNG")
    assert class_loss_curves(logged, {0: "a", 9: "b"}, 3).startswith(b"\x89PNG")


def text_of(folder, results):
    return format_report(read_run(write_run(folder, results)), [])


def views_of(results, names):
    return {name: {"accuracy": results["accuracy"] | {"all": 0.1 * (i + 1)}} for i, name in enumerate(names)}


def table_under(text, header):
    return [
        line
        for line in text.split(header)[1].split("\n\n")[1].splitlines()
        if line.startswith("|") and "---" not in line
    ]


def test_views_are_a_table_below_the_result(tmp_path):
    results = results_of(COUNTS)
    results["views"] = views_of(results, ["first branch", "sum of two"])
    table = table_under(text_of(tmp_path, results), "## Other views of the network")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    shots = [percent(results["accuracy"][group]) for group in ("many", "medium", "few")]
    assert cells == [
        ["accuracy (%)", "all", "many", "medium", "few"],
        ["the result", percent(results["accuracy"]["all"]), *shots],
        ["first branch", "10.0", *shots],
        ["sum of two", "20.0", *shots],
    ]


def test_views_of_several_seeds_have_deviations(tmp_path):
    results = results_of_seeds(COUNTS, 2)
    results["views"] = views_of(results, ["first branch"])
    results["views"]["first branch"]["std"] = {"accuracy": {"all": 0.012, "many": math.nan, "few": None}}
    text = text_of(tmp_path, results)
    branch = table_under(text, "## Other views of the network")[2]
    assert "10.0 ± 1.2" in branch and branch.count("±") == 1


@pytest.mark.parametrize(
    ("chosen", "each", "line"),
    [
        ({"tau": 0.7}, [], "| selected by the run | tau 0.7 |"),
        ({"tau": 0.7000001, "metric": "cosine"}, [], "| selected by the run | tau 0.7; metric cosine |"),
        ({"tau": 0.65}, [{"tau": 0.6}, {"tau": 0.7}], "| selected by the run | tau 0.6, 0.7, one value per seed |"),
    ],
)
def test_selected_hyper_parameters_are_one_line(tmp_path, chosen, each, line):
    results = results_of_seeds(COUNTS, 2) if each else results_of(COUNTS)
    results["chosen"] = chosen
    for one, values in zip(results.get("per_seed", []), each, strict=True):
        one["chosen"] = values
    assert text_of(tmp_path, results).splitlines().count(line) == 1


def test_a_run_without_views_and_selections_does_not_mention_them(tmp_path):
    text = text_of(tmp_path, results_of(COUNTS))
    assert "Other views" not in text and "selected" not in text


def test_long_curves_are_smoothed_over_what_is_known():
    values = np.array([1.0, math.nan, 3.0, math.nan, math.nan, math.nan, 5.0])
    np.testing.assert_array_equal(curves._running_mean(values), [2.0, 3.0, 3.0, math.nan, 5.0])
