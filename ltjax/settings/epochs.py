"""Scaling a recipe to another number of epochs: warm-up, milestones and second stages scale with it."""

from collections.abc import Callable, Collection

from ltjax.settings.config_dict import Config

SECOND = "second_stage_"


def scale_epochs(config: Config, recipe: Config, given: Collection[str]) -> list[str]:
    """Scales the schedules of ``config`` in place from the epochs of ``recipe`` to its epochs.

    The warm-up and the milestones of a stage scale with its epochs, and the epochs of a second stage with those of the
    first. Milestones scale only if the schedule is a step schedule. Nothing changes if the epochs are the recipe's.

    Args:
      config: the config with the new number of epochs.
      recipe: the same config before that change.
      given: flat keys of settings that the user has set; they stay unchanged.

    Returns:
      The changes, such as ["optimizer.schedule.milestones (160, 180) -> (16, 18)"].
    """
    notes: list[str] = []
    if recipe.epochs < 1:  # refused when the settings are checked, unless the user gives another number
        return notes

    def change(block: Config, name: str, key: str, value: object) -> None:
        if key not in given and block[name] != value:
            notes.append(f"{key} {block[name]} -> {value}")
            block[name] = value

    ratio = config.epochs / recipe.epochs
    _scale_schedule(config, "optimizer.", ratio, config.epochs, change)
    epochs = recipe.get(f"{SECOND}epochs")
    if epochs is not None:
        change(config, f"{SECOND}epochs", f"{SECOND}epochs", max(1, round(epochs * ratio)))
    elif config.get(f"{SECOND}epochs") is not None:
        epochs = recipe.epochs  # the recipe leaves them to the method: its schedule is for as many as the first stage's
    if epochs is not None:
        ratio = config[f"{SECOND}epochs"] / epochs
    if config.get(f"{SECOND}optimizer"):
        length = config.get(f"{SECOND}epochs") or config.epochs
        _scale_schedule(config, f"{SECOND}optimizer.", ratio, length, change)
    return notes


def _scale_schedule(
    config: Config,
    optimizer: str,
    ratio: float,
    epochs: int,
    change: Callable[[Config, str, str, object], None],
) -> None:
    """Scales a stage's warm-up and milestones; at least one epoch remains after the warm-up."""
    schedule = config[optimizer.rstrip(".")].schedule
    warmup = min(round(schedule.warmup_epochs * ratio), max(epochs - 1, 0))
    change(schedule, "warmup_epochs", f"{optimizer}schedule.warmup_epochs", warmup)
    if schedule.name == "step":
        milestones = sorted({max(1, round(milestone * ratio)) for milestone in schedule.milestones})
        change(schedule, "milestones", f"{optimizer}schedule.milestones", tuple(milestones))
