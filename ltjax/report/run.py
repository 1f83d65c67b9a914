"""Reads what a run left in its workdir; whatever is not there is None or empty, except the results."""

import dataclasses
import io
import json
from typing import Any

import numpy as np
from etils import epath

from ltjax.errors import InputError

GROUPS = ("many", "medium", "few")


@dataclasses.dataclass(frozen=True)
class Run:
    """The texts and arrays of one workdir.

    results: results.json. metrics: one dict a logged step. config: config.json or None.
    confusion: int [C, C] (rows are the true class), summed over the seeds, or None.
    weight_norms: float [C], mean over the seeds, or None.
    unreadable: how many lines of metrics.jsonl are no JSON object (a killed process can leave half a line).
    """

    results: dict[str, Any]
    metrics: list[dict[str, Any]]
    config: dict[str, Any] | None
    confusion: np.ndarray | None
    weight_norms: np.ndarray | None
    unreadable: int


def read_run(workdir: epath.PathLike) -> Run:
    """Reads results.json, metrics.jsonl, config.json and evaluation.npz of a workdir (a ``gs://`` path too).

    With several seeds (S) the arrays of evaluation.npz have a leading seed axis: confusion [S, C, C], weight_norms
    [S, C]. They are summed and averaged here, so that half a GB a seed (8,142 classes) is not carried further.

    Raises:
      InputError: if there is no readable results.json, if its seeds and their numbers do not fit together, or if an
        array has another number of classes or seeds.
    """
    root = epath.Path(workdir)
    results_file = root / "results.json"
    if not results_file.exists():
        raise InputError(f"{results_file}: not there; a report needs a finished run (python -m ltjax.main writes it)")
    try:
        results = json.loads(results_file.read_text())
    except json.JSONDecodeError as error:
        raise InputError(f"{results_file}: not JSON ({error}); evaluate the run again") from None
    metrics, unreadable = _read_lines(root / "metrics.jsonl")
    config_file, arrays_file = root / "config.json", root / "evaluation.npz"
    config = json.loads(config_file.read_text()) if config_file.exists() else None
    arrays: dict[str, np.ndarray] = {}
    if arrays_file.exists():
        with np.load(io.BytesIO(arrays_file.read_bytes())) as file:
            arrays = {name: file[name] for name in file.files}
    confusion, norms = arrays.get("confusion"), arrays.get("weight_norms")
    _check_seeds(results, results_file)
    if confusion is not None:
        _check_shape("confusion", confusion, 2, results, arrays_file)
        confusion = confusion.sum(0) if several_seeds(results) else confusion
    if norms is not None:
        _check_shape("weight_norms", norms, 1, results, arrays_file)
        norms = norms.mean(0) if several_seeds(results) else norms
    return Run(results, metrics, config, confusion, norms, unreadable)


def several_seeds(results: dict[str, Any]) -> bool:
    """Whether the numbers are means over seeds, with their deviations in ``std`` and each seed's in ``per_seed``.

    Example:
      >>> several_seeds({"seeds": [0]}), several_seeds({"seeds": [0, 1], "std": {}, "per_seed": []})
      (False, True)
    """
    return "std" in results


def _check_seeds(results: dict[str, Any], path: epath.Path) -> None:
    """``std`` and ``per_seed`` stand in results.json exactly when it has several seeds, with a number for each."""
    seeds, classes = results["seeds"], len(results["class_counts"])
    listed = [one["seed"] for one in results.get("per_seed", [])]
    lengths = {len(one["per_class"]) for one in [results, results.get("std", results), *results.get("per_seed", [])]}
    wrong = ""
    if several_seeds(results) != (len(seeds) > 1):
        wrong = f"has {len(seeds)} seed(s) {'with' if several_seeds(results) else 'without'} deviations ('std')"
    elif listed != (seeds if len(seeds) > 1 else []):
        wrong = f"has the seeds {seeds}, but 'per_seed' has {listed}"
    elif lengths != {classes}:
        wrong = f"has {classes} classes, but 'per_class' has {', '.join(map(str, sorted(lengths - {classes})))} numbers"
    if wrong:
        raise InputError(f"{path}: {wrong}; evaluate the run again")


def _check_shape(name: str, array: np.ndarray, axes: int, results: dict[str, Any], path: epath.Path) -> None:
    """[C] * axes for one seed, [S] + [C] * axes for several."""
    classes, seeds = len(results["class_counts"]), len(results["seeds"])
    several = several_seeds(results)
    if array.shape != ((seeds,) if several else ()) + (classes,) * axes:
        has = f"{seeds} seeds and {classes} classes" if several else f"{classes} classes"
        raise InputError(f"{path}: {name} has shape {array.shape}, but results.json has {has}; evaluate the run again")


def _read_lines(path: epath.Path) -> tuple[list[dict[str, Any]], int]:
    """The JSON objects of a .jsonl file, and how many other lines it has."""
    if not path.exists():
        return [], 0
    rows, unreadable = [], 0
    for line in path.read_text().splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            row = None
        if isinstance(row, dict):
            rows.append(row)
        elif line.strip():
            unreadable += 1
    return rows, unreadable


def group_sizes(results: dict[str, Any]) -> tuple[int, int, int]:
    """Number of classes in many, medium and few under the run's convention.

    Every convention cuts the classes sorted by frequency in three runs, so the sizes also tell who is in which.

    Example:
      >>> group_sizes({"convention": "strict", "shots": {"strict": {"classes": [3, 3, 4]}}})
      (3, 3, 4)
    """
    many, medium, few = results["shots"][results["convention"]]["classes"]
    return many, medium, few


def class_labels(results: dict[str, Any]) -> list[str]:
    """The names of the classes, or their indices where results.json holds no ``class_names``.

    Example:
      >>> class_labels({"class_counts": [4, 2]})
      ['0', '1']
    """
    names = results.get("class_names")
    return [str(name) for name in names] if names else [str(c) for c in range(len(results["class_counts"]))]
