"""What the baselines of more than one stage share: the second stage's epochs, and the word ``short``.

The first stages have config.epochs and config.optimizer, the last one that is trained config.second_stage_epochs and
config.second_stage_optimizer.
"""

import dataclasses

from ltjax.settings import Block, Settings, config_file
from ltjax.settings.config_dict import Config
from ltjax.settings.config_file import Word


def as_many_epochs(config: Settings, settings: Block) -> Settings:
    """The second stage has the first one's epochs unless it is given its own."""
    del settings
    if config.second_stage_epochs is not None:
        return config
    return dataclasses.replace(config, second_stage_epochs=config.epochs)


def short(config: Config, value: str) -> None:
    """The common ``short``, in both stages."""
    config_file.short(config, value)
    config.second_stage_epochs = config.epochs
    config.second_stage_optimizer = config.optimizer.copy_and_resolve_references()


WORDS: dict[str, Word] = {"short": short}
