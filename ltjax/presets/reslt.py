"""ResLT's settings and schedules (Cui et al., 2022, section 4.1, and the authors' public code)."""

from ml_collections.config_dict import ConfigDict, placeholder

from ltjax.presets.family import Family, setting

# alpha and branch groups of the authors' public code, by data set and imbalance factor
ALPHA = {
    "cifar10": {100: 0.998, 50: 0.998, 10: 0.96},
    "cifar100": {100: 0.995, 50: 0.99, 10: 0.72},
    "mnist5k": {40: 0.5},  # ours: 0.5 and 0.9 were compared on 30 % of the training images, seeds 0 and 1
}
BOUNDARIES = {"cifar10": (2, 4), "cifar100": (35, 70)}


def settings(dataset: str) -> ConfigDict:
    """ResLT's own settings; None means: the authors' value for this data set and imbalance."""
    return ConfigDict(
        {
            "alpha": placeholder(float),  # weight of the branches' loss; the fusion's is 1 - alpha
            "groups": 3,
            # positions in frequency order where the next group starts; () = by count, geometrically
            "boundaries": BOUNDARIES.get(dataset, ()),
            "head": "bn",  # bn (CIFAR) or conv (ImageNet-LT, iNaturalist)
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
    if dataset.startswith("cifar"):  # the schedule of ResLT's tables
        config.optimizer.update(nesterov=True, weight_decay=5e-4)
        config.optimizer.schedule.update(warmup_epochs=5, warmup_start=1 / 3, decay=0.1)


def resolve(config: ConfigDict) -> None:
    if config.reslt.alpha is None:
        config.reslt.alpha = alpha(config.data.name, config.data.imbalance)


FAMILY = Family(configure, {"alpha": setting("reslt.alpha"), "groups": setting("reslt.groups", int)}, resolve)
