"""What the baselines of more than one stage share: the second stage's epochs, the word ``short``, frequent classes.

The first stages have config.epochs and config.optimizer, the last one that is trained config.second_stage_epochs and
config.second_stage_optimizer.
"""

import dataclasses

import numpy as np

from ltjax.class_counts import frequency_order
from ltjax.data import Data
from ltjax.settings import Block, Settings, config_file
from ltjax.settings.config_dict import Config
from ltjax.settings.config_file import Word
from ltjax.settings.schema import refuse

FEW = 20  # images; a class with fewer is a few-shot class


def as_many_epochs(config: Settings, settings: Block) -> Settings:
    """The second stage has the first one's epochs unless it is given its own."""
    del settings
    if config.second_stage_epochs is not None:
        return config
    return dataclasses.replace(config, second_stage_epochs=config.epochs)


def frequent_enough(number: int, data: Data, key: str) -> np.ndarray:
    """bool [C]: the ``number`` most frequent classes; 0: those with at least 20 images, and at least two.

    Raises:
      InputError: unless some class is left; ``key`` is the setting that it names.
    """
    counts = np.asarray(data.class_counts)
    found = number or max(2, int(np.sum(counts >= FEW)))
    if found >= data.num_classes:
        refuse(key, number, f"a number from 2 to {data.num_classes - 1}: every class has {FEW} images or more")
    return np.asarray(np.argsort(frequency_order(counts)) < found)


def short(config: Config, value: str) -> None:
    """The common ``short``, in both stages."""
    config_file.short(config, value)
    config.second_stage_epochs = config.epochs
    config.second_stage_optimizer = config.optimizer.copy_and_resolve_references()


WORDS: dict[str, Word] = {"short": short}
