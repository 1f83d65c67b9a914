"""The report of a finished run: its numbers, its figures, and missing or incomplete files."""

import json
import math
import subprocess
import sys

import matplotlib
import numpy as np
import pytest

from ltjax.class_counts import frequency_order
from ltjax.errors import InputError
from ltjax.report import format_table, write_report
from ltjax.report.curves import epochs_of
from ltjax.report.figures import confusion_shares
from ltjax.report.run import read_run
from ltjax.report.style import STYLE, new_figure, place_labels
from ltjax.report.text import percent
from tests.report.synthetic import (
    CIFAR10,
    confusion_of,
    counts_of,
    metrics_of,
    metrics_of_seeds,
    norms_of,
    results_of,
    results_of_seeds,
    write_run,
)

FIGURES = {"training.png", "accuracy_per_class.png", "confusion.png", "weight_norms.png"}
PAGES = {"report.md", "report.html"}


def written(folder):
    return {path.name for path in (folder / "report").iterdir()}


def full_run(folder, results, **changes):
    files = {"metrics": metrics_of(3, 2), "confusion": confusion_of(results), "weight_norms": norms_of(results)}
    return write_run(folder, results, **(files | changes))


def full_run_of_seeds(folder, results, **changes):
    each = [results | {"per_class": one["per_class"]} for one in results["per_seed"]]
    files = {"metrics": metrics_of_seeds(len(each), 3, 2), "confusion": np.stack([confusion_of(one) for one in each])}
    files |= {"weight_norms": np.stack([norms_of(one, seed) for seed, one in enumerate(each)])}
    return write_run(folder, results, **(files | changes))


@pytest.mark.parametrize("classes", [10, 100])
def test_a_finished_run_gets_its_numbers_and_four_figures(tmp_path, classes):
    results = results_of(counts_of(classes, 500, 100), names=CIFAR10 if classes == 10 else None)
    path = write_report(full_run(tmp_path, results, config={"method": {"name": "reslt", "alpha": 0.995}}))
    assert written(tmp_path) == FIGURES | PAGES  # and no temporary file
    for name in FIGURES:
        assert (tmp_path / "report" / name).read_bytes().startswith(b"\x89PNG")
    text = path.read_text()
    sizes = results["shots"]["strict"]["classes"]
    assert f"({sizes[0]})" in text and f"({sizes[2]})" in text
    for number in ("464,538", "0123456789abcdef" * 4, "2 h 03 min", "22,400", "2 x NVIDIA H200", "train step 1,200"):
        assert number in text, number
    assert f"{100 * results['accuracy']['all']:.1f}" in text
    assert '"alpha": 0.995' in text and text.index("accuracy (%)") < text.index("![") < text.index('"alpha"')
    assert all(f"]({name})" in text for name in FIGURES)


def test_an_empty_group_is_a_dash_in_table_and_report(tmp_path):
    results = results_of(counts_of(10, 5000, 100))
    table = format_table(results).splitlines()
    assert table[1].split() == ["all", "mean", "class", "many", "medium", "few"]
    assert table[2].split()[-1] == "-" and table[3].split() == ["classes", "10", "10", "8", "2", "0"]
    assert len({len(line) for line in table[1:4]}) == 1
    assert "- (0)" in write_report(full_run(tmp_path, results)).read_text()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seeds", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_several_seeds_are_means_deviations_and_a_row_for_each(tmp_path, seeds):
    results = results_of_seeds(counts_of(10, 500, 100), seeds, names=CIFAR10)
    text = write_report(full_run_of_seeds(tmp_path, results)).read_text()
    assert written(tmp_path) == FIGURES | PAGES
    table = format_table(results)
    for where in (text, table):
        assert f"over n = {seeds} seeds" in where and "sample standard deviation (divisor n - 1)" in where
        for key in ("all", "mean_class", "many", "few"):
            assert percent(results["accuracy"][key], results["std"]["accuracy"][key]) in where
        for one in results["per_seed"]:
            row = [str(one["seed"]), *(percent(one["accuracy"][k]) for k in ("all", "mean_class", "many"))]
            assert any(line.replace("|", " ").split()[:4] == row for line in where.splitlines()), row
    worst = min(range(10), key=results["per_class"].__getitem__)
    assert percent(results["per_class"][worst], results["std"]["per_class"][worst]) in text
    assert "±" in next(line for line in text.splitlines() if line.startswith("| mean training loss"))


