"""``ltjax.load``: a workdir as functions from images to logits, features and probabilities."""

import io
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import ltjax
from ltjax import models
from ltjax.errors import InputError
from ltjax.methods import METHODS
from ltjax.training import loop, prepare
from ltjax.training.finished_run import open_model
from tests.methods.asynchronous import toy as asynchronous_toy
from tests.methods.expert_toys import BACKBONES
from tests.training import toy
from tests.training.step.test_micro_batches import config_of

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), dtype=np.uint8)
SEEDS = 2


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    register(monkeypatch)


def register(patch):
    for name, backbone in BACKBONES.items():
        patch.setitem(models.BACKBONES, name, backbone)
    patch.setitem(models.BACKBONES, "toy", asynchronous_toy.Backbone)
    patch.setattr(prepare, "build", toy.build)


def gone(settings):
    raise InputError("config.data.dir: '/gone' does not exist")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The workdirs of two runs, one of two seeds and one in bfloat16, copied elsewhere; their data are gone."""
    root = tmp_path_factory.mktemp("load")
    with pytest.MonkeyPatch.context() as patch:
        register(patch)
        for name, changes in {"seeds": {"num_seeds": SEEDS}, "bfloat16": {"dtype": "bfloat16"}}.items():
            loop.train(toy.config("ce", epochs=1, **changes), str(root / "there" / name))
        shutil.move(root / "there", root / "here")
        patch.setattr(prepare, "build", gone)
        yield {name: (open_model(str(root / "here" / name), {}), ltjax.load(root / "here" / name)) for name in
               ("seeds", "bfloat16")}  # fmt: skip


def test_logits_features_and_probabilities_are_those_of_the_run(runs):
    finished, model = runs["bfloat16"]
    outputs = model(IMAGES)
    logits = finished.stage.predict(finished.variables, IMAGES)
    np.testing.assert_allclose(outputs.logits, logits, atol=0.02)  # of one bfloat16 program and another
    np.testing.assert_allclose(outputs.probabilities, jax.nn.softmax(outputs.logits), rtol=1e-6)
    head = model.variables["params"]["head"]["classifier"]
    np.testing.assert_allclose(outputs.features @ head["kernel"] + head["bias"], outputs.logits, atol=0.02)
    assert [each.shape for each in outputs] == [(4, 3), (4, 4), (4, 3)]
    assert {each.dtype for each in outputs} == {jnp.dtype("float32")}


def test_several_seeds_are_one_model_whose_probabilities_are_the_mean(runs):
    finished, model = runs["seeds"]
    outputs = model(IMAGES)
    each = [
        jax.nn.softmax(finished.stage.predict(jax.tree.map(lambda x, s=s: x[s], finished.variables), IMAGES))
        for s in range(SEEDS)
    ]
    np.testing.assert_allclose(outputs.probabilities, np.mean(each, 0), rtol=1e-5)
    np.testing.assert_allclose(jax.nn.softmax(outputs.logits), outputs.probabilities, rtol=1e-5)
    assert outputs.logits.shape == (4, 3) and outputs.features.shape == (4, SEEDS * 4)


def test_the_model_says_what_it_takes_and_what_its_classes_are(runs):
    model = runs["seeds"][1]
    assert model.class_names == ("0", "1", "2") and model.class_counts == toy.COUNTS
    assert (model.image_shape, model.resize, model.mean, model.std) == ((8, 8, 1), 8, (0.5,), (0.25,))
    assert (model.method, model.dataset, model.temperature) == ("ce", "toy", None)


def test_float_images_are_the_same_images(runs):
    for _, model in runs.values():
        np.testing.assert_allclose(model(IMAGES / np.float32(255)).logits, model(IMAGES).logits, atol=0.02)


def test_it_is_part_of_other_programs(runs):
    model = runs["seeds"][1]
    images = jnp.asarray(IMAGES, jnp.float32) / 255

    @jax.jit
    def saliency(variables, images):
        return jax.grad(lambda x: model.apply(variables, x).logits[:, 0].sum())(images)

    assert np.abs(saliency(model.variables, images)).max() > 0
    gradient = jax.grad(lambda v: model.apply(v, images).probabilities[:, 0].sum())(model.variables)
    assert jax.tree.structure(gradient) == jax.tree.structure(model.variables)
    crops = jax.vmap(lambda x: model.apply(model.variables, x).logits)(jnp.stack([images, images[:, ::-1]]))
    np.testing.assert_allclose(crops[0], model(images).logits, atol=1e-5)
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        assert model.apply(model.variables, images).logits.shape == (4, 3)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_moved_workdir_of_every_method_is_the_model_that_was_trained(method, tmp_path, monkeypatch):
    config = config_of(method, {"dtype": "float32", "epochs": 2, "second_stage_epochs": 1})
    loop.train(config, str(tmp_path / "there"))
    finished = open_model(str(tmp_path / "there"), {})
    shutil.move(tmp_path / "there", tmp_path / "here")
    monkeypatch.setattr(prepare, "build", gone)
    outputs = ltjax.load(tmp_path / "here")(IMAGES)
    np.testing.assert_allclose(outputs.logits, finished.stage.predict(finished.variables, IMAGES), rtol=1e-4, atol=1e-4)
    assert all(np.isfinite(each).all() for each in outputs[1:])


def test_images_of_every_kind_are_preprocessed_as_the_test_images_were(runs, tmp_path):
    model = runs["seeds"][1]
    pixels = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    expected = model.preprocess(path)
    assert expected.shape == (8, 8, 1) and expected.dtype == np.uint8
    for same in (str(path), Image.open(path), pixels, pixels / 255, jnp.asarray(pixels)):
        np.testing.assert_array_equal(model.preprocess(same), expected)
    grey = np.full((20, 30), 77, np.uint8)
    assert (model.preprocess(grey) == 77).all() and (model.preprocess(grey[..., None]) == 77).all()
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(turned, "PNG", exif=exif)
    np.testing.assert_array_equal(
        model.preprocess(Image.open(turned)), model.preprocess(np.ascontiguousarray(np.rot90(pixels, -1)))
    )


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("none.png", "none.png cannot be read: No such file or directory"),
        (np.zeros((4, 4, 2), np.uint8), r"shape \[4, 4, 2\]; give \[h, w\]"),
        (np.full((4, 4), 2.0), "values from 2 to 2; they must be in 0 .. 1"),
        (np.full((4, 4), np.nan), "values from nan to nan"),
        (np.zeros((4, 4), np.int32), "dtype int32"),
        (Image.new("F", (4, 4)), "floating-point values"),
    ],
)
def test_what_is_no_image_is_refused_in_one_line(runs, image, words):
    with pytest.raises(InputError, match=words):
        runs["seeds"][1].preprocess(image)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (IMAGES[0], r"shape \[8, 8, 1\]; the model takes \['B', 8, 8, 1\]"),
        (IMAGES[:, :4], r"shape \[4, 4, 8, 1\]"),
        (IMAGES.astype(np.int32), "dtype int32"),
    ],
)
def test_batches_that_the_model_does_not_take_are_refused_in_one_line(runs, images, words):
    with pytest.raises(InputError, match=words):
        runs["seeds"][1](images)


def test_what_is_no_finished_run_is_refused_in_one_line(tmp_path):
    with pytest.raises(InputError, match=r"run=.*has no config.json"):
        ltjax.load(tmp_path)


def test_the_package_lists_its_parts_and_imports_them_on_first_use():
    assert set(ltjax.__all__) <= set(dir(ltjax)) and ltjax.losses.focal_loss and ltjax.metrics.update
    with pytest.raises(AttributeError, match="no attribute 'loses'"):
        ltjax.__getattr__("loses")
