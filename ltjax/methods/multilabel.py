"""Images with several labels: one network with a sigmoid for each class, and the losses of the field.

The classes of an image are looked up by its record in a table that the stage's ``init`` makes; everything else is the
pipeline of one label an image. A sampler that draws classes draws one of the labels: an image is drawn for each of its
classes ("class-aware sampling", Shen et al., ECCV 2016). Of data with one label an image the classes are its label.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.class_counts import effective_number_weights
from ltjax.data import Data
from ltjax.data.label_sets import LabelSets
from ltjax.data.sampling.combine import SubsetSampler, over_subset
from ltjax.losses import asymmetric_loss, binary_cross_entropy, distribution_balanced_loss
from ltjax.methods.common import build_network, configured_sampler, dtypes, fresh, one_stage, rates
from ltjax.methods.stage import (
    Apply,
    Batch,
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
from ltjax.models import LinearHead
from ltjax.settings import Block, Settings, setting
from ltjax.settings.schema import fraction, not_negative, positive

Loss = Callable[[jax.Array, jax.Array], jax.Array]  # (logits [B, C], targets [B, C]) -> [B]
INSTANCES = "instance_balanced"  # the sampler that draws images; all others draw classes


@dataclasses.dataclass(frozen=True, kw_only=True)
class BinarySettings(Block):
    """config.multilabel of ``bce``."""

    gamma: float = setting(
        0.0, "power of 1 - p, which lowers the weight of easy pairs; 2 is the focal loss", not_negative
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassBalancedBinarySettings(Block):
    """config.multilabel of ``cb_bce``."""

    beta: float = setting(0.9, "beta of the effective number of images, as Wu et al. compare with", fraction)
    gamma: float = setting(
        2.0, "power of 1 - p, which lowers the weight of easy pairs; 0 is cross-entropy", not_negative
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistributionBalancedSettings(Block):
    """config.multilabel of ``distribution_balanced``; the numbers are those of COCO-LT."""

    alpha: float = setting(0.1, "least weight of a class", not_negative)
    beta: float = setting(10.0, "slope of the weights", not_negative)
    mu: float = setting(0.2, "share of the draws at which a weight is halfway; 0.3 for VOC-LT", not_negative)
    negative_scale: float = setting(2.0, "lambda, by which negatives tolerate; 5 for VOC-LT", positive)
    bias_scale: float = setting(0.05, "kappa, the share of the class's log odds in its bias", not_negative)
    gamma: float = setting(2.0, "power of 1 - p; 0 leaves the focal factor out", not_negative)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AsymmetricSettings(Block):
    """config.multilabel of ``asymmetric``."""

    gamma_positive: float = setting(0.0, "power of 1 - p for the labels of an image", not_negative)
    gamma_negative: float = setting(4.0, "power of p for the other classes", not_negative)
    clip: float = setting(0.05, "probability below which another class has no loss", fraction)


def binary(config: Settings, settings: BinarySettings, data: Data) -> list[Stage]:
    """Binary cross-entropy of every class, or its focal form."""
    return _one_stage(config, data, functools.partial(binary_cross_entropy, gamma=settings.gamma))


def class_balanced_binary(config: Settings, settings: ClassBalancedBinarySettings, data: Data) -> list[Stage]:
    """The class-balanced focal loss: an image weighs the mean of its classes' weights by effective number."""
    weights = jnp.asarray(effective_number_weights(data.class_counts, settings.beta))
    return _one_stage(
        config, data, functools.partial(binary_cross_entropy, gamma=settings.gamma, class_weights=weights)
    )


def distribution_balanced(config: Settings, settings: DistributionBalancedSettings, data: Data) -> list[Stage]:
    """Rebalanced weights and negative-tolerant regularisation (Wu et al., ECCV 2020)."""
    options = dataclasses.asdict(settings)
    loss = functools.partial(
        distribution_balanced_loss, class_counts=data.class_counts, num_images=len(data.train), **options
    )
    return _one_stage(config, data, loss)


def asymmetric(config: Settings, settings: AsymmetricSettings, data: Data) -> list[Stage]:
    """Asymmetric loss (Ridnik et al., ICCV 2021)."""
    return _one_stage(config, data, functools.partial(asymmetric_loss, **dataclasses.asdict(settings)))


def _one_stage(config: Settings, data: Data, loss: Loss) -> list[Stage]:
    """One linear classifier, which starts with the mean share of a class as the probability of each."""
    share = min(float(np.mean(data.class_counts)) / len(data.train), 0.5)
    head = LinearHead(data.num_classes, bias_init_value=math.log(share / (1 - share)), **dtypes(config))
    network = build_network(config, data, head)
    updates = Updates(rates=rates(config.optimizer), undecayed=("head/classifier/bias",))
    objective = _objective(loss, data.num_classes, data.train.label_sets is not None)
    if data.train.label_sets is None:
        return one_stage(config, data, network, objective, updates=updates)
    sampler = configured_sampler(config)
    drawn = sampler if sampler.name == INSTANCES else over_subset(sampler)
    init = _with_classes(fresh(network, data), data, data.train.label_sets, drawn)
    return one_stage(config, data, network, objective, streams={"image": drawn}, updates=updates, init=init)


def _objective(loss: Loss, num_classes: int, several: bool) -> Callable[..., Outcome]:
    def objective(apply: Apply, params: Tree, model_state: Tree, batch: Batch, context: Context) -> Outcome:
        images, labels, records = (batch["image"][name] for name in ("image", "label", "index"))
        if several:
            targets = unpacked(context.frozen["classes"][records], num_classes)
        else:
            targets = labels[:, None] == jnp.arange(num_classes)
        outputs, model_state = apply(params, model_state, images)
        first = jnp.argmax(outputs.logits, axis=-1)[:, None]
        right = jnp.take_along_axis(targets, first, axis=-1).astype(jnp.float32)
        terms = {"classification": Term(loss(outputs.logits, targets))}
        return Outcome(terms, model_state, {"precision_at_1": jnp.mean(right)})

    return objective


def packed(multi_hot: np.ndarray) -> np.ndarray:
    """bool [N, C] -> uint8 [N, ceil(C / 8)], the form in which a stage keeps the classes of all training images."""
    return np.packbits(multi_hot, axis=-1)


def unpacked(rows: jax.Array, num_classes: int) -> jax.Array:
    """The inverse of ``packed`` for some rows, [B, ceil(C / 8)] -> bool [B, C]; runs under jit.

    Example:
      >>> unpacked(jnp.asarray(packed(np.array([[True, False, True]]))), 3).tolist()
      [[True, False, True]]
    """
    bits = rows[..., None] >> (7 - jnp.arange(8, dtype=jnp.uint8)) & 1
    return bits.reshape(*rows.shape[:-1], -1)[..., :num_classes].astype(bool)


def _with_classes(start: Init, data: Data, sets: LabelSets, sampler: Any) -> Init:
    """``start``, with the classes of all training images, and a sampler's tables over their labels."""

    def init(key: jax.Array, previous: Previous | None, features: Features) -> Start:
        made = start(key, previous, features)
        tables: dict[str, dict[str, Any]] = {}
        if isinstance(sampler, SubsetSampler):
            inner = sampler.inner.tables(sets.classes, data.num_classes)
            tables = {"image": {"members": sets.owners().astype(np.int32), "inner": inner}}
        return made._replace(frozen={"classes": packed(sets.multi_hot(data.num_classes))}, tables=tables)

    return init
