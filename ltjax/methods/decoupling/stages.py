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
from ltjax.methods.decoupling.classifiers import PARTS, SECOND_STAGES, part
from ltjax.methods.stage import AnyStage

ONE_STAGE = "joint"  # representation and classifier trained jointly, and that is all


def decoupling(config: Any, data: Data) -> list[AnyStage]:
    """Representation first, classifier second; config.decoupling says which classifier."""
    settings = checked(config, "decoupling", rules)
    (joint,) = cross_entropy_method(config, data)
    trainable = part(settings.representation, joint.network)
    updates = dataclasses.replace(joint.updates, trainable=trainable)
    first = dataclasses.replace(joint, name="representation", updates=updates)
    if settings.second_stage == ONE_STAGE:
        return [first]
    return [first, SECOND_STAGES[settings.second_stage](config, data)]


SOLVERS = ("sgd", "lbfgs")


def rules(settings: Any) -> Rules:
    parts = PARTS if settings.second_stage == "crt" else PARTS[:1]  # all others leave the representation as it is
    return {
        "second_stage": _one_of(settings.second_stage, (*SECOND_STAGES, ONE_STAGE)),
        "cached": _can_be_cached(settings),
        "solver": _can_be_solved(settings),
        "representation": _one_of(settings.representation, PARTS[1:]),
        "norm": _one_of(settings.norm, ("auto", "frozen", "batch")),
        "images_per_class": (settings.images_per_class >= 1, "an integer >= 1"),
        "retrain": _one_of(settings.retrain, parts),
        "tau_from": _one_of(settings.tau_from, ("auto", "train", "validation", "learned", "value")),
        "tau": (0 <= settings.tau < float("inf"), "a finite number >= 0"),
        "ncm_features": _one_of(settings.ncm_features, ("raw", "l2", "centered_l2")),
        "ncm_metric": _one_of(settings.ncm_metric, ("cosine", "euclidean", "dot")),
        "mlp_layers": (2 <= settings.mlp_layers <= 9, "2 to 9; the paper has 2 and 3"),
        "mlp_hidden": (settings.mlp_hidden >= 1, "an integer >= 1"),
        "cosine_scale": (0 < settings.cosine_scale < float("inf"), "a finite number > 0"),
    }


def _can_be_cached(settings: Any) -> tuple[bool, str]:
    """Features stay true only while nothing before the classifier changes."""
    if not settings.cached:
        return True, ""
    if settings.second_stage == ONE_STAGE:
        return False, "False for joint, which has no second stage"
    if settings.second_stage == "crt" and settings.retrain != "classifier":
        return False, f"False with retrain={settings.retrain}, which trains the backbone"
    return settings.norm != "batch", "False with norm=batch, whose statistics change with every batch"


def _can_be_solved(settings: Any) -> tuple[bool, str]:
    """The solver needs frozen features, and logits linear in the trained parameters for a single minimum."""
    if settings.solver != "lbfgs":
        return _one_of(settings.solver, SOLVERS)
    if settings.second_stage not in ("crt", "lws"):
        return False, f"sgd for {settings.second_stage}; lbfgs finds crt and lws"
    return settings.cached, "sgd without cached=True, for lbfgs takes features"


def _one_of(value: str, allowed: tuple[str, ...]) -> tuple[bool, str]:
    return value in allowed, f"one of {', '.join(allowed)}{did_you_mean(value, allowed)}"
