"""The state of training, and which of its parameters a step may change."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from flax import traverse_util

from ltjax.errors import InputError
from ltjax.methods.stage import AnyStage, Stage, Start, Tree, Updates, under
from ltjax.settings import StageOptimizer
from ltjax.training.step.averages import start_average
from ltjax.training.step.optimizer import make_optimizer


@flax.struct.dataclass
class TrainState:
    """All that a checkpoint holds of a stage in training."""

    step: jax.Array  # int32, finished steps of this stage
    seed: jax.Array  # uint32
    params: Tree
    model_state: Tree  # the collections beside the parameters
    opt_state: Tree  # of the trainable parameters
    extras: Tree


@flax.struct.dataclass
class AveragedState(TrainState):
    """The state with config.optimizer.ema_decay; without it checkpoints have no such entry, as older ones have none."""

    average: Tree  # of the weights after each step, as ``averages.py`` makes it


UNUSED = StageOptimizer()  # of a closed form, whose checkpoints hold an optimizer state all the same


def select(params: Tree, updates: Updates) -> tuple[dict, dict]:
    """(trainable, frozen) parameters as flat dicts "a/b/c" -> array.

    Raises:
      InputError: if a prefix of ``updates.trainable`` matches no parameter.
    """
    flat = traverse_util.flatten_dict(params, sep="/")
    for prefix in updates.trainable:
        if not any(under(path, prefix) for path in flat):
            found = ", ".join(sorted({path.partition("/")[0] for path in flat}))
            raise InputError(f"trainable: no parameter lies under '{prefix}'; the network has {found}")
    trainable = {path: value for path, value in flat.items() if updates.trains(path)}
    return trainable, {path: value for path, value in flat.items() if path not in trainable}


def merge(trainable: Mapping, frozen: Mapping) -> Tree:
    return traverse_util.unflatten_dict({**frozen, **trainable}, sep="/")


def rate_factors(params: Mapping, rates: Mapping[str, float]) -> dict[str, float]:
    """For each flat path the factor of the longest matching prefix in ``rates``; 1 without one."""
    return {
        path: rates[max(fits, key=len)] if (fits := [prefix for prefix in rates if under(path, prefix)]) else 1.0
        for path in params
    }


def create_state(stage: AnyStage, start: Start, seed: int) -> TrainState:
    """The state before the first step.

    A closed form has no optimizer; its checkpoints hold an unused, all-zero optimizer state all the same, so that all
    stages have checkpoints of one layout.
    """
    variables = dict(start.variables)
    params = variables.pop("params")
    settings = stage.optimizer if isinstance(stage, Stage) else UNUSED
    optimizer = make_optimizer(settings, stage.updates.undecayed)
    trainable, _ = select(params, stage.updates)
    fields: dict[str, Any] = {
        "step": jnp.zeros((), jnp.int32),
        "seed": jnp.asarray(seed, jnp.uint32),
        "params": params,
        "model_state": variables,
        "opt_state": optimizer.init(trainable),
        "extras": dict(start.extras),
    }
    if settings.ema_decay:
        return AveragedState(**fields, average=start_average(trainable, variables))
    return TrainState(**fields)


def moving_part(state: TrainState, updates: Updates) -> TrainState:
    """The state without its frozen parameters: what a checkpoint holds with ``updates.frozen_once``."""
    return dataclasses.replace(state, params=traverse_util.unflatten_dict(select(state.params, updates)[0], sep="/"))


def frozen_part(params: Tree, updates: Updates) -> Tree:
    """The frozen parameters, nested."""
    return traverse_util.unflatten_dict(select(params, updates)[1], sep="/")


def with_frozen(state: TrainState, frozen: Tree) -> TrainState:
    """The inverse of ``moving_part``."""
    moving, others = (traverse_util.flatten_dict(tree, sep="/") for tree in (state.params, frozen))
    return dataclasses.replace(state, params=merge(moving, others))


def variables_of(state: TrainState) -> Tree:
    """The network that the stage gives: what is evaluated, exported and passed to the next stage.

    With config.optimizer.ema_decay it is the average of those after each step, else that after the last step.
    """
    if not isinstance(state, AveragedState):
        return {"params": state.params, **state.model_state}
    params = traverse_util.flatten_dict(state.params, sep="/") | state.average["params"]
    return {"params": traverse_util.unflatten_dict(params, sep="/"), **state.average["model_state"]}


def parameter_count(params: Tree) -> int:
    return sum(int(leaf.size) for leaf in jax.tree.leaves(params))
