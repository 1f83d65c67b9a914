"""The comparisons of test_recipes.py, one after another, up to the first that fails."""

from collections.abc import Iterator, Mapping
from typing import Any

from ltjax.methods import METHODS
from ltjax.methods.recent import RECENT
from ltjax.settings.blocks import Settings
from ltjax.settings.schema import leaves
from tests.recipes.published import TABLES, lift, methods, recent
from tests.recipes.published.constants import CONSTANTS
from tests.recipes.published.defaults import DEFAULTS
from tests.recipes.table import Part, Recipe, differences, recipe, same


def of_defaults() -> list[str]:
    """A line for each setting whose default is not the table's."""
    published = {key: (value, source) for source, says in DEFAULTS.items() for key, value in says.items()}
    found = {
        key: value
        for key, _, value, about in leaves(Settings)
        if not about.stored_if_set and not key.startswith("second_stage_")
    }
    lines = _unlike(found, published)
    for name, method in METHODS.items():
        of_method = {key: row for key, row in recipe(defaults_of(name)).items() if key[:5] != "data."}
        lines += _unlike({key: value for key, _, value, _ in leaves(method.settings, f"{method.block}.")}, of_method)
    return lines


def defaults_of(method: str) -> Part:
    """What is published of a method's own settings on every data set."""
    if method in RECENT and method not in methods.DEFAULTS:
        return recent.published(method)["DEFAULTS"]
    return lift.DEFAULTS if method == "lift" else methods.DEFAULTS.get(method, {})


def _unlike(found: Mapping[str, Any], published: Recipe) -> list[str]:
    return [
        f"{key}: {value!r} by default; {published[key][1]}: {published[key][0]!r}"
        for key, value in found.items()
        if not same(value, published[key][0])
    ]


def of_constants() -> list[str]:
    """A line for each constant that is not the table's."""
    return [
        f"{name}: {found!r}; {source}: {published!r}"
        for source, says in CONSTANTS.items()
        for name, (found, published) in says.items()
        if not same(found, published)
    ]


def first_difference(stems: tuple[str, ...] = (), first: str = "") -> str:
    """The first line that a comparison makes; "" = none.

    Args:
      stems: config files to compare; () = all, and defaults and constants.
      first: recipes with this in their name come first.
    """
    return next(iter(_lines(stems, first)), "")


def _lines(stems: tuple[str, ...], first: str) -> Iterator[str]:
    if not stems:
        yield from of_constants()
        yield from of_defaults()
    names = [name for name in TABLES if not stems or name.partition(":")[0] in stems]
    for name in sorted(names, key=lambda name: first not in name):
        stem, _, words = name.partition(":")
        yield from differences(stem, words, TABLES[name])
