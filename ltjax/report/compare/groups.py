"""Runs that differ only in their seeds are one row: means and sample deviations over all their seeds, and a label."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ltjax.errors import InputError
from ltjax.report.run import GROUPS, Run, measure, several_seeds
from ltjax.report.seeds import merged

MOST_SETTINGS = 3  # in a label; with more the name of the folder is shorter


@dataclasses.dataclass(frozen=True)
class Member:
    """A finished run that is to be compared.

    Attributes:
      path: its workdir or its results.json, as it was given.
      name: the label that the user chose, or "".
      run: what its files hold.
      settings: flat key -> value of the settings that determine its result, without its seeds; the method's own first.
      epochs: of all stages, with those of the run that it started from.
    """

    path: str
    name: str
    run: Run
    settings: Mapping[str, Any]
    epochs: int


@dataclasses.dataclass(frozen=True)
class SeedGroup:
    """Runs of the same settings with different seeds: one row of the table, one line of a figure.

    Attributes:
      label: its name in tables and figures; unique.
      members: the runs.
      results: in the form of results.json: means over all seeds, and deviations under ``std`` if there are several.
      weight_norms: float [C], mean over the seeds, or None.
    """

    label: str
    members: tuple[Member, ...]
    results: dict[str, Any]
    weight_norms: np.ndarray | None

    @property
    def settings(self) -> Mapping[str, Any]:
        return self.members[0].settings

    @property
    def epochs(self) -> int:
        return self.members[0].epochs

    @property
    def method(self) -> str:
        return short_method(self.results["method"])

    @property
    def measure(self) -> str:
        """What its numbers are: accuracy, or average precision."""
        return measure(self.results)

    def accuracy(self, key: str) -> tuple[float | None, float | None]:
        """The measure of "all" or of a group of classes, a fraction, and its deviation; None where unknown."""
        return self.results["accuracy"].get(key), self.results.get("std", {}).get("accuracy", {}).get(key)


def group_by_seed(members: Sequence[Member], shots: str = "") -> list[SeedGroup]:
    """The groups in the order of their first members.

    Args:
      members: at least one.
      shots: the convention of many, medium and few for all of them; "" = each run's own.

    Raises:
      InputError: a run that is given twice, or two groups with the same name.
    """
    grouped: dict[str, list[Member]] = {}
    for member in members:
        # runs without a config.json have no settings that could be equal
        alike = [member.run.results["method"], member.settings or member.path, *_data_of(member)]
        grouped.setdefault(json.dumps(alike, sort_keys=True), []).append(member)
    together = [tuple(group) for group in grouped.values()]
    for group in together:
        _check_seeds(group)
    return [
        SeedGroup(label, group, merged([_under(m.run.results, shots) for m in group]), _mean_norms(group))
        for label, group in zip(_labels(together), together, strict=True)
    ]


def same_classes(groups: Sequence[SeedGroup]) -> bool:
    """Whether the classes of all rows have the same training images, so that they share an axis."""
    return all(group.results["class_counts"] == groups[0].results["class_counts"] for group in groups)


def _data_of(member: Member) -> list[Any]:
    results = member.run.results
    return [results["train_index_sha256"], results["split"], member.epochs]


def _check_seeds(group: Sequence[Member]) -> None:
    seen: dict[int, str] = {}
    for member in group:
        for seed in member.run.results["seeds"]:
            if seed in seen:
                twice = "is given twice" if seen[seed] == member.path else f"is the same run as {seen[seed]}"
                raise InputError(f"{member.path}: {twice} (same settings, seed {seed}); leave one out")
            seen[seed] = member.path


def _under(results: dict[str, Any], shots: str) -> dict[str, Any]:
    """The results with many, medium and few of this convention; "" = as they are."""
    if not shots or shots == results["convention"]:
        return results
    groups = {group: results["shots"][shots][group] for group in GROUPS}
    changed = results | {"convention": shots, "accuracy": results["accuracy"] | groups}
    if several_seeds(results):
        spread = {group: results["std"]["shots"][shots][group] for group in GROUPS}
        changed["std"] = results["std"] | {"accuracy": results["std"]["accuracy"] | spread}
    if "views" in results:  # they have the groups of the run's own convention only
        unknown = dict.fromkeys(GROUPS)
        changed["views"] = {
            name: view | {"accuracy": view["accuracy"] | unknown} for name, view in results["views"].items()
        }
    return changed


def _mean_norms(group: Sequence[Member]) -> np.ndarray | None:
    norms = [member.run.weight_norms for member in group]
    if any(one is None for one in norms):
        return None
    return np.average(np.array(norms, float), axis=0, weights=[len(m.run.results["seeds"]) for m in group])


def short_method(method: str) -> str:
    """The name of a method; of a user's (FILE.py:NAME or package.module:NAME) only NAME.

    Example:
      >>> short_method("reslt"), short_method("/mine/poly.py:poly_loss")
      ('reslt', 'poly_loss')
    """
    return method.rpartition(":")[2]


def short_key(key: str) -> str:
    """The last word of a setting's key, two where one says too little.

    Example:
      >>> short_key("reslt.alpha"), short_key("optimizer.schedule.name")
      ('alpha', 'schedule.name')
    """
    return ".".join(key.split(".")[-2 if key.endswith(".name") else -1 :])


def short_value(value: Any) -> str:
    """A setting's value in a label or on an axis.

    Example:
      >>> short_value(0.9), short_value([60, 80]), short_value("runs/mnist/ce"), short_value(None)
      ('0.9', '60/80', 'ce', 'none')
    """
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "/".join(map(short_value, value)) or "none"
    if isinstance(value, str):
        return value.rstrip("/").rpartition("/")[2].rpartition(":")[2] or "none"
    return f"{value:g}"


def _labels(groups: Sequence[Sequence[Member]]) -> list[str]:
    """The user's name, or the method and the settings that distinguish the group from the others of its method."""
    labels = []
    for group in groups:
        names = sorted({member.name for member in group if member.name})
        if len(names) > 1:
            raise InputError(f"{group[0].path}: differs from {group[1].path} only in the seed, so '{names[0]}' and "
                             f"'{names[1]}' are one row; give them one name")  # fmt: skip
        labels.append(names[0] if names else _label(group[0], [other[0] for other in groups]))
    for i, label in enumerate(labels):
        if label in labels[:i]:
            first, second = groups[labels.index(label)][0].path, groups[i][0].path
            raise InputError(f"two rows are called '{label}': {first} and {second}; name them: NAME={second}")
    return labels


def _label(member: Member, all_members: Sequence[Member]) -> str:
    method = member.run.results["method"]
    alike = [other for other in all_members if other.run.results["method"] == method]
    name = short_method(method)
    if len(alike) == 1:
        return name
    parts = []
    for key in dict.fromkeys(key for other in alike for key in other.settings):
        same = [other for other in alike if other.settings.get(key) == member.settings.get(key)]
        if len(same) < len(alike):
            parts.append(f"{short_key(key)}={short_value(member.settings.get(key))}")
            alike = same
    if len(alike) > 1 or len(parts) > MOST_SETTINGS:
        folder = member.path.rstrip("/").removesuffix("/results.json")
        return f"{name} ({folder.rpartition('/')[2]})"
    return ", ".join([name, *parts])
