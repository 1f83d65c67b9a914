"""report.html: what is on the page, for few and many classes, one and several seeds, whole and damaged workdirs."""

import html.parser
import json
import re

import numpy as np
import pytest

from ltjax.report import curves
from ltjax.report.page import PARTS, html_page
from ltjax.report.page import by_class as by_class_page
from ltjax.report.page.confusion import mistakes_of
from ltjax.report.page.svg import Chart, Scale
from ltjax.report.run import read_run
from ltjax.report.text import conventions
from tests.report.synthetic import (
    CIFAR10,
    confusion_of,
    counts_of,
    metrics_of,
    metrics_of_seeds,
    norms_of,
    predictions_of,
    results_of,
    results_of_seeds,
    write_gallery,
    write_run,
)


class Checked(html.parser.HTMLParser):
    """Every element is closed in the order it was opened, ids are unique, and nothing is loaded."""

    EMPTY = ("meta", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.text = [], [], [], []
        self.feed(text)
        assert not self.open, self.open
        assert len(self.ids) == len(set(self.ids)) and set(self.links) == set(self.ids)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        assert tag not in ("script", "link", "iframe", "object") and not any(name.startswith("on") for name in given)
        assert given.get("src", "data:").startswith("data:") and given.get("href", "#").startswith("#")
        assert tag != "img" or given["alt"]
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given["href"][1:]] if "href" in given else []
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def page_of(folder, results, **changes):
    said = predictions_of(results)
    several = "per_seed" in results
    norms = np.stack([norms_of(results)] * len(results["seeds"])) if several else norms_of(results)
    metrics = metrics_of_seeds(len(results["seeds"]), 3, 4) if several else metrics_of(3, 4)
    files = {"predictions": said, "weight_norms": norms, "metrics": metrics, "config": {"data": {"imbalance": 1}}}
    write_run(folder, results, **(files | changes))
    write_gallery(folder, said)
    text = html_page(read_run(folder))
    Checked(text)
    return text


def missing(text):
    return re.findall('<p class="missing">(.*?)</p>', text)


@pytest.mark.parametrize("classes", [2, 10, 34, 365, 8142])
@pytest.mark.parametrize("seeds", [1, 3])
def test_a_run_of_any_number_of_classes_has_a_page_of_less_than_3_mb(tmp_path, classes, seeds):
    counts = counts_of(classes, 1000, 200)
    results = results_of_seeds(counts, seeds) if seeds > 1 else results_of(counts)
    results |= {"views": {"first branch": {"accuracy": results["accuracy"]}}, "macro_f1": 0.25}
    text = page_of(tmp_path, results)
    assert len(missing(text)) == 1 and "--tsne" in missing(text)[0]
    for part in PARTS[:-3]:
        assert (f'id="{part.anchor}"' in text) == (part.anchor not in ("watched", "gradients", "precision"))
    assert len(text) < 3e6 and text.count("<img") >= 12
    assert ("All 365 classes" in text) == (classes == 365) and ("results.json has all 8,142" in text) == (
        classes == 8142
    )


def test_the_numbers_are_those_of_the_files(tmp_path):
    results = results_of(counts_of(10, 500, 100), names=CIFAR10) | {"macro_f1": 0.4321}
    results["calibration_error"] = {"all": 0.0511, "many": None, "medium": 0.1, "few": 0.2}
    results["data_notes"] = ["held out: 20%"]
    text = page_of(tmp_path, results)
    said = predictions_of(results)
    for shown in ("43.2", "5.1", "464,538", "0123456789abcdef" * 4, "2 h 03 min", "held out: 20%", "reslt on cifar10"):
        assert shown in text, shown
    worst = min(range(10), key=lambda c: (results["per_class"][c], results["class_counts"][c]))
    row = re.search(f'<th scope="row"><bdi>{CIFAR10[worst]}</bdi></th>(.*?)</tr>', text)[1]
    cells = re.findall("<td>(.*?)</td>", row)
    wrong = said["prediction"][(said["label"] == worst) & (said["prediction"] != worst)]
    first = np.bincount(wrong).argmax() if len(wrong) else None
    assert cells[1] == f"{results['class_counts'][worst]:,}" and cells[3] == f"{100 * results['per_class'][worst]:.1f}"
    assert first is None or f"{CIFAR10[first]}</bdi> ({np.bincount(wrong).max()})" in cells[4]
    assert "class/3.jpg" in text and "training images of the class" in text


