"""Cross-entropy with class weights, from the first epoch or only towards the end.

The weighted mean divides by the sum of the weights in the batch, as the published CIFAR-LT results have it.
"""

import math
from typing import Any

import jax.numpy as jnp

from ltjax.class_counts import drw_weights, effective_number_weights, inverse_frequency_weights
from ltjax.data import Data
from ltjax.data.sampling.combine import deferred
from ltjax.data.sampling.epoch_shuffle import instance_balanced
from ltjax.data.sampling.independent import class_balanced
from ltjax.losses import cross_entropy
from ltjax.methods.common import Rules, build_network, checked, classify, dtypes, one_stage
from ltjax.methods.focal import beta_rule
from ltjax.methods.stage import Stage
from ltjax.models import LinearHead


def class_balanced_ce(config: Any, data: Data) -> list[Stage]:
    """Weights (1 - beta) / (1 - beta^n): Cui et al., "Class-balanced loss", CVPR 2019, eq. 2."""
    settings = checked(config, "baseline", beta_rule)
    return _weighted(config, data, effective_number_weights(data.class_counts, settings.beta))


def cost_sensitive(config: Any, data: Data) -> list[Stage]:
    """Weights (n_min / n)^gamma, inverse frequency for gamma 1: Huang et al., CVPR 2016."""
    settings = checked(config, "baseline", lambda own: {"gamma": (0 <= own.gamma < math.inf, "a finite number >= 0")})
    return _weighted(config, data, inverse_frequency_weights(data.class_counts, settings.gamma))


def deferred_reweighting(config: Any, data: Data) -> list[Stage]:
    """Plain cross-entropy first, effective-number weights once the rate has been annealed (CE-DRW).

    Cao et al., "Learning imbalanced datasets with label-distribution-aware margin loss", NeurIPS 2019, algorithm 1.
    """
    settings = checked(config, "baseline", lambda own: beta_rule(own) | deferred_rule(own))
    network = build_network(config, data, LinearHead(data.num_classes, **dtypes(config)))
    weights = deferred_weights(data, settings)
    return one_stage(config, data, network, classify("image", cross_entropy, config=config, weights=weights))


def deferred_resampling(config: Any, data: Data) -> list[Stage]:
    """Instance-balanced sampling first, class-balanced sampling at the end (CE-DRS; Cao et al., 2019, section 3.3)."""
    settings = checked(config, "baseline", deferred_rule)
    network = build_network(config, data, LinearHead(data.num_classes, **dtypes(config)))
    sampler = deferred(instance_balanced(), class_balanced(), first_deferred_epoch(config.epochs, settings))
    objective = classify("image", cross_entropy, config=config)
    return one_stage(config, data, network, objective, streams={"image": sampler})


def deferred_weights(data: Data, settings: Any) -> Any:
    """(labels, context) -> the weight of each image: 1, then (deferred) its class's by effective number."""

    def weights(labels, context):
        start = first_deferred_epoch(context.epochs, settings)
        of_class = drw_weights(data.class_counts, context.epoch, start=start, beta=settings.beta)
        return jnp.asarray(of_class)[labels]

    return weights


def first_deferred_epoch(epochs: int, settings: Any) -> int:
    """Counting from 0: 160 of 200.

    Example:
      >>> from types import SimpleNamespace
      >>> [first_deferred_epoch(epochs, SimpleNamespace(deferred_part=0.8)) for epochs in (200, 10, 1)]
      [160, 8, 1]
    """
    return round(settings.deferred_part * epochs)


def deferred_rule(settings: Any) -> Rules:
    return {"deferred_part": (0 <= settings.deferred_part <= 1, "a part of the epochs, a number in [0, 1]")}


def _weighted(config: Any, data: Data, class_weights: Any) -> list[Stage]:
    network = build_network(config, data, LinearHead(data.num_classes, **dtypes(config)))
    table = jnp.asarray(class_weights)
    objective = classify("image", cross_entropy, config=config, weights=lambda labels, _: table[labels])
    return one_stage(config, data, network, objective)
