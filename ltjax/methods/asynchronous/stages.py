"""Asynchronous modelling: a dual-phase perspective for long-tailed recognition (anonymous, under review).

Frequent and rare classes are learned one after the other, so that their gradients do not disturb each other (section
3, algorithm 1):

    phase 1   cross-entropy on the images of the frequent classes alone                          (eq. 1)
    memory    of each frequent class the most representative images                             (eqs. 2 to 5)
    phase 2   on memory and rare classes: cross-entropy + margin + lambda * graph matching       (eqs. 6 to 9)

Both phases share one network with a cosine classifier over all classes. "Plain" is that network in a single phase.
What the paper leaves open is decided in ``settings.py``, where every reading is a setting.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.class_counts import frequent_classes
from ltjax.classifiers import cosine_logits
from ltjax.data import Data
from ltjax.data.sampling import SAMPLERS
from ltjax.data.sampling.combine import over_subset, subset_tables
from ltjax.data.sampling.sampler import Sampler
from ltjax.errors import InputError
from ltjax.losses import cross_entropy, graph_matching_loss, margin_ranking_loss
from ltjax.methods.asynchronous.exemplars import attention_entropy, imprinted, memory_bank
from ltjax.methods.asynchronous.settings import AsynchronousSettings
from ltjax.methods.common import (
    accuracy,
    build_network,
    classify,
    dtypes,
    evaluate_network,
    initialise,
    one_stage,
    predicts,
    rates,
    watched,
    within,
)
from ltjax.methods.stage import Apply, Batch, Context, Features, Outcome, Previous, Stage, Start, Term, Tree, Updates
from ltjax.models import CosineHead
from ltjax.settings import Settings
from ltjax.settings.schema import refuse
from ltjax.settings.user_code import lookup

FREQUENT_IMAGES = 20  # many- and medium-shot classes (appendix A)


def asynchronous(config: Settings, settings: AsynchronousSettings, data: Data) -> list[Stage]:
    """Two phases, or one if config.asynchronous.plain."""
    if settings.split >= data.num_classes:
        refuse("config.asynchronous.split", settings.split, f"0 (by count) or 1 to {data.num_classes - 1} classes")
    head = CosineHead(data.num_classes, **dtypes(config))
    network = build_network(config, data, head, final_relu=False)  # signed features, as a cosine needs them
    if settings.plain:
        return one_stage(config, data, network, classify("image", cross_entropy, config=config))
    frequent = first_phase_classes(settings.split, data.class_counts)
    return [first_phase(config, data, network, frequent), second_phase(config, settings, data, network, frequent)]


def first_phase(config: Settings, data: Data, network: Any, frequent: np.ndarray) -> Stage:
    """Eq. 1. The classifier keeps its shape; masking the logits of absent classes is the paper's truncation W_c^1."""
    records = np.flatnonzero(frequent[data.train.labels])
    sampler = subset_sampler(config, "config.data.sampler", config.data.sampler, config.epochs)
    tables = {"image": subset_tables(sampler, data.train.labels, data.num_classes, records)}
    make = initialise(network, data)

    def init(key: jax.Array, previous: Previous | None, features: Features) -> Start:
        del previous, features
        return Start(make(key), tables=tables)

    return Stage(
        "frequent",
        network=network,
        epochs=config.epochs,
        optimizer=config.optimizer,
        streams={"image": sampler},
        init=init,
        objective=classify("image", cross_entropy, config=config, group=frequent),
        predict=lambda variables, images: within(evaluate_network(network, variables, images).logits, frequent),
        updates=Updates(rates=rates(config.optimizer)),
        epoch_size=len(records),
    )


def second_phase(
    config: Settings, settings: AsynchronousSettings, data: Data, network: Any, frequent: np.ndarray
) -> Stage:
    """Algorithm 1 from line 8 on: memory and rare classes, all weights, beside the frozen network of phase 1."""
    labels = data.train.labels
    epochs, optimizer = config.second_stage()
    named = settings.second_sampler
    key = "config.asynchronous.second_sampler" if named else "config.data.sampler"
    sampler = subset_sampler(config, key, named or config.data.sampler, epochs)
    old, new = np.flatnonzero(frequent[labels]), np.flatnonzero(~frequent[labels])
    counts = np.bincount(labels, minlength=data.num_classes)
    images = int(np.minimum(counts, settings.bank_size)[frequent].sum()) + len(new)
    largest = min(settings.bank_size, int(counts[frequent].max()))  # the memory that a larger one would take holds none

    def init(key: jax.Array, previous: Previous | None, features: Features) -> Start:
        del key
        assert previous is not None
        teacher = previous.variables
        picks = memory_bank(features(teacher, old), labels[old], largest, settings.similarity)
        start = imprinted(teacher, features(teacher, new), labels[new], frequent) if settings.imprint else teacher
        records = np.concatenate([old[picks], new])
        assert len(records) == images
        tables = subset_tables(sampler, labels, data.num_classes, records)
        return Start(start, frozen={"teacher": teacher}, tables={"image": tables})

    return Stage(
        "rare",
        network=network,
        epochs=epochs,
        optimizer=optimizer,
        streams={"image": sampler},
        init=init,
        objective=joint_objective(config, settings, network, frequent),
        predict=predicts(network),
        updates=Updates(rates=rates(optimizer)),
        epoch_size=settings.epoch_size or images,
        whole_batch="graph matching compares all images of a batch" if graph_weight(settings, frequent) else "",
        notes=bank_notes(settings.bank_size, counts[frequent]),
    )


