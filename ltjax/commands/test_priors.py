"""evaluate --test-prior=forward:50,uniform,backward:50: a finished run on test lists of other class distributions."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.commands.adjustment import NUMBERS, Adjustment, assumed_prior
from ltjax.commands.aggregate import Aggregate, learner
from ltjax.data.test_lists import TestList
from ltjax.methods.stage import Tree
from ltjax.training import calibration
from ltjax.training.aggregation import experts_of
from ltjax.training.evaluation import blocks_of
from ltjax.training.execution import mesh as meshes
from ltjax.training.execution.seeds import seeds_of, split_seeds
from ltjax.training.finished_run import Finished
from ltjax.training.workdir.json_files import Record
from ltjax.training.workdir.results import reading_of

PLAIN, KNOWN, ESTIMATED = "as_trained", "known_prior", "estimated_prior"
COLUMNS = {PLAIN: "as trained", KNOWN: "prior known", ESTIMATED: "prior estimated"}
Experts = Callable[[np.ndarray | None], np.ndarray]  # weights [E], or None for the mean -> logits [N, C]


def evaluate_lists(
    finished: Finished,
    lists: Sequence[TestList],
    base: Adjustment,
    model_prior: str | None,
    aggregate: Aggregate | None,
) -> Record:
    """The accuracies on each list, of every seed.

    Three for each list: of the network as it was trained; corrected to the class distribution of the list; and
    corrected to the one that is estimated from the list's images without their labels. The first two are given over all
    test images, too, each class weighted by its share of the list: the same quantity with less noise.

    Args:
      finished: the run, with its test images.
      lists: at least one.
      base: temperature and mirror images.
      model_prior: the class distribution that the network's probabilities assume (--model-prior); None = the stage's,
        and where that is unknown there are no corrected ones.
      aggregate: how the experts are weighted for each list; None = as the method does.
    """
    data, prior = finished.data, assumed_prior(model_prior, finished)
    if aggregate is not None and not model_prior:
        prior = None  # the weights decide it
    base = dataclasses.replace(base, model_prior=prior)
    several = split_seeds(finished.variables, finished.config.num_seeds)
    logits = [_logits(finished, variables, base.tta, aggregate) for variables in several]
    learn, rows = None if aggregate is None else learner(finished, aggregate), []
    for one in lists:
        records = one.records(data.class_counts, data.test.labels)
        some = data.test.subset(records)
        weights = [None if learn is None else learn(variables, some) for variables in several]
        found = [
            _accuracies(of(None if w is None else w.weights), data.test.labels, records, base)
            for of, w in zip(logits, weights, strict=True)
        ]
        made = _summary(one, data.test.labels[records], data.num_classes, found, seeds_of(finished.config))
        if aggregate is not None:
            made["aggregate"] = [w._asdict() | {"weights": w.weights.tolist()} for w in weights if w is not None]
        rows.append(made)
    notes = [*base.notes, *([] if aggregate is None else [aggregate.note])]
    return {
        "method": finished.config.method,
        "transductive": aggregate is not None,
        "test_images": len(data.test),
        "lists": rows,
        "adjustment": {"notes": notes, "temperature": base.temperature, "tta": base.tta, "model_prior": model_prior},
    }


def _logits(finished: Finished, variables: Tree, tta: str, aggregate: Aggregate | None) -> Experts:
    """The logits of all test images by a network of one seed, computed once."""
    stage = finished.stage
    if aggregate is None:
        predict = calibration.flipped_too(stage.predict) if tta == "flip" else stage.predict
        found = _rows(finished, variables, predict)
        return lambda weights: found
    experts = experts_of(stage)

    def each(variables: Tree, images: jax.Array) -> jax.Array:
        return jnp.moveaxis(experts(variables, images), 0, 1)

    of_experts = _rows(finished, variables, each)

    def logits(weights: np.ndarray | None) -> np.ndarray:
        assert weights is not None
        return np.einsum("nec,e->nc", of_experts, weights.astype(of_experts.dtype))

    return logits


def _rows(finished: Finished, variables: Tree, predict: Callable[[Tree, jax.Array], jax.Array]) -> np.ndarray:
    """What ``predict`` makes of every test image, [N, ...]."""
    config, source = finished.config, finished.data.test
    program = jax.jit(predict, out_shardings=meshes.replicated(finished.mesh))
    size = min(config.evaluation.batch_size, len(source))
    found = np.concatenate(list(blocks_of(program, variables, source, size, finished.mesh, reading_of(config))))
    broken = int(np.sum(~np.isfinite(found.reshape(len(found), -1).max(axis=1))))
    if broken:
        raise FloatingPointError(f"the logits of {broken:,} of {len(found):,} test images are not finite")
    return found


class _Found(NamedTuple):
    """Of one network on a list."""

    accuracies: dict[str, float]  # of the list's images, and (``all/...``) over all test images
    doubts: tuple[str, ...]  # whether its estimate of the class distribution can be trusted


def _accuracies(logits: np.ndarray, labels: np.ndarray, records: np.ndarray, base: Adjustment) -> _Found:
    classes = logits.shape[1]
    shares = np.bincount(labels[records], minlength=classes) / len(records)
    adjusted = {PLAIN: base}
    if base.model_prior is not None:
        some = records[
            np.unique(np.linspace(0, len(records) - 1, min(len(records), max(1, NUMBERS // classes))).astype(int))
        ]
        adjusted |= {KNOWN: base.with_prior(shares), ESTIMATED: base.with_estimate(logits[some])}
    found, doubts = {}, adjusted.get(ESTIMATED, base).notes[len(base.notes) :]
    for name, adjustment in adjusted.items():
        right = np.asarray(adjustment(jnp.asarray(logits))).argmax(1) == labels
        found[name] = float(np.mean(right[records]))
        if name != ESTIMATED:
            of_class = np.bincount(labels, right, classes) / np.maximum(np.bincount(labels, minlength=classes), 1)
            found[f"all/{name}"] = float(shares @ of_class)
    return _Found(found, doubts)


def _summary(one: TestList, labels: np.ndarray, classes: int, found: list[_Found], seeds: Sequence[int]) -> Record:
    def over_seeds(name: str) -> Record:
        values = [seed.accuracies[name] for seed in found]
        std = {"std": float(np.std(values, ddof=1))} if len(values) > 1 else {}
        return {"mean": float(np.mean(values)), **std, "per_seed": values}

    first = found[0].accuracies
    names = [name for name in COLUMNS if name in first]
    doubts = [
        doubt if len(found) == 1 else f"seed {seed}: {doubt}"
        for seed, of in zip(seeds, found, strict=True)
        for doubt in of.doubts
    ]
    return {
        "list": one.name,
        "images": len(labels),
        "class_counts": np.bincount(labels, minlength=classes).tolist(),
        "accuracy": {name: over_seeds(name) for name in names},
        "accuracy_by_all_test_images": {name: over_seeds(f"all/{name}") for name in names if f"all/{name}" in first},
        "notes": doubts,
    }


def lists_table(record: Record) -> str:
    """The record as a Markdown table, in %, and what it depends on."""
    first = record["lists"][0]
    names, exact = list(first["accuracy"]), list(first["accuracy_by_all_test_images"])
    titles = {**COLUMNS, PLAIN: "experts weighted"} if record["transductive"] else COLUMNS
    titles = {name: f"{title} (transductive)" if record["transductive"] else title for name, title in titles.items()}
    head = ["test list", "images", *(titles[name] for name in names)]
    head += [f"{titles[name]}, by all images" for name in exact]
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join(["---"] * len(head)) + " |"]
    for row in record["lists"]:
        cells = [row["accuracy"][name] for name in names]
        cells += [row["accuracy_by_all_test_images"][name] for name in exact]
        lines.append("| " + " | ".join([row["list"], f"{row['images']:,}", *map(_percent, cells)]) + " |")
    return "\n".join(lines)


def _percent(value: Record) -> str:
    deviation = f" ± {100 * value['std']:.1f}" if "std" in value else ""
    return f"{100 * value['mean']:.1f}{deviation}"


def explanation(record: Record) -> list[str]:
    """What the table's numbers are, a line each."""
    lines = list(record["adjustment"]["notes"])
    empty = [(row["list"], row["class_counts"].count(0)) for row in record["lists"] if 0 in row["class_counts"]]
    lines += [f"{name}: {number} classes have too few test images to be in the list" for name, number in empty]
    lines += [f"{row['list']}: {note}" for row in record["lists"] for note in row["notes"]]
    if KNOWN not in record["lists"][0]["accuracy"] and not record["transductive"]:
        lines.append(
            "not corrected to the lists: the probabilities of this method go with no known class distribution; name "
            "the one to assume with --model-prior=train or --model-prior=uniform"
        )
    return lines
