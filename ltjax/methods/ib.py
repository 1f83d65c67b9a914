"""The influence-balanced loss: plain training first, then images count the less, the more they move the boundary.

Park et al., "Influence-balanced loss for imbalanced visual classification", ICCV 2021.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np

from ltjax.class_counts import effective_number_weights, inverse_frequency_weights
from ltjax.data import Data
from ltjax.losses import cross_entropy, influence_balanced_loss
from ltjax.methods.common import accuracy, build_network, dtypes, one_stage, watched
from ltjax.methods.reweighting import BETA, first_deferred_epoch, part_of_epochs
from ltjax.methods.stage import Outcome, Stage, Term
from ltjax.models import LinearHead
from ltjax.settings import Block, Settings, setting
from ltjax.settings.schema import fraction, not_negative, one_of, positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class IBSettings(Block):
    """config.ib: the values of the authors' code."""

    start: float = setting(
        0.5, "fraction of the epochs with plain cross-entropy; 0.5 is epoch 100 of 200", part_of_epochs
    )
    alpha: float = setting(1000.0, "factor on the loss", positive)
    epsilon: float = setting(1e-3, "number added to the influence, by which the loss is divided", positive)
    gamma: float = setting(0.0, "power of the focal form (IB + Focal has 1); 0: none", not_negative)
    weights: str = setting(
        "inverse",
        "weights of the classes: inverse (1 / n), effective (of the effective number, IB + CB) or none; the first two "
        "sum to the number of classes",
        one_of("inverse", "effective", "none"),
    )
    beta: float = setting(BETA, "beta of the effective number of images", fraction)


def ib(config: Settings, settings: IBSettings, data: Data) -> list[Stage]:
    """One stage; the loss changes at config.ib.start."""
    network = build_network(config, data, LinearHead(data.num_classes, **dtypes(config)))
    first, weights = first_deferred_epoch(config.epochs, settings.start), class_weights(settings, data)

    def objective(apply, params, model_state, batch, context):
        images, labels = batch["image"]["image"], batch["image"]["label"]
        outputs, model_state = apply(params, model_state, images)
        balanced = influence_balanced_loss(
            outputs.logits,
            labels,
            outputs.features,
            alpha=settings.alpha,
            epsilon=settings.epsilon,
            gamma=settings.gamma,
            class_weights=weights,
        )
        losses = jnp.where(context.epoch < first, cross_entropy(outputs.logits, labels), balanced)
        metrics = {"accuracy": accuracy(outputs.logits, labels)} | watched(config, losses, labels)
        return Outcome({"classification": Term(losses)}, model_state, metrics)

    return one_stage(config, data, network, objective)


def class_weights(settings: IBSettings, data: Data) -> np.ndarray | None:
    """[C], of sum C; None = ones."""
    if settings.weights == "none":
        return None
    if settings.weights == "effective":
        return effective_number_weights(data.class_counts, settings.beta)
    weights = inverse_frequency_weights(data.class_counts)
    return weights / weights.sum() * data.num_classes
