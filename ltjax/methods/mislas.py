"""MiSLAS: mixup for the representation, then a classifier and its scales with label-aware smoothing.

Zhong, Cui, Liu and Jia, "Improving calibration for long-tailed recognition", CVPR 2021, and the authors' public code.
The first stage is cross-entropy, with config.mix.name=mixup. In the second the backbone is frozen but for its batch
normalisation, whose statistics shift to class-balanced batches; a classifier, at a part of the learning rate, and a
factor for each of its logits are trained on labels that are the smoother the more frequent their class is.
"""

import dataclasses

from ltjax.data import Data
from ltjax.data.sampling.class_cycle import class_cycle
from ltjax.losses import label_aware_smoothing_loss
from ltjax.methods.ce import cross_entropy_method
from ltjax.methods.common import build_network, carry_over, classify, dtypes, predicts
from ltjax.methods.decoupling.settings import PARTS
from ltjax.methods.stage import Stage, Updates
from ltjax.methods.two_stages import as_representation
from ltjax.models import LWSHead
from ltjax.settings import Block, Settings, setting
from ltjax.settings.schema import fraction, integer, not_negative, one_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class MiSLASSettings(Block):
    """config.mislas: the values of the authors' code for CIFAR-100-LT."""

    representation: str = setting(
        "all", "what the first stage trains: all, or the classifier with last_block or last_stage", one_of(*PARTS[1:])
    )
    smooth_head: float = setting(0.4, "smoothing of the labels of the most frequent class", fraction)
    smooth_tail: float = setting(0.1, "smoothing of the labels of the rarest class", fraction)
    classifier_rate: float = setting(
        0.2, "factor on the classifier's learning rate in the second stage; its scales have the full one", not_negative
    )
    shift_norm: bool = setting(
        True, "let batch normalisation's statistics shift to class-balanced batches in the second stage"
    )
    images_per_class: int = setting(4, "images taken at each visit to a class by class-aware sampling", integer(1))


def mislas(config: Settings, settings: MiSLASSettings, data: Data) -> list[Stage]:
    """Cross-entropy; then classifier and scales with label-aware smoothing, on as many images of every class."""
    (joint,) = cross_entropy_method(config, settings, data)
    epochs, optimizer = config.second_stage()
    network = build_network(config, data, LWSHead(data.num_classes, **dtypes(config)))

    def loss(logits, labels):
        return label_aware_smoothing_loss(
            logits,
            labels,
            class_counts=data.class_counts,
            head=settings.smooth_head,
            tail=settings.smooth_tail,
        )

    second = Stage(
        "classifier",
        network=network,
        epochs=epochs,
        optimizer=optimizer,
        streams={"image": class_cycle(settings.images_per_class)},
        init=carry_over(network, data),
        objective=classify("image", loss, config=config),
        predict=predicts(network),
        updates=Updates(
            ("head/classifier", "head/scale"),
            {"head/classifier": settings.classifier_rate},
            norm="batch" if settings.shift_norm else "frozen",
        ),
    )
    return [as_representation(joint, settings.representation), second]
