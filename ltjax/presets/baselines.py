"""The baselines of the papers' tables, each a word behind the colon: ``configs/cifar100_baselines.py:ldam_drw``."""

from collections.abc import Callable
from typing import Any

from ml_collections.config_dict import ConfigDict

from ltjax.errors import InputError
from ltjax.presets import baselines_experts as experts
from ltjax.presets import baselines_metric as metric
from ltjax.presets import oltr
from ltjax.presets.family import Family

# Without a name behind the colon: the strongest one-stage baseline of the CIFAR tables.
DEFAULT = "ldam_drw"
BETA = 0.9999  # of the effective number: the CIFAR scripts of both papers
DEFERRED_PART = 0.8  # epoch 160 of 200


def plain(**settings: Any) -> Callable[[ConfigDict, str], None]:
    """A baseline that only has settings of its own."""

    def configure(config: ConfigDict, dataset: str) -> None:
        del dataset
        config.baseline = ConfigDict(settings)

    return configure


BASELINES: dict[str, Callable[[ConfigDict, str], None]] = {
    "focal": plain(gamma=1.0),  # LDAM-DRW's scripts
    "cb_ce": plain(beta=BETA),
    "cb_focal": plain(beta=BETA, gamma=1.0),  # Cui et al. try 0.5, 1 and 2
    "cost_sensitive": plain(gamma=1.0),  # weight (n_min / n)^gamma
    "ldam": plain(max_margin=0.5, scale=30.0),
    "ldam_drw": plain(max_margin=0.5, scale=30.0, beta=BETA, deferred_part=DEFERRED_PART),
    "ce_drw": plain(beta=BETA, deferred_part=DEFERRED_PART),
    "ce_drs": plain(deferred_part=DEFERRED_PART),
    "mixup": plain(alpha=1.0),  # the shares are uniform
    "cutmix": plain(alpha=1.0),  # as its authors have it
    "bbn": experts.bbn,
    "causal_norm": experts.causal_norm,
    "ride": experts.ride,
    "balanced_softmax": plain(),
    "logit_adjustment": plain(tau=1.0),
    "lifted": metric.lifted,
    "range": metric.range,
    "triplet": metric.triplet,
    "proxy": metric.proxy,
    "oltr": oltr.configure_oltr,
}


def _named(name: str) -> Callable[[ConfigDict, str], None]:
    def apply(config: ConfigDict, value: str) -> None:
        if value:
            raise ValueError(f"{name} takes no value")
        config.method = name
        BASELINES[name](config, config.recipe)

    return apply


def _on_another(config: ConfigDict, value: str) -> None:
    """``oltr,on=crt``."""
    if config.method != "oltr":
        raise InputError(f"on={value}: an argument of oltr; write ...:oltr,on={value}")
    oltr.on(config, value)


def configure(config: ConfigDict, dataset: str) -> None:
    del dataset
    _named(DEFAULT)(config, "")


def _short(config: ConfigDict) -> None:
    if config.method == "oltr":
        oltr.short(config)


FAMILY = Family(configure, {**{name: _named(name) for name in BASELINES}, "on": _on_another}, short=_short)
