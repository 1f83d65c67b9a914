"""The baselines of the papers' tables, each a word behind the colon: ``configs/cifar100_baselines.py:ldam_drw``."""

from collections.abc import Mapping
from typing import Any

from ltjax.methods import METHODS
from ltjax.methods.method_word import method_word
from ltjax.settings.config_file import Word

# Four images of a class in a row, all classes alike, as OLTR's authors trained what they compare with; they say so at
# github.com/zhmiao/OpenLongTailRecognition-OLTR/issues/44. It also gives the losses their pairs.
CLASS_AWARE = {"data.sampler": "class_cycle"}
# the words that name a method, and what they change on every data set
BASELINES: dict[str, Mapping[str, Any]] = {
    **{name: {} for name, method in METHODS.items() if method.block == "baseline"},
    "lifted": CLASS_AWARE,
    "range": CLASS_AWARE,
    "triplet": CLASS_AWARE,
    "proxy": CLASS_AWARE,
    # ten epochs of the classifier; they are too few for the first stage's warm-up and milestones
    "fsa": {
        "second_stage_epochs": 10,
        "second_stage_optimizer.schedule.name": "cosine",
        "second_stage_optimizer.schedule.warmup_epochs": 0,
    },
}


# those of several stages: a second_stage_ setting in their recipes is one of the last trained stage
TWO_STAGES = ("lfme", "fslwf", "fsa")


def baseline_words(recipes: Mapping[str, Mapping[str, Any]]) -> dict[str, Word]:
    """The words that name a baseline.

    Args:
      recipes: method -> settings by flat key that its authors have other values of on this data set.
    """
    return {
        name: method_word(name, {**BASELINES[name], **recipes.get(name, {})}, name in TWO_STAGES) for name in BASELINES
    }
