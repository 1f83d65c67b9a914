"""ResLT's settings (Cui et al., 2022, section 4.1, and the authors' public code), and its words behind the colon."""

import dataclasses
from collections.abc import Mapping

from ltjax.errors import InputError
from ltjax.methods.reslt.variants import CONVOLUTIONS, VARIANTS
from ltjax.settings import Block, Settings, setting
from ltjax.settings.config_dict import Config
from ltjax.settings.config_file import Word, sets
from ltjax.settings.schema import Check, integer, not_negative, one_of, refuse

# alpha of the authors' public code, by data set and imbalance factor; other data sets have 0.9
ALPHA = {
    "cifar10": {100: 0.998, 50: 0.998, 10: 0.96},
    "cifar100": {100: 0.995, 50: 0.99, 10: 0.72},
}
_alpha = Check(lambda v: 0 <= v <= 1, "a number in [0, 1]")
_epsilon = Check(lambda v: 0 <= v < 1, "a number in [0, 1)")
_gamma = Check(lambda v: -1 <= v <= 10, "a number in [0, 10], or -1 for W x + b")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResLTSettings(Block):
    """config.reslt."""

    alpha: float | None = setting(
        None, "weight of the branches' loss; the fusion's is 1 - alpha; None: chosen by data set and imbalance", _alpha
    )
    groups: int = setting(
        3,
        "number of groups of classes; each group has a branch",
        Check(lambda v: 2 <= v <= 5, "2 to 5, and at most the number of classes"),
    )
    boundaries: tuple[int, ...] = setting(
        (), "positions in frequency order at which the second and later groups start; () = geometrically by image count"
    )
    head: str = setting(
        "bn", "the branches' extra layer: bn (CIFAR) or conv (ImageNet-LT, iNaturalist)", one_of("bn", "conv")
    )
    conv_before_pool: bool = setting(
        True, "for head=conv: training convolves before it pools; evaluation always after (the authors' code)"
    )
    gamma: float = setting(
        -1.0,
        "evaluation divides each class's weights by their norm to this power and drops the bias (the authors' code on "
        "the large sets, not in the paper); -1: W x + b",
        _gamma,
    )
    experts: int = setting(
        0,
        "number of experts of RIDE's backbones (section 4.3), each with branches of its own; 0: a plain backbone",
        integer(0, 10),
    )
    reduce: bool = setting(True, "give the experts three quarters of the channels")
    mixup: float = setting(
        0.0,
        "mixup's share is drawn from Beta(mixup, mixup); 0: no mixup; 1: the paper's rows with a section sign",
        not_negative,
    )
    variant: str = setting(
        "full",
        "the form of the method: full; a to e (figure 2's ablations); baseline (section 3.1's); grouped_conv, "
        "separate_conv (figure 7's)",
        one_of(*VARIANTS, *CONVOLUTIONS),
    )
    divisor: str = setting(
        "pooled",
        "divisor of the branches' loss: pooled (the authors' code) or subset_means (the paper's eq. 2)",
        one_of("pooled", "subset_means"),
    )
    probability_epsilon: float = setting(
        0.0, "number added inside the branches' logarithms; the authors add 1e-7", _epsilon
    )
    fusion_epsilon: float = setting(
        0.0, "number added inside the fusion's logarithm; the authors do so on ImageNet-LT", _epsilon
    )

    def check(self, prefix: str) -> None:
        boundaries = list(self.boundaries)
        fitting = len(boundaries) == self.groups - 1 and boundaries == sorted(set(boundaries))
        if boundaries and not (fitting and boundaries[0] >= 1):
            allowed = f"() or {prefix}groups - 1 = {self.groups - 1} rising positions >= 1"
            refuse(f"{prefix}boundaries", self.boundaries, allowed)
        if self.variant in CONVOLUTIONS:  # plain cross-entropy, no branches
            if self.mixup:
                refuse(f"{prefix}mixup", self.mixup, f"only 0 with {prefix}variant={self.variant}")
            if self.experts:
                refuse(f"{prefix}experts", self.experts, f"only 0 with {prefix}variant={self.variant}")


def published_alpha(name: str, imbalance: float) -> float:
    """The alpha of the nearest imbalance factor at or above this one; 0.9 for data sets without one.

    Example:
      >>> published_alpha("cifar100", 100.0), published_alpha("cifar10", 20.0), published_alpha("other", 40.0)
      (0.995, 0.998, 0.9)
    """
    table = ALPHA.get(name, {})
    above = [factor for factor in table if factor >= imbalance]
    return table[min(above)] if above else max(table.values(), default=0.9)


def resolve(config: Settings, settings: ResLTSettings) -> Settings:
    """alpha, where it is not given.

    Raises:
      InputError: if images are to be mixed by config.reslt.mixup and by config.mix.
    """
    if settings.mixup and config.mix.name != "none":
        refuse("config.mix.name", config.mix.name, f"none with config.reslt.mixup={settings.mixup:g}, which mixes too")
    if settings.alpha is not None:
        return config
    alpha = published_alpha(config.data.name, config.data.imbalance)
    return dataclasses.replace(config, method_settings=dataclasses.replace(settings, alpha=alpha))


def groups(config: Config, value: str) -> None:
    """``groups=2`` to ``groups=5`` (table 9); another number than the published boundaries' has them by count."""
    config.reslt.groups = int(value)
    if len(config.reslt.boundaries) != config.reslt.groups - 1:
        config.reslt.boundaries = ()


def strong(config: Config, value: str) -> None:
    """``strong``: mixup (the tables' section sign)."""
    del value
    config.reslt.mixup = 1.0


def long(config: Config, value: str) -> None:
    """``long``: twice the epochs."""
    del value
    schedule = config.optimizer.schedule
    config.epochs = 2 * config.epochs
    schedule.milestones = tuple(2 * milestone for milestone in schedule.milestones)


def experts(config: Config, value: str) -> None:
    """``experts=3`` (table 7), where the config file has no backbone for them."""
    raise InputError(
        f"experts={value}: this config file has no expert variant; mnist5k_reslt, cifar10_reslt, cifar100_reslt, "
        "imagenet_reslt and inat_reslt have one"
    )


def experts_on(backbone: str, reduce: bool = True, changes: Mapping[str, object] | None = None) -> Word:
    """The word ``experts=3`` (table 7): RIDE's form of the data set's backbone.

    Args:
      backbone: its name.
      reduce: whether the experts have three quarters of the channels.
      changes: what the authors set with it, by flat key.
    """

    def apply(config: Config, value: str) -> None:
        config.update_from_flattened_dict(changes or {})
        config.model.backbone = backbone
        config.reslt.update(experts=int(value), reduce=reduce)

    return apply


WORDS: dict[str, Word] = {
    "alpha": sets("reslt.alpha"),
    "groups": groups,
    "experts": experts,
    "gamma": sets("reslt.gamma"),
    "variant": sets("reslt.variant", str),
    "head": sets("reslt.head", str),
    "strong": strong,
    "long": long,
    "pretrained": sets("model.pretrained", str),
}
