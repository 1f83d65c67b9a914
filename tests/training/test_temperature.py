"""The temperature at the end of a run: on validation images alone, beside model.json, what predict gives."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from ltjax import models
from ltjax.classifiers import fit_temperature
from ltjax.training import loop, prepare
from ltjax.training.calibration import calibrated, flipped_too, measured, prior_note, sampled
from ltjax.training.finished_run import open_model
from ltjax.training.workdir.calibration import read_temperature
from ltjax.training.workdir.identity import absolute
from tests.training import toy

VALIDATION = toy.source((9, 8, 7), 2)


def with_validation(settings):
    return dataclasses.replace(toy.build(settings), validation=VALIDATION)


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(prepare, "build", toy.build)
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)


def test_it_is_fitted_on_validation_images_as_the_averaged_networks_see_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(prepare, "build", with_validation)
    loop.train(toy.config(num_seeds=2, optimizer__learning_rate=0.005), str(tmp_path))
    record = json.loads((tmp_path / "calibration.json").read_text())
    finished = open_model(str(tmp_path), {})
    each = [
        jax.nn.softmax(finished.stage.predict(jax.tree.map(lambda x, s=s: x[s], finished.variables), images))
        for s in range(2)
        for images in [VALIDATION.images(np.arange(24))]
    ]
    logits = np.log(np.mean(each, 0))
    labels, offset = VALIDATION.labels, np.log(np.array([9, 8, 7]) / toy.COUNTS)
    expected = fit_temperature(logits, labels, offset)
    assert record["temperature"] == pytest.approx(expected, rel=1e-3)
    assert (record["split"], record["images"]) == ("validation", 24)
    assert record["loss"]["after"] <= record["loss"]["before"] == pytest.approx(measured(logits + offset, labels)[0])
    assert read_temperature(absolute(str(tmp_path)), finished.model.fingerprint) == record["temperature"]
    assert "fitted on 24 validation images: calibration error" in capsys.readouterr().err
    assert read_temperature(absolute(str(tmp_path)), "of another run") is None
    for damaged in ("{", "[]", '{"temperature": -1.0, "fingerprint": ""}', '{"temperature": 1}'):
        (tmp_path / "calibration.json").write_text(damaged)
        assert read_temperature(absolute(str(tmp_path)), finished.model.fingerprint) is None


def calibrated_network(shares, prior, size=20_000):
    """(logits of exact posteriors under the prior, labels of images with these shares)."""
    rng = np.random.default_rng(0)
    labels = rng.choice(10, size, p=shares)
    seen = 2 * np.eye(10)[labels] + rng.normal(size=(size, 10))  # log p(x | class) is 2 x_class, up to a constant
    return 2 * seen + np.log(prior), labels


TAIL = 0.01 ** (np.arange(10) / 9) / np.sum(0.01 ** (np.arange(10) / 9))
BALANCED = np.full(10, 0.1)


@pytest.mark.parametrize(("shares", "prior"), [(BALANCED, TAIL), (TAIL, BALANCED), (TAIL, TAIL)])
def test_a_calibrated_network_has_temperature_1_whatever_the_classes_shares_are(shares, prior):
    logits, labels = calibrated_network(shares, prior)
    record = calibrated(logits, labels, "validation", 500 * prior)
    assert record["temperature"] == pytest.approx(1, abs=0.03)
    assert record["ece"]["before"] < 0.02 and record["ece"]["after"] < 0.02  # of 20,000 images the noise is 0.01
    twice = calibrated(2 * logits, labels, "validation", prior)
    assert twice["temperature"] == pytest.approx(2 * record["temperature"], rel=1e-4) and twice["ece"]["before"] > 0.03
    assert record["class_shares"] == pytest.approx(shares, abs=0.02)
    assert "corrected to the class shares of these validation images" in prior_note(record)


def test_of_an_unknown_prior_the_temperature_is_that_of_these_images_and_a_note_says_so():
    logits, labels = calibrated_network(BALANCED, TAIL)
    record = calibrated(logits, labels, "validation", None)
    assert record["temperature"] == fit_temperature(logits, labels) > 1.2 and not record["prior_known"]
    assert "holds for images with the class distribution of these validation images" in prior_note(record)


def test_classes_without_a_validation_image_are_left_out():
    logits, labels = calibrated_network(BALANCED, TAIL)
    some = labels < 6
    assert calibrated(logits[some], labels[some], "validation", TAIL)["temperature"] == pytest.approx(1, abs=0.03)


def test_without_validation_images_there_is_none(tmp_path):
    loop.train(toy.config(epochs=1), str(tmp_path))
    assert not (tmp_path / "calibration.json").exists()
    assert read_temperature(absolute(str(tmp_path)), "any") is None


def test_of_many_images_evenly_spaced_ones_are_taken():
    assert sampled(VALIDATION, 3, most=9).index.tolist() == [0, 11, 23]
    assert len(sampled(VALIDATION, 3)) == 24 and len(sampled(VALIDATION, 3, most=1)) == 1


def test_an_image_and_its_mirror_image_count_alike():
    images = np.random.default_rng(0).integers(0, 255, (4, 2, 3, 1), dtype=np.uint8)

    def predict(variables, images):
        return variables * images[:, 0, :, 0].astype(np.float32)

    both = flipped_too(predict)(0.01, images)
    expected = (jax.nn.softmax(predict(0.01, images)) + jax.nn.softmax(predict(0.01, images)[:, ::-1])) / 2
    np.testing.assert_allclose(np.exp(both), expected, rtol=1e-5)
