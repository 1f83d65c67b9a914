"""Decoupling representation and classifier (Kang et al., ICLR 2020).

The representation is learned first, with cross-entropy and a linear classifier on the images as they are; then the
classifier alone is balanced on top of it (section 4): re-trained with as many images of every class (cRT), its class
weights re-scaled (LWS, tau-normalisation), or replaced by the class means (NCM).
"""

import dataclasses
from typing import Any

from ltjax.data import Data
from ltjax.errors import did_you_mean
from ltjax.methods.ce import cross_entropy_method
from ltjax.methods.common import Rules, checked
from ltjax.methods.second_stages import SECOND_STAGES
from ltjax.methods.stage import Stage

NO_SECOND_STAGE = "joint"


def decoupling(config: Any, data: Data) -> list[Stage]:
    """Representation first, classifier second; config.decoupling says which classifier."""
    settings = checked(config, "decoupling", rules)
    first = dataclasses.replace(cross_entropy_method(config, data)[0], name="representation")
    if settings.second_stage == NO_SECOND_STAGE:
        return [first]
    return [first, SECOND_STAGES[settings.second_stage](config, data)]


def rules(settings: Any) -> Rules:
    stages = (*SECOND_STAGES, NO_SECOND_STAGE)
    return {
        "second_stage": _one_of(settings.second_stage, stages),
        "tau_from": _one_of(settings.tau_from, ("train", "value")),
        "tau": (0 <= settings.tau < float("inf"), "a finite number >= 0"),
        "ncm_features": _one_of(settings.ncm_features, ("raw", "l2", "centered_l2")),
        "ncm_metric": _one_of(settings.ncm_metric, ("cosine", "euclidean", "dot")),
    }


def _one_of(value: str, allowed: tuple[str, ...]) -> tuple[bool, str]:
    return value in allowed, f"one of {', '.join(allowed)}{did_you_mean(value, allowed)}"
