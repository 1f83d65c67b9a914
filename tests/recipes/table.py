"""The form of the tables in ``published``: what a source says, and recipes of several such parts.

    CE = {"Kang et al. (2020), section 5.1": {"epochs": 90, "optimizer.learning_rate": 0.2}}
    recipe(DEFAULTS, CE)["epochs"]          # (90, "Kang et al. (2020), section 5.1")

A later part replaces what an earlier one says of a setting, and its source.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ltjax.settings.schema import flat
from tests import recipes

Part = Mapping[str, Mapping[str, Any]]  # source -> settings by flat key
Recipe = dict[str, tuple[Any, str]]  # flat key of every setting -> (value, source)

Tables = dict[str, Recipe]  # "cifar100_reslt:strong" -> recipe
Word = Part | Callable[[Recipe], Recipe]  # what a word changes of a recipe

FIRST, SECOND = "optimizer.", "second_stage_optimizer."
SAME = "as the first stage"


def recipe(*parts: Part | Recipe) -> Recipe:
    """The parts as one table."""
    made: Recipe = {}
    for part in parts:
        for source, says in part.items():
            made.update({source: says} if isinstance(says, tuple) else {key: (v, source) for key, v in says.items()})
    return sized(made)


def sized(made: Recipe) -> Recipe:
    """The learning rates of a recipe are for its batch size."""
    for stage in (FIRST, SECOND):
        if f"{stage}learning_rate" in made and "batch_size" in made:
            made[f"{stage}recipe_batch_size"] = (made["batch_size"][0], "config.batch_size")
    return made


def second_stage(first: Recipe, *changes: Part) -> Recipe:
    """The recipe with a second stage, which has the first one's optimizer but for these changes."""
    copied = {
        SECOND + key.removeprefix(FIRST): (value, SAME)
        for key, (value, _) in first.items()
        if key.startswith(FIRST) and key != "optimizer.rate_rule"
    }
    return recipe(first, copied, *changes)


def named(method: str, family: str | None = None) -> Part:
    """What a config file says of itself."""
    return {"the name of the config file": {"method": method, "family": family or method}}


def with_words(stem: str, made: Recipe, words: Mapping[str, Word]) -> Tables:
    """The recipe of a config file, and those of its words."""
    changed = {word: part(made) if callable(part) else recipe(made, part) for word, part in words.items()}
    return {stem: made} | {f"{stem}:{word}": table for word, table in changed.items()}


def differences(stem: str, words: str, published: Recipe) -> list[str]:
    """A line for each setting of configs/<stem>.py:<words> that the table has otherwise or not at all."""
    dataset, _, family = stem.partition("_")
    settings = recipes.resolved(dataset, family, words)
    found = {key: value for key, value in flat(settings.to_dict()).items() if key.split(".")[0] not in settings.unused}
    lines = []
    for key in sorted(found | published):
        if key not in published:
            lines.append(f"{stem}:{words} has {key} = {found[key]!r}, which no table in tests/recipes/published has")
        elif key not in found:
            lines.append(f"{stem}:{words} has no {key}; {published[key][1]}: {published[key][0]!r}")
        elif not same(found[key], published[key][0]):
            value, source = published[key]
            lines.append(f"{stem}:{words} has {key} = {found[key]!r}; {source}: {value!r}")
    return lines


def same(found: Any, published: Any) -> bool:
    """Equal, and of the same type: 1 is not True."""
    return bool(type(found) is type(published) and found == published)
