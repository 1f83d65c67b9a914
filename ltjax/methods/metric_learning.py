"""Metric learning beside classification: lifted structure, range loss, triplets, proxies.

    loss = cross-entropy(logits) + weight * embedding loss(features)

Rows of the tables of OLTR (Liu et al., CVPR 2019) and of CBS + RRS (Zhang et al., 2020), which give only their
names; so each embedding loss is that of its paper, on the pooled features that the classifier gets, and joins the
classification as a weighted term, the way range loss itself (Zhang et al., ICCV 2017) and OLTR's loss on features do.

All but the proxies compare images of a batch, so a batch needs several images of a class. OLTR's authors trained all
their competing methods with class-aware sampling, which visits a class for four images in a row: the config files take
that sampler (``config.data.sampler = "class_cycle"``).
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import jax

from ltjax.arrays import l2_normalize
from ltjax.data import Data
from ltjax.losses import lifted_structure_loss, proxy_loss, range_loss, triplet_loss
from ltjax.methods.common import (
    accuracy,
    build_network,
    classifier,
    dtypes,
    evaluate_network,
    one_stage,
    softmax_loss,
    softmax_prior,
    watched,
)
from ltjax.methods.stage import Outcome, Stage, Term, Tree
from ltjax.models import Outputs, ProxyHead
from ltjax.settings import Block, Settings, setting
from ltjax.settings.schema import integer, not_negative, one_of

Embedding = Callable[[Tree, jax.Array, jax.Array], jax.Array]  # (params, features [B, d], labels [B]) -> scalar
PAIRS = "its embedding loss compares the images of a batch"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProxySettings(Block):
    """config.baseline of ``proxy``; part of that of the others.

    No table says how it weighed these losses. The weights here are ours: with them the gradient that the embedding
    loss gives the backbone is 0.16 to 0.45 of cross-entropy's at the start (ResNet-8 at random, a batch of 64 of
    MNIST-5k-LT: lifted 0.45, range 0.34, triplet 0.16, proxy 0.25), so that it shapes the features and classification
    still leads.
    """

    weight: float = setting(1.0, "weight of the embedding loss; the cross-entropy's is 1", not_negative)
    normalize: bool = setting(True, "compare unit vectors; false: the features as they come")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LiftedSettings(ProxySettings):
    """config.baseline of ``lifted``: the paper's margin, features as they come."""

    weight: float = setting(0.1, "weight of the embedding loss; the cross-entropy's is 1", not_negative)
    margin: float = setting(1.0, "margin between positive and negative pairs; the paper's", not_negative)
    normalize: bool = setting(False, "compare unit vectors; false: the features as they come, as in the paper")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RangeSettings(ProxySettings):
    """config.baseline of ``range``.

    The paper's weights and margin go with the lengths of its features; on unit vectors they need not. As they come,
    the same settings gave 17 times cross-entropy's gradient.
    """

    k: int = setting(2, "number of largest distances in a class's harmonic mean; the paper's", integer(1))
    margin: float = setting(1.0, "margin between squared distances of centres", not_negative)
    alpha: float = setting(0.1, "weight of the ranges", not_negative)
    beta: float = setting(1.0, "weight of the centres", not_negative)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TripletSettings(ProxySettings):
    """config.baseline of ``triplet``: the tables cite the triplet network, squared softmax ratio."""

    form: Literal["margin", "ratio"] = setting(
        "ratio",
        "the form of the loss: ratio, or margin (FaceNet's, meant for normalize=True)",
        one_of("margin", "ratio"),
    )
    margin: float = setting(0.2, "margin of form=margin; FaceNet's", not_negative)
    normalize: bool = setting(False, "compare unit vectors; false: the features as they come")


def lifted(config: Settings, settings: LiftedSettings, data: Data) -> list[Stage]:
    """Every positive pair against all negatives of both: Oh Song et al., CVPR 2016, eq. 4."""

    def embedding(params, features, labels):
        del params
        return lifted_structure_loss(_scaled(features, settings), labels, margin=settings.margin)

    return _joint(config, settings, data, "lifted", embedding)


def range_method(config: Settings, settings: RangeSettings, data: Data) -> list[Stage]:
    """The largest distances within a class shrink, the nearest centres part: Zhang et al., ICCV 2017, section 3."""

    def embedding(params, features, labels):
        del params
        features, k = _scaled(features, settings), settings.k
        return range_loss(features, labels, k=k, margin=settings.margin, alpha=settings.alpha, beta=settings.beta)

    return _joint(config, settings, data, "range", embedding)


def triplet(config: Settings, settings: TripletSettings, data: Data) -> list[Stage]:
    """All triplets of the batch: Hoffer and Ailon, 2015 (form "ratio"), or FaceNet, CVPR 2015 (form "margin")."""

    def embedding(params, features, labels):
        del params
        return triplet_loss(features, labels, margin=settings.margin, form=settings.form, normalize=settings.normalize)

    return _joint(config, settings, data, "triplet", embedding)


def proxy(config: Settings, settings: ProxySettings, data: Data) -> list[Stage]:
    """One learned proxy a class, against which each image is compared: Movshovitz-Attias et al., ICCV 2017, eq. 4."""
    head = ProxyHead(data.num_classes, **dtypes(config))

    def embedding(params, features, labels):
        # The parameter itself: among the outputs it would be read as a row for each image (see Apply).
        return proxy_loss(features, labels, params["head"]["proxies"], normalize=settings.normalize)

    return _joint(config, settings, data, "proxy", embedding, head, whole_batch="")


def _joint(
    config: Settings,
    settings: ProxySettings,
    data: Data,
    name: str,
    embedding: Embedding,
    head: Any = None,
    whole_batch: str = PAIRS,
) -> list[Stage]:
    """Cross-entropy and the embedding loss, logged as loss/classification and loss/<name>."""
    network = build_network(config, data, head or classifier(config, data))
    classification = softmax_loss(config, data)

    def objective(apply, params, model_state, batch, context):
        del context
        images, labels = batch["image"]["image"], batch["image"]["label"]
        outputs, model_state = apply(params, model_state, images)
        logits = _logits(outputs)
        losses = classification(logits, labels)
        terms = {
            "classification": Term(losses),
            name: Term(embedding(params, outputs.features, labels), scale=settings.weight),
        }
        metrics = {"accuracy": accuracy(logits, labels)} | watched(config, losses, labels)
        return Outcome(terms, model_state, metrics)

    def predict(variables, images):
        return _logits(evaluate_network(network, variables, images))

    prior = softmax_prior(config, data)  # the embedding loss does not move the logits
    return one_stage(config, data, network, objective, predict=predict, whole_batch=whole_batch, prior=prior)


def _logits(outputs: Outputs) -> jax.Array:
    return outputs.logits["classifier"] if isinstance(outputs.logits, dict) else outputs.logits


def _scaled(features: jax.Array, settings: ProxySettings) -> jax.Array:
    return l2_normalize(features) if settings.normalize else features
