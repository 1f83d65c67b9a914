"""The one train step: (state, constants, batch) -> (state, metrics). Pure; ``programs.py`` compiles it."""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import traverse_util

from ltjax.methods.stage import Apply, Batch, Context, Outcome, Ratio, Stage, Tree, under
from ltjax.models.drop_path import STREAM
from ltjax.models.sharding import gathered, kept_split, parts
from ltjax.training.step.averages import decay_at, next_average
from ltjax.training.step.class_rows import Rows, through_rows
from ltjax.training.step.micro_batches import ObjectiveOfParams, accumulated
from ltjax.training.step.optimizer import make_optimizer, sharpest
from ltjax.training.step.schedules import make_schedule
from ltjax.training.step.state import AveragedState, TrainState, merge, rate_factors, select

TrainStep = Callable[[TrainState, Tree, Batch], tuple[TrainState, dict[str, jax.Array]]]


def make_apply(stage: Stage, key: jax.Array | None = None) -> Apply:
    """The stage's network as its objective calls it.

    ``key`` is of the draws inside the network (stochastic depth), another one in each call; None: it draws nothing, as
    where the stage trains no part of the backbone.
    """
    calls, draws = itertools.count(), stage.updates.trains_within("backbone")

    def apply(
        params: Tree,
        model_state: Tree,
        images: jax.Array,
        train: bool = True,
        **options: Any,
    ) -> tuple[Any, Tree]:
        variables = {"params": together(stage.network, params), **model_state}
        frozen = stage.updates.norm == "frozen"
        rngs = {STREAM: jax.random.fold_in(key, next(calls))} if draws and key is not None else {}
        outputs, changed = stage.network.apply(
            variables, images, train=train, frozen_norm=frozen, mutable=list(model_state), rngs=rngs, **options
        )
        return outputs, {**model_state, **changed}

    return apply


def together(network: Any, params: Tree) -> Tree:
    """The parameters where devices share them (config.fsdp), whole on every device; not those the backbone gathers."""
    if parts() == 1:
        return params
    gathers = getattr(getattr(network, "backbone", None), "gathered_within", tuple)
    later = [f"backbone/{path}" for path in gathers()]
    flat = traverse_util.flatten_dict(params, sep="/")
    whole = {
        path: array if any(under(path, prefix) for prefix in later) else gathered(array) for path, array in flat.items()
    }
    return traverse_util.unflatten_dict(whole, sep="/")


def make_context(stage: Stage, state: TrainState, constants: Tree, steps_per_epoch: int) -> Context:
    """What the stage's objective sees at this state."""
    return Context(
        step=state.step,
        epoch=state.step // steps_per_epoch,
        epochs=stage.epochs,
        progress=state.step / (stage.epochs * steps_per_epoch),
        key=jax.random.fold_in(jax.random.key(state.seed), state.step),
        frozen=constants,
        extras=state.extras,
        learning_rate=make_schedule(stage.optimizer, stage.epochs, steps_per_epoch)(state.step),
    )


def make_train_step(stage: Stage, steps_per_epoch: int, micro_batches: int = 1) -> TrainStep:
    """The step as a pure function. `constants` is what the stage's init froze (an argument, never closed over).

    A batch is taken in ``micro_batches`` parts, one after the other.
    """
    settings = stage.optimizer
    optimizer = make_optimizer(settings, stage.updates.undecayed)

    def train_step(state: TrainState, constants: Tree, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
        context = make_context(stage, state, constants, steps_per_epoch)
        trainable, frozen = select(state.params, stage.updates)

        def objective(trainable: Tree, batch: Batch, context: Context, rows: Rows | None = None) -> Outcome:
            def run(apply: Apply, batch: Batch) -> Outcome:
                return stage.objective(apply, merge(trainable, frozen), state.model_state, batch, context)

            def network() -> Apply:
                return make_apply(stage, context.key)

            return run(network(), batch) if rows is None else through_rows(run, network, batch, stage.sharpened, rows)

        def passed(
            objective: ObjectiveOfParams, trainable: Tree
        ) -> tuple[jax.Array, dict[str, jax.Array], Outcome, Tree]:
            if micro_batches == 1:
                return at_once(objective, trainable, batch, context)
            return accumulated(objective, trainable, batch, context, micro_batches)

        rate = context.learning_rate
        factors = rate_factors(trainable, stage.updates.rates)

        def worst(gradients: Tree) -> Tree:
            moving = {path: gradient for path, gradient in gradients.items() if factors[path]}
            return sharpest(trainable, moving, settings.sam_rho)

        if not settings.sam_rho:
            loss, means, outcome, gradients = passed(objective, trainable)
        elif stage.sharpened is None:  # the same batch and draws again; what the first pass logs and keeps stays
            loss, means, outcome, gradients = passed(objective, trainable)
            *_, gradients = passed(objective, worst(gradients))
        else:  # the plain gradient of the other classes, and that of these at their own worst weights
            loss, means, outcome, others = passed(functools.partial(objective, rows="others"), trainable)

            def of_sharpened(trainable: Tree) -> Tree:
                *_, whole = passed(functools.partial(objective, rows="chosen"), trainable)
                *_, beside = passed(functools.partial(objective, rows="none"), trainable)
                return jax.tree.map(jnp.subtract, whole, beside)

            gradients = jax.tree.map(jnp.add, others, of_sharpened(worst(of_sharpened(trainable))))
        updates, opt_state = optimizer.update(gradients, state.opt_state, trainable)
        updates = {path: (-rate * factors[path] * update).astype(update.dtype) for path, update in updates.items()}
        logged = {name: m.value() if isinstance(m, Ratio) else m for name, m in outcome.metrics.items()}
        metrics: dict[str, Any] = {"loss": loss, "learning_rate": rate, **logged}
        if len(means) > 1:  # a single term is the loss itself
            metrics |= {f"loss/{name}": mean for name, mean in means.items()}
        trained = optax.apply_updates(trainable, updates)
        if stage.project is not None:
            trained = stage.project(trained, constants)
        new = dataclasses.replace(
            state,
            step=state.step + 1,
            params=merge(trained, frozen),
            model_state=outcome.model_state,
            opt_state=opt_state,
            extras=state.extras if outcome.extras is None else outcome.extras,
        )
        if isinstance(new, AveragedState):
            decay = decay_at(settings.ema_decay, state.step)
            new = dataclasses.replace(new, average=next_average(new.average, trained, new.model_state, decay))
        return kept_split(new), metrics

    return train_step


def at_once(
    objective: ObjectiveOfParams, trainable: Tree, batch: Batch, context: Context
) -> tuple[jax.Array, dict[str, jax.Array], Outcome, Tree]:
    """(loss, each term's mean, the objective's outcome, gradients) of a whole batch."""

    def loss_of(trainable: Tree) -> tuple[jax.Array, Any]:
        outcome = objective(trainable, batch, context)
        means = {name: term.mean() for name, term in outcome.terms.items()}
        total = sum(outcome.terms[name].scale * mean for name, mean in means.items())
        return jnp.asarray(total), (outcome, means)

    (loss, (outcome, means)), gradients = jax.value_and_grad(loss_of, has_aux=True)(trainable)
    return loss, means, outcome, gradients
