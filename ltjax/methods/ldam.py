"""LDAM: the rarer the class, the larger the margin it must win by; with deferred re-weighting, LDAM-DRW.

Cao et al., "Learning imbalanced datasets with label-distribution-aware margin loss", NeurIPS 2019: eq. 13, algorithm 1.
"""

import math
from typing import Any

from ltjax.data import Data
from ltjax.losses import ldam_loss
from ltjax.methods.common import Rules, build_network, checked, classify, dtypes, one_stage
from ltjax.methods.focal import beta_rule
from ltjax.methods.reweighting import deferred_rule, deferred_weights
from ltjax.methods.stage import Stage
from ltjax.models import CosineHead


def ldam(config: Any, data: Data) -> list[Stage]:
    """A cosine classifier without bias; the loss scales its cosines."""
    settings = checked(config, "baseline", margin_rules)
    return _ldam(config, data, settings, weights=None)


def ldam_drw(config: Any, data: Data) -> list[Stage]:
    """The same, and from the deferred epoch on each image counts by its class's effective number."""
    settings = checked(config, "baseline", lambda own: margin_rules(own) | beta_rule(own) | deferred_rule(own))
    return _ldam(config, data, settings, weights=deferred_weights(data, settings))


def _ldam(config: Any, data: Data, settings: Any, weights: Any) -> list[Stage]:
    head = CosineHead(data.num_classes, learn_scale=False, normed_init=True, **dtypes(config))

    def loss(cosines, labels):
        return ldam_loss(
            cosines, labels, class_counts=data.class_counts, max_margin=settings.max_margin, scale=settings.scale
        )

    objective = classify("image", loss, config=config, weights=weights)
    return one_stage(config, data, build_network(config, data, head), objective)


def margin_rules(settings: Any) -> Rules:
    return {
        "max_margin": (0 <= settings.max_margin < math.inf, "a finite number >= 0"),
        "scale": (0 < settings.scale < math.inf, "a finite number > 0"),
    }
