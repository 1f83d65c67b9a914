"""A run with all ingredients of the batch, the loss and the classifier: host and device, seeds, resume."""

import numpy as np
import pytest

from ltjax import models
from ltjax.training import loop, prepare
from ltjax.training.interrupt import Interrupted
from tests.training import toy
from tests.training.test_loop import last, lines, same, stop_at

ALL = {
    "data__augment": "pad_crop",
    "mix__name": "remix",
    "mix__probability": 0.7,
    "loss__label_smoothing": 0.2,
    "loss__smoothing": "concave",
    "loss__tail_smoothing": 0.05,
    "loss__tau": 0.5,
    "model__head": "cosine",
    "model__learn_cosine_scale": True,
    "log_every_steps": 1,
}


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(prepare, "build", toy.build)
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)


@pytest.mark.slow
def test_a_run_is_the_same_on_host_and_device_and_after_a_resume_and_beside_another_seed(tmp_path, monkeypatch):
    device = loop.train(toy.config("ce", **ALL), str(tmp_path / "device"))
    logged = lines(tmp_path / "device")
    assert len({line["mix/lam"] for line in logged}) > 5 and 1.0 in {line["mix/lam"] for line in logged}
    stop_at(monkeypatch, 3, 8)
    host = toy.config("ce", **ALL, data__on_device="no")
    for _ in range(2):
        with pytest.raises(Interrupted):
            loop.train(host, str(tmp_path / "host"))
    found = loop.train(host, str(tmp_path / "host"))
    assert [resume["step"] for resume in found["resumes"]] == [3, 8]
    assert lines(tmp_path / "host") == logged
    same(last(tmp_path / "device"), last(tmp_path / "host"))
    two = loop.train(toy.config("ce", **ALL, num_seeds=2), str(tmp_path / "two"))
    assert two["per_seed"][0]["train_loss_last_epoch"] == pytest.approx(device["train_loss_last_epoch"], rel=1e-4)
    np.testing.assert_allclose(two["per_seed"][0]["per_class"], device["per_class"], atol=0.15)  # one of seven images
