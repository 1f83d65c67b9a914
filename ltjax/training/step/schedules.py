"""Learning rates as pure functions of the traced step."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ltjax.errors import InputError, choose
from ltjax.settings import ScheduleSettings, StageOptimizer

Schedule = Callable[[jax.Array], jax.Array]


def step_decay(time: jax.Array, epochs: int, unit: float, settings: ScheduleSettings) -> jax.Array:
    """1, multiplied by `decay` after each milestone (in finished epochs)."""
    del epochs, unit
    factor = jnp.ones_like(time)
    for milestone in settings.milestones:
        factor *= jnp.where(time >= milestone, settings.decay, 1.0)
    return factor


def cosine(time: jax.Array, epochs: int, unit: float, settings: ScheduleSettings) -> jax.Array:
    """Half a cosine from 1 to 0 over the n epochs (or steps) after the warm-up.

    It is ``(1 + cos(pi k / N)) / 2``, by `cosine_includes`: "start", k = 0 .. n-1, N = n; "end", k = 1 .. n, N = n, so
    that the last is 0; "neither", k = 1 .. n, N = n + 1. With n = 1 "end" has N = 2, for 0 alone would train nothing.
    """
    length = epochs - settings.warmup_epochs + (unit if settings.cosine_includes == "neither" else 0)
    done = time - settings.warmup_epochs + (0 if settings.cosine_includes == "start" else unit)
    return 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip(done / max(length, 2 * unit), 0, 1)))


def constant(time: jax.Array, epochs: int, unit: float, settings: ScheduleSettings) -> jax.Array:
    del epochs, unit, settings
    return jnp.ones_like(time)


SCHEDULES = {"step": step_decay, "cosine": cosine, "constant": constant}


def make_schedule(optimizer: StageOptimizer, epochs: int, steps_per_epoch: int) -> Schedule:
    """step (int32) -> learning rate, by `optimizer.schedule`.

    Time is counted in epochs and moves every epoch or every step (`unit`). During the warm-up the rate is
    ``rate * (start * (1 - f) + f)`` with f = (time + one unit) / warmup_epochs, so that its last unit has f = 1:
    the form of the LDAM-DRW scripts (start 0) and of ResLT's (start 1/3).
    """
    settings = optimizer.schedule
    shape = choose(SCHEDULES, settings.name, "config.optimizer.schedule.name")
    if settings.warmup_epochs > epochs:
        raise InputError(
            f"config.optimizer.schedule.warmup_epochs: {settings.warmup_epochs} is more than the {epochs} epochs of "
            "training; use less"
        )
    unit = 1.0 if settings.unit == "epoch" else 1.0 / steps_per_epoch

    def schedule(step: jax.Array) -> jax.Array:
        count = step // steps_per_epoch if settings.unit == "epoch" else step
        time = count.astype(jnp.promote_types(jnp.float32, jnp.result_type(float))) * unit
        warm = jnp.minimum((time + unit) / max(settings.warmup_epochs, unit), 1.0)
        factor = jnp.where(
            time < settings.warmup_epochs,
            settings.warmup_start * (1 - warm) + warm,
            shape(time, epochs, unit, settings),
        )
        return optimizer.learning_rate * factor

    return schedule
