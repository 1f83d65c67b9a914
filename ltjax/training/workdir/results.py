"""results.json and evaluation.npz: a number, and everything it depends on."""

import contextlib
import dataclasses
import functools
import importlib.metadata
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath

from ltjax.data import Data
from ltjax.data.loading.prefetch import Watch
from ltjax.data.storage.paths import write_atomically
from ltjax.methods.stage import AnyStage, Tree
from ltjax.models import classifier_weights
from ltjax.settings import Settings
from ltjax.training import several_labels
from ltjax.training.evaluation import Answers, Evaluator, Reading, Summary, summarize
from ltjax.training.execution import mesh as meshes
from ltjax.training.execution.compiler_options import compiler_options
from ltjax.training.execution.seeds import seed_axis, seeds_of, split_seeds, stack_seeds
from ltjax.training.step.state import parameter_count
from ltjax.training.workdir.metrics_log import Record
from ltjax.version import __version__

VERSIONED = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


def classifier_weight_norms(network: object, params: Tree) -> np.ndarray | None:
    """L2 norm of the weights that classify each class, [C]; of several experts the mean; None if there are none.

    They are those of evaluation: after the division by the norms of tau-normalisation, with the factors of LWS, of
    length 1 in a cosine classifier, the class means of NCM (Kang et al., 2020, figure 2).
    """
    head = getattr(network, "head", None)
    given = jax.device_put(params["head"] if head is not None and "head" in params else params)
    weights = jax.device_get(jax.jit(functools.partial(classifier_weights, head))(given))
    if weights is None:
        return None
    norms = np.linalg.norm(np.asarray(weights, np.float64), axis=-2)
    return norms.reshape(-1, norms.shape[-1]).mean(0)


def versions() -> dict[str, str]:
    """Of the installed packages that a result depends on."""
    found = {}
    for name in VERSIONED:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def describe(config: Settings, data: Data, params: Tree) -> Record:
    """What every number of the run depends on."""
    return {
        "method": config.method,
        "dataset": data.name,
        "split": data.split,
        "seeds": list(seeds_of(config)),
        "parameter_count": parameter_count(params) // config.num_seeds,
        "train_size": len(data.train),
        "class_counts": [int(n) for n in data.class_counts],
        "class_names": list(data.class_names) if data.class_names else None,
        "train_index_sha256": data.fingerprint,
        "versions": {"ltjax": __version__} | versions(),
        "epoch_rule": "last",
        "data_notes": list(data.notes),
    }


AnyEvaluator = Evaluator | several_labels.ScoreEvaluator


def evaluator_of(
    config: Settings, data: Data, stage: AnyStage, mesh: Any, watch: Watch | None = None, views: bool = False
) -> AnyEvaluator:
    """The evaluation of a stage on images of one label (``make_evaluator``) or of several, which has no views."""
    if data.test.label_sets is None:
        return make_evaluator(config, data, stage, mesh, watch, views)
    size = min(config.evaluation.batch_size, max(len(data.test), 1))
    axis, reading = seed_axis(config, meshes.platform(mesh)), reading_of(config, watch)
    return several_labels.ScoreEvaluator(stage.predict, data.num_classes, size, mesh, axis, reading)


def make_evaluator(
    config: Settings, data: Data, stage: AnyStage, mesh: Any, watch: Watch | None = None, views: bool = False
) -> Evaluator:
    """The evaluation of a stage under this config, optionally with its views.

    It never skips an unreadable image, even if ``watch`` does so in training.
    """
    reading = reading_of(config, watch)
    axis = seed_axis(config, meshes.platform(mesh))
    size, others = min(config.evaluation.batch_size, max(len(data.test), 1)), stage.views if views else {}
    options = compiler_options(mesh, config.cuda_graphs, spare_memory=config.model.remat)
    return Evaluator(stage.predict, data.num_classes, size, mesh, axis, reading, others, options)


def reading_of(config: Settings, watch: Watch | None = None) -> Reading:
    """How evaluation reads images that are not on the device: an unreadable one is an error."""
    return Reading(config.data.workers, watch and dataclasses.replace(watch, on_faults=None))