def bank_notes(bank_size: int, counts: np.ndarray) -> list[str]:
    """That some frequent classes, of these sizes, have fewer images than the memory should keep."""
    smaller = int((counts < bank_size).sum())
    if not smaller:
        return []
    return [
        f"config.asynchronous.bank_size={bank_size}: {smaller} of {len(counts)} frequent classes have fewer images and "
        f"are kept whole (the smallest has {int(counts.min())})"
    ]


def joint_objective(
    config: Settings, settings: AsynchronousSettings, network: Any, frequent: np.ndarray
) -> Callable[..., Outcome]:
    """Eq. 9 on one batch; the terms are logged without their weights."""
    weight = graph_weight(settings, frequent)

    def objective(apply: Apply, params: Tree, model_state: Tree, batch: Batch, context: Context) -> Outcome:
        images, labels = batch["image"]["image"], batch["image"]["label"]
        outputs, model_state = apply(params, model_state, images)
        teacher = evaluate_network(network, context.frozen["teacher"], images).features
        teacher = jax.lax.stop_gradient(teacher)
        losses = cross_entropy(outputs.logits, labels)
        cosines = cosine_logits(outputs.features, params["head"]["classifier"]["kernel"], 1.0)
        terms = {
            "classification": Term(losses),
            "graph": graph_term(settings, teacher, outputs.features, weight),
            "margin": margin_term(settings, cosines, labels, frequent),
        }
        entropy = attention_entropy(
            teacher,
            outputs.features,
            similarity=settings.similarity,
            normalize=settings.normalize_features,
            temperature=settings.temperature,
        )
        seen = {"accuracy": accuracy(outputs.logits, labels), "attention_entropy": entropy}
        return Outcome(terms, model_state, seen | watched(config, losses, labels))

    return objective


def graph_term(settings: AsynchronousSettings, teacher: jax.Array, features: jax.Array, weight: float) -> Term:
    """Eqs. 6 to 8 over the nodes of the batch."""
    distances = graph_matching_loss(
        teacher,
        features,
        similarity=settings.similarity,
        normalize=settings.normalize_features,
        temperature=settings.temperature,
    )
    return Term(jnp.sum(distances) if settings.node_reduction == "sum" else distances, scale=weight)


def margin_term(settings: AsynchronousSettings, cosines: jax.Array, labels: jax.Array, frequent: np.ndarray) -> Term:
    """L_intra (after eq. 9): memory must not be taken over by the rare classes.

    Scope "exemplars" holds the memory's images against the rare classes (what the loss is for, and LUCIR's form);
    "all" holds every image against every other class (the formula as printed).
    """
    memory = settings.margin_scope == "exemplars"
    others = int(np.sum(~frequent)) if memory else len(frequent) - 1
    top_k = settings.margin_top_k or others
    values = margin_ranking_loss(
        cosines, labels, margin=settings.margin, top_k=top_k, negatives=~frequent if memory else None
    )
    if settings.margin_reduction == "mean":
        values = values / min(top_k, others)
    weights = jnp.asarray(frequent)[labels].astype(values.dtype) if memory else None
    return Term(values, weights, settings.margin_weight)


def graph_weight(settings: AsynchronousSettings, frequent: np.ndarray) -> float:
    """lambda: config.asynchronous.lambda_value, or lambda_base * sqrt(old classes / new classes) (appendix A).

    Example:
      >>> round(graph_weight(AsynchronousSettings(), np.arange(365) < 294), 2)  # Places-LT; figure 2(b)'s best
      2.03
    """
    if settings.lambda_value is not None:
        return float(settings.lambda_value)
    return settings.lambda_base * math.sqrt(np.sum(frequent) / np.sum(~frequent))


def first_phase_classes(split: int, class_counts: np.ndarray) -> np.ndarray:
    """bool [C], the classes of the first phase: the ``split`` most frequent; with 0 those of 20 images or more.

    Raises:
      InputError: if a phase is left without classes.
    """
    frequent = frequent_classes(class_counts, split, FREQUENT_IMAGES)
    if frequent.all() or not frequent.any():
        which = "every class has" if frequent.all() else "no class has"
        raise InputError(
            f"config.asynchronous.split: 0 splits the classes at {FREQUENT_IMAGES} training images, and {which} that "
            f"many; give the number of classes of the first phase, 1 to {len(frequent) - 1}"
        )
    return frequent


def subset_sampler(config: Settings, key: str, name: str, epochs: int) -> Sampler:
    """The sampler of this name, the value of the setting ``key``, over a part of the training set, for ``epochs``."""
    make = lookup(SAMPLERS, name, key)
    return over_subset(make(epochs=epochs, batch_size=config.batch_size))
