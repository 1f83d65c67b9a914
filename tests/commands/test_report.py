"""python -m ltjax.report: the report again, with feature map and Grad-CAM."""

import shutil

import numpy as np
import pytest

from ltjax import models
from ltjax.commands.report import main, overlay
from ltjax.training import loop, prepare
from tests.training import toy


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "build", toy.build)
        patch.setitem(models.BACKBONES, "toy", toy.Backbone)
        loop.train(toy.config(epochs=1, num_seeds=2), str(folder))
    return folder


@pytest.fixture
def run(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "build", toy.build)
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)
    return shutil.copytree(trained, tmp_path / "run")


def test_the_report_is_made_again_from_the_workdir(run, capsys):
    assert main([f"--run={run}"]) == 0
    page = run / "report" / "report.html"
    assert capsys.readouterr().out == f"report: {page}\n" and "Grad-CAM of the same" not in page.read_text()
    assert page.read_text().count("<img") >= 9


def test_feature_map_and_grad_cam_stay_in_the_report(run):
    pytest.importorskip("sklearn")
    assert main([f"--run={run}", "--tsne", "--grad-cam"]) == 0 and main([f"--run={run}"]) == 0
    page = (run / "report" / "report.html").read_text()
    assert "Features of test images (t-SNE)" in page and "--tsne" not in page
    pictures = np.load(run / "gallery.npz")["pictures"]
    heat = np.load(run / "report" / "grad_cam.npz")["heat"]
    assert heat.shape == (*pictures.shape[:3], 3) and page.count("Grad-CAM of the same") == page.count("Test image of")
    assert np.load(run / "report" / "feature_map.npz")["points"].shape == (21, 2)


def test_training_again_discards_what_was_of_the_old_network(run):
    (run / "report").mkdir(exist_ok=True)
    np.savez(run / "report" / "grad_cam.npz", heat=np.zeros((9, 8, 8, 3), np.uint8))
    (run / "results.json").unlink()
    loop.train(toy.config(epochs=1, num_seeds=2), str(run))
    assert not (run / "report" / "grad_cam.npz").exists()


def test_a_run_without_pictures_is_one_line(run, capsys):
    (run / "gallery.npz").unlink()
    assert main([f"--run={run}", "--grad-cam"]) == 2
    assert "gallery.npz" in capsys.readouterr().err
    assert main([f"--run={run / 'nothing'}"]) == 2


def test_the_strongest_place_stands_out():
    heat = np.zeros((1, 4, 4))
    heat[0, 1, 2] = 1
    picture = overlay(np.full((1, 4, 4, 1), 100, np.uint8), heat)
    assert picture.shape == (1, 4, 4, 3) and picture[0].sum(-1).argmax() == 6
