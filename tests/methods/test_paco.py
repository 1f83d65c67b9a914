"""PaCo and GPaCo: what an image is compared with over three steps, and a run that is resumed exactly."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import models
from ltjax.losses import paco_loss
from ltjax.methods import METHODS
from ltjax.training import loop, prepare
from ltjax.training.interrupt import Interrupted
from ltjax.training.step.state import create_state
from ltjax.training.step.step import make_apply, make_context
from tests.training import toy
from tests.training.test_loop import lines, stop_at

LABELS = jnp.array([0, 1, 2, 0])


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(prepare, "build", toy.build)
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)


def batches(count):
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.integers(0, 256, (count, 2, 4, 8, 8, 1)), jnp.uint8)
    views = ("image", "second")
    return [{name: {"image": of[i], "label": LABELS} for i, name in enumerate(views)} for of in images]


def steps(method, count, **changes):
    """(outcome, state before, batch) of steps with parameters that change in between."""
    config = toy.config(method, **{f"{method}__width": 6, f"{method}__queue": 10, **changes})
    (stage,) = METHODS[method](config, toy.build(None))
    state = create_state(stage, toy.start_of(stage), 0)
    for batch in batches(count):
        context = make_context(stage, state, {}, 5)
        outcome = toy.outcome_of(stage, state, batch, context)
        yield stage, outcome, state, batch
        moved = jax.tree.map(lambda x: 0.9 * x + 0.01, state.params)
        state = dataclasses.replace(state, params=moved, extras=outcome.extras, step=state.step + 1)


def project(stage, params, model_state, images):
    made, changed = toy.in_training(stage, {"params": params, **model_state}, images, project=True)
    return made.logits, changed


def test_paco_compares_with_what_the_moving_average_made_of_this_and_earlier_batches():
    averaged, queue, queued = None, np.zeros((0, 6)), np.zeros(0, int)
    for stage, outcome, state, batch in steps("paco", 3, paco__momentum=0.5):
        averaged = (
            state.params
            if averaged is None
            else jax.tree.map(lambda old, new: 0.5 * old + 0.5 * new, averaged, state.params)
        )
        made, _ = project(stage, state.params, state.model_state, batch["image"]["image"])
        keys, _ = project(stage, averaged, state.model_state, batch["second"]["image"])
        keys = np.asarray(keys["projection"])
        expected = paco_loss(
            made["classifier"], LABELS, made["projection"], np.concatenate([keys, queue]),
            np.concatenate([LABELS, queued]).astype(np.int32), class_counts=toy.COUNTS, alpha=0.01, temperature=0.05,
        )  # fmt: skip
        np.testing.assert_allclose(outcome.terms["contrastive"].values, expected, rtol=1e-4)
        queue = np.concatenate([keys / np.linalg.norm(keys, axis=1, keepdims=True), queue])[:10]
        queued = np.concatenate([LABELS, queued])[:10].astype(int)
        np.testing.assert_allclose(outcome.extras["queue"]["features"][: len(queue)], queue, rtol=1e-4, atol=1e-6)
        assert outcome.extras["queue"]["labels"].tolist() == [*queued, *[-1] * (10 - len(queued))]


def test_gpaco_learns_from_both_views_and_keeps_the_second():
    for stage, outcome, state, batch in steps("gpaco", 1):
        first, changed = project(stage, state.params, state.model_state, batch["image"]["image"])
        second, _ = project(stage, state.params, dict(changed), batch["second"]["image"])
        logits, views = (np.concatenate([first[k], second[k]]) for k in ("classifier", "projection"))
        expected = paco_loss(
            logits, np.tile(LABELS, 2), views, np.zeros((0, 6), np.float32), np.zeros(0, np.int32),
            class_counts=toy.COUNTS, alpha=0.01, temperature=0.05,
        )  # fmt: skip
        np.testing.assert_allclose(outcome.terms["contrastive"].mean(), expected.mean(), rtol=1e-5)
        unit = second["projection"] / np.linalg.norm(second["projection"], axis=1, keepdims=True)
        np.testing.assert_allclose(outcome.extras["queue"]["features"][:4], unit, rtol=1e-5)
        assert "encoder" not in outcome.extras


@pytest.mark.parametrize("method", ["paco", "gpaco"])
def test_without_a_queue_a_step_compares_its_own_views_alone(method):
    """A checkpoint takes no arrays of size zero: queue=0 ended with the first one."""
    (made,) = steps(method, 1, **{f"{method}__queue": 0})
    stage, outcome, state, batch = made
    assert all(leaf.size for leaf in jax.tree.leaves((state, outcome.extras))) and "queue" not in outcome.extras
    first, changed = project(stage, state.params, state.model_state, batch["image"]["image"])
    if method == "gpaco":
        second, _ = project(stage, state.params, dict(changed), batch["second"]["image"])
        logits, views = (np.concatenate([first[k], second[k]]) for k in ("classifier", "projection"))
        labels, keys, of_keys = np.tile(LABELS, 2), np.zeros((0, 6), np.float32), np.zeros(0, np.int32)
    else:
        second, _ = project(stage, state.params, state.model_state, batch["second"]["image"])
        logits, views, labels = first["classifier"], first["projection"], LABELS
        keys, of_keys = second["projection"], LABELS
    expected = paco_loss(logits, labels, views, keys, of_keys, class_counts=toy.COUNTS, alpha=0.01, temperature=0.05)
    np.testing.assert_allclose(outcome.terms["contrastive"].mean(), expected.mean(), rtol=1e-4)


def test_no_gradient_flows_into_the_momentum_encoder():
    stage, _, state, batch = list(steps("paco", 2))[1]
    context = make_context(stage, state, {}, 5)

    def loss(encoder):
        extras = {**state.extras, "encoder": {**state.extras["encoder"], "params": encoder}}
        made = stage.objective(
            make_apply(stage), state.params, state.model_state, batch, context._replace(extras=extras)
        )
        return made.terms["contrastive"].mean()

    gradient = jax.jit(jax.grad(loss))(state.extras["encoder"]["params"])
    assert all(float(jnp.abs(leaf).max()) == 0 for leaf in jax.tree.leaves(gradient))


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_with_its_encoder_and_queue(tmp_path, monkeypatch):
    config = toy.config("paco", epochs=3, log_every_steps=1, checkpoint__every_steps=4, paco__queue=20)
    loop.train(config, str(tmp_path / "whole"))
    with monkeypatch.context() as patch:
        stop_at(patch, 9)
        with pytest.raises(Interrupted):
            loop.train(config, str(tmp_path / "stopped"))
    loop.train(config, str(tmp_path / "stopped"))
    found = [lines(tmp_path / name) for name in ("whole", "stopped")]
    whole, stopped = ([(line["step"], line["loss"]) for line in run if "loss" in line] for run in found)
    assert whole == stopped
