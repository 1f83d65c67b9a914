"""mixup and CutMix: cross-entropy on what is made of two images, for the labels of both in the shares of each.

Zhang et al., ICLR 2018, eq. 1 and 2; Yun et al., ICCV 2019, eq. 1.
"""

import dataclasses
from collections.abc import Callable

from ltjax.data import Data
from ltjax.losses import cross_entropy, mixup_loss
from ltjax.methods.common import accuracy, build_network, dtypes, one_stage, sampled_prior, watched
from ltjax.methods.mixing import Mixed, mix, paste
from ltjax.methods.stage import Outcome, Stage, Term
from ltjax.models import LinearHead
from ltjax.settings import Block, Settings, setting
from ltjax.settings.schema import not_negative


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixupSettings(Block):
    """config.baseline of ``mixup`` and ``cutmix``."""

    alpha: float = setting(
        1.0, "parameter of Beta(alpha, alpha), from which the mixing share is drawn; 1: uniform", not_negative
    )


def mixup(config: Settings, settings: MixupSettings, data: Data) -> list[Stage]:
    """Blends; one share a batch, Beta(alpha, alpha)."""
    return _on_pairs(config, settings, data, mix)


def cutmix(config: Settings, settings: MixupSettings, data: Data) -> list[Stage]:
    """Boxes of other images; one box a batch, of an area that Beta(alpha, alpha) draws."""
    return _on_pairs(config, settings, data, paste)


def _on_pairs(config: Settings, settings: MixupSettings, data: Data, combine: Callable[..., Mixed]) -> list[Stage]:
    """Logs the accuracy on the labels of the larger share."""
    network = build_network(config, data, LinearHead(data.num_classes, **dtypes(config)))

    def objective(apply, params, model_state, batch, context):
        images, labels = batch["image"]["image"], batch["image"]["label"]
        mixed = combine(context.key, images, labels, settings.alpha)
        outputs, model_state = apply(params, model_state, mixed.images)
        losses = mixup_loss(outputs.logits, mixed.labels_a, mixed.labels_b, mixed.lam, loss=cross_entropy)
        metrics = {"accuracy": accuracy(outputs.logits, mixed.larger), f"{config.method}/lam": mixed.lam}
        return Outcome({"classification": Term(losses)}, model_state, metrics | watched(config, losses, mixed.larger))

    return one_stage(config, data, network, objective, prior=sampled_prior(config, data))
