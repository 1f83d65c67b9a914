"""ResLT's settings and schedules (Cui et al., 2022, section 4.1, and the authors' public code)."""

from ml_collections.config_dict import ConfigDict, placeholder

from ltjax.errors import InputError
from ltjax.presets.family import Family, setting

# alpha of the authors' public code, by data set and imbalance factor (1: the set is long-tailed as it comes)
ALPHA = {
    "cifar10": {100: 0.998, 50: 0.998, 10: 0.96},
    "cifar100": {100: 0.995, 50: 0.99, 10: 0.72},
    "mnist5k": {40: 0.5},  # ours: 0.5 and 0.9 were compared on 30 % of the training images, seeds 0 and 1
    "imagenet_lt": {1: 0.99},
    "inat2018": {1: 0.85},  # the paper's text has 0.90
    "places_lt": {1: 0.99},  # not published; as ImageNet-LT
}
# Where the groups end, in frequency order; without an entry (Places-LT: not published) they end by count.
BOUNDARIES = {"cifar10": (2, 4), "cifar100": (35, 70), "imagenet": (175, 780), "inat": (1542,)}
# What the authors set with the backbone: (batch size, learning rate, gamma, whether training convolves before it pools)
BACKBONES = {
    "imagenet": {
        "resnet10": (256, 0.1, 0.3, False),
        "resnext50_32x4d": (256, 0.1, 0.7, True),
        "resnext101_32x4d": (128, 0.05, 0.7, True),
        "ride_resnext50_32x4d": (128, 0.05, 0.7, True),
    },
    # gamma is published for ResNet-50 alone
    "inat": {
        "resnet50": (256, 0.1, 0.3, True),
        "resnet152": (128, 0.05, 0.3, True),
        "ride_resnet50": (256, 0.1, 0.3, True),
    },
    # gamma is not published; as ImageNet-LT. The rate is the head's, the backbone's is 5e-4 (optimizer.backbone_rate)
    "places": {"resnet152": (128, 0.05, 0.7, True)},
    # one's own pictures: the form of ImageNet-LT's ResNet-10, and the paper's classifier
    "folder": {"resnet10": (64, 0.05, -1.0, False)},
    "list": {"resnet10": (64, 0.05, -1.0, False)},
}
# data set -> (backbone of the experts, three quarters of the channels)
EXPERTS = {
    "mnist5k": ("ride_resnet8", True),
    "cifar10": ("ride_resnet32", True),
    "cifar100": ("ride_resnet32", True),
    "imagenet": ("ride_resnext50_32x4d", True),
    "inat": ("ride_resnet50", False),
}


def settings(dataset: str) -> ConfigDict:
    """ResLT's own settings."""
    boundaries = BOUNDARIES.get(dataset, ())
    return ConfigDict(
        {
            # weight of the branches' loss, the fusion's is 1 - alpha; None: the authors' for data set and imbalance
            "alpha": placeholder(float),
            "groups": len(boundaries) + 1 if boundaries else 3,  # 2 to 5
            # positions in frequency order where the next group starts; () = by count, geometrically
            "boundaries": boundaries,
            "head": "conv" if dataset in BACKBONES else "bn",  # bn (CIFAR) or conv (ImageNet-LT, iNaturalist)
            # conv: training convolves before it pools, evaluation always after (the authors' code)
            "conv_before_pool": True,
            # evaluation divides each class's weights by their norm to this power and drops the bias (the authors'
            # code on the large sets, not in the paper); -1: W x + b
            "gamma": -1.0,
            "experts": 0,  # of RIDE's backbones (section 4.3), each with branches of its own; 0: a plain backbone
            "reduce": True,  # the experts have three quarters of the channels
            "mixup": 0.0,  # Beta(mixup, mixup) is the share of each image; 0: none. The tables' section sign: 1
            # full; a to e: figure 2's ablations; baseline: section 3.1's; grouped_conv, separate_conv: figure 7's
            "variant": "full",
            "divisor": "pooled",  # pooled (the authors' code) or subset_means (the paper's eq. 2)
            "probability_epsilon": 0.0,  # the authors add 1e-7 inside the branches' logarithms ...
            "fusion_epsilon": 0.0,  # ... and on ImageNet-LT inside the fusion's
        }
    )


