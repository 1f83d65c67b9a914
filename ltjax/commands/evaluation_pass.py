"""One pass over the test images: correct predictions of every seed, and the calibration of the network they make."""

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
from ltjax.training.evaluation import LARGEST_CONFUSION, has_softmax, rows_at_once
from ltjax.training.execution import mesh as meshes
from ltjax.training.execution.seeds import over_seeds, seed_axis, split_seeds
from ltjax.training.finished_run import Finished
from ltjax.training.workdir.results import reading_of


class Counted(NamedTuple):
    """Of all test images.

    Attributes:
      seeds: the counters of every seed.
      macro_f1: of every seed.
      calibration: {"ece": {"all": ..., "many": ..., "medium": ..., "few": ...}, "ece_without_temperature": ...} of the
        network whose probabilities are the mean over the seeds; None for an empty group.
    """

    seeds: list[Any]
    macro_f1: list[float]
    calibration: dict[str, Any]


def count_test_images(finished: Finished, predict: Logits, averaged: Logits, adjustment: Adjustment) -> Counted:
    """Counts all test images once.

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
    plain = dataclasses.replace(adjustment, temperature=1.0, offset=adjustment.offset * adjustment.temperature)
    of_seeds = over_seeds(lambda variables, images: adjustment(predict(variables, images)), axis, (0, None))

    def count(counters: Any, variables: Any, batch: Any) -> Any:
        images, labels, valid = batch["image"], batch["label"], batch["mask"].astype(bool)
        each = of_seeds(variables, images)
        each = each[None] if axis[0] == 1 else each
        together = averaged(variables, images)
        seeds, predicted, ece, raw, broken = counters
        update = jax.vmap(metrics.update, in_axes=(0, 0, None, None))
        choices = jnp.where(valid, jnp.argmax(each, -1), classes)
        return (
            update(seeds, each, labels, valid),
            predicted + jax.vmap(lambda row: jnp.bincount(row, length=classes + 1)[:classes])(choices),
            {name: metrics.update(ece[name], adjustment(together), labels, valid & jnp.asarray(masks[name])[labels])
             for name in masks},
            metrics.update(raw, plain(together), labels, valid),
            broken + jnp.sum(valid & ~has_softmax(together), dtype=jnp.int32),
        )  # fmt: skip

    one = metrics.create(classes, confusion=classes <= LARGEST_CONFUSION)
    bins = metrics.create(classes, confusion=False, calibration_bins=BINS)
    start = (
        jax.tree.map(lambda x: np.stack([np.asarray(x)] * axis[0]), one),
        np.zeros((axis[0], classes), np.int32),
        {name: jax.tree.map(np.asarray, bins) for name in masks},
        jax.tree.map(np.asarray, bins),
        np.int32(0),
    )
    everywhere = meshes.replicated(mesh)
    program = jax.jit(count, donate_argnums=0, out_shardings=everywhere)
    counters = meshes.put_replicated(start, mesh)
    size = rows_at_once(min(settings.batch_size, max(len(data.test), 1)), mesh)
    shard = (jax.process_index(), jax.process_count())
    for batch in evaluation_batches(data.test, size, shard, *reading_of(config)):
        counters = program(counters, finished.variables, meshes.put_split(batch, mesh))
    seeds, predicted, ece, raw, broken = jax.device_get(counters)
    if broken:
        raise FloatingPointError(
            f"the logits of {int(broken):,} of {len(data.test):,} test images are not finite: the training diverged; "
            "train it again with a smaller config.optimizer.learning_rate"
        )
    each = split_seeds(seeds, axis[0]) if axis[0] > 1 else [jax.tree.map(lambda x: x[0], seeds)]
    f1 = [float(metrics.macro_f1(one, columns)) for one, columns in zip(each, predicted, strict=True)]
    return Counted(
        each, f1, {"ece": {name: _number(one) for name, one in ece.items()}, "ece_without_temperature": _number(raw)}
    )


def _number(counters: Any) -> float | None:
    value = float(metrics.expected_calibration_error(counters))
    return None if np.isnan(value) else value
