"""Results of runs that differ only in their seeds as those of one run with all of these seeds."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Of each seed; means over the seeds in results.json, and deviations under "std".
RECORDS = ("accuracy", "shots", "per_class", "train_loss_last_epoch")
OPTIONAL = ("average_precision", "report", "macro_f1", "calibration_error")  # where all runs have them


def merged(each: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One results.json for all: means and deviations over the seeds of all runs.

    What the runs do not share is the first one's, but for the seeds, the wall time (their sum), and the hardware and
    the commits (those of all; None for a run that has no note of its commit).
    """
    first, sizes = each[0], [len(results["seeds"]) for results in each]
    if len(each) == 1:
        return first
    names = [*RECORDS, *(name for name in OPTIONAL if all(name in results for results in each))]
    means = [{key: results.get(key) for key in names} for results in each]
    mean, deviation = pooled(means, [results.get("std", {}) for results in each], sizes)
    joined = first | mean | {"std": deviation}
    joined["seeds"] = [seed for results in each for seed in results["seeds"]]
    joined["per_seed"] = [one for results in each for one in of_each_seed(results, names)]
    joined["wall_time_s"] = sum(results["wall_time_s"] for results in each)
    joined["resumes"] = [note for results in each for note in results.get("resumes", ())]
    joined["hardware"] = "; ".join(dict.fromkeys(one for results in each for one in results["hardware"].split("; ")))
    joined["commits"] = list(dict.fromkeys(one for results in each for one in results.get("commits") or [None]))
    if all("views" in results for results in each):
        joined["views"] = {
            name: _merged_view([results["views"][name] for results in each], sizes) for name in first["views"]
        }
    return joined


def of_each_seed(results: Mapping[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """The entry ``per_seed`` of a run; that of a run with one seed is made of these of its entries."""
    if results.get("per_seed"):
        return list(results["per_seed"])
    (seed,) = results["seeds"]
    return [{"seed": seed} | {name: results.get(name) for name in ("convention", *names)}]


def _merged_view(each: Sequence[Mapping[str, Any]], sizes: Sequence[int]) -> dict[str, Any]:
    deviations = [view.get("std", {}).get("accuracy", {}) for view in each]
    mean, deviation = pooled([view["accuracy"] for view in each], deviations, sizes)
    return {"accuracy": mean, "std": {"accuracy": deviation}}


def pooled(means: Sequence[Any], deviations: Sequence[Any], sizes: Sequence[int]) -> tuple[Any, Any]:
    """Mean and sample standard deviation over all seeds, from those of runs of one or several seeds.

    Args:
      means: of each run, records of the same form; None stays None, and so does what is no measurement.
      deviations: of the same form where a run has several seeds, else empty.
      sizes: the number of seeds of each run.

    Example:
      >>> mean, deviation = pooled([{"all": 0.5}, {"all": 0.8}], [{"all": 0.1}, {}], [2, 1])
      >>> round(mean["all"], 3), round(deviation["all"], 3)  # the seeds have 0.429, 0.571 and 0.8
      (0.6, 0.187)
    """
    first = means[0]
    if isinstance(first, Mapping):
        pairs = {
            key: (first[key], None)
            if key == "classes"
            else pooled([mean[key] for mean in means], [(d or {}).get(key) for d in deviations], sizes)
            for key in first
        }
        return {key: mean for key, (mean, _) in pairs.items()}, {key: spread for key, (_, spread) in pairs.items()}
    if isinstance(first, list):
        columns = zip(*means, strict=True)
        spreads = zip(*(d if d is not None else [None] * len(first) for d in deviations), strict=True)
        each = [pooled(column, spread, sizes) for column, spread in zip(columns, spreads, strict=True)]
        return [mean for mean, _ in each], [spread for _, spread in each]
    if not all(isinstance(mean, int | float) for mean in means):
        return (None, None) if None in means else (first, None)
    mean, total = np.average(means, weights=sizes), sum(sizes)
    inside = sum((n - 1) * (d or 0.0) ** 2 for n, d in zip(sizes, deviations, strict=True))
    between = sum(n * (m - mean) ** 2 for n, m in zip(sizes, means, strict=True))
    return float(mean), math.sqrt((inside + between) / (total - 1))
