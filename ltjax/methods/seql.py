"""SEQL, the softmax equalization loss: rare classes get no negative gradient from most images of other classes.

Tan et al., "Equalization loss for long-tailed object recognition", CVPR 2020, section 3.3.
"""

import dataclasses

import jax

from ltjax.data import Data
from ltjax.losses import softmax_equalization_loss
from ltjax.methods.common import accuracy, build_network, classifier, one_stage, watched
from ltjax.methods.stage import Outcome, Stage, Term
from ltjax.settings import Block, Settings, setting
from ltjax.settings.schema import not_negative, number


@dataclasses.dataclass(frozen=True, kw_only=True)
class SEQLSettings(Block):
    """config.baseline of ``seql``."""

    gamma: float = setting(
        0.9, "probability that an image of another class leaves a rare class's logit alone", number(0, 1)
    )
    rare_share: float = setting(
        0.5,
        "a class is rare below this multiple of the mean class's number of images; 0.5 is lambda = 0.005 of 100 "
        "classes, 0.05 of 10",
        not_negative,
    )


def seql(config: Settings, settings: SEQLSettings, data: Data) -> list[Stage]:
    """One stage, one linear classifier; each image draws anew which rare classes it leaves alone."""
    network = build_network(config, data, classifier(config, data))
    threshold = settings.rare_share / data.num_classes

    def objective(apply, params, model_state, batch, context):
        images, labels = batch["image"]["image"], batch["image"]["label"]
        outputs, model_state = apply(params, model_state, images)
        ignored = jax.random.bernoulli(context.key, settings.gamma, outputs.logits.shape)
        losses = softmax_equalization_loss(
            outputs.logits, labels, class_counts=data.class_counts, threshold=threshold, ignored=ignored
        )
        metrics = {"accuracy": accuracy(outputs.logits, labels)} | watched(config, losses, labels)
        return Outcome({"classification": Term(losses)}, model_state, metrics)

    return one_stage(config, data, network, objective)
