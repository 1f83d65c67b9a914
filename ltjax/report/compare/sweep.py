"""Which setting the runs sweep, and the lines that they form over its values."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from ltjax.errors import InputError, did_you_mean
from ltjax.report.compare.groups import SeedGroup, short_key, short_value


class Series(NamedTuple):
    """Runs that differ in the swept setting only: one line.

    Attributes:
      label: the method, and the other settings in which the lines differ.
      groups: in the order of the setting's values.
    """

    label: str
    groups: list[SeedGroup]


class Sweep(NamedTuple):
    """A swept setting.

    Attributes:
      key: its flat key.
      numeric: whether all values are numbers; else they are categories.
      values: of the setting, in the order of the axis.
      series: the lines; at least one has two values.
      references: rows to which the setting does not apply, such as a plain baseline.
      along: settings that vary together with it.
    """

    key: str
    numeric: bool
    values: list[Any]
    series: list[Series]
    references: list[SeedGroup]
    along: list[str]


def differing_settings(groups: Sequence[SeedGroup]) -> list[str]:
    """The keys of the settings in which rows of the same method differ."""
    keys = []
    for method in dict.fromkeys(group.method for group in groups):
        alike = [group for group in groups if group.method == method]
        keys += [key for key in _keys(alike) if len({_plain(group, key) for group in alike}) > 1]
    return list(dict.fromkeys(keys))


def swept(groups: Sequence[SeedGroup]) -> list[str]:
    """The settings over which a curve can be drawn: some rows differ in nothing else."""
    return [key for key in differing_settings(groups) if _lines(groups, key, [])]


def make_sweep(groups: Sequence[SeedGroup], key: str) -> Sweep:
    """The curves over this setting, which may be given by the last words of its key.

    If no two rows differ in it alone, settings with one value at each value of it (milestones that follow the epochs)
    may vary along.

    Raises:
      InputError: if the rows do not differ in it, or no two rows differ in it alone.
    """
    key = _full_key(groups, key)
    lines, along = _lines(groups, key, []), []
    if not lines:
        along = [other for other in differing_settings(groups) if other != key and _follows(groups, other, key)]
        lines = _lines(groups, key, along)
    if not lines:
        others = ", ".join(short_key(other) for other in differing_settings(groups) if other != key)
        raise InputError(f"--x={key}: no two runs differ in it alone, they also differ in {others}; give other runs")
    inside = [group for of in lines for group in of]
    values = [group.settings.get(key) for group in inside]
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    unique = list({json.dumps(value): value for value in values}.values())
    if numeric:
        unique.sort()
    references = [group for group in groups if not any(group is one for one in inside)]
    labels = _series_labels([of[0] for of in lines], references, [key, *along])
    series = [
        Series(label, sorted(of, key=lambda group: unique.index(group.settings.get(key))))
        for label, of in zip(labels, lines, strict=True)
    ]
    return Sweep(key, numeric, unique, series, references, along)


def _full_key(groups: Sequence[SeedGroup], given: str) -> str:
    wanted = given.removeprefix("config.")
    found = differing_settings(groups)
    keys = [key for key in found if key == wanted] or [key for key in found if f".{key}".endswith(f".{wanted}")]
    if len(keys) == 1:
        return keys[0]
    if keys:
        raise InputError(f"--x={given}: may be {' or '.join(keys)}; write the whole key")
    some = f"they differ in {', '.join(found)}" if found else "no two runs of a method differ in a setting"
    raise InputError(f"--x={given}: the runs do not differ in it{did_you_mean(wanted, found)}; {some}")


def _keys(groups: Sequence[SeedGroup]) -> list[str]:
    return list(dict.fromkeys(key for group in groups for key in group.settings))


def _plain(group: SeedGroup, key: str) -> str:
    return json.dumps(group.settings.get(key))


def _lines(groups: Sequence[SeedGroup], key: str, along: Sequence[str]) -> list[list[SeedGroup]]:
    """The rows that differ in ``key`` and, with it, in the settings ``along``, but in nothing else."""
    found: dict[str, list[SeedGroup]] = {}
    for group in groups:
        if key in group.settings:
            rest = {k: value for k, value in group.settings.items() if k != key and k not in along}
            found.setdefault(json.dumps([group.method, rest], sort_keys=True), []).append(group)
    return [line for line in found.values() if len({_plain(group, key) for group in line}) > 1]


def _follows(groups: Sequence[SeedGroup], other: str, key: str) -> bool:
    """Whether a setting has one value at each value of ``key``, within each method."""
    seen: dict[tuple[str, str], str] = {}
    return all(
        seen.setdefault((group.method, _plain(group, key)), _plain(group, other)) == _plain(group, other)
        for group in groups
    )


def _series_labels(firsts: Sequence[SeedGroup], references: Sequence[SeedGroup], without: Sequence[str]) -> list[str]:
    """The method of each line, given by its first row, and settings that tell it from other lines and references."""
    labels = []
    for first in firsts:
        alike = [other for other in [*firsts, *references] if other.method == first.method]
        parts = []
        for key in _keys(alike):
            same = [other for other in alike if _plain(other, key) == _plain(first, key)]
            if key not in without and len(same) < len(alike):
                parts.append(f"{short_key(key)}={short_value(first.settings.get(key))}")
                alike = same
        labels.append(", ".join([first.method, *parts]))
    return labels
