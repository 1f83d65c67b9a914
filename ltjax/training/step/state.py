"""What a training step changes, and which of the parameters it may change."""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from flax import traverse_util

from ltjax.errors import InputError
from ltjax.methods.common import under
from ltjax.methods.stage import Stage, Start, Tree


@flax.struct.dataclass
class TrainState:
    """All that a checkpoint holds of a stage in training."""

    step: jax.Array  # int32, finished steps of this stage
    seed: jax.Array  # uint32
    params: Tree
    model_state: Tree  # the collections beside the parameters
    opt_state: Tree  # of the trainable parameters
    extras: Tree


def make_optimizer(settings: Any, undecayed: Sequence[str] = ()) -> optax.GradientTransformation:
    """SGD as the papers' scripts have it, without the learning rate: g + wd p, momentum, nesterov.

    It takes flat dicts of parameters; those under the prefixes ``undecayed`` have no weight decay.
    """

    def decays(params: Mapping) -> dict[str, bool]:
        return {path: not any(under(path, prefix) for prefix in undecayed) for path in params}

    return optax.chain(
        optax.add_decayed_weights(settings.weight_decay, mask=decays if undecayed else None),
        optax.trace(settings.momentum, nesterov=settings.nesterov),
    )


def select(params: Tree, prefixes: Sequence[str]) -> tuple[dict, dict]:
    """(trainable, standing) parameters as flat dicts "a/b/c" -> array; no prefix means that all move."""
    flat = traverse_util.flatten_dict(params, sep="/")
    for prefix in prefixes:
        if not any(under(path, prefix) for path in flat):
            raise InputError(f"trainable: no parameter lies under '{prefix}'")
    moving = {p: v for p, v in flat.items() if not prefixes or any(under(p, prefix) for prefix in prefixes)}
    return moving, {p: v for p, v in flat.items() if p not in moving}


def merge(trainable: Mapping, standing: Mapping) -> Tree:
    return traverse_util.unflatten_dict({**standing, **trainable}, sep="/")


def rate_factors(params: Mapping, rates: Mapping[str, float]) -> dict[str, float]:
    """For each flat path the factor of the longest prefix in `rates` that it lies under; 1 without one."""
    return {
        path: rates[max(fits, key=len)] if (fits := [prefix for prefix in rates if under(path, prefix)]) else 1.0
        for path in params
    }


def create_state(stage: Stage, start: Start, seed: int) -> TrainState:
    """The state before the first step."""
    variables = dict(start.variables)
    params = variables.pop("params")
    trainable, _ = select(params, stage.trainable)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        seed=jnp.asarray(seed, jnp.uint32),
        params=params,
        model_state=variables,
        opt_state=make_optimizer(stage.optimizer, stage.undecayed).init(trainable),
        extras=dict(start.extras),
    )


def variables_of(state: TrainState) -> Tree:
    return {"params": state.params, **state.model_state}


def parameter_count(params: Tree) -> int:
    return sum(int(leaf.size) for leaf in jax.tree.leaves(params))
