"""A finished run is whole: its workdir alone makes the predictions of every method; the data may be gone or changed."""

import dataclasses
import functools
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import models
from ltjax.commands import evaluate, predict
from ltjax.errors import InputError
from ltjax.methods import METHODS
from ltjax.training import loop, prepare
from ltjax.training.finished_run import open_finished, open_model
from ltjax.training.open_stage import shape_of_state
from ltjax.training.prepare import make_stages, stage_steps
from ltjax.training.workdir.model_record import read_model_record, record_of
from tests.data.conftest import write_image
from tests.methods.asynchronous import toy as asynchronous_toy
from tests.methods.expert_toys import BACKBONES
from tests.training import toy
from tests.training.step.test_micro_batches import config_of

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), dtype=np.uint8)


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    for name, backbone in BACKBONES.items():
        monkeypatch.setitem(models.BACKBONES, name, backbone)
    monkeypatch.setitem(models.BACKBONES, "toy", asynchronous_toy.Backbone)
    monkeypatch.setitem(METHODS, "three", toy.three_stages)
    monkeypatch.setattr(prepare, "build", toy.build)


def no_data(settings):
    raise InputError("config.data.dir: '/gone' does not exist; set it to the folder that holds the images")


def program_of(stage, shapes):
    """The prediction as a program: its operations and its constants."""
    variables = {"params": shapes.params, **shapes.model_state}
    made = jax.make_jaxpr(stage.predict)(variables, jax.ShapeDtypeStruct(IMAGES.shape, jnp.uint8))
    return str(made.jaxpr), [np.asarray(one).tolist() for one in made.consts]


@pytest.mark.parametrize("method", [*METHODS, "three"])
def test_every_method_predicts_by_the_same_program_without_its_data(method):
    config, data = config_of(method, {"dtype": "float32"}), toy.build(None)
    alone = record_of(config, data, "f").data()
    for one, two in zip(make_stages(config, data), make_stages(config, alone), strict=True):
        assert (one.name, repr(one.network)) == (two.name, repr(two.network))
        assert stage_steps(one, config, data) == stage_steps(two, config, alone)
        shapes = shape_of_state(data, one, {})
        assert jax.tree.map(lambda x: (x.shape, x.dtype), shapes) == jax.tree.map(
            lambda x: (x.shape, x.dtype), shape_of_state(alone, two, {})
        )
        assert program_of(one, shapes) == program_of(two, shapes)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_restored_from_its_workdir_alone(method, tmp_path, monkeypatch):
    config = config_of(method, {"dtype": "float32", "epochs": 2, "second_stage_epochs": 1})
    loop.train(config, str(tmp_path))
    one = open_finished(str(tmp_path), {})
    monkeypatch.setattr(prepare, "build", no_data)
    two = open_model(str(tmp_path), {})
    np.testing.assert_array_equal(*(each.stage.predict(each.variables, IMAGES) for each in (one, two)))


@functools.cache
def folder_of_run(root):
    """The workdir of a finished run: two seeds, three stages, the last one in closed form."""
    config = toy.config("three", num_seeds=2, epochs=1, model__backbone="toy")
    return config, loop.train(config, f"{root}/run")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("whole")


@pytest.fixture
def run(root):
    folder_of_run(root)
    return root / "run"


def same(one, two):
    jax.tree.map(np.testing.assert_array_equal, one, two)


