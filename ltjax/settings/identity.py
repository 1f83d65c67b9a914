"""Which settings determine a run's result: a run resumes only if these are unchanged."""

import json
from collections.abc import Mapping
from typing import Any

from ltjax.settings.blocks import Settings
from ltjax.settings.schema import Setting, flat, leaves

# Short names of data sets, which older config files and stored configs contain
SHORT_NAMES = {"imagenet_lt": "imagenet", "places_lt": "places", "inat2018": "inat"}


def to_json(settings: Settings) -> str:
    """The content of config.json."""
    return json.dumps(settings.to_dict(), indent=2, sort_keys=True) + "\n"


def all_leaves(settings: Settings) -> dict[str, tuple[Any, Setting]]:
    """Flat key -> (default, ``Setting``) of all settings, including the method's."""
    common = {key: (default, about) for key, _, default, about in leaves(Settings)}
    of_method = leaves(type(settings.method_settings), f"{settings.method_block}.")
    return common | {key: (default, about) for key, _, default, about in of_method}


def run_only() -> set[str]:
    """Flat keys of the common settings that may change on resume."""
    return {key for key, _, _, about in leaves(Settings) if about.run_only}


def identity(settings: Settings) -> dict[str, Any]:
    """The settings that determine the result, by flat key, with the types that JSON gives them."""
    return identity_of(settings.to_dict(), settings)


def identity_of(values: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """``identity`` of a stored config, for a run with these settings."""
    found = json.loads(json.dumps(flat(values)))
    known = all_leaves(settings)
    for key, former in former_keys(settings.method_block).items():
        if key in found:  # under the name that it had in the older configs, which this run may resume
            found[former] = found.pop(key)

    for key, (default, about) in known.items():
        if about.former_default is not None and found.get(key) == json.loads(json.dumps(default)):
            found[key] = json.loads(json.dumps(about.former_default))  # as in runs from before

    def matters(key: str) -> bool:
        default, about = known.get(key, (None, None))
        if about is None:
            return True
        neutral = about.added_later and found[key] == json.loads(json.dumps(default))
        return not (about.run_only or neutral or (about.depends_on and not matters_at(about.depends_on)))

    def matters_at(key: str) -> bool:
        return key in found and matters(key)

    found = {key: value for key, value in found.items() if matters(key)}
    recipe = str(found.get("recipe", ""))
    found["recipe"] = SHORT_NAMES.get(recipe, recipe)
    return found


def former_keys(method_block: str) -> dict[str, str]:
    """Flat key -> the key that the setting had in older configs of the methods with this block of settings."""
    return {
        key: former
        for key, _, _, about in leaves(Settings)
        for former in about.formerly
        if method_block and former.startswith(f"{method_block}.")
    }


def with_new_keys(stored: Mapping[str, Any], method_block: str) -> Mapping[str, Any]:
    """A stored config, with settings that older versions had under other keys where they belong now."""
    changed = {key: former for key, former in former_keys(method_block).items() if former in flat(stored)}
    if not changed:
        return stored
    nested = {name: dict(value) if isinstance(value, Mapping) else value for name, value in stored.items()}
    for key, former in changed.items():
        block, name = key.split(".")
        old_block, old_name = former.split(".")
        nested[block][name] = nested[old_block].pop(old_name)
    return nested


def difference(settings: Settings, stored: Mapping[str, Any]) -> str | None:
    """The first three settings in which a stored config differs from these, in words; None if there is none."""
    new, old = identity(settings), identity_of(stored, settings)
    keys = [k for k in sorted({*new, *old}) if new.get(k) != old.get(k)]
    if not keys:
        return None
    names = {former: key for key, former in former_keys(settings.method_block).items()}
    more = f" (and {len(keys) - 3} more)" if len(keys) > 3 else ""
    found = (f"config.{names.get(k, k)} is {old.get(k)!r} there and {new.get(k)!r} here" for k in keys[:3])
    return "; ".join(found) + more
