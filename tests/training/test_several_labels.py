"""A run on images with several labels, from the step to results.json, and what is refused on the way."""

import csv
import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

import ltjax
from ltjax import metrics, models
from ltjax.commands import compare, evaluate, predict
from ltjax.data import DATASETS
from ltjax.data.label_sets import LabelSets
from ltjax.errors import InputError
from ltjax.methods import METHODS
from ltjax.methods.multilabel import packed, unpacked
from ltjax.report import write_report
from ltjax.training import loop, prepare
from ltjax.training.finished_run import open_model
from ltjax.training.several_labels import Scores, averaged, best_thresholds, quality, summarize
from tests.commands.test_compare import make_run
from tests.training import toy


def of_several(source):
    """Image i of class c is also of class 0 if i is even; every seventh image is of none."""
    each = [[] if i % 7 == 6 else {int(c), 0} if i % 2 == 0 else {int(c)} for i, c in enumerate(source.labels)]
    sets = LabelSets.of(each)
    return dataclasses.replace(source, labels=sets.rarest(sets.counts(3)), label_sets=sets)


def build(settings):
    data = toy.build(settings)
    train, test = of_several(data.train), of_several(data.test)
    return dataclasses.replace(
        data, train=train, test=test, validation=of_several(toy.source((7, 7, 7), 2)),
        class_counts=train.label_sets.counts(3), class_names=("a", "b;c", "=d"),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)
    monkeypatch.setitem(DATASETS, "toy", build)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(models.BACKBONES, "toy", toy.Backbone)
        patch.setitem(DATASETS, "toy", build)
        record = loop.train(toy.config("distribution_balanced", data__sampler="class_balanced"), str(folder))
    return folder, record


def test_results_are_average_precision_overall_and_by_group(finished):
    folder, record = finished
    assert record == json.loads((folder / "results.json").read_text())
    assert "accuracy" not in record and set(record["average_precision"]) >= {"all", "micro", "many", "medium", "few"}
    arrays = np.load(folder / "evaluation.npz")
    each = metrics.average_precision(arrays["logits"], arrays["targets"])
    np.testing.assert_allclose(record["per_class"], each)
    np.testing.assert_allclose(record["average_precision"]["all"], each.mean())
    assert record["shots"]["index"]["many"] == pytest.approx(each[0])
    assert arrays["total"].tolist() == build(None).test.class_counts(3).tolist()
    logged = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert logged[-1]["test/all"] == pytest.approx(each.mean()) and "precision_at_1" in logged[-1]