def test_mistakes_are_the_same_from_predictions_and_from_a_matrix(tmp_path):
    results = results_of(counts_of(10, 500, 100))
    said = predictions_of(results)
    matrix = np.zeros((10, 10), int)
    np.add.at(matrix, (said["label"], said["prediction"]), 1)
    found = []
    for name, files in {"a": {"predictions": said}, "b": {"confusion": matrix}}.items():
        (tmp_path / name).mkdir()
        found.append(mistakes_of(read_run(write_run(tmp_path / name, results, **files))))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    off = matrix - np.diag(np.diag(matrix))
    assert found[0].images.sum() == off.sum() and found[0].right.tolist() == np.diag(matrix).tolist()


def test_a_run_of_an_earlier_version_has_a_page_that_names_what_is_missing(tmp_path):
    results = results_of(counts_of(10, 500, 100))
    text = html_page(read_run(write_run(tmp_path, results, confusion=confusion_of(results))))
    assert Checked(text) and len(missing(text)) == 5
    assert any("no probabilities" in one for one in missing(text)) and "What is taken for what" in text
    (tmp_path / "evaluation.npz").write_bytes(b"PK")
    (tmp_path / "gallery.npz").write_bytes(b"PK")
    text = html_page(read_run(tmp_path))
    assert text.count("damaged, so without") == 2


