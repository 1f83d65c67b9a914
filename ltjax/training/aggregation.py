"""Weights of a network's experts, learned on unlabelled test images: SADE's test-time aggregation.

Zhang et al., "Self-supervised aggregation of diverse experts for test-agnostic long-tailed recognition", NeurIPS 2022,
section 4.2 and algorithm 1. An expert that knows the classes of the test images predicts two augmentations of one image
alike. So the weights maximise the cosine of the two aggregated predictions; the networks stay as they are.

It is transductive: the test images, without their labels, take part.
"""

import contextlib
import dataclasses
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ltjax.data import Source
from ltjax.data.augment.transform import Transform
from ltjax.data.loading.host_batches import train_batches
from ltjax.data.sampling.counter_rng import HOST, name_id
from ltjax.data.sampling.epoch_shuffle import instance_balanced
from ltjax.data.sampling.sampler import Sampler
from ltjax.errors import InputError
from ltjax.methods.stage import AnyStage, Predict, Tree
from ltjax.settings import StageOptimizer
from ltjax.training.execution import mesh as meshes

EPOCHS, BATCH, LEAST = 5, 128, 0.05  # the authors' numbers; a weight below the last ends the training after its epoch
VARIABLE = "expert_weights"  # beside "params" and "batch_stats"
STREAMS = ("first_view", "second_view")

Experts = Callable[[Tree, jax.Array], jax.Array]  # (variables, images uint8 [B, H, W, C]) -> [E, B, C]


class Learned(NamedTuple):
    """What was learned for the experts of one network.

    Attributes:
      weights: float64 [E], which sum to 1.
      epochs: after how many it ended.
      similarity: the mean cosine of the two predictions in every epoch.
    """

    weights: np.ndarray
    epochs: int
    similarity: list[float]


def experts_of(stage: AnyStage) -> Experts:
    """The logits of each expert: those of the views ``expert_0``, ``expert_1``, ...

    Raises:
      InputError: if the stage has fewer than two.
    """
    views = [stage.views[name] for name in sorted(stage.views) if re.fullmatch(r"expert_\d+", name)]
    if len(views) < 2:
        raise InputError(
            f"--aggregate: the network of stage '{stage.name}' has no experts to weight; leave the flag out, or "
            "evaluate a run of a method with experts, such as sade"
        )
    return lambda variables, images: jnp.stack([view(variables, images) for view in views])


def weighted(stage: AnyStage) -> AnyStage:
    """The stage whose prediction weights the experts by ``variables[VARIABLE]["weights"]`` [E].

    The class distribution that its probabilities assume is unknown: the weights decide it.
    """
    experts = experts_of(stage)

    def predict(variables: Tree, images: jax.Array) -> jax.Array:
        logits = experts({name: tree for name, tree in variables.items() if name != VARIABLE}, images)
        return jnp.tensordot(variables[VARIABLE]["weights"].astype(logits.dtype), logits, axes=1)

    made: Predict = predict
    return dataclasses.replace(stage, predict=made, prior=None)


def weight_learner(
    experts: Experts, transform: Transform, optimizer: StageOptimizer, mesh: Any, seed: int = 0
) -> Callable[[Tree, Source], Learned]:
    """(variables of one seed, images) -> the weights of the experts for these images, whose labels are not used.

    Args:
      experts: of a network.
      transform: the augmentation, drawn twice for each image and epoch.
      optimizer: learning rate, momentum and weight decay of the weights; the authors have those of the training.
      mesh: the devices; each computes everything.
      seed: of order and augmentation.

    Returns:
      A function, which raises FloatingPointError if predictions are not finite.
    """
    update, step = _step(experts, optimizer, mesh)
    sampler = _in_one_order(instance_balanced())

    def learn(variables: Tree, source: Source) -> Learned:
        variables = meshes.put_replicated(variables, mesh)
        number = len(jax.eval_shape(experts, variables, source.images(np.zeros(1, np.int64))))
        state = (jnp.full(number, 1 / number), update.init(jnp.zeros(number)))
        tables = sampler.tables(np.zeros(len(source), np.int32), 1)
        batch_size = min(BATCH, len(source))
        steps, similarity = len(source) // batch_size, list[float]()
        while len(similarity) < EPOCHS:
            start, seen = len(similarity) * steps, []
            batches = train_batches(
                source, dict.fromkeys(STREAMS, sampler), dict.fromkeys(STREAMS, tables), seed=seed,
                batch_size=batch_size, steps_per_epoch=steps, start=start, stop=start + steps, transform=transform,
            )  # fmt: skip
            with contextlib.closing(batches):
                for batch in batches:
                    views = [meshes.put_replicated(batch[name]["image"], mesh) for name in STREAMS]
                    *state, alike = step(*state, variables, *views)
                    seen.append(alike)
            similarity.append(float(np.mean(jax.device_get(seen))))
            weights = np.asarray(jax.nn.softmax(state[0]), np.float64)
            if not np.isfinite(weights).all():
                raise FloatingPointError("the experts' predictions for the test images are not finite")
            if np.round(weights, 2).min() < LEAST:
                break
        return Learned(weights / weights.sum(), len(similarity), similarity)

    return learn


def _in_one_order(sampler: Sampler) -> Sampler:
    """The sampler with the same records in every stream: only what is drawn for the augmentation differs."""

    def draw(tables: Any, seed: Any, stream: Any, epoch: Any, offset: Any, ops: Any = HOST) -> Any:
        del stream
        return sampler.draw(tables, seed, name_id(STREAMS[0]), epoch, offset, ops)

    return dataclasses.replace(sampler, draw=draw)


def _step(experts: Experts, optimizer: StageOptimizer, mesh: Any) -> tuple[Any, Any]:
    """The optimizer of the weights' logits; (logits, its state, variables, two views) -> both after a step, cosine."""
    update = optax.chain(
        optax.add_decayed_weights(optimizer.weight_decay),
        optax.sgd(optimizer.learning_rate, optimizer.momentum, optimizer.nesterov),
    )

    def cosine(logits: jax.Array, of_views: list[jax.Array]) -> jax.Array:
        shares = jax.nn.softmax(logits)
        first, second = (jax.nn.softmax(jnp.tensordot(shares, one, axes=1)) for one in of_views)
        products = [jnp.sum(a * b, -1) for a, b in ((first, second), (first, first), (second, second))]
        return jnp.mean(products[0] / jnp.sqrt(products[1] * products[2]))

    def step(logits: jax.Array, state: Any, variables: Tree, *views: jax.Array) -> Any:
        of_views = [jax.lax.stop_gradient(experts(variables, view)).astype(logits.dtype) for view in views]
        alike, gradient = jax.value_and_grad(cosine)(logits, of_views)
        changes, state = update.update(-gradient, state, logits)
        return logits + changes, state, alike

    return update, jax.jit(step, out_shardings=meshes.replicated(mesh))
