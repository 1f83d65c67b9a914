"""Ingredients: settings of the batch and of the loss that go with most methods (docs/guides/ingredients.md)."""

import dataclasses
from typing import Literal

from ltjax.settings.schema import LARGEST_FLOAT, Block, Check, fraction, not_negative, number, one_of, refuse, setting

_ratio = Check(lambda v: 1 <= v <= LARGEST_FLOAT, "a finite number >= 1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixSettings(Block):
    """Two images of a batch in one, with the labels of both."""

    name: str = setting(
        "none",
        "how the images of a batch are mixed with others of it: none, mixup (blended), cutmix (a box of another one) "
        "or remix (mixup whose label goes to the rarer class). Stages that train the backbone do so",
        one_of("none", "mixup", "cutmix", "remix"),
        added_later=True,
    )
    alpha: float = setting(
        1.0,
        "parameter of Beta(alpha, alpha), from which a batch's mixing share is drawn; 1: uniform",
        not_negative,
        depends_on="mix.name",
    )
    probability: float = setting(1.0, "probability of a batch being mixed", number(0, 1), depends_on="mix.name")
    kappa: float = setting(
        3.0,
        "for remix: the ratio of two classes' numbers of images from which on the label can go to the rarer one",
        _ratio,
        depends_on="mix.name",
    )
    tau: float = setting(
        0.5,
        "for remix: the share below which an image of the more frequent class does not count in the label",
        number(0, 1),
        depends_on="mix.name",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossSettings(Block):
    """What softmax cross-entropy is changed by, in every method whose loss it is."""

    label_smoothing: float = setting(
        0.0,
        "share of each label that is spread over all classes; by class, that of the most frequent one (eps_1)",
        fraction,
        added_later=True,
    )
    smoothing: Literal["uniform", "concave", "linear", "convex"] = setting(
        "uniform",
        "whether all classes are smoothed alike (uniform), or by their number of images (MiSLAS): a concave, linear or "
        "convex function from tail_smoothing for the rarest class to label_smoothing for the most frequent one",
        one_of("uniform", "concave", "linear", "convex"),
        depends_on="loss.label_smoothing",
    )
    tail_smoothing: float = setting(
        0.0,
        "for smoothing by class, the share of the rarest one (eps_K)",
        fraction,
        depends_on="loss.label_smoothing",
    )
    tau: float = setting(
        0.0,
        "logit adjustment in training: factor on the log prior of the training set that is added to the logits; 0 = "
        "none, 1 = balanced softmax",
        not_negative,
        added_later=True,
    )

    def check(self, prefix: str) -> None:
        if self.smoothing != "uniform" and not self.label_smoothing:
            refuse(f"{prefix}smoothing", self.smoothing, f"uniform with {prefix}label_smoothing=0")
        if self.smoothing == "uniform" and self.tail_smoothing:
            refuse(f"{prefix}tail_smoothing", self.tail_smoothing, f"0 with {prefix}smoothing=uniform")
