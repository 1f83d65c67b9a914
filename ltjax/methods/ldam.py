"""LDAM: the rarer the class, the larger the margin it must win by; with deferred re-weighting, LDAM-DRW.

Cao et al., "Learning imbalanced datasets with label-distribution-aware margin loss", NeurIPS 2019: eq. 13, algorithm 1.
"""

import dataclasses
from typing import Any

from ltjax.data import Data
from ltjax.losses import ldam_loss
from ltjax.methods.common import build_network, classify, dtypes, one_stage, predicts
from ltjax.methods.reweighting import DeferredWeightsSettings, deferred_weights
from ltjax.methods.stage import Stage
from ltjax.models import CosineHead
from ltjax.settings import Block, Settings, setting
from ltjax.settings.schema import not_negative, positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class LDAMSettings(Block):
    """config.baseline of ``ldam``."""

    max_margin: float = setting(0.5, "margin of the rarest class", not_negative)
    scale: float = setting(30.0, "factor on the cosines", positive)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LDAMDRWSettings(LDAMSettings, DeferredWeightsSettings):
    """config.baseline of ``ldam_drw``."""


def ldam(config: Settings, settings: LDAMSettings, data: Data) -> list[Stage]:
    """A cosine classifier without bias; the loss scales its cosines."""
    return _ldam(config, data, settings, weights=None)


def ldam_drw(config: Settings, settings: LDAMDRWSettings, data: Data) -> list[Stage]:
    """The same, and from the deferred epoch on each image counts by its class's effective number."""
    return _ldam(config, data, settings, weights=deferred_weights(data, settings))


def _ldam(config: Settings, data: Data, settings: LDAMSettings, weights: Any) -> list[Stage]:
    head = CosineHead(data.num_classes, learn_scale=False, normed_init=True, **dtypes(config))

    def loss(cosines, labels):
        return ldam_loss(
            cosines, labels, class_counts=data.class_counts, max_margin=settings.max_margin, scale=settings.scale
        )

    objective = classify("image", loss, config=config, weights=weights)
    network = build_network(config, data, head)
    return one_stage(config, data, network, objective, predict=predicts(network, settings.scale))
