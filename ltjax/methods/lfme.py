"""LFME: experts for the many-, medium- and few-shot classes teach one student.

Xiang et al., "Learning from multiple experts: self-paced knowledge distillation for long-tailed classification", ECCV
2020, section 4, and the authors' public code. Classes of similar frequency are less imbalanced among themselves, so a
network trained on them alone is better at telling them apart. One stage an expert, then the student on class-balanced
batches:

    loss = mean_i v_i CE(x_i, y_i) + sum_l w_l mean_i KL(expert_l(x_i) | student(x_i) on the classes of l)

Self-paced expert selection: w_l is 1 until the student's accuracy on the classes of l comes near the expert's, and 0
where it is as good. Curriculum instance selection: v_i starts at the expert's confidence in image i and grows to 1.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.class_counts import shot_groups
from ltjax.data import Data
from ltjax.data.sampling.class_cycle import class_cycle
from ltjax.data.sampling.combine import over_subset, subset_tables
from ltjax.errors import InputError
from ltjax.losses import cross_entropy, distillation_loss
from ltjax.methods.common import (
    accuracy,
    build_network,
    classify,
    configured_sampler,
    dtypes,
    evaluate_network,
    initialise,
    predicts,
    rates,
    watched,
    within,
)
from ltjax.methods.stage import Apply, Batch, Context, Features, Outcome, Previous, Stage, Start, Term, Tree, Updates
from ltjax.models import LinearHead, Network
from ltjax.settings import Block, Check, Settings, setting
from ltjax.settings.schema import fraction, integer, not_negative, positive, refuse

Groups = Mapping[str, np.ndarray]  # of the experts, the rarest classes first: name -> bool [C]
ROWS = 4096  # features at a time: logits of all images would not fit on large data sets


@dataclasses.dataclass(frozen=True, kw_only=True)
class LFMESettings(Block):
    """config.baseline of ``lfme``: the values of the authors' code."""

    boundaries: tuple[int, ...] = setting(
        (),
        "numbers of most frequent classes after which many-shot and medium-shot classes end, such as (35, 70); (): "
        "classes with more than 100 and with at least 20 images",
        Check(lambda v: not v or (len(v) == 2 and 0 < v[0] < v[1]), "() or two ascending numbers"),
    )
    temperature: float = setting(2.0, "temperature of the distillation", positive)
    distillation_weight: float = setting(1.0, "factor on the distillation of all experts", not_negative)
    decay_from: float = setting(
        0.3, "part of an expert's accuracy from which on its weight falls, to 0 at equal accuracy", fraction
    )
    curriculum_part: float = setting(
        0.5,
        "part of the student's epochs after which every image has weight 1; 0: from the start, no curriculum",
        Check(lambda v: 0 <= v <= 1, "a part of the epochs, a number in [0, 1]"),
    )
    images_per_class: int = setting(4, "images taken at each visit to a class by class-aware sampling", integer(1))
    expert_epoch_size: int = setting(
        0, "draws per epoch of each expert; 0 = its number of images, and at least a batch", integer(0)
    )


def lfme(config: Settings, settings: LFMESettings, data: Data) -> list[Stage]:
    """An expert for each group of classes, rarest first, then the student."""
    groups = expert_groups(settings, data)
    network = build_network(config, data, LinearHead(data.num_classes, **dtypes(config)))
    names = list(groups)
    experts = [expert(config, settings, data, network, groups, name) for name in names]
    return [*experts, student(config, settings, data, network, groups)]


def expert_groups(settings: LFMESettings, data: Data) -> Groups:
    """The groups that have an expert: those of at least two classes, for one class alone is told from nothing.

    Raises:
      InputError: if there is none, or the boundaries are not within the classes.
    """
    if settings.boundaries and settings.boundaries[1] >= data.num_classes:
        refuse("config.baseline.boundaries", settings.boundaries, f"numbers below {data.num_classes}, the classes")
    kind = ("index", settings.boundaries) if settings.boundaries else ("strict", None)
    groups = shot_groups(data.class_counts, *kind)
    found = {name: groups[name] for name in ("few", "medium", "many") if groups[name].sum() > 1}
    if not found:
        raise InputError(
            f"config.method=lfme: no group of the {data.num_classes} classes has two classes for an expert to tell "
            "apart; it needs more classes"
        )
    return found


