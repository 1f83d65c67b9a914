"""RIDE: experts that are trained one by one, pushed apart, and averaged.

Wang et al., "Long-tailed recognition by routing diverse distribution-aware experts", ICLR 2021, equations 1 to 3,
without the router of its second stage and without distillation: what the tables of the other papers compare with.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp

from ltjax.data import Data
from ltjax.losses import ride_loss
from ltjax.methods.common import (
    Predict,
    accuracy,
    build_network,
    check_backbone,
    dtypes,
    evaluate_network,
    one_stage,
)
from ltjax.methods.stage import Outcome, Stage, Term, Tree
from ltjax.models import ExpertsHead
from ltjax.settings import Block, Settings, setting
from ltjax.settings.config_file import Word, sets
from ltjax.settings.schema import Check, integer, number, one_of, positive

_finite = Check(math.isfinite, "a number, negative to push the experts apart")
_part = Check(lambda v: 0 <= v <= 1, "a part of the epochs, a number in [0, 1]")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RIDESettings(Block):
    """config.baseline of ``ride``."""

    experts: int = setting(3, "number of experts", integer(1, 10))
    reduce: bool = setting(True, "give the experts' own stages three quarters of the channels")
    diversity: float = setting(
        -0.2,
        "factor on the divergence from the experts' mean, negative to push apart; exactly 0 is the authors' "
        "collaborative loss: the experts' mean is trained instead of each expert",
        _finite,
    )
    use_ldam: bool = setting(True, "use LDAM margins, and the re-weighting below")
    head: str = setting(
        "cosine", "the classifier: cosine (the authors' use_norm) or linear", one_of("cosine", "linear")
    )
    scale: float = setting(30.0, "factor on the cosines and on the margins", positive)
    reweight_factor: float = setting(
        0.05, "how far the temperature follows the class frequencies from the re-weighted epochs on", number(0, 1)
    )
    reweighted_from: float = setting(
        0.8, "fraction of the epochs after which re-weighting starts; 0.8 is epoch 160 of 200 (CIFAR), 80 of 100", _part
    )


def ride(config: Settings, settings: RIDESettings, data: Data) -> list[Stage]:
    """One stage; the number of experts, diversity and re-weighting are config.baseline."""
    check_backbone(config, "ride_")
    scale = settings.scale if settings.head == "cosine" else 1.0
    head = ExpertsHead(data.num_classes, settings.experts, head=settings.head, scale=settings.scale, **dtypes(config))
    network = build_network(config, data, head, experts=settings.experts, reduce=settings.reduce)
    first = first_reweighted_epoch(config.epochs, settings.reweighted_from)

    def objective(apply, params, model_state, batch, context):
        images, labels = batch["image"]["image"], batch["image"]["label"]
        outputs, model_state = apply(params, model_state, images)
        loss = ride_loss(
            outputs.logits,
            labels,
            class_counts=data.class_counts,
            diversity=settings.diversity,
            use_ldam=settings.use_ldam,
            scale=scale,
            reweight_factor=settings.reweight_factor,
            reweight=context.epoch >= first,
        )
        terms = {"individual": Term(loss.individual), "diversity": Term(loss.diversity, scale=settings.diversity)}
        return Outcome(terms, model_state, {"accuracy": accuracy(jnp.mean(outputs.logits, 0), labels)})

    def experts(variables: Tree, images: jax.Array) -> jax.Array:
        return evaluate_network(network, variables, images).logits

    def mean_of(first: int, end: int) -> Predict:
        return lambda variables, images: jnp.mean(experts(variables, images)[first:end], 0)

    return one_stage(
        config,
        data,
        network,
        objective,
        predict=mean_of(0, settings.experts),
        views={f"expert_{e}": mean_of(e, e + 1) for e in range(settings.experts)}
        | {f"first_{count}_experts": mean_of(0, count) for count in range(2, settings.experts)},
        whole_batch="its re-weighted loss (use_ldam) is divided by the batch's weights" if settings.use_ldam else "",
    )


def first_reweighted_epoch(epochs: int, reweighted_from: float) -> int:
    """Counting from 0: 160 of 200, which the authors count as 161.

    Example:
      >>> [first_reweighted_epoch(epochs, 0.8) for epochs in (200, 10, 1)]
      [160, 8, 1]
    """
    return round(reweighted_from * epochs)


# behind the colon, after "ride": ride,experts=2
WORDS: dict[str, Word] = {"experts": sets("baseline.experts", int)}
