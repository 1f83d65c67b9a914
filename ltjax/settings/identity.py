"""Which settings decide a run's result: a run is resumed only under the same ones."""

import json
from collections.abc import Mapping
from typing import Any

from ltjax.settings.blocks import Settings
from ltjax.settings.schema import Setting, flat, leaves

# The short names of data sets, as config files and stored configs from before they had one name have them
SHORT_NAMES = {"imagenet_lt": "imagenet", "places_lt": "places", "inat2018": "inat"}


def to_json(settings: Settings) -> str:
    """What config.json holds."""
    return json.dumps(settings.to_dict(), indent=2, sort_keys=True) + "\n"


def all_leaves(settings: Settings) -> dict[str, tuple[Any, Setting]]:
    """Flat key -> (default, what the schema says), of the common settings and of the method's own."""
    common = {key: (default, about) for key, _, default, about in leaves(Settings)}
    own = leaves(type(settings.own), f"{settings.block}.")
    return common | {key: (default, about) for key, _, default, about in own}


def run_only() -> set[str]:
    """Flat keys of the common settings that may change on resume."""
    return {key for key, _, _, about in leaves(Settings) if about.run_only}


def identity(settings: Settings) -> dict[str, Any]:
    """The settings that decide the result, as they read after a trip through JSON."""
    return identity_of(settings.to_dict(), settings)


def identity_of(values: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """The same of a stored config, for a run with these settings."""
    found = json.loads(json.dumps(flat(values)))
    known = all_leaves(settings)

    def counts(key: str) -> bool:
        default, about = known.get(key, (None, None))
        if about is None:
            return True
        neutral = about.later and found[key] == default
        return not (about.run_only or neutral or (about.only_with and not counts_at(about.only_with)))

    def counts_at(key: str) -> bool:
        return key in found and counts(key)

    found = {key: value for key, value in found.items() if counts(key)}
    recipe = str(found.get("recipe", ""))
    found["recipe"] = SHORT_NAMES.get(recipe, recipe)
    return found


def difference(settings: Settings, stored: Mapping[str, Any]) -> str | None:
    """The first settings in which a stored config differs from this one, or None."""
    new, old = identity(settings), identity_of(stored, settings)
    keys = [k for k in sorted({*new, *old}) if new.get(k) != old.get(k)]
    if not keys:
        return None
    more = f" (and {len(keys) - 3} more)" if len(keys) > 3 else ""
    return "; ".join(f"config.{k} is {old.get(k)!r} there and {new.get(k)!r} here" for k in keys[:3]) + more
