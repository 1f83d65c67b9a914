"""The step: what moves, what stands still, and that the update is the formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.errors import InputError
from ltjax.methods.stage import Outcome, Term, Updates
from ltjax.training.execution import mesh as meshes
from ltjax.training.execution.programs import Execution, streamed_step
from ltjax.training.step.state import create_state, rate_factors, select
from ltjax.training.step.step import make_apply, make_train_step
from tests.training import toy


@pytest.fixture(scope="module")
def batch():
    source = toy.source((3, 3, 2), 5)
    images = np.stack([source.read(i) for i in range(8)])
    return {"image": {"image": images, "label": source.labels, "index": np.arange(8, dtype=np.int32)}}


def started(stage, seed=0):
    return create_state(stage, toy.start_of(stage, seed), seed)


def test_the_first_update_is_sgd_on_the_gradient_of_the_terms(batch):
    config = toy.config(optimizer__learning_rate=0.3)

    def objective(apply, params, model_state, batch, context):
        outputs, model_state = apply(params, model_state, batch["image"]["image"])
        values = jnp.sum(outputs.logits**2, -1)
        weights = jnp.arange(8.0)
        return Outcome({"a": Term(values, weights, 0.25), "b": Term(values)}, model_state)

    stage = toy.stage(config, objective=objective)
    state = started(stage)
    new, metrics = jax.jit(make_train_step(stage, 5))(state, {}, batch)

    def loss(params):
        outputs, _ = make_apply(stage)(params, state.model_state, batch["image"]["image"])
        values = jnp.sum(outputs.logits**2, -1)
        return 0.25 * jnp.sum(values * jnp.arange(8.0)) / 28 + jnp.mean(values)

    value, gradient = jax.value_and_grad(loss)(state.params)
    expected = jax.tree.map(lambda p, g: p - 0.3 * (g + 5e-4 * p), state.params, gradient)
    assert float(metrics["loss"]) == pytest.approx(float(value), rel=1e-5)
    assert {"loss/a", "loss/b"} <= set(metrics)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), new.params, expected)
    assert int(new.step) == 1


def test_only_the_trainable_part_is_updated_and_frozen_norm_keeps_its_statistics(batch):
    stage = toy.stage(toy.config(), updates=Updates(trainable=("head",), norm="frozen"))
    state = started(stage)
    new, _ = jax.jit(make_train_step(stage, 5))(state, {}, batch)
    jax.tree.map(np.testing.assert_array_equal, new.params["backbone"], state.params["backbone"])
    jax.tree.map(np.testing.assert_array_equal, new.model_state, state.model_state)
    assert not np.array_equal(new.params["head"]["classifier"]["kernel"], state.params["head"]["classifier"]["kernel"])
    moving, _ = select(state.params, stage.updates)
    assert jax.tree.map(jnp.shape, state.opt_state[1].trace) == jax.tree.map(jnp.shape, moving)


def test_batch_norm_moves_in_training(batch):
    stage = toy.stage(toy.config())
    state = started(stage)
    new, _ = jax.jit(make_train_step(stage, 5))(state, {}, batch)
    assert not np.array_equal(
        new.model_state["batch_stats"]["backbone"]["norm"]["mean"],
        state.model_state["batch_stats"]["backbone"]["norm"]["mean"],
    )


def test_rates_multiply_the_learning_rate_by_the_longest_prefix(batch):
    assert rate_factors({"a/b/c": 0, "a/d": 0, "ab": 0}, {"a": 2.0, "a/b": 3.0}) == {
        "a/b/c": 3.0,
        "a/d": 2.0,
        "ab": 1.0,
    }
    config = toy.config()
    plain, slow = toy.stage(config), toy.stage(config, updates=Updates(rates={"backbone": 0.5}))
    state = started(plain)
    moved = {}
    for name, stage in {"plain": plain, "slow": slow}.items():
        new, _ = jax.jit(make_train_step(stage, 5))(state, {}, batch)
        moved[name] = jax.tree.map(lambda a, b: np.asarray(a - b), new.params, state.params)
    np.testing.assert_allclose(
        moved["slow"]["backbone"]["conv"]["kernel"],
        0.5 * moved["plain"]["backbone"]["conv"]["kernel"],
        rtol=1e-3,
        atol=1e-7,
    )
    jax.tree.map(np.testing.assert_array_equal, moved["slow"]["head"], moved["plain"]["head"])


def test_a_prefix_that_names_no_parameter_is_refused():
    with pytest.raises(InputError, match="'heed'"):
        select({"head": {"kernel": 1}}, Updates(("heed",)))


def test_the_context_counts_steps_epochs_and_progress(batch):
    seen = []

    def objective(apply, params, model_state, batch, context):
        outputs, model_state = apply(params, model_state, batch["image"]["image"])
        noise = jax.random.uniform(context.key)
        metrics = {"epoch": context.epoch, "progress": context.progress, "noise": noise}
        return Outcome({"x": Term(outputs.logits[:, 0])}, model_state, metrics)

    step = jax.jit(make_train_step(toy.stage(toy.config(), objective=objective), 3))
    for seed in (0, 0, 1):
        state = started(toy.stage(toy.config()), seed)
        noise = []
        for count in range(6):
            state, metrics = step(state, {}, batch)
            assert int(metrics["epoch"]) == count // 3
            assert float(metrics["progress"]) == pytest.approx(count / 6)
            noise.append(float(metrics["noise"]))
        assert len(set(noise)) == 6
        seen.append(noise)
    assert seen[0] == seen[1] != seen[2]


def test_the_compiled_step_donates_its_state(batch):
    stage = toy.stage(toy.config())
    mesh = meshes.data_mesh()
    step = streamed_step(stage, Execution(5, 8, mesh))
    state = meshes.put_replicated(started(stage), mesh)
    new, _ = step(state, {}, meshes.put_split(batch, mesh))
    assert jax.tree.leaves(state.params)[0].is_deleted()
    assert not jax.tree.leaves(new.params)[0].is_deleted()


@pytest.mark.parametrize("batch_size, words", [(100, ["100", "42 images"]), (7, ["7", "2 devices", "6 or 8"])])
def test_batch_sizes_that_cannot_be_name_the_nearest(batch_size, words):
    class TwoDevices:
        size = 2

    with pytest.raises(InputError) as error:
        meshes.check_batch(batch_size, 42, TwoDevices())
    for word in words:
        assert word in str(error.value)