def test_predictions_list_the_classes_that_reach_their_threshold(finished):
    folder, _ = finished
    thresholds = json.loads((folder / "thresholds.json").read_text())["thresholds"]
    arrays = np.load(folder / "evaluation.npz")
    shares = 1 / (1 + np.exp(-arrays["logits"]))
    with open(folder / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(shares)
    for row, share, targets in zip(rows, shares, arrays["targets"], strict=True):
        assert len(row["probabilities"].split(";")) - (not row["probabilities"]) == np.sum(share >= thresholds)
        assert row["labels"].split() == [str(c) for c in np.flatnonzero(targets)]


def test_a_workdir_alone_makes_the_same_network(finished):
    folder, _ = finished
    opened = open_model(str(folder), {}, several_labels=True)
    assert opened.model.several_labels and opened.model.images == 42
    assert opened.data.class_counts.tolist() == build(None).class_counts.tolist() and len(opened.data.train) == 42
    model, images = ltjax.load(folder), build(None).test.images(np.arange(5))
    outputs = model(images)
    np.testing.assert_allclose(outputs.logits, np.load(folder / "evaluation.npz")["logits"][:5], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(outputs.probabilities, jax.nn.sigmoid(outputs.logits), rtol=1e-6)
    with pytest.raises(InputError, match="several labels"):
        open_model(str(folder), {})


def test_a_head_on_features_is_that_on_the_images(tmp_path):
    def run(name, cached):
        head = {"tuning__name": "linear", "tuning__cached": cached, "features__dir": str(tmp_path / "features")}
        loop.train(toy.config("bce", **head), str(tmp_path / name))
        return np.load(tmp_path / name / "evaluation.npz")["logits"]

    np.testing.assert_allclose(run("features", True), run("images", False), rtol=1e-4, atol=1e-5)


def test_an_image_is_drawn_for_each_of_its_classes():
    data, config = build(None), toy.config("bce", data__sampler="class_balanced")
    stage = METHODS["bce"](config, data)[0]
    start = stage.init(jax.random.key(0), None, None)
    drawn = stage.streams["image"].draw(start.tables["image"], 0, 0, 0, np.arange(6000))
    sets = data.train.label_sets.take(drawn)
    assert set(np.unique(drawn)) == set(np.flatnonzero(data.train.label_sets.sizes()))
    # each class is drawn for a third of the images, which have their other classes, too
    table = data.train.label_sets.multi_hot(3)
    expected = np.mean([table[table[:, label]].mean(axis=0) for label in range(3)], axis=0)
    np.testing.assert_allclose(sets.counts(3) / 6000, expected, atol=0.03)
    np.testing.assert_array_equal(unpacked(start.frozen["classes"], 3), table)
    np.testing.assert_array_equal(packed(table), start.frozen["classes"])


def test_a_method_of_one_label_is_refused_in_one_line():
    with pytest.raises(InputError, match=r"^config.method: ce learns from one label an image, .* use one of bce"):
        prepare.build_data(toy.config("ce"))


def test_average_precision_is_the_mean_precision_down_to_each_image():
    rng = np.random.default_rng(0)
    scores, targets = rng.integers(0, 9, (40, 5)).astype(float), rng.random((40, 5)) < 0.3
    targets[:, 4] = False
    for label in range(4):
        precisions = []
        for i in np.flatnonzero(targets[:, label]):
            above = scores[:, label] >= scores[i, label]
            precisions.append(targets[above, label].mean())
        assert metrics.average_precision(scores, targets)[label] == pytest.approx(np.mean(precisions))
    assert np.isnan(metrics.average_precision(scores, targets)[4])
    with pytest.raises(ValueError, match="one shape"):
        metrics.average_precision(scores, targets[:3])


def test_the_mean_is_over_tested_classes_and_a_group_without_one_is_missing():
    scores = Scores(np.array([[1.0, 0, 0], [0, 1, 0]], np.float32), np.array([[True, False, False]] * 2))
    found = summarize(scores, build(None), "strict", ())
    assert found.per_class == [1.0, None, None] and found.accuracy["all"] == 1.0
    assert found.accuracy["few"] is None and found.measure == "average_precision"


def test_thresholds_are_the_best_by_f1():
    rng = np.random.default_rng(1)
    targets = rng.random((60, 3)) < 0.3
    targets[:, 2] = False
    scores = Scores((rng.normal(size=(60, 3)) + targets).round(1).astype(np.float32), targets)
    thresholds = best_thresholds(scores)
    assert thresholds[2] == 0.5
    best = quality([scores], thresholds)[0]["macro_f1"]
    for cut in np.linspace(0.05, 0.95, 40):
        assert quality([scores], np.full(3, cut))[0]["macro_f1"] <= best + 1e-9
    assert quality([scores])[0]["macro_f1"] == quality([scores], np.full(3, 0.5))[0]["macro_f1"]


def test_the_average_of_seeds_is_of_probabilities():
    logits = [np.array([[2.0, -1.0]], np.float32), np.array([[0.0, 3.0]], np.float32)]
    made = averaged([Scores(one, np.ones((1, 2), bool)) for one in logits])
    expected = np.mean([1 / (1 + np.exp(-one)) for one in logits], axis=0)
    np.testing.assert_allclose(made.probabilities(), expected, rtol=1e-5)


def test_evaluate_gives_the_same_numbers_and_refuses_what_is_of_one_label(finished, capsys):
    folder, record = finished
    assert evaluate.main([f"--run={folder}"]) == 0
    printed = capsys.readouterr().out
    assert "average precision %" in printed and "equal to results.json" in printed
    assert f"mean over classes {100 * record['macro_f1']:.1f}" in printed
    for flag in ("--test-prior=uniform", "--tta=flip", "--fit-temperature", "--aggregate=stability"):
        assert evaluate.main([f"--run={folder}", flag]) == 2
        lines = capsys.readouterr().err.strip().split("\n")
        assert lines[-1].startswith(flag.partition("=")[0]) or flag.partition("=")[0] in lines[-1]
        assert "several" in lines[-1]


def test_predict_lists_all_classes_from_their_threshold_on(finished, tmp_path, capsys):
    folder, _ = finished
    for i, image in enumerate(build(None).test.images(np.arange(6))):
        Image.fromarray(image[..., 0]).save(tmp_path / f"{i}.png")
    out = tmp_path / "predicted.csv"
    assert predict.main([f"--run={folder}", str(tmp_path), f"--out={out}", "--top=2"]) == 0
    assert "thresholds.json" in capsys.readouterr().err
    shares = 1 / (1 + np.exp(-np.load(folder / "evaluation.npz")["logits"][:6]))
    thresholds = json.loads((folder / "thresholds.json").read_text())["thresholds"]
    with open(out, newline="") as file:
        rows = list(csv.DictReader(file))
    names = ["a", "b;c", "'=d"]
    for row, share in zip(rows, shares, strict=True):
        order = np.argsort(-share, kind="stable")
        said = ";".join(names[k] for k in order if share[k] >= thresholds[k])
        assert row["prediction"].lstrip("'") == (said or "none of them").lstrip("'")
        assert (row["class_1"], row["class_2"]) == tuple(names[k] for k in order[:2])
        assert float(row["probability_1"]) == pytest.approx(share.max(), abs=1e-4)
    assert predict.main([f"--run={folder}", str(tmp_path / "0.png"), "--threshold=0.999999"]) == 0
    assert "none of them" in capsys.readouterr().out


def test_the_report_is_of_average_precision(finished):
    folder, record = finished
    text = write_report(folder).read_text()
    page = (folder / "report" / "report.html").read_text()
    assert "| average precision (%) | all | micro | worst class |" in text
    assert f"{100 * record['average_precision']['all']:.1f}" in page and "Average precision against frequency" in page
    for word in ("taken for", "calibration", "cannot be drawn"):
        assert word not in page.lower()


def test_the_gallery_has_the_most_confident_wrong_and_missed_labels(finished):
    folder, _ = finished
    arrays, pictures = np.load(folder / "evaluation.npz"), np.load(folder / "gallery.npz")
    thresholds = json.loads((folder / "thresholds.json").read_text())["thresholds"]
    shares, targets = 1 / (1 + np.exp(-arrays["logits"])), arrays["targets"]
    said, records = shares >= thresholds, pictures["record"]
    np.testing.assert_array_equal(pictures["targets"], targets[records])
    np.testing.assert_array_equal(pictures["pictures"], build(None).test.images(records))
    for name, wrong, confidence in (("false", said & ~targets, shares), ("missed", ~said & targets, 1 - shares)):
        images, classes = records[pictures[f"{name}_image"]], pictures[f"{name}_class"]
        assert wrong[images, classes].all() and len(set(zip(images, classes, strict=True))) == len(images)
        found = confidence[images, classes]
        assert (np.diff(found) <= 1e-6).all()
        for label in range(3):  # three of each class at most, and none is more confident than these
            mine = np.sort(confidence[:, label][wrong[:, label]])[::-1][:3]
            np.testing.assert_allclose(found[classes == label], mine, rtol=1e-5)
    write_report(folder)
    page = (folder / "report" / "report.html").read_text()
    shown = len(pictures["false_image"]) + len(pictures["missed_image"])
    assert shown and page.count('<figure class="card">') == shown
    assert "its classes: " in page and "=d" in page


def altered(folder, to, *, seed=0, method=None, shift=0.0):
    """A copy of the run whose classes have another average precision."""
    shutil.copytree(folder, to)
    results, config = (json.loads((to / name).read_text()) for name in ("results.json", "config.json"))
    results["per_class"] = [value + shift for value in results["per_class"]]
    for key in ("all", "micro"):
        results["average_precision"][key] += shift
    results["seeds"], config["seed"] = [seed], seed
    if method:
        results["method"] = config["method"] = method
    (to / "results.json").write_text(json.dumps(results))
    (to / "config.json").write_text(json.dumps(config))
    return str(to)


def test_compare_has_average_precision_with_deviations_and_the_classes_that_differ(finished, tmp_path, capsys):
    folder, record = finished
    runs = [altered(folder, tmp_path / f"seed_{seed}", seed=seed, shift=-0.01 * seed) for seed in (0, 1)]
    other = altered(folder, tmp_path / "other", method="bce", shift=-0.05)
    assert compare.main([*runs, other, "--baseline=bce", f"--out={tmp_path / 'out'}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [cell.strip() for cell in lines[0].split("|")[1:8]] == [
        "method", "many", "medium", "few", "all", "micro", "gain over bce",
    ]  # fmt: skip
    mean = 100 * record["average_precision"]["all"] - 0.5
    assert f"| {mean:.1f} ± 0.7 |" in lines[2] and "| +4.5 |" in lines[2] and "| 2 |" in lines[2]
    assert any(line.startswith("Average precision in %: all images in the order") for line in lines)
    page = (tmp_path / "out" / "comparison.md").read_text()
    classes = page.partition("## Classes")[2].partition("## ")[0]
    assert "Average precision by class" in page and "accuracy" not in page.lower().replace("accuracy_by_class", "")
    assert (tmp_path / "out" / "class_gains.png").exists()
    for name, value in zip(("a", "b;c", "=d"), record["per_class"], strict=True):
        (row,) = [line for line in page.splitlines() if line.startswith(f"| {name} |") and "±" in line]
        assert f"| {100 * value - 0.5:.1f} ± 0.7 | {100 * value - 5:.1f} | +4.5 |" in row
    assert classes
    one_label = make_run(tmp_path, "ce", results={"dataset": "toy"})
    assert compare.main([runs[0], one_label]) == 2
    assert "average precision (distribution_balanced), accuracy (ce): compare those of each" in capsys.readouterr().err
    assert compare.main([runs[0], other, "--tsne", f"--out={tmp_path / 'out'}"]) == 2
    assert "--tsne: is of one label an image" in capsys.readouterr().err