def expert(config: Settings, settings: LFMESettings, data: Data, network: Network, groups: Groups, name: str) -> Stage:
    """Cross-entropy on the images of one group; the logits of other classes have no part."""
    group = groups[name]
    records = np.flatnonzero(group[data.train.labels])
    sampler = over_subset(configured_sampler(config))
    tables = {"image": subset_tables(sampler, data.train.labels, data.num_classes, records)}
    make = initialise(network, data)

    def init(key: jax.Array, previous: Previous | None, features: Features) -> Start:
        del features
        return Start(make(key), tables=tables, extras=finished_experts(previous, groups, name), fresh=True)

    return Stage(
        name,
        network=network,
        epochs=config.epochs,
        optimizer=config.optimizer,
        streams={"image": sampler},
        init=init,
        objective=classify("image", cross_entropy, config=config, group=group),
        predict=lambda variables, images: within(evaluate_network(network, variables, images).logits, group),
        updates=Updates(rates=rates(config.optimizer)),
        epoch_size=settings.expert_epoch_size or max(len(records), config.batch_size),
    )


def finished_experts(previous: Previous | None, groups: Groups, name: str = "student") -> dict[str, Tree]:
    """The variables of the experts before the stage ``name``: those that the stage before carried, and its own."""
    before = [*groups, "student"].index(name) - 1
    if before < 0:
        return {}
    assert previous is not None
    return {**previous.extras, list(groups)[before]: previous.variables}


def student(config: Settings, settings: LFMESettings, data: Data, network: Network, groups: Groups) -> Stage:
    """A fresh network that learns from labels and experts; its epochs and optimizer are the second stage's."""
    epochs, optimizer = config.second_stage()
    make, labels = initialise(network, data), data.train.labels

    def init(key: jax.Array, previous: Previous | None, features: Features) -> Start:
        experts = finished_experts(previous, groups)
        weights = np.ones(len(labels), np.float32)
        for name, group in groups.items():
            records = np.flatnonzero(group[labels])
            confidence = confidences(features(experts[name], records), labels[records], experts[name], group)
            least = mean_count(data, next(iter(groups.values()))) / mean_count(data, group)
            weights[records] = first_weights(confidence, labels[records], least)
        frozen = {"experts": experts, "weights": weights}
        return Start(make(key), frozen=frozen, extras=no_hits(groups), fresh=True)

    return Stage(
        "student",
        network=network,
        epochs=epochs,
        optimizer=optimizer,
        streams={"image": class_cycle(settings.images_per_class)},
        init=init,
        objective=student_objective(config, settings, network, groups),
        predict=predicts(network),
        updates=Updates(rates=rates(optimizer)),
    )


def student_objective(
    config: Settings, settings: LFMESettings, network: Network, groups: Groups
) -> Callable[..., Outcome]:
    """The weighted cross-entropy, and the distillation of each expert on its own classes, from every image."""

    def objective(apply: Apply, params: Tree, model_state: Tree, batch: Batch, context: Context) -> Outcome:
        images, labels, index = (batch["image"][key] for key in ("image", "label", "index"))
        outputs, model_state = apply(params, model_state, images)
        start = jnp.asarray(context.frozen["weights"])[index]
        losses = cross_entropy(outputs.logits, labels)
        terms = {"classification": Term(losses * instance_weights(start, context, settings.curriculum_part))}
        metrics: dict[str, Any] = {"accuracy": accuracy(outputs.logits, labels)} | watched(config, losses, labels)
        extras = next_epoch(context)
        for name, group in groups.items():
            columns = np.flatnonzero(group)
            teacher = evaluate_network(network, context.frozen["experts"][name], images).logits
            values = distillation_loss(
                outputs.logits[:, columns], teacher[:, columns], temperature=settings.temperature
            )
            weight = expert_weight(extras["last"][name], settings.decay_from)
            terms[name] = Term(values, scale=settings.distillation_weight * weight)
            metrics[f"expert_weight/{name}"] = weight
            extras["now"][name] = extras["now"][name] + hits(outputs.logits, within(teacher, group), labels, group)
        return Outcome(terms, model_state, metrics, extras)

    return objective


