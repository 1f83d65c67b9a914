"""OLTR: dynamic meta-embedding (Liu et al., Large-Scale Long-Tailed Recognition in an Open World, CVPR 2019).

First a plain network. Then modulated attention on its feature map, a memory of class centroids, which starts as the
class means of the features, and a cosine classifier on features x that borrow from the memory and are scaled by how
near they are to it:

    v = 10 / min_c |x - centroid_c| * (x + tanh(selector(x)) * softmax(hallucinator(x)) centroids)

trained on as many images of every class by

    loss = CE + 0.01 * (1/2 mean_i |x_i - centroid_y(i)|^2 + 0.01 * max(0, 10 - mean over i, c != y(i) of |x_i - c|^2))

Its open-set part is not here. Without attention and with the backbone frozen it is the memory on another
representation, or on top of cRT (Kang et al., ICLR 2020, appendix B.4).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.arrays import pairwise_squared_distances
from ltjax.classifiers import class_means_of_rows
from ltjax.data import Data
from ltjax.data.sampling.class_cycle import class_cycle
from ltjax.losses import cross_entropy
from ltjax.methods.common import (
    ATTENTION,
    accuracy,
    build_network,
    carry_over,
    classify,
    dtypes,
    one_stage,
    predicts,
    rates,
    softmax_loss,
    watched,
)
from ltjax.methods.stage import Apply, Batch, Context, Features, Outcome, Previous, Stage, Start, Term, Tree, Updates
from ltjax.models import LinearHead, MemoryHead, ModulatedAttention
from ltjax.settings import Block, Settings, setting
from ltjax.settings.schema import integer, not_negative, one_of

OF_THE_MEMORY = ("head/hallucinator", "head/selector", "head/classifier", "head/centroids")


@dataclasses.dataclass(frozen=True, kw_only=True)
class OLTRSettings(Block):
    """config.oltr: the authors' values."""

    attention: bool = setting(
        False, "modulated attention on the last feature map in the second stage", added_later=True
    )
    first_stage_features: bool = setting(
        True,
        "the first stage has the layer of config.model.features, too; false: the second adds it",
        added_later=True,
    )
    train_backbone: bool = setting(
        True, "train the backbone in the second stage; false: only the attention and what comes after the backbone"
    )
    norm: str = setting(
        "auto",
        "batch normalisation in the second stage: frozen (the first stage's statistics), batch (those of each batch, "
        "and the stored ones are updated, as in the authors' code) or auto (batch if the backbone is trained, "
        "otherwise frozen)",
        one_of("auto", "frozen", "batch"),
        added_later=True,
    )
    images_per_class: int = setting(4, "images taken at each visit to a class by class-aware sampling", integer(1))
    centroid_weight: float = setting(
        0.01,
        "weight of the loss between features and centroids; 0 leaves the centroids as they are initialised",
        not_negative,
    )
    repel_weight: float = setting(
        0.01, "weight, inside that loss, of the part that keeps other classes away", not_negative
    )
    margin: float = setting(10.0, "mean squared distance at which that part stops pushing", not_negative)
    centroid_rate: float = setting(
        10.0,
        "factor on the centroids' learning rate; with centroid_weight it turns a rate of 0.1 (100: of 0.01) into 0.01, "
        "the authors' rate for centroids",
        not_negative,
    )


def oltr(config: Settings, settings: OLTRSettings, data: Data) -> list[Stage]:
    """A plain network, then the memory on it; config.oltr."""
    first_config = config if settings.first_stage_features else config.replaced({"model.features": 0})
    network = build_network(first_config, data, LinearHead(data.num_classes, **dtypes(config)))
    (first,) = one_stage(config, data, network, classify("image", softmax_loss(config, data), config=config))
    return [dataclasses.replace(first, name="representation"), memory(config, settings, data)]


