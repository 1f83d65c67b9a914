"""One pass over the test images: what every seed, and the network that they make together, gets right."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ltjax import metrics
from ltjax.class_counts import shot_groups
from ltjax.commands.adjustment import Adjustment
from ltjax.data.loading.host_batches import evaluation_batches
from ltjax.training.calibration import BINS, Logits
from ltjax.training.evaluation import has_softmax, rows_at_once
from ltjax.training.execution import mesh as meshes
from ltjax.training.execution.seeds import over_seeds, seed_axis
from ltjax.training.finished_run import Finished
from ltjax.training.workdir.metrics_log import Record
from ltjax.training.workdir.results import reading_of


class Counted(NamedTuple):
    """Of all test images, for one seed or for the network whose probabilities are the mean over the seeds.

    Attributes:
      counters: of the classes.
      quality: {"macro_f1": ..., "calibration_error": {"all": ..., "many": ..., "medium": ..., "few": ...}}; None for
        an empty group.
    """

    counters: metrics.Counters
    quality: Record


def count_test_images(
    finished: Finished, predict: Logits, averaged: Logits, adjustment: Adjustment
) -> tuple[list[Counted], float | None]:
    """Counts all test images once: (each seed and, of several, their average; the latter's ECE without temperature).

    Args:
      finished: the run, with its test images.
      predict: the logits of one seed.
      averaged: those of all seeds together.
      adjustment: of both.

    Raises:
      FloatingPointError: if logits are not finite.
    """
    config, data, mesh = finished.config, finished.data, finished.mesh
    axis, classes = seed_axis(config, meshes.platform(mesh)), data.num_classes
    settings = config.evaluation
    boundaries = (settings.index_boundaries or None) if settings.shots == "index" else None
    groups = shot_groups(data.class_counts, settings.shots, boundaries=boundaries)
    masks = {"all": np.ones(classes, bool), **groups}
    plain = dataclasses.replace(adjustment, temperature=1.0)
    of_seeds = over_seeds(predict, axis, (0, None))
    networks = axis[0] + (axis[0] > 1)

    def count(counters: Any, variables: Any, batch: Any) -> Any:
        images, labels, valid = batch["image"], batch["label"], batch["mask"].astype(bool)
        together = averaged(variables, images)
        logits = together[None]
        if axis[0] > 1:
            logits = jnp.concatenate([of_seeds(variables, images), logits])
        each = adjustment(logits)
        counted, predicted, ece, raw, broken = counters
        update = jax.vmap(metrics.update, in_axes=(0, 0, None, None))
        choices = jnp.where(valid, jnp.argmax(each, -1), classes)
        return (
            update(counted, each, labels, valid),
            predicted + jax.vmap(lambda row: jnp.bincount(row, length=classes + 1)[:classes])(choices),
            {name: update(ece[name], each, labels, valid & jnp.asarray(masks[name])[labels]) for name in masks},
            metrics.update(raw, plain(together), labels, valid),
            broken + jnp.sum(valid & ~has_softmax(together), dtype=jnp.int32),
        )

    bins = jax.tree.map(np.asarray, metrics.create(classes, confusion=False, calibration_bins=BINS))
    each_bins = jax.tree.map(lambda x: np.stack([x] * networks), bins)
    start = (
        jax.tree.map(lambda x: np.stack([np.asarray(x)] * networks), metrics.create(classes, confusion=False)),
        np.zeros((networks, classes), np.int32),
        {name: jax.tree.map(np.copy, each_bins) for name in masks},
        bins,
        np.int32(0),
    )
    everywhere = meshes.replicated(mesh)
    program = jax.jit(count, donate_argnums=0, out_shardings=everywhere)
    counters = meshes.put_replicated(start, mesh)
    size = rows_at_once(min(settings.batch_size, max(len(data.test), 1)), mesh)
    shard = (jax.process_index(), jax.process_count())
    for batch in evaluation_batches(data.test, size, shard, *reading_of(config)):
        counters = program(counters, finished.variables, meshes.put_split(batch, mesh))
    counted, predicted, ece, raw, broken = jax.device_get(counters)
    if broken:
        raise FloatingPointError(
            f"the logits of {int(broken):,} of {len(data.test):,} test images are not finite: the training diverged; "
            "train it again with a smaller config.optimizer.learning_rate"
        )
    found = []
    for i in range(networks):
        counters, bins = jax.tree.map(lambda x, i=i: x[i], (counted, ece))
        errors = {name: _number(metrics.expected_calibration_error(one)) for name, one in bins.items()}
        f1 = _number(metrics.macro_f1(counters, predicted[i]))
        found.append(Counted(counters, {"macro_f1": f1, "calibration_error": errors}))
    return found, _number(metrics.expected_calibration_error(raw))


def _number(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)
