"""PaCo and GPaCo: an image against other images and against a learned centre of each class, in one contrastive loss.

Cui et al., "Parametric contrastive learning", ICCV 2021, with a momentum encoder as MoCo has it: a
moving average of the network makes the second view's projection, and a queue holds those of earlier steps. Cui et al.,
"Generalized parametric contrastive learning", TPAMI 2023: the network itself makes both, and both views learn.

The centres are the weights of a linear classifier, their products with the features its logits, which the prior of the
training set rebalances.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from ltjax.arrays import l2_normalize
from ltjax.data import Data
from ltjax.losses import paco_loss
from ltjax.methods.bcl import linear_head
from ltjax.methods.common import accuracy, build_network, dtypes, initialise, one_stage, uniform_prior, watched
from ltjax.methods.stage import Apply, Batch, Context, Features, Outcome, Previous, Stage, Start, Term, Tree
from ltjax.methods.views import streams_of_views, together
from ltjax.models import ContrastiveHead
from ltjax.settings import Block, Settings, setting
from ltjax.settings.schema import fraction, integer, not_negative, positive

COMPARES = "its contrastive loss compares the images of a batch, and its queue gets them all"
EMPTY = -1  # the label of a place of the queue that has had no image yet


@dataclasses.dataclass(frozen=True, kw_only=True)
class GPaCoSettings(Block):
    """config.gpaco: the authors' values on CIFAR-100-LT."""

    augment: str = setting(
        "", "the augmentation of the second view, such as simclr_blur; '' = that of the first, config.data.augment"
    )
    width: int = setting(32, "width of the projections", integer(1, 65536))
    queue: int = setting(1024, "number of projections of earlier steps that are compared with, too", integer(0, 2**20))
    temperature: float = setting(0.05, "temperature of the products of projections", positive)
    alpha: float = setting(0.01, "weight of an image of the same class", not_negative)
    beta: float = setting(1.0, "weight of the centre of the class", not_negative)
    gamma: float = setting(1.0, "how much the other images count in the denominator", positive)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PaCoSettings(GPaCoSettings):
    """config.paco: the authors' values on CIFAR-100-LT."""

    momentum: float = setting(0.999, "what is kept of the momentum encoder in each step", fraction)


def paco(config: Settings, settings: PaCoSettings, data: Data) -> list[Stage]:
    """One stage of two views; a moving average of the network projects the second."""
    network = _network(config, settings, data, hidden=(0,), norm=True)

    def objective(apply: Apply, params: Tree, model_state: Tree, batch: Batch, context: Context) -> Outcome:
        labels, encoder = batch["image"]["label"], context.extras["encoder"]
        outputs, model_state = apply(params, model_state, batch["image"]["image"], project=True)
        averaged = _average(encoder["params"], params, context.step, settings.momentum)
        keys, state = apply(averaged, encoder["model_state"], batch["second"]["image"], project=True)
        queries, keys = outputs.logits["projection"], jax.lax.stop_gradient(keys.logits["projection"])
        logits = outputs.logits["classifier"]
        losses = _compared(settings, data, context, logits, labels, queries, keys, batch["second"]["label"])
        extras = {
            **_next_queue(settings, context, keys, batch["second"]["label"]),
            "encoder": {"params": averaged, "model_state": jax.lax.stop_gradient(state)},
        }
        return _outcome(config, losses, logits, labels, model_state, extras)

    return _stage(config, settings, data, network, objective)


def gpaco(config: Settings, settings: GPaCoSettings, data: Data) -> list[Stage]:
    """One stage of two views, which the network projects both, one pass after the other."""
    network = _network(config, settings, data, hidden=(0, 0), norm=False)

    def objective(apply: Apply, params: Tree, model_state: Tree, batch: Batch, context: Context) -> Outcome:
        made, labels = [], [batch[view]["label"] for view in ("image", "second")]
        for view in ("image", "second"):
            outputs, model_state = apply(params, model_state, batch[view]["image"], project=True)
            made.append(outputs.logits)
        first, second = made
        logits = together(first["classifier"], second["classifier"])
        projected = together(first["projection"], second["projection"])
        of_both = together(*labels)
        losses = _compared(settings, data, context, logits, of_both, projected)
        keys = jax.lax.stop_gradient(second["projection"])
        extras = _next_queue(settings, context, keys, labels[1])
        return _outcome(config, losses, logits, of_both, model_state, extras)

    return _stage(config, settings, data, network, objective)


