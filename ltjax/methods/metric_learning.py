"""Metric learning beside classification: lifted structure, range loss, triplets, proxies.

    loss = cross-entropy(logits) + weight * embedding loss(features)

Rows of the tables of OLTR (Liu et al., CVPR 2019) and of CBS + RRS (Zhang et al., 2020), which give only their
names; so each embedding loss is that of its paper, on the pooled features that the classifier gets, and joins the
classification as a weighted term, the way range loss itself (Zhang et al., ICCV 2017) and OLTR's loss on features do.

All but the proxies compare images of a batch, so a batch needs several images of a class. OLTR's authors trained all
their competing methods with class-aware sampling, which visits a class for four images in a row: the presets take that
sampler (``config.data.sampler = "class_cycle"``).
"""

import math
from collections.abc import Callable
from typing import Any

import jax

from ltjax.arrays import l2_normalize
from ltjax.data import Data
from ltjax.losses import cross_entropy, lifted_structure_loss, proxy_loss, range_loss, triplet_loss
from ltjax.methods.common import (
    Rules,
    accuracy,
    build_network,
    checked,
    dtypes,
    evaluate_network,
    one_stage,
    watched,
)
from ltjax.methods.stage import Outcome, Stage, Term, Tree
from ltjax.models import LinearHead, Outputs, ProxyHead

Embedding = Callable[[Tree, jax.Array, jax.Array], jax.Array]  # (params, features [B, d], labels [B]) -> scalar
FORMS = ("margin", "ratio")
PAIRS = "its embedding loss compares the images of a batch"


def lifted(config: Any, data: Data) -> list[Stage]:
    """Every positive pair against all negatives of both: Oh Song et al., CVPR 2016, eq. 4."""
    settings = checked(config, "baseline", lambda own: weight_rule(own) | margin_rule(own) | normalize_rule(own))

    def embedding(params, features, labels):
        del params
        return lifted_structure_loss(_scaled(features, settings), labels, margin=settings.margin)

    return _joint(config, data, "lifted", embedding)


def range_method(config: Any, data: Data) -> list[Stage]:
    """The largest distances within a class shrink, the nearest centres part: Zhang et al., ICCV 2017, section 3."""
    settings = checked(config, "baseline", range_rules)

    def embedding(params, features, labels):
        del params
        scales = {name: settings[name] for name in ("margin", "alpha", "beta")}
        return range_loss(_scaled(features, settings), labels, k=settings.k, **scales)

    return _joint(config, data, "range", embedding)


def triplet(config: Any, data: Data) -> list[Stage]:
    """All triplets of the batch: Hoffer and Ailon, 2015 (form "ratio"), or FaceNet, CVPR 2015 (form "margin")."""
    settings = checked(config, "baseline", triplet_rules)

    def embedding(params, features, labels):
        del params
        form = {"form": settings.form, "normalize": settings.normalize}
        return triplet_loss(features, labels, margin=settings.margin, **form)

    return _joint(config, data, "triplet", embedding)


def proxy(config: Any, data: Data) -> list[Stage]:
    """One learned proxy a class, against which each image is compared: Movshovitz-Attias et al., ICCV 2017, eq. 4."""
    settings = checked(config, "baseline", lambda own: weight_rule(own) | normalize_rule(own))
    head = ProxyHead(data.num_classes, **dtypes(config))

    def embedding(params, features, labels):
        # The parameter itself: among the outputs it would be read as a row for each image (see Apply).
        return proxy_loss(features, labels, params["head"]["proxies"], normalize=settings.normalize)

    return _joint(config, data, "proxy", embedding, head, whole_batch="")


def _joint(
    config: Any, data: Data, name: str, embedding: Embedding, head: Any = None, whole_batch: str = PAIRS
) -> list[Stage]:
    """Cross-entropy and the embedding loss, logged as loss/classification and loss/<name>."""
    network = build_network(config, data, head or LinearHead(data.num_classes, **dtypes(config)))
    weight = config.baseline.weight

    def objective(apply, params, model_state, batch, context):
        del context
        images, labels = batch["image"]["image"], batch["image"]["label"]
        outputs, model_state = apply(params, model_state, images)
        logits = _logits(outputs)
        losses = cross_entropy(logits, labels)
        terms = {
            "classification": Term(losses),
            name: Term(embedding(params, outputs.features, labels), scale=weight),
        }
        metrics = {"accuracy": accuracy(logits, labels)} | watched(config, losses, labels)
        return Outcome(terms, model_state, metrics)

    def predict(variables, images):
        return _logits(evaluate_network(network, variables, images))

    return one_stage(config, data, network, objective, predict=predict, whole_batch=whole_batch)


def _logits(outputs: Outputs) -> jax.Array:
    return outputs.logits["classifier"] if isinstance(outputs.logits, dict) else outputs.logits


def _scaled(features: jax.Array, settings: Any) -> jax.Array:
    return l2_normalize(features) if settings.normalize else features


def weight_rule(settings: Any) -> Rules:
    return {"weight": (0 <= settings.weight < math.inf, "a finite number >= 0")}


def margin_rule(settings: Any) -> Rules:
    return {"margin": (0 <= settings.margin < math.inf, "a finite number >= 0")}


def normalize_rule(settings: Any) -> Rules:
    return {"normalize": (isinstance(settings.normalize, bool), "True or False")}


def range_rules(settings: Any) -> Rules:
    return {
        **weight_rule(settings),
        **margin_rule(settings),
        **normalize_rule(settings),
        "k": (isinstance(settings.k, int) and settings.k >= 1, "an integer >= 1"),
        "alpha": (0 <= settings.alpha < math.inf, "a finite number >= 0"),
        "beta": (0 <= settings.beta < math.inf, "a finite number >= 0"),
    }


def triplet_rules(settings: Any) -> Rules:
    form = {"form": (settings.form in FORMS, f"one of {', '.join(FORMS)}")}
    return weight_rule(settings) | margin_rule(settings) | normalize_rule(settings) | form