def summarize_seeds(config: Settings, data: Data, counters: Sequence[Any]) -> list[Summary]:
    """Each seed's summary."""
    settings = config.evaluation
    if data.test.label_sets is not None:
        return several_labels.summarize_seeds(config, data, counters)
    return [summarize(one, data, settings.shots, settings.index_boundaries) for one in counters]


def stage_reports(config: Settings, stage: AnyStage, variables: Tree) -> list[Record]:
    """The numbers that the stage reports of its variables, for each seed; empty where it reports none."""
    if stage.report is None:
        return [{} for _ in seeds_of(config)]
    each = split_seeds(jax.device_get(variables), config.num_seeds)
    return [{name: float(value) for name, value in stage.report(one).items()} for one in each]


def evaluation_arrays(
    counters: Sequence[Any], network: object, params: Tree, answers: Sequence[Answers], labels: np.ndarray
) -> dict[str, np.ndarray]:
    """What evaluation.npz holds; with several seeds all of it has a leading seed axis."""
    each: list[dict[str, Any]] = []
    of_seeds = split_seeds(jax.device_get(params), len(counters))
    if isinstance(counters[0], several_labels.Scores):
        return several_labels.evaluation_arrays(counters, [classifier_weight_norms(network, one) for one in of_seeds])
    for one, of_seed, said in zip(counters, of_seeds, answers, strict=True):
        arrays = {"correct": one.correct, "total": one.examples, "label": labels, **said._asdict()}
        if one.confusion is not None:
            arrays["confusion"] = np.asarray(one.confusion, np.int64)
        norms = classifier_weight_norms(network, of_seed)
        each.append(arrays | ({} if norms is None else {"weight_norms": norms}))
    return stack_seeds(each, "evaluation")


def summary_record(summary: Summary, convention: str) -> Record:
    return {
        summary.measure: summary.accuracy,
        "convention": convention,
        "shots": summary.shots,
        "per_class": summary.per_class,
    }


def results_over_seeds(
    config: Settings,
    summaries: list[Summary],
    losses: list[float] | None,
    reports: Sequence[Record] = (),
    qualities: Sequence[Record] = (),
) -> Record:
    """The results of one seed for results.json; with several the means, the sample deviations and each seed's.

    Args:
      config: the run's.
      summaries: one for each seed.
      losses: mean training loss of the last epoch, one for each seed; None if nothing was trained.
      reports: the numbers that the last stage reports, for each seed.
      qualities: ``predictions.quality``, for each seed.
    """
    each = [
        summary_record(summary, config.evaluation.shots)
        | {"train_loss_last_epoch": losses[s] if losses else None}
        | ({"report": reports[s]} if reports and reports[s] else {})
        | (qualities[s] if qualities else {})
        for s, summary in enumerate(summaries)
    ]
    if len(each) == 1:
        return each[0]
    record = reduced(each, np.mean)
    deviations = reduced(each, lambda values: np.std(values, ddof=1))
    del deviations["convention"]
    for groups in deviations["shots"].values():
        del groups["classes"]
    per_seed = [{"seed": seed} | one for seed, one in zip(seeds_of(config), each, strict=True)]
    return record | {"std": deviations, "per_seed": per_seed}


def reduced(values: Any, reduce: Callable[[list[float]], Any]) -> Any:
    """Reduces records of the same form number by number. null stays null, and so does what is no measurement.

    Example:
      >>> reduced([{"all": 0.5, "few": None, "classes": [3, 2]}, {"all": 0.7, "few": None, "classes": [3, 2]}], max)
      {'all': 0.7, 'few': None, 'classes': [3, 2]}
    """
    first = values[0]
    if isinstance(first, dict):
        return {
            key: first[key] if key == "classes" else reduced([value[key] for value in values], reduce) for key in first
        }
    if isinstance(first, list):
        return [reduced(list(column), reduce) for column in zip(*values, strict=True)]
    return float(reduce(values)) if isinstance(first, float) else first


def write_results(workdir: epath.Path, record: Record, arrays: dict[str, np.ndarray]) -> None:
    """evaluation.npz first: a run is finished when results.json is there."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_atomically(workdir / "evaluation.npz", buffer.getvalue())
    write_atomically(workdir / "results.json", json.dumps(record, indent=2) + "\n")