def no_hits(groups: Groups) -> dict[str, Tree]:
    """The first extras: ``now`` counts right answers of student and expert and images, ``last`` those of an epoch."""
    zeros = {name: jnp.zeros(3) for name in groups}
    return {"epoch": jnp.int32(0), "now": zeros, "last": zeros}


def next_epoch(context: Context) -> dict[str, Any]:
    """The extras at this step: when an epoch begins, the counts so far become the last, and counting restarts."""
    begun = context.epoch != context.extras["epoch"]
    now = context.extras["now"]
    last = jax.tree.map(lambda old, new: jnp.where(begun, new, old), context.extras["last"], now)
    restarted = jax.tree.map(lambda counts: jnp.where(begun, 0, counts), now)
    return {"epoch": context.epoch, "now": dict(restarted), "last": last}


def hits(logits: jax.Array, teacher: jax.Array, labels: jax.Array, group: np.ndarray) -> jax.Array:
    """[student's right answers, expert's right answers, images] among the batch's images of the group."""
    own = jnp.asarray(group)[labels]
    right = [own & (jnp.argmax(scores, -1) == labels) for scores in (logits, teacher)]
    return jnp.stack([jnp.sum(counted.astype(jnp.float32)) for counted in (*right, own)])


def expert_weight(counts: jax.Array, decay_from: float) -> jax.Array:
    """w_l: 1 while the student is below ``decay_from`` times the expert's accuracy, then linearly to 0 where equal.

    Args:
      counts: [student's right answers, expert's right answers, images], of the epoch before.
      decay_from: in [0, 1).

    Example:
      >>> [round(float(expert_weight(jnp.array([hits, 80.0, 100.0]), 0.3)), 2) for hits in (0, 24, 52, 80, 90)]
      [1.0, 1.0, 0.5, 0.0, 0.0]
    """
    student, teacher, _ = counts
    left = (teacher - student) / jnp.where(teacher > 0, teacher, 1) / (1 - decay_from)
    return jnp.where(teacher > 0, jnp.clip(left, 0, 1), 1)


def instance_weights(start: jax.Array, context: Context, part: float) -> jax.Array:
    """v_i: linearly from ``start`` to 1 over the first ``part`` of the epochs, by finished epochs."""
    length = part * context.epochs
    grown = jnp.minimum((context.epoch + 1) / length, 1) if length else 1.0
    return start + (1 - start) * grown


def confidences(features: Any, labels: np.ndarray, variables: Tree, group: np.ndarray) -> np.ndarray:
    """float32 [n]: an expert's probability of each image's class, among the classes of its group."""
    classifier = variables["params"]["head"]["classifier"]
    kernel, bias = (np.asarray(classifier[key], np.float32) for key in ("kernel", "bias"))
    found = np.empty(len(labels), np.float32)
    for begin in range(0, len(labels), ROWS):
        rows = slice(begin, begin + ROWS)
        logits = np.asarray(features[rows], np.float32) @ kernel + bias
        logits = np.where(group, logits, -np.inf)
        odds = np.exp(logits - logits.max(-1, keepdims=True))
        found[rows] = odds[np.arange(len(odds)), labels[rows]] / odds.sum(-1)
    return found


def first_weights(confidence: np.ndarray, labels: np.ndarray, least: float) -> np.ndarray:
    """Each class's confidences stretched to [least, 1]; 1 where all images of a class have the same.

    Example:
      >>> first_weights(np.array([0.2, 0.6, 0.4, 0.9]), np.array([0, 0, 0, 1]), 0.5).tolist()
      [0.5, 1.0, 0.75, 1.0]
    """
    weights = np.ones(len(confidence))
    for label in np.unique(labels):
        own = labels == label
        low, high = confidence[own].min(), confidence[own].max()
        if high > low:
            weights[own] = least + (1 - least) * (confidence[own] - low) / (high - low)
    return weights


def mean_count(data: Data, group: np.ndarray) -> float:
    """The mean number of images of a class of the group."""
    return float(np.mean(np.asarray(data.class_counts)[group]))