def test_a_workdir_alone_is_enough_to_predict_on_another_machine(run, tmp_path, monkeypatch, capsys):
    with_data = open_finished(str(run), {})
    moved = tmp_path / "elsewhere"
    shutil.copytree(run, moved)
    picture = write_image(tmp_path / "any.png", 90, kind="PNG")
    assert predict.main([f"--run={run}", str(picture)]) == 0
    before = capsys.readouterr().out
    monkeypatch.setattr(prepare, "build", no_data)
    finished = open_model(str(moved), {})
    same(finished.variables, with_data.variables)
    assert predict.main([f"--run={moved}", str(picture)]) == 0
    assert capsys.readouterr().out == before and before.startswith(str(picture))
    model = json.loads((moved / "model.json").read_text())
    assert model["image_shape"] == [8, 8, 1] and model["class_counts"] == [24, 12, 6] and model["resize"] == 8
    assert (model["mean"], model["std"], model["method"]) == ([0.5], [0.25], "three") and "jax" in model["versions"]
    # evaluation needs the test images, and says so in one line
    assert evaluate.main([f"--run={moved}"]) == 2
    error = capsys.readouterr().err
    assert "its test images are needed" in error and "/gone" in error and error.count("\n") == 1


def test_a_photo_added_to_the_training_images_stops_neither_prediction_nor_evaluation(run, monkeypatch, capsys):
    def grown(settings):
        data = toy.build(settings)
        counts = (25, 12, 6)
        return dataclasses.replace(
            data, train=toy.source(counts, 0), class_counts=np.array(counts), fingerprint="grown" * 12
        )

    monkeypatch.setattr(prepare, "build", grown)
    assert evaluate.main([f"--run={run}"]) == 0
    assert "equal to results.json" in capsys.readouterr().out
    monkeypatch.setattr(
        prepare, "build", lambda settings: dataclasses.replace(grown(settings), test=toy.source((7, 7, 6), 1))
    )
    assert evaluate.main([f"--run={run}"]) == 2
    error = capsys.readouterr().err
    assert "not what the run was evaluated on: test images (21 there, 20 here: class 2 has 7 there" in error
    assert error.count("\n") == 1
    monkeypatch.setattr(
        prepare, "build", lambda settings: dataclasses.replace(toy.build(settings), class_names=("a", "b", "c"))
    )
    with pytest.raises(InputError, match=r"other classes \(3; the run has 3\)"):
        open_finished(str(run), {})


def test_the_workdir_of_an_earlier_version_is_read_with_its_data(run, tmp_path, monkeypatch, caplog):
    old = tmp_path / "old"
    shutil.copytree(run, old)
    expected = open_model(str(run), {}).variables
    for name in ("model.json", "data.json"):
        (old / name).unlink()
    same(open_model(str(old), {}).variables, expected)
    same(open_finished(str(old), {}).variables, expected)
    whole = json.loads((run / "model.json").read_text())
    wrong = [{"class_counts": [24.0, 12, 6]}, {"class_counts": 5}, {"mean": []}, {"image_shape": [8]}, {"resize": "8"}]
    for damaged in ("[]", "null", '{"format": 1}', '{"for', *(json.dumps(whole | change) for change in wrong)):
        (old / "model.json").write_text(damaged)
        assert read_model_record(old) is None
    same(open_model(str(old), {}).variables, expected)
    assert "model.json cannot be read" in caplog.text
    monkeypatch.setattr(prepare, "build", lambda s: dataclasses.replace(toy.build(s), fingerprint="other" * 12))
    with pytest.raises(InputError, match="other images"):
        open_model(str(old), {})


def test_a_prediction_that_stops_keeps_what_it_has(run, tmp_path, capsys):
    paths = [str(write_image(tmp_path / f"{i:02}.png", 10 * i, kind="PNG")) for i in range(9)]
    (tmp_path / "08.png").write_bytes(b"no picture")  # batches have 8 images
    out = tmp_path / "out.csv"
    assert predict.main([f"--run={run}", *paths, f"--out={out}"]) == 2
    assert not out.exists() and f"the rows of 8 images are kept in {out}.parts" in capsys.readouterr().err
    kept = (tmp_path / "out.csv.parts" / "00000000.rows").read_text().splitlines()
    assert [line.partition(",")[0] for line in kept] == paths[:8]
    assert predict.main([f"--run={run}", *paths, f"--out={out}", "--on-error=skip"]) == 0
    assert out.read_text().splitlines()[1:] == kept and not (tmp_path / "out.csv.parts").exists()
