"""The methods since 2021: a file for each, named after the method, with what its authors published.

DEFAULTS: Part                    the method's own settings, on every data set
FIRST: dict[str, Part]            data set ("cifar100") -> the training, where it differs from the file's recipe
SECOND: dict[str, Part]           data set -> the second stage, for a method that has one
"""

import importlib

from ltjax.methods.recent import RECENT
from tests.recipes.table import Recipe, Tables, named, recipe, second_stage


def published(method: str) -> dict:
    """What the file of a method has; of a baseline, which has its table elsewhere, nothing."""
    if method == "balanced_softmax":
        return {"DEFAULTS": {}, "FIRST": {}}
    return vars(importlib.import_module(f"tests.recipes.published.recent.{method}"))


def tables(dataset: str, base: Recipe) -> Tables:
    """Of configs/<dataset>_recent.py and its words.

    Args:
      dataset: the first word of the file's name.
      base: the recipe that the file starts from, without a method.
    """
    made = {}
    for method in RECENT:
        of = published(method)
        word = recipe(base, named(method, "recent"), of["DEFAULTS"], of["FIRST"].get(dataset, {}))
        if "SECOND" in of:
            word = second_stage(word, of["SECOND"][dataset])
        made[f"{dataset}_recent:{method}"] = word
    return {f"{dataset}_recent": made[f"{dataset}_recent:balanced_softmax"], **made}
