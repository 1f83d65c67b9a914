"""The methods since 2021 that the papers' tables do not have, each a word: ``configs/cifar100_recent.py:NAME``."""

from collections.abc import Mapping
from typing import Any

from ltjax.methods.method_word import OF_SECOND_STAGE, method_word
from ltjax.settings.config_file import Word

# the words that name a method, in alphabetical order, and what they change on every data set
RECENT: dict[str, Mapping[str, Any]] = {
    "balanced_softmax": {},
    "bcl": {},
    "cmo": {},
    "disalign": {
        "second_stage_epochs": 10,
    },
    "gcl": {
        "mix.name": "mixup",
        "second_stage_epochs": 30,
    },
    "glmc": {},
    "gpaco": {"epochs": 400},
    "ib": {},
    "lade": {},
    "mdcs": {},
    "mislas": {
        "mix.name": "mixup",
        "second_stage_epochs": 10,
    },
    "paco": {"epochs": 400},
    "proco": {},
    "sade": {},
    # new classifiers for all experts
    "shike": {"second_stage_epochs": 20},
    "vs": {},
    "weight_balancing": {
        "weight_balancing.loss": "binary",
        "second_stage_epochs": 10,
        "second_stage_optimizer.weight_decay": 0.1,
    },
}


def recent_words(recipes: Mapping[str, Mapping[str, Any]]) -> dict[str, Word]:
    """The words that name a method. One trains a second stage if its settings have any of that stage.

    Args:
      recipes: method -> settings by flat key that its authors have other values of on this data set.
    """
    return {name: _word(name, {**changes, **recipes.get(name, {})}) for name, changes in RECENT.items()}


def _word(name: str, changes: Mapping[str, Any]) -> Word:
    return method_word(name, changes, any(key.startswith(OF_SECOND_STAGE) for key in changes))
