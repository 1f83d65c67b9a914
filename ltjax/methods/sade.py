"""SADE: an expert for the training set's class distribution, one for the uniform, one for the inverse distribution.

Zhang et al., "Self-supervised aggregation of diverse experts for test-agnostic long-tailed recognition", NeurIPS 2022.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np

from ltjax.data import Data
from ltjax.losses import balanced_softmax_loss, cross_entropy, inverse_softmax_loss
from ltjax.losses.experts import inverse_order
from ltjax.methods.common import accuracy, build_network, check_backbone, dtypes, one_stage, sampled_prior
from ltjax.methods.experts import averaged_experts
from ltjax.methods.stage import Outcome, Stage, Term
from ltjax.models import ExpertsHead
from ltjax.settings import Block, Settings, setting
from ltjax.settings.schema import not_negative, one_of, positive

EXPERTS = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class SADESettings(Block):
    """config.sade."""

    tau: float = setting(2.0, "strength of the inverse class distribution in the third expert's loss", not_negative)
    reduce: bool = setting(True, "give the experts' own stages three quarters of the channels")
    head: str = setting(
        "cosine", "the classifier: cosine (the authors' use_norm) or linear", one_of("cosine", "linear")
    )
    scale: float = setting(30.0, "factor on the cosines", positive)


def sade(config: Settings, settings: SADESettings, data: Data) -> list[Stage]:
    """One stage of three experts, each with its own loss."""
    check_backbone(config, "ride_")
    head = ExpertsHead(data.num_classes, EXPERTS, head=settings.head, scale=settings.scale, **dtypes(config))
    network = build_network(config, data, head, experts=EXPERTS, reduce=settings.reduce)
    counts = data.class_counts

    def objective(apply, params, model_state, batch, context):
        images, labels = batch["image"]["image"], batch["image"]["label"]
        outputs, model_state = apply(params, model_state, images)
        forward, uniform, backward = outputs.logits
        terms = {
            "forward": Term(cross_entropy(forward, labels)),
            "uniform": Term(balanced_softmax_loss(uniform, labels, class_counts=counts)),
            "backward": Term(inverse_softmax_loss(backward, labels, class_counts=counts, tau=settings.tau)),
        }
        return Outcome(terms, model_state, {"accuracy": accuracy(jnp.mean(outputs.logits, 0), labels)})

    return one_stage(
        config,
        data,
        network,
        objective,
        prior=sampled_prior(config, data, np.exp(-mean_adjustment(np.asarray(counts, np.float64), settings.tau))),
        **averaged_experts(network, EXPERTS),
    )


def mean_adjustment(counts: np.ndarray, tau: float) -> np.ndarray:
    """What the losses add to the logits, float64 [C], in the mean over the experts.

    The mean of the experts' logits goes with the geometric mean of their class distributions (Aimar et al., "Balanced
    product of calibrated experts", CVPR 2023): the training set's for tau 1, where the adjustments cancel on
    exponential counts, is uniform; with tau 2 rare classes are favoured.
    """
    log_share = np.log(np.maximum(counts, 1e-30) / counts.sum())
    return (2 * log_share - tau * inverse_order(log_share, np)) / EXPERTS
