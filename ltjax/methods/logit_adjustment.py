"""Training under the prior of the training set: balanced softmax, logit adjustment."""

import dataclasses
from typing import Any

import numpy as np

from ltjax.data import Data
from ltjax.losses import balanced_softmax_loss, logit_adjusted_loss
from ltjax.methods.common import build_network, classify, dtypes, one_stage, sampled_prior
from ltjax.methods.stage import Stage
from ltjax.models import LinearHead
from ltjax.settings import Block, Settings, setting
from ltjax.settings.schema import not_negative


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogitAdjustmentSettings(Block):
    """config.baseline of ``logit_adjustment``."""

    tau: float = setting(1.0, "factor on the log prior", not_negative)


def balanced_softmax(config: Settings, settings: Block, data: Data) -> list[Stage]:
    """CE(x + log n, y): Ren et al., "Balanced meta-softmax", NeurIPS 2020, eq. 3, without the meta sampler."""
    del settings

    def loss(logits, labels):
        return balanced_softmax_loss(logits, labels, class_counts=data.class_counts)

    return _adjusted(config, data, loss, tau=1.0)


def logit_adjustment(config: Settings, settings: LogitAdjustmentSettings, data: Data) -> list[Stage]:
    """CE(x + tau log pi, y): Menon et al., "Long-tail learning via logit adjustment", ICLR 2021, eq. 10.

    Their post-hoc counterpart needs no training: ``python -m ltjax.evaluate --run=DIR --logit-adjustment=1``.
    """

    def loss(logits, labels):
        return logit_adjusted_loss(logits, labels, class_counts=data.class_counts, tau=settings.tau)

    return _adjusted(config, data, loss, settings.tau)


def _adjusted(config: Settings, data: Data, loss: Any, tau: float) -> list[Stage]:
    """The adjusted logits fit the prior of the batches, so those of prediction fit it divided by that prior^tau."""
    network = build_network(config, data, LinearHead(data.num_classes, **dtypes(config)))
    counts = np.maximum(data.class_counts, 1).astype(np.float64)
    prior = sampled_prior(config, data, counts**-tau)
    return one_stage(config, data, network, classify("image", loss, config=config), prior=prior)
