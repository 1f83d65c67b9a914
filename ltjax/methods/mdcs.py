"""MDCS: experts with logit adjustments of different strengths, each taught by itself on a weaker augmentation.

Zhao et al., "MDCS: More diverse experts with consistency self-distillation for long-tailed recognition", ICCV 2023.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np

from ltjax.data import Data
from ltjax.losses import cross_entropy, distillation_loss
from ltjax.methods.common import accuracy, build_network, check_backbone, dtypes, one_stage, sampled_prior
from ltjax.methods.experts import averaged_experts
from ltjax.methods.stage import Outcome, Stage, Term
from ltjax.methods.views import apart, streams_of_views, together
from ltjax.models import ExpertsHead
from ltjax.settings import Block, Settings, setting
from ltjax.settings.schema import Check, not_negative, one_of, positive

_strengths = Check(lambda v: len(v) >= 2 and all(np.isfinite(v)), "a finite number for each of two experts or more")


@dataclasses.dataclass(frozen=True, kw_only=True)
class MDCSSettings(Block):
    """config.mdcs."""

    strengths: tuple[float, ...] = setting(
        (-0.5, 1.0, 2.5),
        "each expert's lambda: the power of the class counts that its softmax is trained under; 1 is balanced softmax",
        _strengths,
    )
    distillation: float = setting(0.6, "factor on the self-distillation", not_negative)
    distillation_warmup: int = setting(20, "epochs in which that factor rises to its value", not_negative)
    augment: str = setting(
        "",
        "the augmentation of the strong view, such as autoaugment_flip_cutout; '' = that of the weak one, "
        "config.data.augment",
    )
    reduce: bool = setting(True, "give the experts' own stages three quarters of the channels")
    head: str = setting(
        "cosine", "the classifier: cosine (the authors' use_norm) or linear", one_of("cosine", "linear")
    )
    scale: float = setting(30.0, "factor on the cosines", positive)


def mdcs(config: Settings, settings: MDCSSettings, data: Data) -> list[Stage]:
    """One stage; both views of an image are classified, and the strong one follows the weak one where that is right."""
    check_backbone(config, "ride_")
    experts = len(settings.strengths)
    head = ExpertsHead(data.num_classes, experts, head=settings.head, scale=settings.scale, **dtypes(config))
    network = build_network(config, data, head, experts=experts, reduce=settings.reduce)
    counts = np.asarray(data.class_counts, np.float64)
    log_prior = np.log(np.maximum(counts, 1e-30) / counts.sum())
    added = np.asarray(settings.strengths)[:, None] * log_prior  # [E, C]

    def objective(apply, params, model_state, batch, context):
        labels = batch["image"]["label"]
        images = together(batch["image"]["image"], batch["strong"]["image"])
        outputs, model_state = apply(params, model_state, images)
        logits = jnp.moveaxis(outputs.logits, 1, 0)  # [2 B, E, C]
        weak, strong = apart(logits + jnp.asarray(added, logits.dtype), 2)
        repeated = jnp.broadcast_to(labels[:, None], weak.shape[:-1])
        losses = cross_entropy(weak, repeated) + cross_entropy(strong, repeated)
        terms = {"classification": Term(jnp.sum(losses, -1) / 2)}
        share = jnp.minimum((context.epoch + 1) / max(settings.distillation_warmup, 1), 1.0)
        right = (jnp.argmax(weak, -1) == repeated).astype(losses.dtype)
        for e, following in enumerate(jnp.moveaxis(distillation_loss(strong, weak, temperature=1.0), 1, 0)):
            # the mean over the images whose weak view this expert gets right
            terms[f"distillation_{e}"] = Term(following, right[:, e], settings.distillation * share)
        mean = jnp.mean(apart(logits, 2)[0], 1)
        return Outcome(terms, model_state, {"accuracy": accuracy(mean, labels)})

    return one_stage(
        config,
        data,
        network,
        objective,
        **streams_of_views(config, {"strong": settings.augment}),
        prior=sampled_prior(config, data, np.exp(-np.mean(added, axis=0))),
        **averaged_experts(network, experts),
    )