def test_the_table_of_several_seeds_has_this_form():
    shots = {"strict": {"classes": [1, 1, 0]}}
    accuracy = {"all": 0.8, "mean_class": 0.75, "many": 0.9, "medium": 0.6, "few": None}
    results = {"method": "ce", "dataset": "mnist5k", "split": "test", "epochs": 30, "convention": "strict"}
    results |= {"shots": shots, "accuracy": accuracy, "class_counts": [200, 50], "seeds": [3, 4]}
    results |= {"std": {"accuracy": {"all": 0.0141, "mean_class": 0.02, "many": 0.0, "medium": 0.1, "few": None}}}
    results |= {"per_seed": [{"seed": 3, "accuracy": accuracy | {"all": 0.79}}, {"seed": 4, "accuracy": accuracy}]}
    assert format_table(results).splitlines() == [
        "ce on mnist5k, test split, last epoch (30), 2 seeds",
        "                   all  mean class        many       medium  few",
        "accuracy %  80.0 ± 1.4  75.0 ± 2.0  90.0 ± 0.0  60.0 ± 10.0    -",
        "classes              2           2           1            1    0",
        "mean ± sample standard deviation (divisor n - 1) over n = 2 seeds",
        "seed   all  mean class  many  medium  few",
        "3     79.0        75.0  90.0    60.0    -",
        "4     80.0        75.0  90.0    60.0    -",
        "groups: strict (many: more than 100 training images, few: fewer than 20)",
    ]


def test_the_arrays_of_several_seeds_are_summed_and_averaged(tmp_path):
    results = results_of_seeds([30, 5], 3)
    confusion, norms = np.arange(12).reshape(3, 2, 2), np.arange(6.0).reshape(3, 2)
    run = read_run(write_run(tmp_path, results, confusion=confusion, weight_norms=norms))
    np.testing.assert_array_equal(run.confusion, [[12, 15], [18, 21]])
    np.testing.assert_array_equal(run.weight_norms, [2, 3])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seeds": [5]}, r"1 seed\(s\) with deviations"),
        ({"seeds": [5, 6]}, r"seeds \[5, 6\], but 'per_seed' has \[5, 6, 7\]"),
        ({"per_class": [0.5] * 9}, "10 classes, but 'per_class' has 9 numbers"),
        ({"std": {"per_class": []}}, "'per_class' has 0 numbers"),
    ],
)
def test_inconsistent_seeds_are_reported_in_one_line(tmp_path, changes, words):
    results = results_of_seeds(counts_of(10, 400, 40), 3) | changes
    with pytest.raises(InputError, match=words) as caught:
        read_run(write_run(tmp_path, results))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "shape"), [("confusion", (10, 10)), ("confusion", (2, 10, 10)), ("weight_norms", (10, 3))]
)
def test_arrays_without_the_seed_axis_are_refused(tmp_path, name, shape):
    results = results_of_seeds(counts_of(10, 400, 40), 3)
    with pytest.raises(InputError, match=rf"{name} has shape .*, but results.json has 3 seeds and 10 classes"):
        read_run(write_run(tmp_path, results, **{name: np.zeros(shape, np.int64)}))


def test_labels_stay_off_the_bars_of_other_points():
    axes = new_figure(6, 4).subplots()
    x, y, reach = np.array([1.0, 1.1]), np.array([50.0, 30.0]), np.array([0.0, 40.0])
    axes.errorbar(x, y, reach, fmt="none")
    axes.set(xlim=(0, 2), ylim=(-20, 100))
    place_labels(axes, x, y, ["airplane", "truck"], reach)
    bar = axes.transData.transform([[1.1, -10], [1.1, 70]])
    for text in axes.texts[:1]:
        box = text.get_window_extent()
        assert not (box.x0 < bar[0, 0] < box.x1 and box.y0 < bar[1, 1] and bar[0, 1] < box.y1)


def test_the_time_of_a_step_is_reported(tmp_path):
    changes = {"step_ms": 4.213, "host_ms_per_step": 0.0912, "data_on_device": True}
    text = write_report(write_run(tmp_path, results_of([30, 5]) | changes)).read_text()
    assert "| time per step | 4.21 ms, 0.0912 ms of it on the host; training images on the device |" in text
    changes |= {"host_ms_per_step": None, "data_on_device": False}
    assert "| 4.21 ms |" in write_report(write_run(tmp_path, results_of([30, 5]) | changes)).read_text()


def test_figures_without_data_are_omitted_and_old_ones_removed(tmp_path):
    results = results_of(counts_of(10, 400, 40))
    write_report(full_run(tmp_path, results))
    for name in ("metrics.jsonl", "evaluation.npz"):
        (tmp_path / name).unlink()
    text = write_report(tmp_path).read_text()
    assert written(tmp_path) == PAGES | {"accuracy_per_class.png"}
    assert "Not drawn" in text and "training.png" not in text and "confusion.png" not in text


def test_a_run_without_weight_norms_keeps_its_confusion_matrix(tmp_path):
    results = results_of(counts_of(10, 400, 40))
    write_report(full_run(tmp_path, results, weight_norms=None))
    assert written(tmp_path) == FIGURES - {"weight_norms.png"} | PAGES


@pytest.mark.parametrize(
    "metrics",
    [
        metrics_of(1, 1),
        pytest.param([{"step": 1, "loss": 2.0}], marks=pytest.mark.slow),
        pytest.param(metrics_of(1, 1, tests=False), marks=pytest.mark.slow),
    ],
)
def test_one_logged_step_is_drawn(tmp_path, metrics):
    write_report(full_run(tmp_path, results_of(counts_of(10, 400, 40)), metrics=metrics))
    assert "training.png" in written(tmp_path)