def _network(config: Settings, settings: GPaCoSettings, data: Data, hidden: tuple[int, ...], norm: bool) -> Any:
    types = dtypes(config)
    head = ContrastiveHead(linear_head(config, data), settings.width, hidden, norm=norm, **types)
    return build_network(config, data, head)


def _stage(config: Settings, settings: GPaCoSettings, data: Data, network: Any, objective: Any) -> list[Stage]:
    make = initialise(network, data)
    averages = isinstance(settings, PaCoSettings)

    def init(key: jax.Array, previous: Previous | None, features: Features) -> Start:
        del previous, features
        variables = make(key)
        # a checkpoint takes no arrays of size zero
        queue = {"queue": _empty_queue(settings.queue, settings.width)} if settings.queue else {}
        if not averages:
            return Start(variables, extras=queue)
        # the first step makes it equal to the network
        zeros = jax.tree.map(jnp.zeros_like, dict(variables))
        encoder = {"params": zeros.pop("params"), "model_state": zeros}
        return Start(variables, extras={**queue, "encoder": encoder})

    return one_stage(
        config,
        data,
        network,
        objective,
        init=init,
        **streams_of_views(config, {"second": settings.augment}),
        whole_batch=COMPARES,
        prior=uniform_prior(data),
    )


def _average(averaged: Tree, params: Tree, step: jax.Array, momentum: float) -> Tree:
    """The momentum encoder: all of the network in the first step."""
    kept = jnp.where(step == 0, 0, momentum)

    def moved(old: jax.Array, new: jax.Array) -> jax.Array:
        return (kept * old + (1 - kept) * new).astype(old.dtype)

    return jax.tree.map(moved, averaged, jax.lax.stop_gradient(params))


def _compared(
    settings: GPaCoSettings,
    data: Data,
    context: Context,
    logits: jax.Array,
    labels: jax.Array,
    features: jax.Array,
    keys: jax.Array | None = None,
    key_labels: jax.Array | None = None,
) -> jax.Array:
    """The loss of each image, compared with the others, with these keys and with the queue."""
    queue = _queue_of(settings, context)
    all_keys, all_labels = queue["features"].astype(features.dtype), queue["labels"]
    if keys is not None and key_labels is not None:
        all_keys, all_labels = jnp.concatenate([keys, all_keys]), jnp.concatenate([key_labels, all_labels])
    return paco_loss(
        logits,
        labels,
        features,
        all_keys,
        all_labels,
        class_counts=data.class_counts,
        alpha=settings.alpha,
        beta=settings.beta,
        gamma=settings.gamma,
        temperature=settings.temperature,
    )


def _empty_queue(length: int, width: int) -> dict[str, jax.Array]:
    return {"features": jnp.zeros((length, width)), "labels": jnp.full(length, EMPTY, jnp.int32)}


def _queue_of(settings: GPaCoSettings, context: Context) -> Mapping[str, jax.Array]:
    queue: Mapping[str, jax.Array] = context.extras["queue"] if settings.queue else _empty_queue(0, settings.width)
    return queue


def _next_queue(settings: GPaCoSettings, context: Context, keys: jax.Array, labels: jax.Array) -> dict[str, Tree]:
    """The entry of the next step's extras; none without a queue."""
    return {"queue": _queued(context.extras["queue"], keys, labels)} if settings.queue else {}


def _queued(queue: Mapping[str, jax.Array], keys: jax.Array, labels: jax.Array) -> dict[str, jax.Array]:
    """The queue with these in front; the oldest drop out.

    Example:
      >>> queue = {"features": jnp.zeros((3, 1)), "labels": jnp.array([7, 8, 9])}
      >>> _queued(queue, jnp.array([[2.0], [-4.0]]), jnp.array([1, 2]))["labels"].tolist()
      [1, 2, 7]
    """
    length = len(queue["labels"])
    unit = l2_normalize(keys).astype(queue["features"].dtype)
    return {
        "features": jnp.concatenate([unit, queue["features"]])[:length],
        "labels": jnp.concatenate([labels.astype(jnp.int32), queue["labels"]])[:length],
    }


def _outcome(
    config: Settings,
    losses: jax.Array,
    logits: jax.Array,
    labels: jax.Array,
    model_state: Tree,
    extras: dict[str, Tree],
) -> Outcome:
    metrics = {"accuracy": accuracy(logits, labels)} | watched(config, losses, labels)
    return Outcome({"contrastive": Term(losses)}, model_state, metrics, extras)