def test_the_trend_of_more_classes_than_a_line_has_points_lies_on_their_accuracies(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(Chart, "line", lambda self, x, y, *style, **more: drawn.update({style[-1]: (x, y)}))
    counts = counts_of(1000, 5000, 1000)
    results = results_of(counts, per_class=(0.1 * np.log(counts)).tolist())
    write_run(tmp_path, results)
    by_class_page.accuracy(read_run(tmp_path))
    x, y = drawn["--"]
    assert 100 < len(x) <= 300 and (x.min(), x.max()) == (5, 5000)
    np.testing.assert_allclose(y, 10 * np.log(x), rtol=1e-6)


def test_a_part_that_fails_is_named_and_the_others_are_there(tmp_path, monkeypatch):
    monkeypatch.setattr(by_class_page, "worst", lambda run: 1 / 0)
    text = page_of(tmp_path, results_of(counts_of(10, 500, 100)))
    assert "This part cannot be drawn: ZeroDivisionError" in text and "Reliability of all images" in text


def test_names_are_shown_and_not_obeyed(tmp_path):
    names = [
        "<script>alert(1)</script>",
        "a\u202eb",
        'x" onload="y',
        "\U0001f33b",
        "&lt;",
        "رمان",
        "g" * 300,
        "",
        "é",
        "e\u0301",
    ]
    results = results_of(counts_of(10, 500, 100), names=names, method="<b>", dataset="\x1b[2J")
    text = page_of(tmp_path, results, config={"data": {"dir": "</pre><img src=x>"}})
    assert "<script" not in text and "\x1b" not in text and "\u202e" not in text and "<b>&" not in text
    assert "g" * 301 not in text and "رمان" in text


@pytest.mark.parametrize("per_class", [[None, None], [1.0, None], [1.0, 1.0], [0.0, 0.0]])
def test_untested_and_perfect_classes(tmp_path, per_class):
    results = results_of([30, 0], per_class=per_class)
    said = {"label": np.array([0, 0]), "prediction": np.array([0, 0]), "probability": np.array([1.0, np.nan])}
    said["label_probability"] = said["probability"]
    text = page_of(tmp_path, results, predictions=said, metrics=[], weight_norms=np.full(2, np.nan))
    assert "cannot be drawn" not in text


def test_every_seed_has_its_line(tmp_path):
    text = page_of(tmp_path, results_of_seeds(counts_of(10, 500, 100), 3))
    training = text.split('id="curves"')[1].split("<section")[0]
    assert training.count('class="line faint"') == 3 * (1 + 2 + 5) and "thin: each of them" in training


def test_a_stage_without_steps_has_no_empty_curve(tmp_path):
    solved = [{"step": 0, "epoch": 0.0, "stage": "classifier", "test/all": 0.5, "test/many": 0.6, "test/few": 0.1}]
    text = page_of(tmp_path, results_of(counts_of(10, 500, 100)), metrics=solved)
    assert "computed in closed form" in text and curves.training_curves(solved) is None


def test_the_end_of_an_epoch_leaves_no_tooth():
    """31 steps an epoch, a line every ten: each fourth line averages one step."""
    loss, rows, start = lambda step: 2.0 + (step % 7) / 7, [], 0
    ends = sorted({*range(10, 311, 10), *range(31, 311, 31)})
    random = np.random.default_rng(0)
    values = np.array([loss(step) for step in range(311)]) + random.normal(0, 1, 311)
    for end in ends:
        rows.append({"step": end, "epoch": end / 31, "stage": "train", "loss": values[start:end].mean()})
        start = end
    log = curves.MetricsLog(rows, 1)
    (line,) = log.lines({"loss": ("total", "#333333")})
    steps = np.diff(np.round(line.x * 31), prepend=0)
    assert steps.min() >= 8 and steps.max() <= 12 and len(line.x) == 31
    assert np.average(line.y, weights=steps) == pytest.approx(values[:310].mean())
    assert line.x[-1] == 10.0


def test_no_window_lies_in_two_stages():
    rows = [{"step": s, "epoch": e, "stage": "ab"[s > 12], "loss": float(s)} for s, e in
            ((5, 0.5), (10, 1.0), (11, 1.1), (12, 1.2), (13, 0.1), (17, 0.5), (22, 1.0))]  # fmt: skip
    (line,) = curves.MetricsLog(rows, 1).lines({"loss": ("total", "#333333")})
    assert line.x.tolist() == [0.5, 1.2, 2.5, 3.0] and line.y[1] == pytest.approx((5 * 10 + 11 + 12) / 7)


def test_index_positions_of_cifar10_say_nothing_of_34_classes():
    shots = {"strict": {"classes": [10, 12, 12]}, "index": {"classes": [3, 3, 28]}}
    assert list(conventions({"convention": "strict", "shots": shots})) == ["strict"]
    assert list(conventions({"convention": "index", "shots": shots})) == ["strict", "index"]
    for thirds in ([3, 3, 4], [3, 3, 3], [3, 4, 4]):
        shots["index"]["classes"] = thirds
        assert list(conventions({"convention": "strict", "shots": shots})) == ["strict", "index"]


def test_an_imbalance_that_whole_images_do_not_give_is_explained(tmp_path):
    results = results_of([500, 30, 2])
    text = page_of(tmp_path, results, config={"data": {"imbalance": 200.0}})
    assert "imbalance 250 (config.data.imbalance=200, in whole images)" in text
    text = page_of(tmp_path, results, config={"data": {"imbalance": 250.0}})
    assert "imbalance 250<" in text


def test_names_in_a_chart_cover_no_other():
    chart = Chart("x", (0, 1), (0, 1), ("a", "b"))
    x = np.linspace(0.4, 0.6, 12)
    chart.keep_free(x, x)
    chart.names(x, x, [f"a name {i}" for i in range(12)])
    boxes = chart.taken
    assert len(boxes) > 16
    for i, (a, b, c, d) in enumerate(boxes[12:], 12):
        assert not any(a < g and e < c and b < h and f < d for e, f, g, h in boxes[:i])


@pytest.mark.parametrize(("low", "high", "log"), [(0, 0, False), (1, 1, True), (1e-9, 1e9, True), (-3, 1e5, False)])
def test_every_axis_has_ticks_within(low, high, log):
    ticks = Scale(low, high, 0, 100, log).ticks()
    assert 1 <= len(ticks) <= 9 and all(low - 1e-9 <= t <= high * 1.001 + 1e-9 for t in ticks)


def test_the_page_is_the_same_for_the_same_files(tmp_path):
    assert page_of(tmp_path, results_of(counts_of(10, 500, 100))) == html_page(read_run(tmp_path))
    assert json.loads((tmp_path / "config.json").read_text()) == {"data": {"imbalance": 1}}
