"""RIDE: experts that are trained one by one, pushed apart, and averaged.

Wang et al., "Long-tailed recognition by routing diverse distribution-aware experts", ICLR 2021, equations 1 to 3,
without the router of its second stage and without distillation: what the tables of the other papers compare with.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp

from ltjax.data import Data
from ltjax.losses import ride_loss
from ltjax.methods.common import (
    Predict,
    Rules,
    accuracy,
    build_network,
    check_backbone,
    checked,
    dtypes,
    evaluate_network,
    one_stage,
)
from ltjax.methods.stage import Outcome, Stage, Term, Tree
from ltjax.models import ExpertsHead

HEADS = ("cosine", "linear")


def ride(config: Any, data: Data) -> list[Stage]:
    """One stage; the number of experts, diversity and re-weighting are config.baseline."""
    settings = checked(config, "baseline", rules)
    check_backbone(config, "ride_")
    scale = settings.scale if settings.head == "cosine" else 1.0
    head = ExpertsHead(data.num_classes, settings.experts, head=settings.head, scale=settings.scale, **dtypes(config))
    network = build_network(config, data, head, experts=settings.experts, reduce=settings.reduce)
    first = first_reweighted_epoch(config.epochs, settings)

    def objective(apply, params, model_state, batch, context):
        images, labels = batch["image"]["image"], batch["image"]["label"]
        outputs, model_state = apply(params, model_state, images)
        loss = ride_loss(
            outputs.logits,
            labels,
            class_counts=data.class_counts,
            diversity=settings.diversity,
            use_ldam=settings.use_ldam,
            scale=scale,
            reweight_factor=settings.reweight_factor,
            reweight=context.epoch >= first,
        )
        terms = {"individual": Term(loss.individual), "diversity": Term(loss.diversity, scale=settings.diversity)}
        return Outcome(terms, model_state, {"accuracy": accuracy(jnp.mean(outputs.logits, 0), labels)})

    def experts(variables: Tree, images: jax.Array) -> jax.Array:
        return evaluate_network(network, variables, images).logits

    def alone(expert: int) -> Predict:
        return lambda variables, images: experts(variables, images)[expert]

    return one_stage(
        config,
        data,
        network,
        objective,
        predict=lambda variables, images: jnp.mean(experts(variables, images), 0),
        views={f"expert_{e}": alone(e) for e in range(settings.experts)},
        whole_batch="its re-weighted loss (use_ldam) is divided by the batch's weights" if settings.use_ldam else "",
    )


def first_reweighted_epoch(epochs: int, settings: Any) -> int:
    """Counting from 0: 160 of 200, which the authors count as 161.

    Example:
      >>> from types import SimpleNamespace
      >>> [first_reweighted_epoch(epochs, SimpleNamespace(reweighted_from=0.8)) for epochs in (200, 10, 1)]
      [160, 8, 1]
    """
    return round(settings.reweighted_from * epochs)


def rules(settings: Any) -> Rules:
    return {
        "experts": (1 <= settings.experts <= 10, "1 to 10"),
        "diversity": (math.isfinite(settings.diversity), "a number, negative to push the experts apart"),
        "head": (settings.head in HEADS, f"one of {', '.join(HEADS)}"),
        "scale": (0 < settings.scale < math.inf, "a finite number > 0"),
        "reweight_factor": (0 <= settings.reweight_factor <= 1, "a number in [0, 1]"),
        "reweighted_from": (0 <= settings.reweighted_from <= 1, "a part of the epochs, a number in [0, 1]"),
    }
