"""The state of training, and which of its parameters a step may change."""

from collections.abc import Mapping, Sequence

import flax.struct
import jax
import jax.numpy as jnp
import optax
from flax import traverse_util

from ltjax.errors import InputError
from ltjax.methods.stage import AnyStage, Stage, Start, Tree, Updates, under
from ltjax.settings import StageOptimizer


@flax.struct.dataclass
class TrainState:
    """All that a checkpoint holds of a stage in training."""

    step: jax.Array  # int32, finished steps of this stage
    seed: jax.Array  # uint32
    params: Tree
    model_state: Tree  # the collections beside the parameters
    opt_state: Tree  # of the trainable parameters
    extras: Tree


def make_optimizer(settings: StageOptimizer, undecayed: Sequence[str] = ()) -> optax.GradientTransformation:
    """SGD as the papers' scripts have it, without the learning rate: g + wd p, momentum, Nesterov.

    It takes flat dicts of parameters; those under the prefixes ``undecayed`` have no weight decay.
    """

    def decays(params: Mapping) -> dict[str, bool]:
        return {path: not any(under(path, prefix) for prefix in undecayed) for path in params}

    return optax.chain(
        optax.add_decayed_weights(settings.weight_decay, mask=decays if undecayed else None),
        optax.trace(settings.momentum, nesterov=settings.nesterov),
    )


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
    optimizer = make_optimizer(stage.optimizer if isinstance(stage, Stage) else UNUSED, stage.updates.undecayed)
    trainable, _ = select(params, stage.updates)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        seed=jnp.asarray(seed, jnp.uint32),
        params=params,
        model_state=variables,
        opt_state=optimizer.init(trainable),
        extras=dict(start.extras),
    )


def variables_of(state: TrainState) -> Tree:
    return {"params": state.params, **state.model_state}


def parameter_count(params: Tree) -> int:
    return sum(int(leaf.size) for leaf in jax.tree.leaves(params))
