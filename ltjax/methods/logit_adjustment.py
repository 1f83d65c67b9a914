"""Training under the prior of the training set: balanced softmax, logit adjustment."""

import dataclasses

from ltjax.data import Data
from ltjax.methods.common import build_network, classifier, classify, one_stage, softmax_loss, softmax_prior
from ltjax.methods.stage import Stage
from ltjax.settings import Block, Settings, setting
from ltjax.settings.schema import not_negative


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogitAdjustmentSettings(Block):
    """config.baseline of ``logit_adjustment``."""

    tau: float = setting(1.0, "factor on the log prior", not_negative)


def balanced_softmax(config: Settings, settings: Block, data: Data) -> list[Stage]:
    """CE(x + log n, y): Ren et al., "Balanced meta-softmax", NeurIPS 2020, eq. 3, without the meta sampler."""
    del settings
    return _adjusted(config, data, tau=1.0)


def logit_adjustment(config: Settings, settings: LogitAdjustmentSettings, data: Data) -> list[Stage]:
    """CE(x + tau log pi, y): Menon et al., "Long-tail learning via logit adjustment", ICLR 2021, eq. 10.

    Their post-hoc counterpart needs no training: ``python -m ltjax.evaluate --run=DIR --logit-adjustment=1``.
    """
    return _adjusted(config, data, settings.tau)


def _adjusted(config: Settings, data: Data, tau: float) -> list[Stage]:
    network = build_network(config, data, classifier(config, data))
    objective = classify("image", softmax_loss(config, data, tau), config=config)
    return one_stage(config, data, network, objective, prior=softmax_prior(config, data, tau=tau))
