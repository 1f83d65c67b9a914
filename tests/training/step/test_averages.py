"""The moving average of the weights: the formula, what it is of, and who takes it."""

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.methods.stage import Updates
from ltjax.training.step.averages import next_average
from ltjax.training.step.state import TrainState, create_state, variables_of
from ltjax.training.step.step import make_train_step
from tests.training import toy
from tests.training.step.test_optimizer import batch_of


def trained(steps, **fields):
    """The states before and after each step with config.optimizer.ema_decay=0.3."""
    with jax.enable_x64(True):
        stage = toy.stage(toy.config(dtype="float64", optimizer__ema_decay=0.3), **fields)
        states = [create_state(stage, toy.start_of(stage), 0)]
        step = jax.jit(make_train_step(stage, 5))
        for _ in range(steps):
            states.append(step(states[-1], {}, batch_of())[0])
        return jax.device_get(states)


def test_the_average_is_the_formula_over_weights_and_batch_statistics():
    states = trained(5)

    def raw(state):
        return {"params": state.params, **state.model_state}

    expected = raw(states[0])
    for t, state in enumerate(states[1:]):
        decay = min(0.3, (1 + t) / (10 + t))  # 0.1, 0.18, 0.25, 0.3, 0.3
        expected = jax.tree.map(lambda old, new, d=decay: d * old + (1 - d) * new, expected, raw(state))
    made = variables_of(states[-1])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15), made, expected)
    assert jax.tree.structure(made) == jax.tree.structure(raw(states[-1]))
    for of in (made, made["batch_stats"]):
        last = raw(states[-1]) if of is made else raw(states[-1])["batch_stats"]
        assert not np.allclose(jax.tree.leaves(of)[0], jax.tree.leaves(last)[0], rtol=1e-6)


def test_what_is_frozen_is_not_averaged_and_stays_bit_for_bit():
    first, *_, last = trained(3, updates=Updates(trainable=("head",), norm="frozen"))
    assert set(last.average["params"]) == {"head/classifier/kernel", "head/classifier/bias"}
    made = variables_of(last)
    jax.tree.map(np.testing.assert_array_equal, made["params"]["backbone"], first.params["backbone"])
    jax.tree.map(np.testing.assert_array_equal, made["batch_stats"], first.model_state["batch_stats"])


def test_counters_are_the_newest():
    old, new = ({"n": jnp.int32(n), "x": jnp.float32(n)} for n in (3, 8))
    found = next_average({"params": {}, "model_state": old}, {}, new, jnp.float32(0.5))["model_state"]
    assert (int(found["n"]), float(found["x"])) == (8, 5.5)


def test_off_there_is_no_average_and_the_state_is_what_it_was():
    stage = toy.stage(toy.config())
    state = create_state(stage, toy.start_of(stage), 0)
    assert type(state) is TrainState and not hasattr(state, "average")  # an empty entry would be one in checkpoints
    assert variables_of(state)["params"] is state.params
