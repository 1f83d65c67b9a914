"""SHIKE: experts that join the last stage to different depths, and teach each other about the wrong classes.

Jin et al., "Long-tailed visual recognition via self-heterogeneous integration with knowledge excavation", CVPR 2023.
First the network by cross-entropy and two distillations; then new classifiers alone, by balanced
softmax, as in the authors' code.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np

from ltjax.data import Data
from ltjax.losses import (
    balanced_softmax_loss,
    cross_entropy,
    mutual_distillation_loss,
    nontarget_distillation_loss,
)
from ltjax.methods.common import (
    accuracy,
    build_network,
    carry_over,
    check_backbone,
    configured_sampler,
    dtypes,
    one_stage,
    sampled_prior,
)
from ltjax.methods.experts import averaged_experts
from ltjax.methods.stage import Outcome, Stage, Term, Updates
from ltjax.models import ExpertsHead
from ltjax.settings import Block, Settings, setting
from ltjax.settings.schema import integer, not_negative, one_of, positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class SHIKESettings(Block):
    """config.shike."""

    experts: int = setting(3, "number of experts", integer(2, 10))
    nontarget: float = setting(
        10.0,
        "factor on the distillation among the wrong classes, which is divided by the number of classes",
        not_negative,
    )
    mutual: float = setting(
        1.0, "factor on the distillation between all pairs of experts, divided likewise", not_negative
    )
    head: str = setting(
        "cosine", "the classifiers: cosine (the authors' use_norm) or linear", one_of("cosine", "linear")
    )
    scale: float = setting(30.0, "factor on the cosines", positive)


def shike(config: Settings, settings: SHIKESettings, data: Data) -> list[Stage]:
    """The network; then new classifiers of all experts."""
    check_backbone(config, "shike_")
    experts, classes = settings.experts, data.num_classes
    head = ExpertsHead(classes, experts, head=settings.head, scale=settings.scale, **dtypes(config))
    network = build_network(config, data, head, experts=experts)
    predictions = averaged_experts(network, experts)

    def representation(apply, params, model_state, batch, context):
        images, labels = batch["image"]["image"], batch["image"]["label"]
        outputs, model_state = apply(params, model_state, images)
        logits = outputs.logits
        terms = {
            "classification": Term(jnp.sum(cross_entropy(logits, jnp.broadcast_to(labels, logits.shape[:-1])), 0)),
            "nontarget": Term(nontarget_distillation_loss(logits, labels), scale=settings.nontarget / classes),
            "mutual": Term(mutual_distillation_loss(logits), scale=settings.mutual / classes),
        }
        return Outcome(terms, model_state, {"accuracy": accuracy(jnp.mean(logits, 0), labels)})

    def classifiers(apply, params, model_state, batch, context):
        images, labels = batch["image"]["image"], batch["image"]["label"]
        outputs, model_state = apply(params, model_state, images)
        repeated = jnp.broadcast_to(labels, outputs.logits.shape[:-1])
        losses = balanced_softmax_loss(outputs.logits, repeated, class_counts=data.class_counts)
        terms = {"classification": Term(jnp.sum(losses, 0))}
        return Outcome(terms, model_state, {"accuracy": accuracy(jnp.mean(outputs.logits, 0), labels)})

    (first,) = one_stage(config, data, network, representation, prior=sampled_prior(config, data), **predictions)
    epochs, optimizer = config.second_stage()
    second = Stage(
        "classifiers",
        network=network,
        epochs=epochs,
        optimizer=optimizer,
        streams={"image": configured_sampler(config)},
        init=carry_over(network, data, reinitialise=("head",)),
        objective=classifiers,
        updates=Updates(trainable=("head",)),
        prior=sampled_prior(config, data, 1 / np.maximum(np.asarray(data.class_counts, np.float64), 1)),
        **predictions,
    )
    return [dataclasses.replace(first, name="representation"), second]
