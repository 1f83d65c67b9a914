"""FSLwF: a cosine classifier of the frequent classes, and a generator that makes the rare classes' weights from images.

Gidaris and Komodakis, "Dynamic few-shot visual learning without forgetting", CVPR 2018, section 3, and the authors'
public code. A row of OLTR's tables, which do not say how the few-shot method was brought to long-tailed data. Here the
frequent classes are its base classes, and the few-shot classes its novel ones:

    base        representation and cosine classifier on the images of the base classes
    generator   on frozen features, in episodes: some base classes play the novel ones. Their weights are generated from
                a few images each, and other images are told among these and the remaining base classes
    novel       the weights of the novel classes, generated from all of their training images
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.arrays import cosines
from ltjax.data import Data
from ltjax.data.sampling.class_cycle import class_cycle
from ltjax.data.sampling.combine import over_subset, subset_tables
from ltjax.data.sampling.independent import class_balanced
from ltjax.losses import cross_entropy
from ltjax.methods.common import (
    accuracy,
    build_network,
    carry_over,
    classify,
    configured_sampler,
    dtypes,
    evaluate_network,
    fresh,
    predicts,
    rates,
    watched,
    within,
)
from ltjax.methods.stage import (
    AnyStage,
    Apply,
    Batch,
    ClosedForm,
    Context,
    Features,
    Init,
    Outcome,
    Previous,
    Stage,
    Start,
    Term,
    Tree,
    Updates,
)
from ltjax.methods.two_stages import frequent_enough
from ltjax.models import CosineHead, GeneratorHead, Network, generated_weights, representation
from ltjax.settings import Block, Settings, setting
from ltjax.settings.schema import Check, fraction, integer, positive

# of the head, without the layer of config.model.features, which belongs to the representation
TRAINED = tuple(
    f"head/{name}"
    for name in ("classifier", "scale", "query", "query_bias", "keys", "attention_scale", "average_factor",
                 "attention_factor")
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class FSLwFSettings(Block):
    """config.baseline of ``fslwf``."""

    base_classes: int = setting(
        0,
        "number of most frequent classes that are the base; 0: those with at least 20 images, and at least two",
        Check(lambda v: v == 0 or v >= 2, "0 (by count) or 2 to the number of classes - 1"),
    )
    images_per_class: int = setting(10, "images from which the weights of a class are made in an episode", integer(1))
    novel_part: float = setting(
        0.64, "part of the base classes that play novel ones in an episode; 250 of 389 in the authors' script", fraction
    )
    scale: float = setting(10.0, "initial factor on the cosines", positive)
    attention_scale: float = setting(
        10.0, "initial factor inside the attention; 30 in the authors' ImageNet script", positive
    )
    dropout: float = setting(0.5, "part of the features that is left out in an episode", fraction)


def fslwf(config: Settings, settings: FSLwFSettings, data: Data) -> list[AnyStage]:
    """Base classes, generator, novel classes."""
    base = frequent_enough(settings.base_classes, data, "config.baseline.base_classes")
    first = build_network(
        config, data, CosineHead(data.num_classes, scale=settings.scale, **dtypes(config)), final_relu=False
    )
    head = GeneratorHead(data.num_classes, settings.scale, settings.attention_scale, **dtypes(config))
    network = build_network(config, data, head, final_relu=False)  # signed features, as a cosine needs them
    return [
        base_stage(config, data, first, base),
        generator_stage(config, settings, data, network, base),
        novel_stage(data, network, base),
    ]


def base_stage(config: Settings, data: Data, network: Network, base: np.ndarray) -> Stage:
    """Cross-entropy of the base classes on their images."""
    labels = data.train.labels
    records = np.flatnonzero(base[labels])
    sampler = over_subset(configured_sampler(config))
    tables = {"image": subset_tables(sampler, labels, data.num_classes, records)}

    return Stage(
        "base",
        network=network,
        epochs=config.epochs,
        optimizer=config.optimizer,
        streams={"image": sampler},
        init=with_tables(fresh(network, data), tables),
        objective=classify("image", cross_entropy, config=config, group=base),
        predict=lambda variables, images: within(evaluate_network(network, variables, images).logits, base),
        updates=Updates(rates=rates(config.optimizer)),
        epoch_size=len(records),
    )


def generator_stage(config: Settings, settings: FSLwFSettings, data: Data, network: Network, base: np.ndarray) -> Stage:
    """Episodes on the features of the base classes; classifier and generator are trained."""
    epochs, optimizer = config.second_stage()
    labels = data.train.labels
    records = np.flatnonzero(base[labels])
    streams = {"support": over_subset(class_cycle(settings.images_per_class)), "query": over_subset(class_balanced())}
    tables = {name: subset_tables(stream, labels, data.num_classes, records) for name, stream in streams.items()}

    def objective(apply: Apply, params: Tree, model_state: Tree, batch: Batch, context: Context) -> Outcome:
        support, query = batch["support"], batch["query"]
        episode_key, *dropout_keys = jax.random.split(context.key, 3)
        novel = novel_of_episode(episode_key, base, support["label"], settings.novel_part)
        seen, asked = (
            drop(key, stream["image"], settings.dropout)
            for key, stream in zip(dropout_keys, (support, query), strict=True)
        )
        head, kernel = params["head"], params["head"]["classifier"]["kernel"]
        made = generated_weights(head, seen, support["label"], jnp.asarray(base) & ~novel, len(base))
        outputs, model_state = apply(params, model_state, asked)
        logits = within(head["scale"] * cosines(outputs.features, jnp.where(novel, made, kernel)), base)
        losses = cross_entropy(logits, query["label"])
        metrics = {"accuracy": accuracy(logits, query["label"]), "novel_classes": jnp.sum(novel).astype(jnp.float32)}
        return Outcome({"classification": Term(losses)}, model_state, metrics | watched(config, losses, query["label"]))

    return Stage(
        "generator",
        network=network,
        epochs=epochs,
        optimizer=optimizer,
        streams=streams,
        init=with_tables(carry_over(network, data), tables),
        objective=objective,
        predict=lambda variables, images: within(evaluate_network(network, variables, images).logits, base),
        updates=Updates(trainable=TRAINED, norm="frozen"),
        epoch_size=len(records),
        whole_batch="an episode's weights are made of the images of a batch",
        representation=representation(network),
    )


def novel_stage(data: Data, network: Network, base: np.ndarray) -> ClosedForm:
    """The classifier with the generated weights of the novel classes."""
    labels = data.train.labels
    records = np.flatnonzero(~base[labels])
    start = carry_over(network, data)

    def init(key: jax.Array, previous: Previous | None, features: Features) -> Start:
        begun = start(key, previous, features)
        assert previous is not None
        params, head = begun.variables["params"], begun.variables["params"]["head"]
        seen = jnp.asarray(features(previous.variables, records))
        made = generated_weights(head, seen, jnp.asarray(labels[records]), jnp.asarray(base), len(base))
        kernel = jnp.where(base, head["classifier"]["kernel"], made)
        return Start({**begun.variables, "params": {**params, "head": {**head, "classifier": {"kernel": kernel}}}})

    return ClosedForm("novel", network, init, predicts(network), representation(network))


def novel_of_episode(key: jax.Array, base: np.ndarray, support: jax.Array, part: float) -> jax.Array:
    """bool [C]: base classes drawn to play novel ones, as far as the support has images of them; not all of them."""
    classes = np.flatnonzero(base)
    number = min(max(1, round(part * len(classes))), len(classes) - 1)
    drawn = jax.random.permutation(key, jnp.asarray(classes))[:number]
    shown = jnp.any(support[:, None] == jnp.arange(len(base)), axis=0)
    return jnp.zeros(len(base), bool).at[drawn].set(True) & shown


def drop(key: jax.Array, features: jax.Array, part: float) -> jax.Array:
    """Dropout: a part of the features is zero, the rest grows so that the mean stays."""
    if not part:
        return features
    return jnp.where(jax.random.bernoulli(key, 1 - part, features.shape), features / (1 - part), 0)


def with_tables(init: Init, tables: dict[str, dict[str, Any]]) -> Init:
    """The same start, with these tables for its samplers."""

    def started(key: jax.Array, previous: Previous | None, features: Features) -> Start:
        return init(key, previous, features)._replace(tables=tables)

    return started
