"""DisAlign: a finished classifier's logits are aligned with balanced classes, by class and by image.

Zhang et al., "Distribution alignment: a unified framework for long-tail visual recognition", CVPR 2021.
First a plain network; then a magnitude and a margin of each class, which count as much as the confidence of each image
says, are trained on cross-entropy with generalised class weights (1 / r_c)^rho, while the rest is frozen.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np

from ltjax.class_counts import inverse_frequency_weights
from ltjax.data import Data
from ltjax.data.sampling.epoch_shuffle import instance_balanced
from ltjax.losses import cross_entropy
from ltjax.methods.ce import cross_entropy_method
from ltjax.methods.common import build_network, carry_over, classify, dtypes, predicts
from ltjax.methods.stage import Stage, Updates
from ltjax.methods.two_stages import as_representation
from ltjax.models import AlignedHead
from ltjax.settings import Block, Settings, setting
from ltjax.settings.schema import not_negative, positive

TRAINED = ("head/magnitude", "head/margin", "head/confidence")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DisAlignSettings(Block):
    """config.disalign."""

    rho: float = setting(
        1.2, "power of the class weights (1 / share)^rho; the authors' ImageNet-LT script", not_negative
    )
    start: float = setting(
        1.0,
        "the magnitudes at first; 1: the second stage begins with the classifier as it is (the authors' code has 2)",
        positive,
    )


def disalign(config: Settings, settings: DisAlignSettings, data: Data) -> list[Stage]:
    """The network, then the alignment of its logits."""
    (joint,) = cross_entropy_method(config, settings, data)
    epochs, optimizer = config.second_stage()
    network = build_network(config, data, AlignedHead(data.num_classes, settings.start, **dtypes(config)))
    table = inverse_frequency_weights(data.class_counts, settings.rho)
    weights = jnp.asarray(table)
    aligned = Stage(
        "aligned",
        network=network,
        epochs=epochs,
        optimizer=optimizer,
        streams={"image": instance_balanced()},
        init=carry_over(network, data, TRAINED),
        objective=classify("image", cross_entropy, config=config, weights=lambda labels, _: weights[labels]),
        predict=predicts(network),
        updates=Updates(TRAINED, norm="frozen"),
        prior=np.asarray(data.class_counts, np.float64) * table,
    )
    return [as_representation(joint), aligned]
