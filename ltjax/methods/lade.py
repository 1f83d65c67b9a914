"""LADE: balanced softmax whose logits are the log densities of the classes, so that any test prior can be added.

Hong et al., "Disentangling label distribution for long-tailed visual recognition", CVPR 2021. The loss is

    mean_i CE(x_i + log pi, y_i) + alpha sum_c pi_c R_c

where R_c, the regularised Donsker-Varadhan bound, makes x_c the log of the density of class c over that of uniform
classes. The logits then fit uniform classes; for others the log of their prior is added (PC softmax):
``python -m ltjax.predict --test-prior=...``.
"""

import dataclasses
from collections.abc import Callable
from typing import Literal

import jax
import numpy as np

from ltjax.data import Data
from ltjax.losses import balanced_softmax_loss, lade_regularizer
from ltjax.methods.common import accuracy, build_network, dtypes, one_stage, sampled_prior, watched
from ltjax.methods.stage import Apply, Batch, Context, Outcome, Stage, Term, Tree
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


WHOLE_BATCH = "its regularizer is normalised over all images of a batch"  # why a batch cannot be split


def lade(config: Settings, settings: LADESettings, data: Data) -> list[Stage]:
    """One stage, a linear classifier, two terms."""
    network = build_network(config, data, LinearHead(data.num_classes, **dtypes(config)))

    def balanced_softmax(logits: jax.Array, labels: jax.Array) -> jax.Array:
        return balanced_softmax_loss(logits, labels, class_counts=data.class_counts)

    return one_stage(
        config,
        data,
        network,
        with_densities(balanced_softmax, config, data, settings.alpha, settings.penalty, settings.weighted_by),
        whole_batch=WHOLE_BATCH if settings.alpha else "",
        prior=sampled_prior(config, data, 1 / np.maximum(data.class_counts, 1)),
    )


def with_densities(
    loss: Callable[[jax.Array, jax.Array], jax.Array],
    config: Settings,
    data: Data,
    alpha: float,
    penalty: float,
    weighted_by: Literal["label", "class"],
) -> Callable[..., Outcome]:
    """The objective of a loss (logits [B, C], labels [B]) -> [B] and LADE's regularizer, on the stream "image".

    Args:
      loss: adjusted by the log prior, so that the logits are those of uniform classes.
      config, data: the run's.
      alpha, penalty, weighted_by: as in ``LADESettings``.
    """

    def objective(apply: Apply, params: Tree, model_state: Tree, batch: Batch, context: Context) -> Outcome:
        images, labels = batch["image"]["image"], batch["image"]["label"]
        outputs, model_state = apply(params, model_state, images)
        losses = loss(outputs.logits, labels)
        regularizer = lade_regularizer(
            outputs.logits, labels, class_counts=data.class_counts, penalty=penalty, weighted_by=weighted_by
        )
        terms = {"classification": Term(losses), "densities": Term(regularizer, scale=alpha)}
        metrics = {"accuracy": accuracy(outputs.logits, labels)} | watched(config, losses, labels)
        return Outcome(terms, model_state, metrics)

    return objective
