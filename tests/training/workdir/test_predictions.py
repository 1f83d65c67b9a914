"""predictions.csv, the gallery, and what results.json has of both."""

import csv
import dataclasses
import json

import numpy as np
import pytest

from ltjax import models
from ltjax.escape import from_csv_cell
from ltjax.settings import EvaluationSettings
from ltjax.training import loop, prepare
from ltjax.training.evaluation import Answers
from ltjax.training.workdir import predictions
from tests.training import toy

FORMULA = "=1+1"


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    names = dataclasses.replace(toy.build(None), class_names=(FORMULA, "b", "c"))
    monkeypatch.setattr(prepare, "build", lambda settings: names)
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)


@pytest.mark.parametrize("seeds", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_writes_a_row_for_each_image_and_seed(tmp_path, seeds):
    results = loop.train(toy.config(epochs=1, num_seeds=seeds, seed=4), str(tmp_path))
    rows = list(csv.DictReader((tmp_path / "predictions.csv").open()))
    arrays, labels = np.load(tmp_path / "evaluation.npz"), toy.build(None).test.labels
    assert len(rows) == 21 * seeds and [row["label"] for row in rows] == [str(k) for k in labels] * seeds
    assert [row["index"] for row in rows] == list(map(str, range(21))) * seeds
    assert {from_csv_cell(row["class"]) for row in rows} == {FORMULA, "b", "c"} and rows[0]["class"] == "'" + FORMULA
    each = results.get("per_seed", [results | {"seed": 4}])
    for s, one in enumerate(each):
        own = [row for row in rows if row["seed"] == str(one["seed"])]
        right = np.array([row["label"] == row["prediction"] for row in own])
        assert right.mean() == one["accuracy"]["all"]
        stored = arrays["probability"].reshape(seeds, -1)[s]
        np.testing.assert_allclose([float(row["probability"]) for row in own], stored, atol=1e-6)
        assert all(
            (row["prediction"] == row["label"]) == (row["probability"] == row["label_probability"]) for row in own
        )
        assert 0 <= one["macro_f1"] <= 1 and one["calibration_error"]["many"] is None
        bins = np.clip(np.ceil(stored * 15).astype(int) - 1, 0, 14)
        gaps = [abs((right - stored)[bins == k].sum()) for k in range(15)]
        assert one["calibration_error"]["all"] == pytest.approx(sum(gaps) / len(own), abs=1e-5)
    gallery = np.load(tmp_path / "gallery.npz")
    assert gallery["pictures"].shape[1:] == (8, 8, 1) and set(gallery["rarest"]) <= set(range(len(gallery["record"])))
    assert json.loads((tmp_path / "results.json").read_text())["data_notes"] == []


@pytest.mark.parametrize(("shots", "boundaries"), [("index", ()), ("index", (1, 2)), ("strict", ())])
def test_quality_is_of_the_groups_of_the_config(shots, boundaries):
    data = toy.build(None)
    settings = EvaluationSettings(shots=shots, index_boundaries=boundaries)
    sure = np.ones(21, np.float32)
    (one,) = predictions.quality(Answers(np.zeros(21, np.int32), sure, sure), data, settings)
    expected = {"all": 2 / 3} | dict(zip(("many", "medium", "few"), (0, 1, 1) if shots == "index" else (None, 0, 1)))  # noqa: B905
    assert one["calibration_error"] == pytest.approx(expected) and one["macro_f1"] == pytest.approx(0.5 / 3)


def test_the_gallery_has_the_surest_mistakes_and_the_rarest_classes_first():
    random = np.random.default_rng(0)
    labels, predicted = random.integers(0, 20, 400), random.integers(0, 20, 400)
    answers = Answers(predicted, random.random(400), random.random(400))
    chosen = predictions.chosen_images(labels, answers, np.arange(1, 21))
    shares = answers.probability[chosen["wrong"]]
    assert len(shares) == predictions.WRONG and (np.diff(shares) <= 0).all()
    assert shares[0] == answers.probability[labels != predicted].max()
    assert (labels[chosen["wrong"]] != predicted[chosen["wrong"]]).all()
    assert labels[chosen["rarest"]].tolist() == [c for c in range(8) for _ in range(3)]


def test_pictures_that_cannot_be_read_do_not_end_the_run(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(predictions, "thumbnails", lambda images: 1 / 0)
    assert loop.train(toy.config(epochs=1), str(tmp_path))["step"] == 5
    assert "the report has no pictures of test images: ZeroDivisionError" in capfd.readouterr().err
    assert (tmp_path / "results.json").exists() and not (tmp_path / "gallery.npz").exists()
