"""Learning rates against the curves of the reference scripts, the optimizer against reference SGD."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ltjax.errors import InputError
from ltjax.settings import ScheduleSettings, StageOptimizer
from ltjax.training.step.optimizer import make_optimizer
from ltjax.training.step.schedules import make_schedule
from tests import recipes


def per_epoch(config, steps_per_epoch=7):
    schedule = jax.jit(make_schedule(config.optimizer, config.epochs, steps_per_epoch))
    first = [float(schedule(jnp.int32(e * steps_per_epoch))) for e in range(config.epochs)]
    last = [float(schedule(jnp.int32(e * steps_per_epoch + steps_per_epoch - 1))) for e in range(config.epochs)]
    assert first == last, "the rate moves within an epoch"
    return first


@pytest.mark.parametrize("method, curve", [("ce", "ldam_drw_cifar_200"), ("reslt", "reslt_cifar_200")])
def test_the_published_curves(method, curve, reference):
    published = reference("lr_schedules")[curve]
    np.testing.assert_allclose(per_epoch(recipes.build("cifar100", method)), published, rtol=1e-6)


def test_short_is_a_cosine_per_step_from_the_rate_to_zero():
    config = recipes.build("cifar100", "ce", "short")
    schedule = make_schedule(config.optimizer, 10, 84)
    for step in (0, 1, 83, 84, 400, 839):
        assert float(schedule(jnp.int32(step))) == pytest.approx(0.05 * (1 + math.cos(math.pi * step / 840)), abs=1e-7)


INCLUDED = {
    "start": [1, 0.75, 0.25],  # cos(pi k / 3), k = 0, 1, 2
    "end": [0.75, 0.25, 0],  # k = 1, 2, 3
    "neither": [(2 + 2**0.5) / 4, 0.5, (2 - 2**0.5) / 4],  # cos(pi k / 4), k = 1, 2, 3
}


@pytest.mark.parametrize(("included", "expected"), INCLUDED.items())
@pytest.mark.parametrize("unit", ["epoch", "step"])
def test_a_half_cosine_includes_the_end_that_is_set(included, expected, unit):
    shape = ScheduleSettings(name="cosine", unit=unit, cosine_includes=included, warmup_epochs=2)
    schedule = make_schedule(StageOptimizer(learning_rate=1.0, schedule=shape), 5, 1)
    np.testing.assert_allclose([schedule(jnp.int32(step)) for step in (2, 3, 4)], expected, atol=1e-6)


def test_a_single_epoch_that_would_have_no_rate_has_half():
    shape = ScheduleSettings(name="cosine", cosine_includes="end")
    assert float(make_schedule(StageOptimizer(learning_rate=0.2, schedule=shape), 1, 4)(jnp.int32(3))) == pytest.approx(
        0.1
    )


def test_warm_up_per_step_rises_and_ends_where_the_cosine_begins():
    config = recipes.build("mnist5k", "ce")
    schedule = make_schedule(config.optimizer, 40, 10)
    rates = [float(schedule(jnp.int32(step))) for step in range(21)]
    np.testing.assert_allclose(rates[:20], [0.1 * (step + 1) / 20 for step in range(20)], rtol=1e-5)
    assert rates[20] == pytest.approx(0.1)


def test_one_epoch_divides_nothing_by_zero():
    for name in ("step", "cosine", "constant"):
        config = recipes.build("mnist5k", "ce", "epochs=1")
        config.optimizer.schedule.update(name=name, warmup_epochs=1)
        assert np.isfinite(float(make_schedule(config.optimizer, 1, 1)(jnp.int32(0))))


def test_a_warm_up_longer_than_the_run_is_refused():
    config = recipes.build("mnist5k", "ce")
    with pytest.raises(InputError, match="warmup_epochs: 2 is more than the 1 epochs"):
        make_schedule(config.optimizer, 1, 10)


@pytest.mark.parametrize("case", ["plain", "nesterov"])
def test_sgd_is_the_reference_scripts(case, reference):
    v = reference("sgd")[case]
    settings = StageOptimizer(
        momentum=float(v["momentum"]), weight_decay=float(v["weight_decay"]), nesterov=case == "nesterov"
    )
    optimizer = make_optimizer(settings)
    params = {"w": jnp.asarray(v["p0"])}
    state = optimizer.init(params)
    for gradient, rate, expected in zip(v["grads"], v["lrs"], v["params"], strict=True):
        update, state = optimizer.update({"w": jnp.asarray(gradient)}, state, params)
        params = optax.apply_updates(params, {"w": -float(rate) * update["w"]})
        np.testing.assert_allclose(params["w"], expected, rtol=1e-6, atol=1e-7)
