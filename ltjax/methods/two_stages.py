"""What methods of more than one stage share: the second stage's epochs, the word ``short``, frequent classes.

The first stages have config.epochs and config.optimizer, the last one that is trained config.second_stage_epochs and
config.second_stage_optimizer.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from ltjax.class_counts import frequency_order
from ltjax.data import Data
from ltjax.methods.decoupling.classifiers import part
from ltjax.methods.stage import Stage
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


def epochs_of_second_stage(number: int) -> Callable[[Settings, Block], Settings]:
    """``Method.resolve`` of a second stage that has this many epochs unless it is given its own.

    They are at most three times the first stage's, so that a try of one epoch is quick.
    """

    def resolve(config: Settings, settings: Block) -> Settings:
        del settings
        if config.second_stage_epochs is not None:
            return config
        return dataclasses.replace(config, second_stage_epochs=min(number, 3 * config.epochs))

    return resolve


def as_representation(joint: Stage, trained: str = "all") -> Stage:
    """The stage of a plain method as the first of two, named ``representation``, as decoupling's is.

    Args:
      joint: the stage.
      trained: which part of its network it trains, a name of ``decoupling.settings.PARTS``.
    """
    updates = dataclasses.replace(joint.updates, trainable=part(trained, joint.network))
    return dataclasses.replace(joint, name="representation", updates=updates)


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
