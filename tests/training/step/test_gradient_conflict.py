"""The gradient diagnostic: the two sides sum to the whole, for one stream, joint batches and whole-batch losses."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import models
from ltjax.errors import InputError
from ltjax.losses import cross_entropy, triplet_loss
from ltjax.methods.stage import Outcome, Term, Updates
from ltjax.training import loop, prepare
from ltjax.training.step.gradient_conflict import frequent_side, make_distortion, make_split_gradients
from ltjax.training.step.state import create_state, select
from ltjax.training.step.step import make_apply, make_context
from tests.training import toy

FREQUENT = np.array([True, False, False])


def joint(apply, params, model_state, batch, context):
    """Two streams in one pass, a mean and a loss of the whole batch, and a parameter read beside the outputs."""
    images = jnp.concatenate([batch["image"]["image"], batch["rare"]["image"]])
    labels = jnp.concatenate([batch["image"]["label"], batch["rare"]["label"]])
    outputs, model_state = apply(params, model_state, images)
    terms = {
        "classification": Term(cross_entropy(outputs.logits, labels)),
        "triplet": Term(triplet_loss(outputs.features, labels), scale=0.5),
        "beside": Term(jnp.sum(params["head"]["classifier"]["bias"] ** 2)),
    }
    return Outcome(terms, model_state)


def setting(dtype="float32", **changes):
    config = toy.config(dtype=dtype)
    stage = toy.stage(config, **changes)
    state = jax.jit(lambda key: create_state(stage, stage.init(key, None, None), 0))(jax.random.key(0))
    data = toy.build(None)
    rows = np.array([0, 30, 40, 7, 25, 1, 38, 3])
    one = {"image": jnp.stack([data.train.read(i) for i in rows]), "label": jnp.asarray(data.train.labels[rows])}
    return stage, state, {"image": one, "rare": {name: value[::-1] for name, value in one.items()}}


def whole_gradient(stage, state, batch):
    moving, _ = select(state.params, Updates())
    context = make_context(stage, state, {}, 5)

    def loss_of(params):
        outcome = stage.objective(make_apply(stage), params, state.model_state, batch, context)
        return sum(term.scale * term.mean() for name, term in outcome.terms.items() if name != "beside")

    return select(jax.jit(jax.grad(loss_of))(state.params), Updates())[0], moving


@pytest.mark.parametrize(
    "changes", [pytest.param({}, marks=pytest.mark.slow), {"objective": joint}], ids=["one stream", "joint"]
)
def test_the_two_sides_sum_to_the_whole_and_are_those_of_their_images(changes):
    with jax.enable_x64(True):
        stage, state, batch = setting("float64", **changes)
        frequent, rare = jax.jit(make_split_gradients(stage, 5, FREQUENT))(state, {}, batch)
        whole, moving = whole_gradient(stage, state, batch)
        for path in moving:
            np.testing.assert_allclose(frequent[path] + rare[path], whole[path], rtol=1e-9, atol=1e-12)
        assert all(np.abs(side["head/classifier/kernel"]).max() > 0 for side in (frequent, rare))
        metrics = jax.jit(make_distortion(stage, 5, FREQUENT))(state, {}, batch)
        flat = [np.concatenate([np.ravel(side[path]) for path in moving]) for side in (frequent, whole)]
        cosine = flat[0] @ flat[1] / np.linalg.norm(flat[0]) / np.linalg.norm(flat[1])
        np.testing.assert_allclose(metrics["gradient/cosine_frequent"], cosine, rtol=1e-9)
        np.testing.assert_allclose(metrics["gradient/norm"], np.linalg.norm(flat[1]), rtol=1e-9)


def test_without_frequent_images_their_gradient_is_zero_and_the_other_side_is_the_whole():
    stage, state, batch = setting()
    batch["image"]["label"] = jnp.ones(8, jnp.int32)
    metrics = jax.jit(make_distortion(stage, 5, FREQUENT))(state, {}, batch)
    assert metrics["gradient/norm_frequent"] == 0 and metrics["gradient/cosine_frequent"] == np.finfo(np.float32).min
    np.testing.assert_allclose(metrics["gradient/cosine_rare"], 1, rtol=1e-5)


def reversed_and_normalised(apply, params, model_state, batch, context):
    """Images in another order, as floats, and turned."""
    images, labels = batch["image"]["image"][::-1], batch["image"]["label"][::-1]
    outputs, model_state = apply(params, model_state, jnp.rot90(images, axes=(1, 2)) / 255.0 - 0.5)
    return Outcome({"x": Term(cross_entropy(outputs.logits, labels))}, model_state)


def blended(apply, params, model_state, batch, context):
    """Three parts of an image and one of another; the label of the larger part."""
    images, labels = batch["image"]["image"], batch["image"]["label"]
    mixed = 0.75 * images.astype(jnp.float32) + 0.25 * jnp.roll(images, 3, 0).astype(jnp.float32)
    outputs, model_state = apply(params, model_state, mixed.astype(jnp.uint8))
    again, model_state = apply(params, model_state, batch["rare"]["image"])
    terms = {
        "mixed": Term(cross_entropy(outputs.logits, labels)),
        "plain": Term(cross_entropy(again.logits, batch["rare"]["label"])),
    }
    return Outcome(terms, model_state)


@pytest.mark.parametrize("objective", [reversed_and_normalised, blended])
def test_images_are_followed_through_whatever_an_objective_does_with_them(objective):
    """With one loss for each image, a side's gradient is that of its images' losses."""

    def only(side):
        def masked(apply, params, model_state, batch, context):
            outcome = objective(apply, params, model_state, batch, context)
            labels = {"x": batch["image"]["label"][::-1], "mixed": batch["image"]["label"]}
            labels["plain"] = batch["rare"]["label"]
            terms = {
                name: Term(jnp.where(jnp.asarray(FREQUENT)[labels[name]] == side, term.values, 0))
                for name, term in outcome.terms.items()
            }
            return outcome._replace(terms=terms)

        return masked

    with jax.enable_x64(True):
        stage, state, batch = setting("float64", objective=objective)
        sides = jax.jit(make_split_gradients(stage, 5, FREQUENT))(state, {}, batch)
        for found, side in zip(sides, (True, False), strict=True):
            expected, _ = whole_gradient(dataclasses.replace(stage, objective=only(side)), state, batch)
            assert max(np.abs(value).max() for value in expected.values()) > 1e-3
            for path, value in expected.items():
                np.testing.assert_allclose(found[path], value, rtol=1e-9, atol=1e-12)


def test_a_side_without_classes_is_refused():
    with pytest.raises(InputError, match=r"frequent_classes: 3 of 3"):
        frequent_side(3, np.array(toy.COUNTS))
    assert frequent_side(0, np.array(toy.COUNTS)).tolist() == [True, False, False]


@pytest.mark.parametrize("on_device", ["yes", pytest.param("no", marks=pytest.mark.slow)])
def test_a_run_logs_it_every_so_many_steps_and_trains_the_same(on_device, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "build", toy.build)
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)
    plain = loop.train(toy.config(data__on_device=on_device), str(tmp_path / "plain"))
    config = toy.config(data__on_device=on_device, gradients__every_steps=3, num_seeds=1)
    seen = loop.train(config, str(tmp_path / "seen"))
    assert seen["train_loss_last_epoch"] == plain["train_loss_last_epoch"]
    lines = [json.loads(line) for line in (tmp_path / "seen" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "gradient/norm" in line] == [4, 6, 10]  # of steps 3, 6, 9 of 10
    assert all(-1 <= line["gradient/cosine_rare"] <= 1 for line in lines if "gradient/cosine_rare" in line)


def test_an_objective_that_hides_the_classes_of_its_images_gets_no_numbers():
    def standardized(apply, params, model_state, batch, context):
        images = batch["image"]["image"].astype(jnp.float32)
        axes = (1, 2, 3)
        images = (images - images.mean(axes, keepdims=True)) / (images.std(axes, keepdims=True) + 1e-6)
        outputs, model_state = apply(params, model_state, images)
        return Outcome({"classification": Term(cross_entropy(outputs.logits, batch["image"]["label"]))}, model_state)

    stage, state, batch = setting(objective=standardized)
    metrics = jax.jit(make_distortion(stage, 5, FREQUENT))(state, {}, {"image": batch["image"]})
    assert all(np.isnan(value) for value in metrics.values())
