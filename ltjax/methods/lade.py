"""LADE: balanced softmax whose logits are the log densities of the classes, so that any test prior can be added.

Hong et al., "Disentangling label distribution for long-tailed visual recognition", CVPR 2021. The loss is

    mean_i CE(x_i + log pi, y_i) + alpha sum_c pi_c R_c

where R_c, the regularised Donsker-Varadhan bound, makes x_c the log of the density of class c over that of uniform
classes. The logits then fit uniform classes; for others the log of their prior is added (PC softmax):
``python -m ltjax.predict --test-prior=...``.
"""

import dataclasses
from typing import Literal

import numpy as np

from ltjax.data import Data
from ltjax.losses import balanced_softmax_loss, lade_regularizer
from ltjax.methods.common import accuracy, build_network, dtypes, one_stage, sampled_prior, watched
from ltjax.methods.stage import Outcome, Stage, Term
from ltjax.models import LinearHead
from ltjax.settings import Block, Settings, setting
from ltjax.settings.schema import not_negative, one_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class LADESettings(Block):
    """config.lade."""

    alpha: float = setting(0.1, "factor on the regularizer; 0: balanced softmax alone", not_negative)
    penalty: float = setting(0.1, "lambda, the factor on the regularizer's square", not_negative)
    weighted_by: Literal["label", "class"] = setting(
        "label",
        "what the importance weight of an image is by: label (its own, as in the paper) or class (the one whose "
        "density is estimated, as in the authors' code)",
        one_of("label", "class"),
    )


def lade(config: Settings, settings: LADESettings, data: Data) -> list[Stage]:
    """One stage, a linear classifier, two terms."""
    network = build_network(config, data, LinearHead(data.num_classes, **dtypes(config)))

    def objective(apply, params, model_state, batch, context):
        images, labels = batch["image"]["image"], batch["image"]["label"]
        outputs, model_state = apply(params, model_state, images)
        losses = balanced_softmax_loss(outputs.logits, labels, class_counts=data.class_counts)
        regularizer = lade_regularizer(
            outputs.logits,
            labels,
            class_counts=data.class_counts,
            penalty=settings.penalty,
            weighted_by=settings.weighted_by,
        )
        terms = {"classification": Term(losses), "densities": Term(regularizer, scale=settings.alpha)}
        metrics = {"accuracy": accuracy(outputs.logits, labels)} | watched(config, losses, labels)
        return Outcome(terms, model_state, metrics)

    return one_stage(
        config,
        data,
        network,
        objective,
        whole_batch="its regularizer is normalised over all images of a batch" if settings.alpha else "",
        prior=sampled_prior(config, data, 1 / np.maximum(data.class_counts, 1)),
    )