def memory(config: Settings, settings: OLTRSettings, data: Data) -> Stage:
    """Stage 2. All of the network is trained, or only what comes after the backbone."""
    epochs, optimizer = config.second_stage()
    head = MemoryHead(data.num_classes, learn_centroids=True, **dtypes(config))
    attention = ModulatedAttention(**dtypes(config)) if settings.attention else None
    network = build_network(config, data, head, attention)
    norm = settings.norm if settings.norm != "auto" else "batch" if settings.train_backbone else "frozen"
    repels = settings.centroid_weight and settings.repel_weight
    return Stage(
        "memory",
        network=network,
        epochs=epochs,
        optimizer=optimizer,
        streams={"image": class_cycle(settings.images_per_class)},
        init=with_class_means(network, data),
        objective=memory_objective(config, settings),
        predict=predicts(network),
        updates=Updates(
            trainable=() if settings.train_backbone else ("head", *([ATTENTION] if settings.attention else [])),
            rates=rates(optimizer) | {"head/centroids": settings.centroid_rate},
            undecayed=("head/centroids",),  # they are means, not weights
            norm=norm,
        ),
        whole_batch="the centroids' margin is one hinge on the batch's mean distance" if repels else "",
    )


def with_class_means(network: Any, data: Data) -> Any:
    """Starts from the stage before: its class means as centroids, its classifier as hallucinator.

    What the stage before does not have starts at random: the attention, a new layer of config.model.features, and the
    hallucinator where that layer makes features of another width. The class means are those of this network then.
    """
    start = carry_over(network, data, reinitialise=OF_THE_MEMORY)

    def init(key: jax.Array, previous: Previous | None, features: Features) -> Start:
        begun = start(key, previous, features)
        assert previous is not None
        seen = features(begun.variables, np.arange(len(data.train)), network=network)
        params = begun.variables["params"]
        head = {**params["head"], "centroids": class_means_of_rows(seen, data.train.labels, data.num_classes)}
        classifier = previous.variables["params"]["head"]["classifier"]
        if classifier["kernel"].shape == head["hallucinator"]["kernel"].shape:
            head["hallucinator"] = classifier
        return Start({**begun.variables, "params": {**params, "head": head}})

    return init


def memory_objective(config: Settings, settings: OLTRSettings) -> Callable[..., Outcome]:
    """Cross-entropy of the meta-embeddings and, unless it has no weight, the loss of features and centroids."""

    def objective(apply: Apply, params: Tree, model_state: Tree, batch: Batch, context: Context) -> Outcome:
        del context
        images, labels = batch["image"]["image"], batch["image"]["label"]
        outputs, model_state = apply(params, model_state, images)
        losses = cross_entropy(outputs.logits, labels)
        terms = {"classification": Term(losses)}
        if settings.centroid_weight:
            value = centroid_loss(
                outputs.features, labels, params["head"]["centroids"], settings.margin, settings.repel_weight
            )
            terms["centroid"] = Term(value, scale=settings.centroid_weight)
        metrics = {"accuracy": accuracy(outputs.logits, labels)} | watched(config, losses, labels)
        return Outcome(terms, model_state, metrics)

    return objective


def centroid_loss(
    features: jax.Array, labels: jax.Array, centroids: jax.Array, margin: float = 10.0, repel_weight: float = 0.01
) -> jax.Array:
    """Features near the centroid of their class, and on average not within ``margin`` of the others: a scalar.

    ``1/2 mean_i |x_i - c_y(i)|^2 + repel_weight * max(0, margin - sum_{i, c != y(i)} |x_i - c|^2 / (B C))``

    Args:
      features: [B, d].
      labels: integers [B].
      centroids: [C, d].
      margin: of the mean squared distance to the others.
      repel_weight: of the second term.

    Example:
      >>> x, centroids = jnp.array([[0.0, 0.0], [1.0, 0.0]]), jnp.array([[0.0, 0.0], [3.0, 0.0]])
      >>> print(centroid_loss(x, jnp.array([0, 1]), centroids))  # 1/2 (0 + 4) / 2 + 0.01 * (10 - (9 + 1) / 4)
      1.075

    Source: the weights, the margin and the form are those of the authors' code.
    """
    squares = pairwise_squared_distances(features, centroids)
    own = labels[:, None] == jnp.arange(len(centroids))
    attract = jnp.sum(jnp.where(own, squares, 0)) / len(features) / 2
    repel = jax.nn.relu(margin - jnp.sum(jnp.where(own, 0, squares)) / squares.size)
    return attract + repel_weight * repel
