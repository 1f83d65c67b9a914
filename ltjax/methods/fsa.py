"""FSA, feature space augmentation: rare classes borrow what their confusing frequent classes have in common with all.

Chu et al., "Feature space augmentation for long-tailed data", ECCV 2020. A class activation map tells at which places
of the feature map an image shows its class. First a plain network; then its classifier is trained on as many images of
rare classes as of frequent ones, each rare image in several copies: some of the places that show its class, the others
from places of a frequent image, of a class that it is taken for, that do not show theirs:

    M(x, y)_l = <f_l(x), w_y>, from 0 to 1 over the places l
    copy      = mean_l (m_l [M(x, y)_l > 0.8] f_l(x) + (1 - m_l) [M(x', y')_l < 0.2] f_l(x')),  m_l = 1 with chance u

with u drawn anew for each copy. The paper's code is not public: the mixing is that of an unofficial implementation.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.arrays import product
from ltjax.data import Data
from ltjax.data.sampling.combine import over_subset, subset_tables
from ltjax.data.sampling.epoch_shuffle import instance_balanced
from ltjax.data.sampling.independent import class_balanced
from ltjax.losses import cross_entropy
from ltjax.methods.ce import cross_entropy_method
from ltjax.methods.common import accuracy, build_network, carry_over, dtypes, predicts, watched
from ltjax.methods.stage import Apply, Batch, Context, Features, Outcome, Previous, Stage, Start, Term, Tree, Updates
from ltjax.methods.two_stages import frequent_enough
from ltjax.models import FeatureMapHead
from ltjax.settings import Block, Settings, setting
from ltjax.settings.schema import Check, integer, number, refuse

ROWS = 4096  # features at a time: the logits of all rare images need not fit in memory


@dataclasses.dataclass(frozen=True, kw_only=True)
class FSASettings(Block):
    """config.baseline of ``fsa``: the values of the unofficial implementation."""

    head_classes: int = setting(
        0,
        "number of most frequent classes that rare ones borrow from; 0: those with at least 20 images, and at least "
        "two",
        Check(lambda v: v == 0 or v >= 2, "0 (by count) or 2 to the number of classes - 1"),
    )
    confusing: int = setting(15, "number of frequent classes that each rare class borrows from", integer(1))
    copies: int = setting(15, "augmented copies of each image of a rare class", integer(1, 1024))
    specific_above: float = setting(0.8, "activation above which a place shows the image's class", number(0, 1))
    generic_below: float = setting(0.2, "activation below which a place shows what classes share", number(0, 1))


def resolve(config: Settings, settings: FSASettings) -> Settings:
    """The second stage has ten epochs unless it is given others."""
    del settings
    if config.second_stage_epochs is not None:
        return config
    return dataclasses.replace(config, second_stage_epochs=10)


def fsa(config: Settings, settings: FSASettings, data: Data) -> list[Stage]:
    """The representation, then the classifier on augmented features."""
    if config.model.features:
        refuse("config.model.features", config.model.features, "0 with config.method=fsa, which works on feature maps")
    frequent = frequent_enough(settings.head_classes, data, "config.baseline.head_classes")
    (joint,) = cross_entropy_method(config, settings, data)
    return [dataclasses.replace(joint, name="representation"), augmented_stage(config, settings, data, frequent)]


def augmented_stage(config: Settings, settings: FSASettings, data: Data, frequent: np.ndarray) -> Stage:
    """The classifier alone, on images of rare classes, their copies, and as many images of frequent ones."""
    epochs, optimizer = config.second_stage()
    network = build_network(config, data, FeatureMapHead(data.num_classes, **dtypes(config)))
    labels = data.train.labels
    rare_records, frequent_records = (np.flatnonzero(classes[labels]) for classes in (~frequent, frequent))
    streams = {"rare": over_subset(class_balanced()), "frequent": over_subset(instance_balanced())}
    tables = {
        name: subset_tables(streams[name], labels, data.num_classes, records)
        for name, records in (("rare", rare_records), ("frequent", frequent_records))
    }
    start = carry_over(network, data)

    def init(key: jax.Array, previous: Previous | None, features: Features) -> Start:
        begun = start(key, previous, features)
        assert previous is not None
        seen = features(previous.variables, rare_records)
        table = confusing_classes(seen, labels[rare_records], previous.variables, frequent, settings.confusing)
        return begun._replace(frozen={"confusing": table}, tables=tables)

    def objective(apply: Apply, params: Tree, model_state: Tree, batch: Batch, context: Context) -> Outcome:
        rare, common = batch["rare"], batch["frequent"]
        classifier = params["head"]["classifier"]
        outputs, model_state = apply(params, model_state, rare["image"])
        others, model_state = apply(params, model_state, common["image"])
        partner_key, mix_key = jax.random.split(context.key)
        allowed = jnp.asarray(context.frozen["confusing"])[rare["label"]][:, common["label"]]
        partners = jax.random.categorical(
            partner_key, jnp.where(allowed, 0.0, -jnp.inf), shape=(settings.copies, len(allowed))
        )
        activations = [
            activation_map(stream_outputs.features, classifier["kernel"], stream["label"])
            for stream_outputs, stream in ((outputs, rare), (others, common))
        ]
        copies = mixed(
            mix_key,
            jnp.where((activations[0] > settings.specific_above)[..., None], outputs.features, 0),
            jnp.where((activations[1] < settings.generic_below)[..., None], others.features, 0),
            partners,
        )
        logits = product(copies, classifier["kernel"]) + classifier["bias"]
        of_rare = jnp.concatenate([outputs.logits[None], logits])
        losses = cross_entropy(of_rare, jnp.broadcast_to(rare["label"], of_rare.shape[:-1]))
        counted = jnp.broadcast_to(jnp.any(allowed, axis=-1), partners.shape)  # of a class that is confused with some
        weights = jnp.concatenate([jnp.ones_like(losses[:1]), counted.astype(losses.dtype)])
        of_frequent = cross_entropy(others.logits, common["label"])
        terms = {"rare": Term(losses, weights, 0.5), "frequent": Term(of_frequent, None, 0.5)}
        metrics = {"accuracy": accuracy(others.logits, common["label"]), "with_partner": jnp.mean(weights[1:])}
        return Outcome(terms, model_state, metrics | watched(config, of_frequent, common["label"]))

    return Stage(
        "augmented",
        network=network,
        epochs=epochs,
        optimizer=optimizer,
        streams=streams,
        init=init,
        objective=objective,
        predict=predicts(network),
        updates=Updates(trainable=("head",), norm="frozen"),
        whole_batch="copies are made of two images of a batch",
    )


def confusing_classes(
    features: Any, labels: np.ndarray, variables: Tree, frequent: np.ndarray, number: int
) -> np.ndarray:
    """bool [C, C]: for each rare class (row) the frequent classes of the highest mean probability on its images."""
    classifier = variables["params"]["head"]["classifier"]
    kernel, bias = (np.asarray(classifier[key], np.float32) for key in ("kernel", "bias"))
    sums = np.zeros((len(frequent), len(frequent)))
    for begin in range(0, len(labels), ROWS):
        rows = slice(begin, begin + ROWS)
        logits = np.asarray(features[rows], np.float32) @ kernel + bias
        odds = np.exp(logits - logits.max(-1, keepdims=True))
        np.add.at(sums, labels[rows], odds / odds.sum(-1, keepdims=True))
    found = np.zeros(sums.shape, bool)
    for label in np.unique(labels):
        classes = np.flatnonzero(frequent)
        best = classes[np.argsort(-sums[label, classes], kind="stable")[:number]]
        found[label, best] = True
    return found


def activation_map(features: jax.Array, kernel: jax.Array, labels: jax.Array) -> jax.Array:
    """The class activation map of each image's class, from 0 to 1 over its places; 0 where all places are alike.

    Args:
      features: [L, B, d].
      kernel: [d, C].
      labels: integers [B].

    Returns:
      [L, B].

    Example:
      >>> activation_map(jnp.array([[[1.0]], [[3.0]], [[2.0]]]), jnp.array([[0.0, 2.0]]), jnp.array([1]))[:, 0].tolist()
      [0.0, 1.0, 0.5]
    """
    raw = jnp.sum(features * jax.lax.stop_gradient(kernel).T[labels], axis=-1)
    low, high = jnp.min(raw, axis=0), jnp.max(raw, axis=0)
    return (raw - low) / jnp.where(high > low, high - low, 1)


def mixed(key: jax.Array, specific: jax.Array, generic: jax.Array, partners: jax.Array) -> jax.Array:
    """Copies: each place from the image or its partner, by a chance drawn for each copy; the mean over places.

    Args:
      key: of this step.
      specific: [L, B, d], the rare images' places that show their class, zeros elsewhere.
      generic: [L, P, d], the frequent images' places that do not.
      partners: integers [copies, B] below P.

    Returns:
      [copies, B, d].
    """

    def one(of_copy: tuple[jax.Array, jax.Array]) -> jax.Array:
        copy_key, partner = of_copy
        chance_key, place_key = jax.random.split(copy_key)
        chance = jax.random.uniform(chance_key, partner.shape)
        own = jax.random.uniform(place_key, specific.shape[:2]) < chance
        return jnp.mean(jnp.where(own[..., None], specific, generic[:, partner]), axis=0)

    return jax.lax.map(one, (jax.random.split(key, len(partners)), partners))
