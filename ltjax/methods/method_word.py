"""A word behind the colon that names a method: ``configs/cifar100_recent.py:bcl``."""

from collections.abc import Callable, Mapping
from typing import Any

from ltjax.methods import METHODS
from ltjax.settings.config_dict import Config
from ltjax.settings.config_file import add_second_stage, config_of, no_value

OF_SECOND_STAGE = "second_stage_"


def method_word(name: str, changes: Mapping[str, Any], two_stages: bool) -> Callable[[Config, str], None]:
    """The word that makes a config one of this method.

    The method's own settings start at their defaults, in place of those of the method that the file began with.

    Args:
      name: of the method.
      changes: settings by flat key that the file has otherwise; those of the second stage change a copy of the first
        one's optimizer.
      two_stages: whether the method trains a second stage.
    """

    def apply(config: Config, value: str) -> None:
        no_value(value)
        former, method = METHODS[config.method], METHODS[name]
        if former.block and former.block in config:
            del config[former.block]
        config.method = name
        if method.block:
            config[method.block] = config_of(method.settings)
        second = {key: change for key, change in changes.items() if key.startswith(OF_SECOND_STAGE)}
        config.update_from_flattened_dict({key: changes[key] for key in changes if key not in second})
        if two_stages:
            add_second_stage(config)
        config.update_from_flattened_dict(second)

    return apply
