"""The vector-scaling loss: each logit gets a factor and an offset by its class's frequency.

Kini et al., "Label-imbalanced and group-sensitive classification under overparameterization", NeurIPS 2021.
Special cases: LDAM (Cao et al., 2019), class-dependent temperatures (CDT; Ye et al., 2020), logit adjustment (Menon et
al., 2021).
"""

import dataclasses

import numpy as np

from ltjax.class_counts import drw_weights
from ltjax.data import Data
from ltjax.losses import vector_scaling_loss
from ltjax.methods.common import build_network, classify, dtypes, one_stage, sampled_prior
from ltjax.methods.reweighting import DeferredWeightsSettings, deferred_weights, first_deferred_epoch
from ltjax.methods.stage import Prior, Stage
from ltjax.models import CosineHead, LinearHead
from ltjax.settings import Settings, setting
from ltjax.settings.schema import not_negative, one_of, positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class VSSettings(DeferredWeightsSettings):
    """config.vs."""

    gamma: float = setting(
        0.15, "power of the factors (n / n_max)^gamma on the logits; 0: none, logit adjustment", not_negative
    )
    tau: float = setting(1.25, "factor on the log prior; 0: none, class-dependent temperatures (CDT)", not_negative)
    max_margin: float = setting(
        0.0, "LDAM's margin of the rarest class; in units of the cosines with head=cosine", not_negative
    )
    head: str = setting("linear", "the classifier: linear or cosine (LDAM's)", one_of("linear", "cosine"))
    scale: float = setting(30.0, "factor on the cosines with head=cosine", positive)
    deferred: bool = setting(False, "weight classes by their effective number after deferred_part of the epochs (DRW)")


def vs(config: Settings, settings: VSSettings, data: Data) -> list[Stage]:
    """One stage; factors, offsets, margins and deferred weights are config.vs."""
    cosine, types = settings.head == "cosine", dtypes(config)
    head = (
        CosineHead(data.num_classes, scale=settings.scale, learn_scale=False, normed_init=True, **types)
        if cosine
        else LinearHead(data.num_classes, **types)
    )

    def loss(logits, labels):
        return vector_scaling_loss(
            logits,
            labels,
            class_counts=data.class_counts,
            gamma=settings.gamma,
            tau=settings.tau,
            max_margin=settings.max_margin * (settings.scale if cosine else 1.0),
        )

    weights = deferred_weights(data, settings) if settings.deferred else None
    objective = classify("image", loss, config=config, weights=weights)
    return one_stage(
        config, data, build_network(config, data, head), objective, prior=fitted_prior(config, settings, data)
    )


def fitted_prior(config: Settings, settings: VSSettings, data: Data) -> Prior:
    """As of logit adjustment, times the weights of the last epoch; with factors or margins there is none."""
    if settings.gamma or settings.max_margin:
        return None
    weights = np.maximum(data.class_counts, 1).astype(np.float64) ** -settings.tau
    if settings.deferred:
        start = first_deferred_epoch(config.epochs, settings.deferred_part)
        weights = weights * drw_weights(data.class_counts, config.epochs - 1, start=start, beta=settings.beta)
    return sampled_prior(config, data, weights)
