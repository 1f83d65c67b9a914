"""What the config files share: every setting with its default, and the published recipes.

A config file is ``get_config(arg)``; ``arg`` is what stands behind the colon on the command line, a comma-separated
list of words and ``key=value`` pairs: ``configs/cifar100_reslt.py:short,imbalance=50``.

    settings.py   every setting that all methods have
    datasets.py   what a data set brings to every method
    <family>.py   what a family of methods adds: settings, schedule, words behind the colon
"""

from collections.abc import Callable

from ml_collections.config_dict import ConfigDict

from ltjax.errors import InputError, choose, did_you_mean
from ltjax.presets import asynchronous, auxiliary, baselines, decoupling, reslt
from ltjax.presets.datasets import DATASETS
from ltjax.presets.family import Family, setting
from ltjax.presets.settings import base

__all__ = ["DATASETS", "FAMILIES", "base", "build", "resolve"]

# the second word of a config file's name -> what it adds
FAMILIES: dict[str, Family] = {
    "ce": Family(),
    "reslt": reslt.FAMILY,
    "decoupling": decoupling.FAMILY,
    "asynchronous": asynchronous.FAMILY,
    "auxiliary": auxiliary.FAMILY,
    "baselines": baselines.FAMILY,
}


def build(dataset: str, family: str, arg: str | None = None) -> ConfigDict:
    """The config of ``configs/<dataset>_<family>.py`` with the argument behind its colon.

    Raises:
      InputError: for an unknown word or a value that is no number.

    Example:
      >>> build("cifar100", "reslt", "imbalance=50").data.imbalance
      50.0
    """
    config = base(family)
    config.update(family=family, recipe=dataset)
    choose(DATASETS, dataset, "data set")(config)
    chosen = choose(FAMILIES, family, "family")
    chosen.configure(config, dataset)
    words = [word for word in (arg or "").split(",") if word]
    sizes = [word for word in words if word.partition("=")[0] == "batch_size"]  # behind what is the recipe's own
    others = [word for word in words if word not in sizes]
    for word in sorted(others, key="short".__eq__):  # last, so that it shortens whatever the others chose
        _apply(config, chosen, word, arg)
    _note_batch_size(config)
    for word in sizes:
        _apply(config, chosen, word, arg)
    return config


def _note_batch_size(config: ConfigDict) -> None:
    """What the learning rates are for; later overrides of the batch size do not change it. One rule for all stages."""
    config.optimizer.recipe_batch_size = config.batch_size
    if "second_stage_optimizer" in config:
        config.second_stage_optimizer.recipe_batch_size = config.batch_size
        del config.second_stage_optimizer["rate_rule"]


def short(config: ConfigDict) -> None:
    """Ten epochs, nesterov, weight decay 5e-4, cosine from 0.1 to 0 per step, no warm-up."""
    config.epochs = 10
    config.evaluation.every_epochs = 0
    config.checkpoint.every_steps = 200
    config.optimizer.update(nesterov=True, weight_decay=5e-4)
    config.optimizer.schedule.update(name="cosine", unit="step", warmup_epochs=0)


def _epochs(config: ConfigDict, value: str) -> None:
    config.epochs = int(value)
    schedule = config.optimizer.schedule
    schedule.warmup_epochs = min(schedule.warmup_epochs, max(config.epochs - 1, 0))


COMMON: dict[str, Callable[[ConfigDict, str], None]] = {
    "short": lambda config, _: short(config),
    "imbalance": setting("data.imbalance"),
    "backbone": setting("model.backbone", str),
    "width": setting("model.width", int),
    "sampler": setting("data.sampler", str),
    "batch_size": setting("batch_size", int),
    "epochs": _epochs,
}


def _apply(config: ConfigDict, family: Family, word: str, arg: str | None) -> None:
    key, _, value = word.partition("=")
    table = COMMON | dict(family.arguments)
    if key not in table:
        allowed = ", ".join(table)
        raise InputError(f"--config=...:{arg}: unknown argument '{word}'; allowed: {allowed}{did_you_mean(key, table)}")
    try:
        table[key](config, value)
    except InputError:
        raise
    except (TypeError, ValueError):
        raise InputError(f"--config=...:{arg}: '{value}' is no value for '{key}'") from None
    if word == "short":
        family.short(config)


def resolve(config: ConfigDict) -> None:
    """Fills in what the overrides left open: values that depend on other settings."""
    if config.get("family") in FAMILIES:
        FAMILIES[config.family].resolve(config)
