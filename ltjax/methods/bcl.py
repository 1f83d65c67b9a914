"""BCL, balanced contrastive learning: logit-compensated cross-entropy, and views compared with all classes alike.

Zhu et al., "Balanced contrastive learning for long-tailed visual recognition", CVPR 2022. One view of an image is
classified, two more are projected and compared with each other, with the other images of the batch, and with a
prototype of each class that another projection makes of the classifier's weights:

    loss = lambda CE(x + log prior, y) + mu BCL(z_2, z_3; prototypes)
"""

import dataclasses
from typing import Any

from ltjax.data import Data
from ltjax.losses import balanced_contrastive_loss, logit_adjusted_loss
from ltjax.methods.common import (
    accuracy,
    build_backbone,
    build_network,
    dtypes,
    of_family,
    one_stage,
    uniform_prior,
    watched,
)
from ltjax.methods.stage import Outcome, Stage, Term
from ltjax.methods.views import apart, streams_of_views, together
from ltjax.models import ContrastiveHead, CosineHead, LinearHead
from ltjax.settings import Block, Settings, setting
from ltjax.settings.schema import integer, not_negative, one_of, positive

COMPARES = "its contrastive loss compares the images of a batch"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContrastiveSettings(Block):
    """Part of the blocks of the methods that compare projected views."""

    augment: str = setting(
        "",
        "the augmentation of the views that are compared, such as simclr or crop224_flip_simclr; '' = that of the "
        "images that are classified",
    )
    width: int = setting(128, "width of the projections", integer(1, 65536))
    hidden: int = setting(
        0, "width of the projection's layer before the last; 0 = that of the features", integer(0, 65536)
    )
    classifier: str = setting("cosine", "the classifier: cosine or linear", one_of("cosine", "linear"))
    scale: float = setting(30.0, "factor on the cosines of classifier=cosine", positive)
    temperature: float = setting(0.1, "temperature of the contrastive loss", positive)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BCLSettings(ContrastiveSettings):
    """config.bcl: the authors' values on CIFAR."""

    hidden: int = setting(
        512, "width of the projection's layer before the last; 0 = that of the features", integer(0, 65536)
    )
    classification_weight: float = setting(2.0, "lambda, the weight of the cross-entropy", not_negative)
    contrastive_weight: float = setting(0.6, "mu, the weight of the contrastive loss", not_negative)


def linear_head(config: Settings, data: Data) -> Any:
    """A linear classifier whose weights start as those of the backbone's family do."""
    return of_family(LinearHead(data.num_classes, **dtypes(config)), build_backbone(config, layer_follows=True))


def contrastive_head(
    config: Settings, settings: ContrastiveSettings, data: Data, prototypes: bool = False
) -> ContrastiveHead:
    """The settings' classifier, with a projection of two layers beside it."""
    types = dtypes(config)
    if settings.classifier == "cosine":
        head = CosineHead(data.num_classes, settings.scale, learn_scale=False, normed_init=True, **types)
    else:
        head = linear_head(config, data)
    return ContrastiveHead(head, settings.width, (settings.hidden,), prototypes=prototypes, **types)


def bcl(config: Settings, settings: BCLSettings, data: Data) -> list[Stage]:
    """One stage of three views: the first is classified, the second and the third are compared."""
    network = build_network(config, data, contrastive_head(config, settings, data, prototypes=True))
    views = ("image", "second", "third")

    def objective(apply, params, model_state, batch, context):
        del context
        images = together(*(batch[view]["image"] for view in views))
        outputs, model_state = apply(params, model_state, images, project=True)
        logits, _, _ = apart(outputs.logits["classifier"], 3)
        _, second, third = apart(outputs.logits["projection"], 3)
        labels = batch["image"]["label"]
        losses = logit_adjusted_loss(logits, labels, class_counts=data.class_counts)
        contrast = balanced_contrastive_loss(
            together(second, third),
            together(batch["second"]["label"], batch["third"]["label"]),
            outputs.logits["prototypes"][:, 0],
            temperature=settings.temperature,
        )
        terms = {
            "classification": Term(losses, scale=settings.classification_weight),
            "contrastive": Term(contrast, scale=settings.contrastive_weight),
        }
        return Outcome(terms, model_state, {"accuracy": accuracy(logits, labels)} | watched(config, losses, labels))

    return one_stage(
        config,
        data,
        network,
        objective,
        **streams_of_views(config, {"second": settings.augment, "third": settings.augment}),
        whole_batch=COMPARES,
        prior=uniform_prior(data),
    )
