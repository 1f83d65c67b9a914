"""Scales the learning rate to a batch size other than the recipe's. The only place where that is done."""

import dataclasses
import math
from collections.abc import Callable, Sequence

from ltjax.errors import InputError, choose
from ltjax.methods.stage import AnyStage, Stage, trained
from ltjax.settings import Settings

# batch size / the recipe's -> factor on the learning rate
RULES: dict[str, Callable[[float], float]] = {
    "none": lambda ratio: 1.0,
    "linear": lambda ratio: ratio,  # Goyal et al., "Accurate, large minibatch SGD", 2017, section 2.1
    "sqrt": math.sqrt,  # Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014, section 5
}


def factor(rule: str, batch_size: int, recipe_batch_size: int) -> float:
    """The factor on the learning rate for batches of ``batch_size``, where it was chosen for ``recipe_batch_size``.

    Raises:
      InputError: for an unknown rule, or one that needs the recipe's batch size where that is 0 (unknown).

    Example:
      >>> factor("linear", 1024, 256), factor("sqrt", 1024, 256), factor("none", 1024, 0)
      (4.0, 2.0, 1.0)
    """
    scale = choose(RULES, rule, "config.optimizer.rate_rule")
    if rule != "none" and not recipe_batch_size:
        raise InputError(
            f"config.optimizer.rate_rule: {rule} needs the batch size that the learning rate is for; set "
            "config.optimizer.recipe_batch_size"
        )
    return scale(batch_size / (recipe_batch_size or batch_size))


def scaled_rate(stage: Stage, config: Settings) -> Stage:
    """The stage with its learning rate scaled to config.batch_size, by config.optimizer.rate_rule.

    The schedule, its warm-up and the parameter groups' rates are multiples of it, so they follow.
    """
    times = factor(config.optimizer.rate_rule, config.batch_size, stage.optimizer.recipe_batch_size)
    if times == 1:
        return stage
    optimizer = dataclasses.replace(stage.optimizer, learning_rate=times * stage.optimizer.learning_rate)
    return dataclasses.replace(stage, optimizer=optimizer)


def rate_notes(stages: Sequence[AnyStage], config: Settings) -> list[str]:
    """A line for every (scaled) stage whose recipe has another batch size: what became of its learning rate."""
    rule, batch = config.optimizer.rate_rule, config.batch_size
    lines = []
    for stage in trained(stages):
        recipe_batch, rate = stage.optimizer.recipe_batch_size, stage.optimizer.learning_rate
        if recipe_batch in (0, batch):
            continue
        recipe = rate / factor(rule, batch, recipe_batch)
        begin = (
            f"learning rate of stage '{stage.name}': {recipe:g} is for batches of {recipe_batch}, this run has {batch}"
        )
        if rule == "none":
            others = ", ".join(
                f"{name} would make it {rate * factor(name, batch, recipe_batch):.4g}" for name in ("linear", "sqrt")
            )
            lines.append(f"{begin} and does not scale it (config.optimizer.rate_rule=none; {others})")
        else:
            lines.append(f"{begin}: scaled to {rate:.4g} (config.optimizer.rate_rule={rule})")
    return lines
