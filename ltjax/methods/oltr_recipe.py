"""OLTR's schedules as words behind the colon (Liu et al., CVPR 2019; the authors' public code)."""

from collections.abc import Callable, Mapping
from typing import Any

from ltjax.errors import InputError, choose
from ltjax.methods.oltr import OLTRSettings
from ltjax.settings import config_file
from ltjax.settings.config_dict import Config
from ltjax.settings.config_file import add_second_stage, config_of, no_value

GROUNDS = ("own", "representation", "crt")


# the second stage from random weights, the authors' on ImageNet-LT: features 0.01, classifier 0.1
FROM_SCRATCH = {"second_stage_optimizer.learning_rate": 0.1, "second_stage_optimizer.backbone_rate": 0.1}


def oltr_word(
    second_stage_epochs: int, first: Mapping[str, Any], second: Mapping[str, Any] = FROM_SCRATCH
) -> Callable[[Config, str], None]:
    """The word ``oltr``: two stages, the second with modulated attention; a tenth of the rate after each third of it.

    Args:
      second_stage_epochs: of the memory.
      first: settings of both stages by flat key, where they are not the recipe's.
      second: settings of the second stage by flat key; the others of its optimizer are the first stage's.
    """

    def apply(config: Config, value: str) -> None:
        no_value(value)
        config.method = "oltr"
        config.oltr = config_of(OLTRSettings)
        config.oltr.attention = True
        config.update_from_flattened_dict(first)
        add_second_stage(config, second_stage_epochs)
        config.update_from_flattened_dict(second)
        thirds(config.second_stage_optimizer, second_stage_epochs)

    return apply


def on_word(
    usual: Config, oltr: Callable[[Config, str], None], epochs: int, **crt: Any
) -> Callable[[Config, str], None]:
    """The word ``on``: the memory on another representation, alone trained.

    ``on=representation``: on one learned as ours are; ``on=crt``: the same under cRT's schedule, by cross-entropy alone
    (Kang et al., 2020, table 2's OLTR** and appendix B.4).

    Args:
      usual: the recipe of cross-entropy on the data set.
      oltr: the word ``oltr``.
      epochs: of cRT's second stage.
      crt: of its optimizer, where it differs from the recipe's.
    """

    def apply(config: Config, value: str) -> None:
        if config.method != "oltr":
            raise InputError(f"on={value}: an argument of oltr; write ...:oltr,on={value}")
        choose(dict.fromkeys(GROUNDS), value, "on")
        oltr(config, "")
        if value == "own":
            return
        length = config.second_stage_epochs
        config.update(epochs=usual.epochs, batch_size=usual.batch_size)
        config.optimizer.update(usual.optimizer)
        config.model.features = 0
        config.oltr = config_of(OLTRSettings)  # without attention
        config.oltr.train_backbone = False
        add_second_stage(config, length, backbone_rate=1.0)
        thirds(config.second_stage_optimizer, length)
        if value == "crt":
            config.oltr.centroid_weight = 0.0
            config.second_stage_epochs = epochs
            config.second_stage_optimizer.schedule.update(name="cosine", unit="epoch", cosine_includes="end")
            config.second_stage_optimizer.update(crt)

    return apply


def from_scratch(config: Config, value: str) -> None:
    """The common ``from_scratch``; the second stage is that of ImageNet-LT, which has no pretrained weights either."""
    config_file.from_scratch(config, value)
    if config.oltr.attention:  # else it is the memory alone on another representation (``on``)
        config.update_from_flattened_dict(FROM_SCRATCH)
        neutral = config_of(OLTRSettings)
        config.oltr.update({name: neutral[name] for name in ("train_backbone", "norm", "centroid_rate")})


def short(config: Config, value: str) -> None:
    """The common ``short``, in both stages."""
    config_file.short(config, value)
    second = config.second_stage_optimizer
    config.second_stage_epochs = min(10, config.second_stage_epochs)
    second.update(nesterov=config.optimizer.nesterov, weight_decay=config.optimizer.weight_decay)
    if second.schedule.name == "step":
        thirds(second, config.second_stage_epochs)


def thirds(optimizer: Config, epochs: int) -> None:
    """A tenth of the rate after each third: the authors' schedule."""
    milestones = (max(1, round(epochs / 3)), max(2, round(epochs * 2 / 3)))
    optimizer.schedule.update(name="step", unit="epoch", warmup_epochs=0, milestones=milestones, decay=0.1)
