"""Focal losses: easy images count less (Lin et al., ICCV 2017), and the class-balanced form (Cui et al., CVPR 2019)."""

import dataclasses
import math

import jax.numpy as jnp

from ltjax.class_counts import effective_number_weights
from ltjax.data import Data
from ltjax.losses import focal_loss, sigmoid_focal_loss
from ltjax.methods.common import build_network, classifier, classify, dtypes, one_stage, rates
from ltjax.methods.stage import Stage, Updates
from ltjax.models import LinearHead
from ltjax.settings import Block, Settings, setting
from ltjax.settings.schema import fraction, not_negative


@dataclasses.dataclass(frozen=True, kw_only=True)
class FocalSettings(Block):
    """config.baseline of ``focal``."""

    gamma: float = setting(
        1.0, "power of 1 - p, which lowers the weight of easy images; LDAM-DRW's scripts have 1", not_negative
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassBalancedFocalSettings(Block):
    """config.baseline of ``cb_focal``."""

    beta: float = setting(0.9999, "beta of the effective number of images; the CIFAR scripts have 0.9999", fraction)
    gamma: float = setting(
        1.0, "power of 1 - p, which lowers the weight of easy images; Cui et al. try 0.5, 1, 2", not_negative
    )


def focal(config: Settings, settings: FocalSettings, data: Data) -> list[Stage]:
    """Softmax focal loss, the mean over the batch (the form of the LDAM-DRW code)."""
    network = build_network(config, data, classifier(config, data))

    def loss(logits, labels):
        return focal_loss(logits, labels, gamma=settings.gamma)

    return one_stage(config, data, network, classify("image", loss, config=config))


def class_balanced_focal(config: Settings, settings: ClassBalancedFocalSettings, data: Data) -> list[Stage]:
    """Sigmoid focal loss, each image weighted by its class's effective number (eq. 2 and section 4.4 of Cui et al.).

    Every class starts as rare: its bias is -log(C - 1), a probability of 1 / C, and has no weight decay.
    """
    start = -math.log(max(data.num_classes - 1, 1))
    head = LinearHead(data.num_classes, bias_init_value=start, **dtypes(config))
    weights = jnp.asarray(effective_number_weights(data.class_counts, settings.beta))

    def loss(logits, labels):
        return sigmoid_focal_loss(logits, labels, gamma=settings.gamma, class_weights=weights)

    network = build_network(config, data, head)
    objective = classify("image", loss, config=config)
    updates = Updates(rates=rates(config.optimizer), undecayed=("head/classifier/bias",))
    return one_stage(config, data, network, objective, updates=updates)
