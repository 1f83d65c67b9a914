"""config.tuning.cached: heads on features that are computed once are those on the images, and evaluation finds them."""

import numpy as np
import pytest

import ltjax
from ltjax import models
from ltjax.errors import InputError
from ltjax.methods import configure
from ltjax.methods.feature_words import HEADS
from ltjax.methods.method_word import method_word
from ltjax.training import evaluation, loop, prepare
from ltjax.training.features import store
from tests.training import toy


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(prepare, "build", toy.build)
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)


def config(folder, head="linear", **changes):
    method, own = HEADS[head]
    made = toy.recipe(tuning__name="linear", tuning__cached=True, features__dir=str(folder / "features"))
    method_word(method, own, method == "decoupling")(made, "")
    made.update_from_flattened_dict({key.replace("__", "."): value for key, value in changes.items()})
    return configure.resolve(made)


def test_the_head_is_that_of_training_on_the_images(tmp_path):
    cached = loop.train(config(tmp_path), str(tmp_path / "cached"))
    images = loop.train(config(tmp_path, tuning__cached=False), str(tmp_path / "images"))
    assert cached["accuracy"] == images["accuracy"]
    one, two = (ltjax.load(tmp_path / name) for name in ("cached", "images"))
    pixels = toy.build(None).test.images(np.arange(6))
    np.testing.assert_allclose(one(pixels).logits, two(pixels).logits, rtol=1e-4, atol=1e-5)
    assert np.std(one(pixels).logits) > 0


@pytest.mark.parametrize("head", HEADS)
def test_every_head_finds_the_features_of_both_splits(tmp_path_factory, head, monkeypatch, capsys):
    # the backbone of the toy is random: by the name of the first stage, which second stages have another one of
    folder = tmp_path_factory.getbasetemp() / ("heads of two stages" if HEADS[head][0] == "decoupling" else "heads")
    first = not folder.exists()
    if not first:
        monkeypatch.setattr(store, "feature_blocks", lambda *args, **kwargs: pytest.fail("features are computed again"))
        monkeypatch.setattr(evaluation, "evaluation_batches", lambda *args, **kwargs: pytest.fail("images are read"))
    results = loop.train(config(folder, head, evaluation__every_epochs=1), str(folder / head))
    assert len(list((folder / "features").iterdir())) == 2
    lines = capsys.readouterr().err
    assert ("features: found in" in lines) or first
    again = ltjax.load(folder / head)  # the whole network, from images
    test = toy.build(None).test
    hits = np.argmax(again(test.images(np.arange(21))).logits, -1) == test.labels
    assert np.mean(hits) == pytest.approx(results["accuracy"]["all"])


def test_what_needs_the_images_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"config.tuning.cached: True, but config.method=ce .* needs the images"):
        loop.train(config(tmp_path, mix__name="mixup"), str(tmp_path / "run"))
    with pytest.raises(InputError, match=r"config.tuning.cached: impossible value True; allowed: False with"):
        config(tmp_path, tuning__name="norm")


@pytest.mark.parametrize("words, name", [("ncm", "sgd"), ("tau", "sgd"), ("crt", "adamw"), ("crt,solver=lbfgs", "sgd")])
def test_an_optimizer_that_nothing_uses_has_its_default(words, name):
    """Anything else is refused when the run begins."""
    config, _ = configure.from_command_line([f"--config=configs/list_features.py:{words}", "--workdir=run"])
    assert config.second_stage_optimizer.name == name
