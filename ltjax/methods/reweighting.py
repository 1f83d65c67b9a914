"""Cross-entropy with class weights, from the first epoch or only towards the end.

The weighted mean divides by the sum of the weights in the batch, as the published CIFAR-LT results have it.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.class_counts import drw_weights, effective_number_weights, inverse_frequency_weights
from ltjax.data import Data
from ltjax.data.sampling.combine import deferred
from ltjax.data.sampling.epoch_shuffle import instance_balanced
from ltjax.data.sampling.independent import class_balanced
from ltjax.methods.common import (
    build_network,
    classifier,
    classify,
    one_stage,
    softmax_loss,
    softmax_prior,
    uniform_prior,
)
from ltjax.methods.stage import Context, Stage
from ltjax.settings import Block, Settings, setting
from ltjax.settings.schema import Check, fraction, not_negative

BETA = 0.9999  # of the effective number: the CIFAR scripts of both papers
part_of_epochs = Check(lambda v: 0 <= v <= 1, "a part of the epochs, a number in [0, 1]")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassBalancedSettings(Block):
    """config.baseline of ``cb_ce``."""

    beta: float = setting(BETA, "beta of the effective number of images; the CIFAR scripts have 0.9999", fraction)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CostSensitiveSettings(Block):
    """config.baseline of ``cost_sensitive``."""

    gamma: float = setting(1.0, "power in the weight (n_min / n)^gamma", not_negative)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeferredSettings(Block):
    """config.baseline of ``ce_drs``; part of that of ``ce_drw`` and ``ldam_drw``."""

    deferred_part: float = setting(
        0.8, "fraction of the epochs before the change; 0.8 is epoch 160 of 200", part_of_epochs
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeferredWeightsSettings(DeferredSettings):
    """config.baseline of ``ce_drw``."""

    beta: float = setting(BETA, "beta of the effective number of images; the CIFAR scripts have 0.9999", fraction)


def class_balanced_ce(config: Settings, settings: ClassBalancedSettings, data: Data) -> list[Stage]:
    """Weights (1 - beta) / (1 - beta^n): Cui et al., "Class-balanced loss", CVPR 2019, eq. 2."""
    return _weighted(config, data, effective_number_weights(data.class_counts, settings.beta))


def cost_sensitive(config: Settings, settings: CostSensitiveSettings, data: Data) -> list[Stage]:
    """Weights (n_min / n)^gamma, inverse frequency for gamma 1: Huang et al., CVPR 2016."""
    return _weighted(config, data, inverse_frequency_weights(data.class_counts, settings.gamma))


def deferred_reweighting(config: Settings, settings: DeferredWeightsSettings, data: Data) -> list[Stage]:
    """Plain cross-entropy first, effective-number weights once the rate has been annealed (CE-DRW).

    Cao et al., "Learning imbalanced datasets with label-distribution-aware margin loss", NeurIPS 2019, algorithm 1.
    """
    network = build_network(config, data, classifier(config, data))
    objective = classify("image", softmax_loss(config, data), config=config, weights=deferred_weights(data, settings))
    start = first_deferred_epoch(config.epochs, settings.deferred_part)
    last = drw_weights(data.class_counts, config.epochs - 1, start=start, beta=settings.beta)
    return one_stage(config, data, network, objective, prior=softmax_prior(config, data, np.asarray(last)))


def deferred_resampling(config: Settings, settings: DeferredSettings, data: Data) -> list[Stage]:
    """Instance-balanced sampling first, class-balanced sampling at the end (CE-DRS; Cao et al., 2019, section 3.3)."""
    network = build_network(config, data, classifier(config, data))
    start = first_deferred_epoch(config.epochs, settings.deferred_part)
    sampler = deferred(instance_balanced(), class_balanced(), start)
    objective = classify("image", softmax_loss(config, data), config=config)
    drawn = uniform_prior(data) if start < config.epochs else np.asarray(data.class_counts, np.float64)
    prior = softmax_prior(config, data, drawn=drawn)
    return one_stage(config, data, network, objective, streams={"image": sampler}, prior=prior)


def deferred_weights(data: Data, settings: DeferredWeightsSettings) -> Callable[[jax.Array, Context], jax.Array]:
    """(labels, context) -> the weight of each image: 1, then (deferred) its class's by effective number."""

    def weights(labels: jax.Array, context: Context) -> jax.Array:
        start = first_deferred_epoch(context.epochs, settings.deferred_part)
        of_class = drw_weights(data.class_counts, context.epoch, start=start, beta=settings.beta)
        return jnp.asarray(of_class)[labels]

    return weights


def first_deferred_epoch(epochs: int, deferred_part: float) -> int:
    """Counting from 0: 160 of 200.

    Example:
      >>> [first_deferred_epoch(epochs, 0.8) for epochs in (200, 10, 1)]
      [160, 8, 1]
    """
    return round(deferred_part * epochs)


def _weighted(config: Settings, data: Data, class_weights: Any) -> list[Stage]:
    network = build_network(config, data, classifier(config, data))
    table = jnp.asarray(class_weights)
    objective = classify("image", softmax_loss(config, data), config=config, weights=lambda labels, _: table[labels])
    return one_stage(config, data, network, objective, prior=softmax_prior(config, data, np.asarray(class_weights)))
