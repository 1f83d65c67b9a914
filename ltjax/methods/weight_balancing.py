"""Weight balancing: much weight decay for the network, then a classifier of bounded weights on a class-balanced loss.

Alshammari et al., "Long-tailed recognition via weight balancing", CVPR 2022. The classifier of plain
training has longer weights for frequent classes; weight decay and the MaxNorm constraint keep them alike. MaxNorm is
projected gradient descent: after each step the weights of a class that are longer than the radius are scaled to it,

    w_c <- min(1, radius / |w_c|) w_c.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.arrays import norm
from ltjax.class_counts import effective_number_weights
from ltjax.data import Data
from ltjax.data.sampling.epoch_shuffle import instance_balanced
from ltjax.losses import cross_entropy, softmax_binary_loss
from ltjax.methods.ce import cross_entropy_method
from ltjax.methods.common import build_network, carry_over, classify, dtypes, predicts
from ltjax.methods.reweighting import BETA
from ltjax.methods.stage import Features, Previous, Stage, Start, Tree, Updates
from ltjax.methods.two_stages import as_representation
from ltjax.models import LinearHead
from ltjax.settings import Block, Settings, setting
from ltjax.settings.schema import fraction, number, one_of

KERNEL = "head/classifier/kernel"


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightBalancingSettings(Block):
    """config.weight_balancing."""

    max_norm: float = setting(
        0.1,
        "MaxNorm's radius, from the shortest (0) to the longest (1) weights of a class after the first stage",
        number(0, 1),
    )
    loss: str = setting(
        "cross_entropy",
        "the class-balanced loss of the second stage: cross_entropy (the paper), or binary (the authors' code: binary "
        "cross-entropy of the softmax, the mean over the classes; its weighted sum is divided by the batch size)",
        one_of("cross_entropy", "binary"),
    )
    beta: float = setting(BETA, "beta of the effective number of images", fraction)


def weight_balancing(config: Settings, settings: WeightBalancingSettings, data: Data) -> list[Stage]:
    """The network, with the weight decay of config.optimizer; then the classifier, with that of the second stage."""
    (joint,) = cross_entropy_method(config, settings, data)
    epochs, optimizer = config.second_stage()
    network = build_network(config, data, LinearHead(data.num_classes, **dtypes(config)))
    table = effective_number_weights(data.class_counts, settings.beta)
    weights, start = jnp.asarray(table), carry_over(network, data)

    def init(key: jax.Array, previous: Previous | None, features: Features) -> Start:
        begun = start(key, previous, features)
        lengths = norm(jnp.asarray(begun.variables["params"]["head"]["classifier"]["kernel"]), axis=0)
        least, most = jnp.min(lengths), jnp.max(lengths)
        return begun._replace(frozen={"radius": least + settings.max_norm * (most - least)})

    if settings.loss == "binary":  # the authors' code divides by the batch size, PyTorch by the sum of the weights

        def balanced(logits, labels):
            return weights[labels] * softmax_binary_loss(logits, labels)

        objective = classify("image", balanced, config=config)
    else:
        objective = classify("image", cross_entropy, config=config, weights=lambda labels, _: weights[labels])

    classifier = Stage(
        "classifier",
        network=network,
        epochs=epochs,
        optimizer=optimizer,
        streams={"image": instance_balanced()},
        init=init,
        objective=objective,
        predict=predicts(network),
        updates=Updates(("head/classifier",), norm="frozen"),
        project=within_radius,
        prior=np.asarray(data.class_counts, np.float64) * table if settings.loss == "cross_entropy" else None,
    )
    return [as_representation(joint), classifier]


def within_radius(params: dict[str, jax.Array], frozen: Tree) -> dict[str, jax.Array]:
    """The trained parameters by path, the weights of each class not longer than ``frozen["radius"]``.

    Example:
      >>> longer = {KERNEL: jnp.array([[3.0, 0.5], [4.0, 0.0]])}
      >>> print(np.asarray(within_radius(longer, {"radius": 1.0})[KERNEL]).round(3))
      [[0.6 0.5]
       [0.8 0. ]]
    """
    kernel = params[KERNEL]
    shorter = jnp.minimum(1, frozen["radius"] / norm(kernel, axis=0, at_zero=1))
    return params | {KERNEL: (kernel * shorter).astype(kernel.dtype)}
