"""The temperature of a finished network, fitted on its validation images; and what a finished network says of images.

The networks of several seeds count as one, whose probabilities are the mean of theirs: it is what predicts.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ltjax import metrics
from ltjax.classifiers import fit_temperature
from ltjax.data import Data, Source
from ltjax.methods.stage import Tree
from ltjax.settings import Settings
from ltjax.training.evaluation import IN_THREADS, Reading, blocks_of
from ltjax.training.execution import mesh as meshes
from ltjax.training.execution.seeds import over_seeds, seed_axis
from ltjax.training.workdir.json_files import Record

MOST = 2**26  # numbers among the logits that a temperature is fitted on; of more images, evenly spaced ones are taken
BINS = 15  # of the expected calibration error

Logits = Callable[[Tree, jax.Array], jax.Array]  # (variables, images uint8 [B, H, W, C]) -> [B, C]


def validation_source(data: Data) -> Source | None:
    """The validation images of a data set, beside its test images or in their place; None if it has none."""
    return data.validation if data.validation is not None else data.test if data.split == "validation" else None


def flipped_too(predict: Logits) -> Logits:
    """The logarithm of the mean probability of an image and of its mirror image: test-time augmentation."""

    def mean(variables: Tree, images: jax.Array) -> jax.Array:
        both = [jax.nn.log_softmax(predict(variables, one)) for one in (images, images[:, :, ::-1])]
        return jnp.logaddexp(*both) - np.log(2).astype(both[0].dtype)

    return mean


def logits_of(predict: Logits, config: Settings, platform: str) -> Logits:
    """(variables, images) -> [B, C]: the logits; of several seeds the logarithm of their mean probability.

    Args:
      predict: of a stage, for one seed.
      config: the run's.
      platform: as ``mesh.platform`` has it.
    """
    axis = seed_axis(config, platform)
    several = over_seeds(predict, axis, (0, None))

    def mean(variables: Tree, images: jax.Array) -> jax.Array:
        logits = several(variables, images)
        if axis[0] == 1:
            return logits
        return jax.nn.logsumexp(jax.nn.log_softmax(logits), 0) - np.log(axis[0]).astype(logits.dtype)

    return mean


def sampled(source: Source, num_classes: int, most: int = MOST) -> Source:
    """At most ``most / num_classes`` of the images, evenly spaced, for what has to hold all their logits."""
    number = min(len(source), max(1, most // num_classes))
    return source.subset(np.unique(np.linspace(0, len(source) - 1, number).astype(np.int64)))


def all_logits(
    logits: Logits, variables: Tree, source: Source, batch_size: int, mesh: Any, reading: Reading = IN_THREADS
) -> np.ndarray:
    """float [N, C] of all images of the source, in order; every process gets all of them.

    Raises:
      FloatingPointError: if they are not finite.
    """
    program = jax.jit(logits, out_shardings=meshes.replicated(mesh))
    size = min(batch_size, len(source))
    found = np.concatenate(list(blocks_of(program, variables, source, size, mesh, reading)))
    broken = int(np.sum(~np.isfinite(found.max(axis=1))))
    if broken:
        raise FloatingPointError(f"the logits of {broken:,} of {len(found):,} images are not finite")
    return found


def calibrated(logits: np.ndarray, labels: np.ndarray, split: str, prior: np.ndarray | None) -> Record:
    """The temperature of these logits, and what it does to the loss and the calibration error on the same images.

    The temperature is that of ``softmax(logits / T)`` for images of the prior. Where these have other shares of the
    classes, all three are those of the probabilities corrected to these shares: a balanced validation set of a
    long-tailed training set would otherwise have a temperature that makes up for the wrong prior.

    Args:
      logits: [N, C].
      labels: [N].
      split: what the images are, for the record.
      prior: the class distribution that the network's probabilities assume (``Stage.prior``), [C]; None = unknown: the
        temperature then holds for images with the shares of these.

    Raises:
      ValueError: if no temperature is best (``fit_temperature``).
    """
    counts = np.bincount(labels, minlength=logits.shape[1])
    present = np.flatnonzero(counts)
    if prior is None:
        offset, targets = np.zeros(logits.shape[1], logits.dtype), labels
    else:  # absent classes have a share of 0
        logits = logits if len(present) == len(counts) else logits[:, present]
        targets = np.searchsorted(present, labels)
        offset = (np.log(counts[present]) - np.log(np.asarray(prior, np.float64)[present])).astype(logits.dtype)
        offset -= offset.mean()
    temperature = fit_temperature(logits, targets, offset)
    before, after = measured(logits + offset, targets), measured(logits / temperature + offset, targets)
    return {
        "temperature": temperature,
        "split": split,
        "images": len(labels),
        "class_shares": [float(x) for x in counts / len(labels)],
        "prior_known": prior is not None,
        "corrected": bool(np.abs(offset).max(initial=0) > 1e-6),
        "loss": {"before": before[0], "after": after[0]},
        "ece": {"before": before[1], "after": after[1]},
    }


def prior_note(record: Record) -> str:
    """What a user has to know of the temperature beside its numbers; "" where there is nothing.

    Args:
      record: of ``calibrated``.
    """
    if record["corrected"]:
        return f"; both of probabilities that are corrected to the class shares of these {record['split']} images"
    if record["prior_known"]:
        return ""
    return (
        f"; it holds for images with the class distribution of these {record['split']} images: the one that the "
        "network's probabilities assume is unknown"
    )


def measured(logits: np.ndarray, labels: np.ndarray, rows: int = 4096) -> tuple[float, float]:
    """(mean negative log-likelihood, expected calibration error) of these logits [N, C]."""
    counters = metrics.create(logits.shape[1], confusion=False, calibration_bins=BINS)
    loss = 0.0
    for begin in range(0, len(labels), rows):
        some, targets = logits[begin : begin + rows], labels[begin : begin + rows].astype(np.int32)
        counters = metrics.update(counters, some, targets)
        exact = some.astype(np.float64)
        highest = exact.max(axis=1, keepdims=True)
        total = np.log(np.sum(np.exp(exact - highest), axis=1)) + highest[:, 0]
        loss += float(np.sum(total - np.take_along_axis(exact, targets[:, None], 1)[:, 0]))
    return loss / len(labels), float(metrics.expected_calibration_error(jax.device_get(counters)))