@pytest.mark.parametrize("metrics", [[], [{"step": 1, "epoch": 0, "loss": math.nan, "note": "text", "test/all": None}]])
def test_nothing_finite_logged_draws_no_curve(tmp_path, metrics):
    write_report(full_run(tmp_path, results_of(counts_of(10, 400, 40)), metrics=metrics))
    assert "training.png" not in written(tmp_path)


def test_a_partial_line_of_a_killed_run_is_skipped_and_reported(tmp_path):
    full_run(tmp_path, results_of(counts_of(10, 400, 40)))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 900, "lo')
    assert "1 unreadable line" in write_report(tmp_path).read_text()
    assert "training.png" in written(tmp_path)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("counts", "per_class"),
    [
        ([400] * 10, None),  # one group, equal counts
        ([500] * 5 + [5] * 5, None),  # the step profile
        ([7], [1.0]),
        ([30, 0], [1.0, None]),  # a class with neither training nor test images
        ([3, 300, 30], [0.0, 0.9, 0.4]),  # not sorted by frequency
        ([5, 4], [None, None]),
    ],
)
def test_odd_class_counts_are_drawn_without_a_warning(tmp_path, counts, per_class):
    results = results_of(counts, per_class=per_class)
    write_report(full_run(tmp_path, results))
    expected = FIGURES | PAGES
    if all(a is None for a in results["per_class"]):
        expected -= {"accuracy_per_class.png"}
    assert written(tmp_path) == expected


def test_the_same_run_gives_the_same_bytes(tmp_path):
    full_run(tmp_path, results_of(counts_of(10, 400, 40)))
    reports = []
    for _ in range(2):
        write_report(tmp_path)
        reports.append({path.name: path.read_bytes() for path in (tmp_path / "report").iterdir()})
    assert reports[0] == reports[1]


def test_a_workdir_without_results_is_named_in_one_line(tmp_path):
    with pytest.raises(InputError, match=r"results\.json") as caught:
        write_report(tmp_path)
    assert "\n" not in str(caught.value)
    (tmp_path / "results.json").write_text('{"method":')
    with pytest.raises(InputError, match=r"results\.json: is damaged; run the training command again"):
        write_report(tmp_path)


def test_arrays_of_another_number_of_classes_are_refused(tmp_path):
    results = results_of(counts_of(10, 400, 40))
    with pytest.raises(InputError, match=r"confusion has shape \(3, 3\), but results.json has 10 classes"):
        write_report(full_run(tmp_path, results, confusion=np.eye(3, dtype=np.int64)))


def test_confusion_is_sorted_by_frequency_in_percent_of_the_row():
    confusion = np.array([[8, 2, 0], [0, 0, 0], [1, 1, 2]])
    shares, per_bin = confusion_shares(confusion, frequency_order([20, 5, 100]))
    assert per_bin == 1
    np.testing.assert_array_equal(shares, [[50, 25, 25], [0, 80, 20], [np.nan] * 3])


def test_a_thousand_classes_share_cells_that_keep_every_image():
    confusion = np.random.default_rng(0).integers(0, 3, [1001, 1001])
    shares, per_bin = confusion_shares(confusion, np.arange(1001))
    assert per_bin == 6 and shares.shape == (167, 167)
    np.testing.assert_allclose(shares.sum(1), 100)
    np.testing.assert_allclose(shares[1, 2], 100 * confusion[6:12, 12:18].sum() / confusion[6:12].sum())


def test_labels_cover_neither_each_other_nor_a_point():
    with matplotlib.rc_context(STYLE):
        axes = new_figure(8, 4.8).subplots()
        x, y = np.linspace(1.0, 1.2, 10), np.array([50, 51, 49, 50, 52, 50, 48, 50, 51, 50.0])
        axes.scatter(x, y)
        axes.set(xlim=(0, 3), ylim=(0, 100))
        place_labels(axes, x, y, CIFAR10, np.zeros(10))
        boxes = [text.get_window_extent() for text in axes.texts if text.get_text()]
        points = axes.transData.transform(np.column_stack([x, y]))
    assert len(boxes) == 10
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])
        assert not any(box.contains(*point) for point in points)


@pytest.mark.parametrize("epochs", [(0.5, 1.0, 1.5, 2.0), (1.0, 2.0), (2.0,), (0.75, 1.5)])
def test_the_epochs_of_a_second_stage_follow_the_first(epochs):
    rows = [{"epoch": e, "stage": s} for s in ("first", "second") for e in epochs]
    x, stages = epochs_of(rows)
    assert x.tolist() == [*epochs, *(2 + e for e in epochs)] and stages == [(0.0, "first"), (2.0, "second")]


def test_a_table_loads_neither_jax_nor_matplotlib():
    code = "import sys, ltjax.report; print([m for m in ('jax', 'matplotlib', 'flax') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
