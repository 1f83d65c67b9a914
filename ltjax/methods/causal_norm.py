"""Causal norm: train with normalised heads, and subtract at test what momentum has moved all features along.

Tang et al., "Long-tailed classification by keeping the good and removing the bad momentum causal effect", NeurIPS 2020,
section 4. Training keeps an average of the features; its direction is the bad part, which the total direct effect
(TDE) leaves out of the prediction: ``alpha cos(x, c) c / |c|`` less in every head.
"""

import dataclasses

import jax
import jax.numpy as jnp

from ltjax.data import Data
from ltjax.methods.common import (
    accuracy,
    build_backbone,
    dtypes,
    one_stage,
    predicts,
    softmax_loss,
    watched,
)
from ltjax.methods.stage import Context, Outcome, Stage, Term
from ltjax.models import CausalNormHead, CausalNormNetwork
from ltjax.settings import Block, Settings, setting
from ltjax.settings.schema import integer, not_negative, one_of, positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class CausalNormSettings(Block):
    """config.baseline of ``causal_norm``."""

    heads: int = setting(
        2, "number of parts of the feature that are normalised separately; a divisor of its width", integer(1)
    )
    scale: float = setting(16.0, "tau, the factor on the cosines", positive)
    gamma: float = setting(1 / 32, "number added to the norms of the weights", not_negative)
    alpha: float = setting(1.0, "strength of the subtraction during evaluation", not_negative)
    momentum: str = setting(
        "constant",
        "momentum of the running mean feature: constant (0.9) or learning_rate (1 - 0.1 min(50 "
        "rate, 1), outside CIFAR)",
        one_of("constant", "learning_rate"),
    )


def causal_norm(config: Settings, settings: CausalNormSettings, data: Data) -> list[Stage]:
    """One stage; heads, scale, gamma, alpha and the average's momentum are config.baseline."""
    types = dtypes(config)
    head = CausalNormHead(data.num_classes, settings.heads, settings.scale, settings.gamma, **types)
    network = CausalNormNetwork(
        backbone=build_backbone(config), head=head, mean=data.mean, std=data.std, alpha=settings.alpha,
        dtype=types["dtype"],
    )  # fmt: skip
    loss = softmax_loss(config, data)

    def objective(apply, params, model_state, batch, context):
        images, labels = batch["image"]["image"], batch["image"]["label"]
        outputs, model_state = apply(params, model_state, images, momentum=mean_momentum(settings, context))
        losses = loss(outputs.logits, labels)
        metrics = {"accuracy": accuracy(outputs.logits, labels)} | watched(config, losses, labels)
        return Outcome({"classification": Term(losses)}, model_state, metrics)

    views = {"without_tde": predicts(network.clone(alpha=0.0))}
    return one_stage(config, data, network, objective, views=views)


def mean_momentum(settings: CausalNormSettings, context: Context) -> float | jax.Array:
    """mu of the running mean m <- mu m + mean of the batch: 0.9, or 1 - 0.1 min(50 rate, 1), which remembers longer
    as the learning rate falls (the authors' code off CIFAR)."""
    if settings.momentum == "constant":
        return 0.9
    return 1 - 0.1 * jnp.minimum(50 * context.learning_rate, 1)
