"""GCL: noise on the logits, the wider the rarer the class, so that rare classes get a larger margin of features.

Li, Cheung and Lu, "Long-tailed visual recognition via Gaussian clouded logit adjustment", CVPR 2022, and the
authors' public code. A cosine classifier is trained on clouded cosines,

    CE(s (cos_c - a delta_c |e_c|), y),   e_c ~ N(0, 1/9) within -1..1,   delta_c from 0 (most frequent) to 1 (rarest),

then it alone again, on images drawn by their class's effective number (CBEN), with a margin and a focal weight.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from ltjax.data import Data
from ltjax.data.sampling.independent import effective_number
from ltjax.losses import gaussian_clouded_loss
from ltjax.methods.common import accuracy, build_network, carry_over, dtypes, one_stage, predicts, watched
from ltjax.methods.decoupling.settings import PARTS
from ltjax.methods.mixing import mix, mixed_stage
from ltjax.methods.reweighting import BETA
from ltjax.methods.stage import Outcome, Stage, Term, Updates
from ltjax.methods.two_stages import as_representation
from ltjax.models import CosineHead
from ltjax.settings import Block, Settings, setting
from ltjax.settings.schema import fraction, not_negative, one_of, positive, refuse


@dataclasses.dataclass(frozen=True, kw_only=True)
class GCLSettings(Block):
    """config.gcl: the values of the authors' code for CIFAR."""

    scale: float = setting(30.0, "factor on the clouded cosines", positive)
    cloud: float = setting(0.5, "a, the factor on the noise", not_negative)
    representation: str = setting(
        "all", "what the first stage trains: all, or the classifier with last_block or last_stage", one_of(*PARTS[1:])
    )
    second_scale: float = setting(20.0, "factor on the clouded cosines in the second stage", positive)
    second_margin: float = setting(0.1, "margin of all classes in the second stage", not_negative)
    second_gamma: float = setting(1.0, "power of the focal weight (1 - p)^gamma in the second stage", not_negative)
    second_mixup: float = setting(
        1.0, "parameter of mixup's Beta(alpha, alpha) in the second stage; 0: no mixup", not_negative
    )
    beta: float = setting(BETA, "beta of the most frequent class's effective number of images", fraction)
    beta_spread: float = setting(1e-5, "what the rarest class's beta is above it", fraction)

    def check(self, prefix: str) -> None:
        if not 0 < self.beta + self.beta_spread < 1:
            refuse(f"{prefix}beta_spread", self.beta_spread, f"a number below {1 - self.beta:g}, 1 - {prefix}beta")


def gcl(config: Settings, settings: GCLSettings, data: Data) -> list[Stage]:
    """Backbone and cosine classifier on clouded logits; then the classifier alone on nearly balanced images."""
    head = CosineHead(data.num_classes, learn_scale=False, normed_init=True, **dtypes(config))
    network = build_network(config, data, head)
    first = clouded(config, settings, data, scale=settings.scale)
    (joint,) = one_stage(config, data, network, first, predict=predicts(network, settings.scale))
    epochs, optimizer = config.second_stage()
    second = Stage(
        "classifier",
        network=network,
        epochs=epochs,
        optimizer=optimizer,
        streams={"image": effective_number(settings.beta, settings.beta_spread)},
        init=carry_over(network, data),
        objective=clouded(
            config,
            settings,
            data,
            scale=settings.second_scale,
            margin=settings.second_margin,
            gamma=settings.second_gamma,
        ),
        predict=predicts(network, settings.second_scale),
        updates=Updates(("head/classifier",), norm="frozen"),
    )
    if settings.second_mixup:
        second = mixed_stage(second, functools.partial(mix, alpha=settings.second_mixup), "gcl")
    return [as_representation(joint, settings.representation), second]


def clouded(config: Settings, settings: GCLSettings, data: Data, **options: float) -> Callable[..., Outcome]:
    """The objective of either stage; ``options`` go to the loss."""

    def objective(apply, params, model_state, batch, context):
        images, labels = batch["image"]["image"], batch["image"]["label"]
        outputs, model_state = apply(params, model_state, images)
        noise = jnp.clip(jax.random.normal(context.key, outputs.logits.shape) / 3, -1, 1)
        losses = gaussian_clouded_loss(
            outputs.logits, labels, noise, class_counts=data.class_counts, cloud=settings.cloud, **options
        )
        metrics = {"accuracy": accuracy(outputs.logits, labels)} | watched(config, losses, labels)
        return Outcome({"classification": Term(losses)}, model_state, metrics)

    return objective