def alpha(name: str, imbalance: float) -> float:
    """The alpha of the nearest imbalance factor at or above this one; 0.9 for data sets without one.

    Example:
      >>> alpha("cifar100", 100.0), alpha("cifar10", 20.0), alpha("other", 40.0)
      (0.995, 0.998, 0.9)
    """
    table = ALPHA.get(name, {})
    above = [factor for factor in table if factor >= imbalance]
    return table[min(above)] if above else max(table.values(), default=0.9)


def configure(config: ConfigDict, dataset: str) -> None:
    config.reslt = settings(dataset)
    schedule = config.optimizer.schedule
    if dataset.startswith("cifar"):  # the schedule of ResLT's tables
        config.optimizer.update(nesterov=True, weight_decay=5e-4)
        schedule.update(warmup_epochs=5, warmup_start=1 / 3, decay=0.1)
    if dataset == "imagenet":
        config.epochs = 180
        schedule.warmup_epochs = 5
    if dataset in BACKBONES:
        backbone(config, config.model.backbone)


def backbone(config: ConfigDict, name: str) -> None:
    """``backbone=NAME``, and what the authors set with it; of others that stays as it is."""
    config.model.backbone = name
    known = BACKBONES.get(config.recipe, {})
    if name in known:
        batch_size, rate, gamma, conv_before_pool = known[name]
        config.batch_size = batch_size
        config.optimizer.learning_rate = rate
        config.reslt.update(gamma=gamma, conv_before_pool=conv_before_pool)


def experts(config: ConfigDict, value: str) -> None:
    """``experts=2`` or ``experts=3`` (table 7): RIDE's form of the data set's backbone."""
    if config.recipe not in EXPERTS:
        allowed = ", ".join(EXPERTS)
        raise InputError(
            f"experts: the expert variant has no backbone for '{config.recipe}'; there is one for {allowed}"
        )
    name, reduce = EXPERTS[config.recipe]
    backbone(config, name)
    config.reslt.update(experts=int(value), reduce=reduce)


def groups(config: ConfigDict, value: str) -> None:
    """``groups=2`` to ``groups=5`` (table 9); another number than the published boundaries' has them by count."""
    config.reslt.groups = int(value)
    if len(config.reslt.boundaries) != config.reslt.groups - 1:
        config.reslt.boundaries = ()


def strong(config: ConfigDict, value: str) -> None:
    """``strong``: mixup, and AutoAugment on CIFAR (the tables' section sign)."""
    del value
    if config.recipe == "places":
        raise InputError("strong: on Places-LT the paper changes the pretrained weights instead; give pretrained=FILE")
    config.reslt.mixup = 1.0
    if config.recipe.startswith("cifar"):
        config.data.augment = "autoaugment_flip"


def long(config: ConfigDict, value: str) -> None:
    """``long``: twice the epochs, 360 on iNaturalist (table 2's star)."""
    del value
    schedule = config.optimizer.schedule
    config.epochs = 360 if config.recipe == "inat" else 2 * config.epochs
    schedule.milestones = tuple(2 * milestone for milestone in schedule.milestones)


def resolve(config: ConfigDict) -> None:
    if config.reslt.alpha is None:
        config.reslt.alpha = alpha(config.data.name, config.data.imbalance)


FAMILY = Family(
    configure,
    {
        "alpha": setting("reslt.alpha"),
        "groups": groups,
        "backbone": backbone,
        "experts": experts,
        "gamma": setting("reslt.gamma"),
        "variant": setting("reslt.variant", str),
        "head": setting("reslt.head", str),
        "strong": strong,
        "long": long,
        "pretrained": setting("model.pretrained", str),
    },
    resolve,
)
