"""CMO: its terms by hand, when it pastes, and where its foregrounds come from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import models
from ltjax.losses import cross_entropy
from ltjax.methods import METHODS
from ltjax.methods.cmo import CMOSettings, drawn_share
from ltjax.methods.mixing import box
from ltjax.training import loop, prepare
from ltjax.training.step.state import create_state
from ltjax.training.step.step import make_context
from tests.training import toy
from tests.training.test_loop import lines


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)


def made(epoch, **changes):
    """(stage, outcome, batch, context, logits of the images with the box of this step)"""
    config, data = toy.config("cmo", epochs=10, **changes), toy.build(None)
    (stage,) = METHODS["cmo"](config, data)
    state = create_state(stage, toy.start_of(stage), 0)
    rng = np.random.default_rng(0)
    labels = {"image": [0, 0, 1, 0], "foreground": [2, 1, 2, 0]}
    batch = {
        name: {"image": jnp.asarray(rng.integers(0, 256, (4, 8, 8, 1)), jnp.uint8), "label": jnp.asarray(y)}
        for name, y in labels.items()
    }
    context = make_context(stage, state, {}, 5)._replace(epoch=jnp.int32(epoch))

    def share_of(key):
        return drawn_share(jax.random.split(key, 3)[2], config.method_settings, context)

    key = next(key for key in map(jax.random.key, range(99)) if share_of(key) < 0.7)  # a box that is not empty
    context = context._replace(key=key)
    outcome = toy.outcome_of(stage, state, batch, context)
    inside = np.asarray(box(jax.random.split(key, 3)[0], (8, 8), share_of(key)))
    images = np.where(inside[..., None], batch["foreground"]["image"], batch["image"]["image"])
    variables = {"params": state.params, **state.model_state}
    logits = toy.in_training(stage, variables, images)[0].logits
    return stage, outcome, batch, logits, 1 - inside.mean()


@pytest.mark.parametrize("epoch, weighted", [(5, False), (8, True)])
def test_the_loss_is_that_of_both_labels_in_the_shares_of_the_pixels(epoch, weighted):
    changes = {"cmo__probability": 1.0, "cmo__last_epochs": 0}
    stage, outcome, batch, logits, left = made(epoch, **changes)
    assert 0 < left < 1 and set(stage.streams) == {"image", "foreground"}
    weights = np.ones(3)
    if weighted:  # deferred re-weighting, each label's mean by its own weights
        weights = (1 - 0.9999) / (1 - 0.9999 ** np.array(toy.COUNTS))
    for name, stream, share in (("", "image", left), ("_foreground", "foreground", 1 - left)):
        labels = batch[stream]["label"]
        losses, of = cross_entropy(logits, labels), weights[labels]
        term = outcome.terms[f"classification{name}"]
        np.testing.assert_allclose(term.scale * term.mean(), share * (losses * of).sum() / of.sum(), rtol=1e-5)
    np.testing.assert_allclose(outcome.metrics["cmo/background"], left, rtol=1e-6)


def test_nothing_is_pasted_in_the_first_and_in_the_last_epochs():
    settings = CMOSettings(probability=1.0)
    config = toy.config("cmo", epochs=10)
    (stage,) = METHODS["cmo"](config, toy.build(None))
    state = create_state(stage, toy.start_of(stage), 0)
    context = make_context(stage, state, {}, 5)
    shares = [float(drawn_share(jax.random.key(1), settings, context._replace(epoch=jnp.int32(e)))) for e in range(10)]
    assert [share < 1 for share in shares] == [4 <= epoch < 7 for epoch in range(10)]
    half = CMOSettings()
    drawn = [float(drawn_share(jax.random.key(i), half, context._replace(epoch=jnp.int32(5)))) for i in range(60)]
    assert 15 < sum(share < 1 for share in drawn) < 45


def test_foregrounds_are_drawn_by_class_and_backgrounds_as_they_come():
    (stage,) = METHODS["cmo"](toy.config("cmo"), toy.build(None))
    labels, sampler = toy.build(None).train.labels, stage.streams["foreground"]
    drawn = labels[sampler.draw(sampler.tables(labels, 3), 0, 7, 0, np.arange(6000))]
    np.testing.assert_allclose(np.bincount(drawn) / 6000, np.full(3, 1 / 3), atol=0.03)
    assert stage.streams["image"].name == "instance_balanced"


@pytest.mark.parametrize("loss", ["ce", "ldam_drw", "balanced_softmax"])
def test_it_goes_with_other_losses(loss):
    _, outcome, *_ = made(5, cmo__probability=1.0, cmo__loss=loss)
    assert set(outcome.terms) == {"classification", "classification_foreground"}
    assert all(np.isfinite(term.mean()) for term in outcome.terms.values())


@pytest.mark.slow
def test_a_run_pastes_and_learns(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "build", toy.build)
    config = toy.config("cmo", epochs=8, log_every_steps=1, cmo__probability=1.0, cmo__last_epochs=2)
    results = loop.train(toy.changed(config, optimizer__learning_rate=0.05), str(tmp_path))
    shares = [line["cmo/background"] for line in lines(tmp_path) if "cmo/background" in line]
    assert min(shares) < 1 and shares[0] == shares[-1] == 1
    assert results["accuracy"]["all"] > 0.5
