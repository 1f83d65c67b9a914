"""Focal losses: easy images count less (Lin et al., ICCV 2017), and the class-balanced form (Cui et al., CVPR 2019)."""

import math
from typing import Any

import jax.numpy as jnp

from ltjax.class_counts import effective_number_weights
from ltjax.data import Data
from ltjax.losses import focal_loss, sigmoid_focal_loss
from ltjax.methods.common import Rules, build_network, checked, classify, dtypes, one_stage, rates
from ltjax.methods.stage import Stage, Updates
from ltjax.models import LinearHead


def focal(config: Any, data: Data) -> list[Stage]:
    """Softmax focal loss, the mean over the batch (the form of the LDAM-DRW code)."""
    settings = checked(config, "baseline", gamma_rule)
    network = build_network(config, data, LinearHead(data.num_classes, **dtypes(config)))

    def loss(logits, labels):
        return focal_loss(logits, labels, gamma=settings.gamma)

    return one_stage(config, data, network, classify("image", loss, config=config))


def class_balanced_focal(config: Any, data: Data) -> list[Stage]:
    """Sigmoid focal loss, each image weighted by its class's effective number (eq. 2 and section 4.4 of Cui et al.).

    Every class starts as rare: its bias is -log(C - 1), a probability of 1 / C, and has no weight decay.
    """
    settings = checked(config, "baseline", lambda own: gamma_rule(own) | beta_rule(own))
    start = -math.log(max(data.num_classes - 1, 1))
    head = LinearHead(data.num_classes, bias_init_value=start, **dtypes(config))
    weights = jnp.asarray(effective_number_weights(data.class_counts, settings.beta))

    def loss(logits, labels):
        return sigmoid_focal_loss(logits, labels, gamma=settings.gamma, class_weights=weights)

    network = build_network(config, data, head)
    objective = classify("image", loss, config=config)
    updates = Updates(rates=rates(config), undecayed=("head/classifier/bias",))
    return one_stage(config, data, network, objective, updates=updates)


def gamma_rule(settings: Any) -> Rules:
    return {"gamma": (0 <= settings.gamma < math.inf, "a finite number >= 0")}


def beta_rule(settings: Any) -> Rules:
    return {"beta": (0 <= settings.beta < 1, "a number in [0, 1)")}
