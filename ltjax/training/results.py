"""results.json and evaluation.npz: a number, and everything it depends on."""

import importlib.metadata
import io
import json
import platform
from typing import Any

import jax
import numpy as np
from etils import epath
from flax import traverse_util

import ltjax
from ltjax.data import Data
from ltjax.methods.stage import Stage, Tree
from ltjax.training.evaluation import Evaluator, Summary, summarize
from ltjax.training.logging import Record, write_atomically
from ltjax.training.state import parameter_count

VERSIONED = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


def hardware() -> str:
    """The devices, and the machine that holds them.

    Example:
      >>> "cpu" in hardware() or "x" in hardware()
      True
    """
    devices = jax.devices()
    return f"{len(devices)} x {devices[0].device_kind} ({platform.machine()}, {jax.process_count()} process(es))"


def classifier_weight_norms(params: Tree) -> np.ndarray | None:
    """L2 norm of every class's row in the classifier; None when the network has no kernel of that name."""
    for path, kernel in traverse_util.flatten_dict(params).items():
        if path[-2:] == ("classifier", "kernel"):
            return np.linalg.norm(np.asarray(kernel, np.float64), axis=0)
    return None


def describe(config: Any, data: Data, params: Tree) -> Record:
    """What every number of the run depends on."""
    return {
        "method": config.method,
        "dataset": data.name,
        "split": data.split,
        "seeds": [config.seed],
        "parameter_count": parameter_count(params),
        "train_size": len(data.train),
        "class_counts": [int(n) for n in data.class_counts],
        "class_names": list(data.class_names) if data.class_names else None,
        "train_index_sha256": data.fingerprint,
        "hardware": hardware(),
        "versions": {"ltjax": ltjax.__version__} | {name: importlib.metadata.version(name) for name in VERSIONED},
        "epoch_rule": "last",
    }


def evaluate_stage(config: Any, data: Data, stage: Stage, variables: Tree, mesh: Any) -> tuple[Summary, dict]:
    """The summary, and the arrays for evaluation.npz."""
    evaluator = Evaluator(stage.predict, data.num_classes, config.evaluation.batch_size, mesh)
    counters = evaluator(variables, data.test)
    summary = summarize(counters, data, config.evaluation.shots, config.evaluation.index_boundaries)
    arrays = {"correct": counters.correct, "total": counters.examples}
    if counters.confusion is not None:
        arrays["confusion"] = np.asarray(counters.confusion, np.int64)
    norms = classifier_weight_norms(variables["params"])
    if norms is not None:
        arrays["weight_norms"] = norms
    return summary, arrays


def summary_record(summary: Summary, convention: str) -> Record:
    return {
        "accuracy": summary.accuracy,
        "convention": convention,
        "shots": summary.shots,
        "per_class": summary.per_class,
    }


def write_results(workdir: epath.Path, record: Record, arrays: dict[str, np.ndarray]) -> None:
    """evaluation.npz first: a run is finished when results.json is there."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    (workdir / "evaluation.npz").write_bytes(buffer.getvalue())
    write_atomically(workdir / "results.json", json.dumps(record, indent=2) + "\n")
