"""BBN, the bilateral-branch network: one branch learns from the data as they are, one from the reversed distribution.

Zhou et al., "BBN: Bilateral-branch network with cumulative learning for long-tailed visual recognition", CVPR 2020,
section 4. Both share all but the last block. Their features are weighted, joined and classified together,

    logits = W [2 a f_c ; 2 (1 - a) f_r] + b,    loss = a CE(logits, y_c) + (1 - a) CE(logits, y_r),

and the weight a = 1 - ((e - 1) / T)^2 of epoch e goes from the conventional branch to the re-balancing one.
"""

import dataclasses

import jax
import jax.numpy as jnp

from ltjax.data import Data
from ltjax.data.sampling.independent import reversed_frequency
from ltjax.methods.common import (
    Predict,
    accuracy,
    build_backbone,
    check_backbone,
    configured_sampler,
    dtypes,
    evaluate_network,
    of_family,
    one_stage,
    softmax_loss,
)
from ltjax.methods.stage import Outcome, Stage, Term
from ltjax.models import BBNNetwork, LinearHead
from ltjax.settings import Block, Settings, setting
from ltjax.settings.schema import integer

CONVENTIONAL, REBALANCING = "conventional", "rebalancing"
LONGER = {90: 100, 180: 200}  # the authors' T for these numbers of epochs; else T is that number


@dataclasses.dataclass(frozen=True, kw_only=True)
class BBNSettings(Block):
    """config.baseline of ``bbn``."""

    horizon: int = setting(
        0,
        "T of the weight 1 - (epoch / T)^2, after which the conventional branch has weight 0; 0: "
        "the epochs, but 100 for 90 and 200 for 180 (the authors' code)",
        integer(0),
    )


def bbn(config: Settings, settings: BBNSettings, data: Data) -> list[Stage]:
    """One stage of two streams; T is config.baseline.horizon, or by the epochs where that is 0."""
    check_backbone(config, "bbn_")
    horizon = settings.horizon or LONGER.get(config.epochs, config.epochs)
    types = dtypes(config)
    backbone = build_backbone(config)
    head = of_family(LinearHead(data.num_classes, **types), backbone)
    loss = softmax_loss(config, data)
    network = BBNNetwork(backbone, head, data.mean, data.std, types["dtype"])

    def objective(apply, params, model_state, batch, context):
        plain, turned = batch["image"], batch["reversed"]
        # two passes, as each branch's batch statistics are those of its own images
        ours, model_state = apply(params, model_state, plain["image"], branch=CONVENTIONAL)
        theirs, model_state = apply(params, model_state, turned["image"], branch=REBALANCING)
        weight = conventional_weight(context.epoch, horizon)
        # the classifier is linear: the mixed features' logits are the mixed logits of the two halves
        logits = 2 * (weight * ours.logits + (1 - weight) * theirs.logits)
        terms = {
            CONVENTIONAL: Term(loss(logits, plain["label"]), scale=weight),
            REBALANCING: Term(loss(logits, turned["label"]), scale=1 - weight),
        }
        hits = weight * accuracy(logits, plain["label"]) + (1 - weight) * accuracy(logits, turned["label"])
        return Outcome(terms, model_state, {"accuracy": hits, "conventional_weight": weight})

    def branch_alone(name: str) -> Predict:
        return lambda variables, images: evaluate_network(network, variables, images, branch=name).logits

    return one_stage(
        config,
        data,
        network,
        objective,
        streams={"image": configured_sampler(config), "reversed": reversed_frequency()},
        views={name: branch_alone(name) for name in (CONVENTIONAL, REBALANCING)},
    )


def conventional_weight(epoch: jax.Array, horizon: int) -> jax.Array:
    """The share of the conventional branch: 1 - (epoch / T)^2; ``epoch`` counts from 0, the paper's e from 1.

    Example:
      >>> [float(conventional_weight(jnp.int32(epoch), 200)) for epoch in (0, 100)]
      [1.0, 0.75]
    """
    return 1 - (epoch / jnp.float32(horizon)) ** 2
