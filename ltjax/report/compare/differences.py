"""What has to be the same for a common table: the data, the epochs, the test set, and the groups of classes."""

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from ltjax.errors import InputError
from ltjax.report.compare.groups import SeedGroup

# aspect -> what it means, for a user
ASPECTS = {
    "data": "the training images",
    "epochs": "the number of epochs, of all stages together",
    "test": "the test images",
    "groups": "the classes in many, medium and few",
}


def differences(groups: Sequence[SeedGroup]) -> dict[str, str]:
    """Aspect -> how the rows differ in it, in words; aspects without a difference are left out."""
    counted = all(group.members[0].run.test_counts is not None for group in groups)
    hashed = all(group.members[0].run.results.get("test_index_sha256") for group in groups)
    test = _test_index if hashed else _test if counted else _split
    of = {"data": _data, "epochs": _epochs, "test": test, "groups": _shots}
    found = {aspect: _by_value(groups, of[aspect]) for aspect in ASPECTS}
    return {aspect: _in_words(values) for aspect, values in found.items() if len(values) > 1}


def refuse(groups: Sequence[SeedGroup], allowed: Collection[str]) -> dict[str, str]:
    """The differences that are allowed.

    Raises:
      InputError: one line with all the others; or for accuracies beside average precisions, which nothing allows.
    """
    measures = _by_value(groups, lambda group: group.measure)
    if len(measures) > 1:
        raise InputError(f"the numbers of the runs are {_in_words(measures)}: compare those of each kind apart")
    found = differences(groups)
    refused = [aspect for aspect in found if aspect not in allowed]
    if refused:
        how = "; ".join(f"{ASPECTS[aspect]}: {found[aspect]}" for aspect in refused)
        other = " (or --shots=NAME uses the same groups for all)" if refused == ["groups"] else ""
        raise InputError(f"the runs differ in {how}; choose others, or add --allow={','.join(refused)}{other}")
    return found


def _by_value(groups: Sequence[SeedGroup], describe: Callable[[SeedGroup], str]) -> Mapping[str, list[str]]:
    values: dict[str, list[str]] = {}
    for group in groups:
        values.setdefault(describe(group), []).append(group.label)
    return values


def _in_words(values: Mapping[str, list[str]]) -> str:
    return ", ".join(f"{value} ({_some(labels)})" for value, labels in values.items())


def _some(labels: Sequence[str]) -> str:
    """The first labels of many.

    Example:
      >>> _some(["ce"]), _some(["ce", "reslt", "ride", "bbn"])
      ('ce', 'ce; reslt; 2 more')
    """
    return "; ".join(labels if len(labels) <= 3 else [*labels[:2], f"{len(labels) - 2} more"])


def _data(group: SeedGroup) -> str:
    results = group.results
    return f"{results['dataset']} {results['train_index_sha256'][:12]}, {results['train_size']:,} images"


def _epochs(group: SeedGroup) -> str:
    return str(group.epochs)


def _split(group: SeedGroup) -> str:
    return f"{group.results['dataset']} {group.results['split']}"


def _test(group: SeedGroup) -> str:
    counts = group.members[0].run.test_counts
    counted = "images" if group.measure == "accuracy" else "labels"
    return _split(group) if counts is None else f"{_split(group)}, {int(np.sum(counts)):,} {counted}"


def _test_index(group: SeedGroup) -> str:
    return f"{_test(group)}, {group.members[0].run.results['test_index_sha256'][:12]}"


def _shots(group: SeedGroup) -> str:
    convention = group.results["convention"]
    return f"{convention} {'/'.join(map(str, group.results['shots'][convention]['classes']))}"
