"""What methods of several experts in one network share: their mean is the prediction, and each of them is a view."""

from typing import Any

import jax
import jax.numpy as jnp

from ltjax import models
from ltjax.methods.common import Predict, evaluate_network
from ltjax.methods.stage import Tree


def averaged_experts(network: models.Network, experts: int) -> dict[str, Any]:
    """``predict`` and ``views`` of a ``Stage``: the mean of the experts' logits, and ``expert_0``, ``expert_1``, ...

    Args:
      network: with logits [E, B, C].
      experts: E.
    """

    def logits(variables: Tree, images: jax.Array) -> jax.Array:
        return evaluate_network(network, variables, images).logits

    def one(number: int) -> Predict:
        return lambda variables, images: logits(variables, images)[number]

    return {
        "predict": lambda variables, images: jnp.mean(logits(variables, images), 0),
        "views": {f"expert_{number}": one(number) for number in range(experts)},
    }
