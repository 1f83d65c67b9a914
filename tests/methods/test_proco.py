"""ProCo: its class statistics over steps and epochs, its terms by hand, and a run that is resumed exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import models
from ltjax.losses import logit_adjusted_loss, proco_loss
from ltjax.methods import METHODS
from ltjax.methods.proco import means_of, no_images, updated
from ltjax.training import loop, prepare
from ltjax.training.interrupt import Interrupted
from ltjax.training.step.state import create_state
from ltjax.training.step.step import make_context
from tests.training import toy
from tests.training.test_loop import lines, stop_at


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(prepare, "build", toy.build)
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_the_means_are_of_this_epoch_and_the_last_one():
    rng = np.random.default_rng(0)
    features = unit(rng.normal(size=(4, 6, 5))).astype(np.float32)  # four steps of six images
    labels = np.array([0, 1, 1, 0, 1, 1])
    classes = no_images(jax.random.key(0), 3, 5)
    np.testing.assert_allclose(np.linalg.norm(means_of(classes), axis=1), 0.9, rtol=1e-5)
    for step, epoch in enumerate((0, 0, 1, 2)):
        classes = updated(classes, jnp.asarray(features[step]), jnp.asarray(labels), jnp.int32(epoch))
        counted = features[: step + 1] if epoch < 2 else features[2:]  # epoch 2 has forgotten epoch 0
        for c in (0, 1):
            expected = counted[:, labels == c].reshape(-1, 5).mean(0)
            np.testing.assert_allclose(means_of(classes)[c], expected, rtol=2e-5, atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(means_of(classes)[2]), 0.9, rtol=1e-5)  # no image of it so far


def test_the_terms_are_those_of_the_views_and_the_updated_classes():
    config, data = toy.config("proco", proco__width=6, proco__hidden=5), toy.build(None)
    (stage,) = METHODS["proco"](config, data)
    start = toy.start_of(stage)
    state = create_state(stage, start, 0)
    rng = np.random.default_rng(0)
    labels = jnp.array([0, 1, 2, 0])
    batch = {
        name: {"image": jnp.asarray(rng.integers(0, 256, (4, 8, 8, 1)), jnp.uint8), "label": labels}
        for name in stage.streams
    }
    context = make_context(stage, state, {}, 5)
    outcome = toy.outcome_of(stage, state, batch, context)
    images = jnp.concatenate([batch[name]["image"] for name in ("image", "second", "third")])
    variables = {"params": state.params, **state.model_state}
    made, _ = toy.in_training(stage, variables, images, project=True)
    views, both = unit(np.asarray(made.logits["projection"][4:])), np.tile(labels, 2)
    means = np.stack([views[both == c].mean(0) for c in range(3)])
    contrast = proco_loss(views, both, means, class_counts=toy.COUNTS, temperature=0.1)
    np.testing.assert_allclose(outcome.terms["contrastive"].mean(), contrast.mean(), rtol=1e-4)
    plain = logit_adjusted_loss(made.logits["classifier"][:4], labels, class_counts=toy.COUNTS)
    np.testing.assert_allclose(outcome.terms["classification"].mean(), plain.mean(), rtol=1e-5)
    np.testing.assert_allclose(means_of(outcome.extras["classes"]), means, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_with_its_classes(tmp_path, monkeypatch):
    config = toy.config("proco", epochs=3, log_every_steps=1, checkpoint__every_steps=4)
    loop.train(config, str(tmp_path / "whole"))
    with monkeypatch.context() as patch:
        stop_at(patch, 9)
        with pytest.raises(Interrupted):
            loop.train(config, str(tmp_path / "stopped"))
    loop.train(config, str(tmp_path / "stopped"))
    found = [lines(tmp_path / name) for name in ("whole", "stopped")]
    whole, stopped = ([(line["step"], line["loss"]) for line in run if "loss" in line] for run in found)
    assert whole == stopped
