"""Training under the prior of the training set: balanced softmax, logit adjustment."""

import math
from typing import Any

from ltjax.data import Data
from ltjax.losses import balanced_softmax_loss, logit_adjusted_loss
from ltjax.methods.common import build_network, checked, classify, dtypes, one_stage
from ltjax.methods.stage import Stage
from ltjax.models import LinearHead


def balanced_softmax(config: Any, data: Data) -> list[Stage]:
    """CE(x + log n, y): Ren et al., "Balanced meta-softmax", NeurIPS 2020, eq. 3, without the meta sampler."""

    def loss(logits, labels):
        return balanced_softmax_loss(logits, labels, class_counts=data.class_counts)

    return _adjusted(config, data, loss)


def logit_adjustment(config: Any, data: Data) -> list[Stage]:
    """CE(x + tau log pi, y): Menon et al., "Long-tail learning via logit adjustment", ICLR 2021, eq. 10.

    Their post-hoc counterpart needs no training: ``python -m ltjax.evaluate --run=DIR --logit-adjustment=1``.
    """
    settings = checked(config, "baseline", lambda own: {"tau": (0 <= own.tau < math.inf, "a finite number >= 0")})

    def loss(logits, labels):
        return logit_adjusted_loss(logits, labels, class_counts=data.class_counts, tau=settings.tau)

    return _adjusted(config, data, loss)


def _adjusted(config: Any, data: Data, loss: Any) -> list[Stage]:
    network = build_network(config, data, LinearHead(data.num_classes, **dtypes(config)))
    return one_stage(config, data, network, classify("image", loss, config=config))
