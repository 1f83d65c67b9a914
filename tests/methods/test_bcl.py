"""BCL: its terms by hand on a batch, and that a run on the toy learns from views of the same images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import models
from ltjax.losses import balanced_contrastive_loss, logit_adjusted_loss
from ltjax.methods import METHODS
from ltjax.training import loop, prepare
from ltjax.training.step.state import create_state
from ltjax.training.step.step import make_context
from tests import recipes
from tests.training import toy


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(prepare, "build", toy.build)
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)


def test_the_terms_are_those_of_the_three_views():
    config, data = toy.config("bcl", bcl__width=6, bcl__hidden=5), toy.build(None)
    (stage,) = METHODS["bcl"](config, data)
    start = toy.start_of(stage)
    state = create_state(stage, start, 0)
    rng = np.random.default_rng(0)
    labels = jnp.array([0, 1, 2, 0])
    batch = {
        name: {"image": jnp.asarray(rng.integers(0, 256, (4, 8, 8, 1)), jnp.uint8), "label": labels}
        for name in stage.streams
    }
    outcome = toy.outcome_of(stage, state, batch, make_context(stage, state, {}, 5))
    assert set(stage.streams) == {"image", "second", "third"}
    assert {name: sampler.same_as for name, sampler in stage.streams.items()} == {
        "image": "", "second": "image", "third": "image",
    }  # fmt: skip

    # the three views in one pass, so that they share batch statistics
    images = jnp.concatenate([batch[name]["image"] for name in ("image", "second", "third")])
    variables = {"params": state.params, **state.model_state}
    made, _ = toy.in_training(stage, variables, images, project=True)
    expected = {
        "classification": 2.0
        * logit_adjusted_loss(made.logits["classifier"][:4], labels, class_counts=toy.COUNTS).mean(),
        "contrastive": 0.6
        * balanced_contrastive_loss(
            made.logits["projection"][4:], jnp.tile(labels, 2), made.logits["prototypes"][:, 0], temperature=0.1
        ),
    }
    for name, value in expected.items():
        term = outcome.terms[name]
        np.testing.assert_allclose(term.scale * term.mean(), value, rtol=2e-5)


def test_the_prototypes_are_made_of_the_weights_of_the_classifier():
    config = toy.config("bcl")
    (stage,) = METHODS["bcl"](config, toy.build(None))
    variables = toy.start_of(stage).variables

    def prototypes(kernel):
        head = {**variables["params"]["head"], "classifier": {"kernel": kernel}}
        changed = {**variables, "params": {**variables["params"], "head": head}}
        images = jnp.zeros((2, 8, 8, 1), jnp.uint8)
        return stage.network.apply(changed, images, project=True).logits["prototypes"][:, 0].sum()

    gradient = jax.jit(jax.grad(prototypes))(variables["params"]["head"]["classifier"]["kernel"])
    assert (jnp.abs(gradient).max(0) > 0).all()


@pytest.mark.slow
def test_a_run_learns_from_views_and_is_the_same_on_the_device(tmp_path):
    config = toy.config("bcl", epochs=6, optimizer__learning_rate=0.05, bcl__augment="simclr")
    found = [loop.train(toy.changed(config, data__on_device=where), str(tmp_path / where)) for where in ("no", "yes")]
    assert found[0]["accuracy"]["all"] > 0.6
    assert found[0]["per_class"] == found[1]["per_class"]


def test_the_word_image_size_moves_the_views_too():
    config = recipes.parse("--config=configs/folder_recent.py:bcl,image_size=64")
    assert (config.data.augment, config.method_settings.augment) == ("crop64_flip", "crop64_flip_simclr")


def test_a_layer_of_features_comes_before_the_projection():
    config = toy.config("bcl", model__features=7)
    (stage,) = METHODS["bcl"](config, toy.build(None))
    params = jax.eval_shape(lambda key: stage.init(key, None, None).variables, jax.random.key(0))["params"]["head"]
    assert params["fc"]["kernel"].shape == (4, 7) and params["classifier"]["kernel"].shape == (7, 3)
    assert params["projection"]["fc1"]["kernel"].shape == (7, 512)
    assert params["prototype_projection"]["out"]["kernel"].shape == (512, 128)
