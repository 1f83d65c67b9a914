"""OLTR: dynamic meta-embedding (Liu et al., Large-Scale Long-Tailed Recognition in an Open World, CVPR 2019).

First a plain network. Then a memory of class centroids, which starts as the class means of its features, and a cosine
classifier on features x that borrow from the memory and are scaled by how near they are to it:

    v = 10 / min_c |x - centroid_c| * (x + tanh(selector(x)) * softmax(hallucinator(x)) centroids)

trained on as many images of every class by

    loss = CE + 0.01 * (1/2 mean_i |x_i - centroid_y(i)|^2 + 0.01 * max(0, 10 - mean over i, c != y(i) of |x_i - c|^2))

Its modulated attention and its open-set part are not here. With the backbone frozen it is the
memory on another representation, or on top of cRT (Kang et al., ICLR 2020, appendix B.4).
"""

import dataclasses
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
    Rules,
    accuracy,
    build_network,
    carry_over,
    checked,
    classify,
    dtypes,
    one_stage,
    predicts,
    rates,
    watched,
)
from ltjax.methods.stage import Apply, Batch, Context, Features, Outcome, Previous, Stage, Start, Term, Tree, Updates
from ltjax.models import LinearHead, MemoryHead

OF_THE_MEMORY = ("head/hallucinator", "head/selector", "head/classifier", "head/centroids")


def oltr(config: Any, data: Data) -> list[Stage]:
    """A plain network, then the memory on it; config.oltr."""
    settings = checked(config, "oltr", rules)
    head = LinearHead(data.num_classes, features=settings.features or None, **dtypes(config))
    network = build_network(config, data, head)
    (first,) = one_stage(config, data, network, classify("image", cross_entropy, config=config))
    return [dataclasses.replace(first, name="representation"), memory(config, data)]


def memory(config: Any, data: Data) -> Stage:
    """Stage 2. All of the network is trained, or only what is new."""
    settings = config.oltr
    head = MemoryHead(data.num_classes, features=settings.features, learn_centroids=True, **dtypes(config))
    network = build_network(config, data, head)
    repels = settings.centroid_weight and settings.repel_weight
    return Stage(
        "memory",
        network=network,
        epochs=config.second_stage_epochs,
        optimizer=config.second_stage_optimizer,
        streams={"image": class_cycle(settings.images_per_class)},
        init=with_class_means(network, data),
        objective=memory_objective(config),
        predict=predicts(network),
        updates=Updates(
            trainable=() if settings.train_backbone else OF_THE_MEMORY,
            rates=rates(config, "second_stage_optimizer") | {"head/centroids": settings.centroid_rate},
            undecayed=("head/centroids",),  # they are means, not weights
            norm="batch" if settings.train_backbone else "frozen",
        ),
        whole_batch="the centroids' margin is one hinge on the batch's mean distance" if repels else "",
    )


def with_class_means(network: Any, data: Data) -> Any:
    """Starts from the stage before: its features' class means as centroids, its classifier as hallucinator."""
    start = carry_over(network, data, reinitialise=OF_THE_MEMORY)

    def init(key: jax.Array, previous: Previous | None, features: Features) -> Start:
        begun = start(key, previous, features)
        assert previous is not None
        seen = features(previous.variables, np.arange(len(data.train)))
        centroids = class_means_of_rows(seen, data.train.labels, data.num_classes)
        given = {"centroids": centroids, "hallucinator": previous.variables["params"]["head"]["classifier"]}
        params = begun.variables["params"]
        return Start({**begun.variables, "params": {**params, "head": {**params["head"], **given}}})

    return init


def memory_objective(config: Any) -> Any:
    """Cross-entropy of the meta-embeddings and, unless it has no weight, the loss of features and centroids."""
    settings = config.oltr

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


def rules(settings: Any) -> Rules:
    numbers = ("centroid_weight", "repel_weight", "margin", "centroid_rate")
    return {
        "features": (settings.features >= 0, "an integer >= 0; 0 is without the shared layer"),
        "images_per_class": (settings.images_per_class >= 1, "an integer >= 1"),
        **{key: (0 <= settings[key] < float("inf"), "a finite number >= 0") for key in numbers},
    }
