"""Exact evaluation: every example once, integer counts, remainder padded and masked."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from ltjax import metrics
from ltjax.class_counts import shot_groups
from ltjax.data import Data, Source
from ltjax.data.pipeline import evaluation_batches
from ltjax.methods.stage import Tree
from ltjax.training import mesh as meshes

LARGEST_CONFUSION = 1000  # classes; beyond it only the counts per class are kept


class Evaluator:
    """`predict` over a source, compiled once and used as often as needed."""

    def __init__(self, predict: Callable[[Tree, jax.Array], jax.Array], num_classes: int, batch_size: int, mesh: Mesh):
        self.batch_size = -(-batch_size // mesh.size) * mesh.size
        self.mesh = mesh
        self.empty = metrics.create(num_classes, confusion=num_classes <= LARGEST_CONFUSION)
        everywhere, over_devices = meshes.replicated(mesh), meshes.split(mesh)

        def count(counters: Any, variables: Tree, batch: dict[str, jax.Array]) -> Any:
            return metrics.update(counters, predict(variables, batch["image"]), batch["label"], batch["mask"])

        self.count = jax.jit(
            count,
            donate_argnums=0,
            in_shardings=(everywhere, everywhere, over_devices),
            out_shardings=everywhere,
        )

    def __call__(self, variables: Tree, source: Source) -> Any:
        """The counters over all of `source`, on the host."""
        counters = meshes.put_replicated(jax.tree.map(np.asarray, self.empty), self.mesh)
        shard = (jax.process_index(), jax.process_count())
        for batch in evaluation_batches(source, self.batch_size, shard):
            counters = self.count(counters, variables, meshes.put_split(batch, self.mesh))
        counters = jax.device_get(counters)
        seen = int(np.sum(counters.examples))
        assert seen == len(source), f"evaluation saw {seen} examples of {len(source)}"
        return counters


class Summary(NamedTuple):
    """What is reported of an evaluation: the parts of results.json that it decides."""

    accuracy: dict[str, float | None]
    shots: dict[str, dict[str, Any]]
    per_class: list[float | None]


def summarize(counters: Any, data: Data, convention: str, index_boundaries: tuple[int, int]) -> Summary:
    """Accuracies over all images and by class; many / medium / few under all three conventions."""
    shots: dict[str, dict[str, Any]] = {}
    for name in ("strict", "inclusive", "index"):
        groups = shot_groups(data.class_counts, name, boundaries=index_boundaries if name == "index" else None)
        by_shot = metrics.shot_accuracies(counters, groups)
        shots[name] = {g: _number(by_shot[g]) for g in groups} | {"classes": [int(np.sum(m)) for m in groups.values()]}
    accuracy: dict[str, float | None] = {
        "all": _number(metrics.overall_accuracy(counters)),
        "mean_class": _number(metrics.mean_class_accuracy(counters)),
        "worst_class": _number(metrics.worst_class_accuracy(counters)),
        "harmonic_mean": _number(metrics.harmonic_mean_accuracy(counters)),
    } | {g: shots[convention][g] for g in ("many", "medium", "few")}
    return Summary(accuracy, shots, [_number(a) for a in metrics.per_class_accuracy(counters)])


def _number(value: Any) -> float | None:
    """JSON has no NaN: what does not exist (the accuracy of an empty group) is null."""
    return None if np.isnan(value) else float(value)


def extract_features(
    network: Any, variables: Tree, source: Source, records: np.ndarray, batch_size: int, mesh: Mesh
) -> np.ndarray:
    """float [n, d]: the network's features of these records in order; evaluation mode, no augmentation."""
    everywhere, over_devices = meshes.replicated(mesh), meshes.split(mesh)
    features = jax.jit(
        lambda v, images: network.apply(v, images, train=False).features,
        in_shardings=(everywhere, over_devices),
        out_shardings=everywhere,
    )
    chosen = dataclasses.replace(
        source,
        labels=source.labels[records],
        index=source.index[records],
        read=lambda i: source.read(int(records[i])),
    )
    shard = (jax.process_index(), jax.process_count())
    batch_size = -(-batch_size // mesh.size) * mesh.size
    rows = [
        np.asarray(features(variables, meshes.put_split(batch["image"], mesh)))
        for batch in evaluation_batches(chosen, batch_size, shard)
    ]
    return np.concatenate(rows)[: len(records)]
