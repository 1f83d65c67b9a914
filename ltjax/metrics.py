"""Accuracy per class, per shot group and overall, F1, and calibration, from exact integer counters.

``create`` -> ``update`` once a batch (under jit; sharded batches give the global counts) -> ``merge`` over hosts or
devices (or ``jax.lax.psum`` of the whole pytree) -> the host functions below, in float64. Integers make the result the
same in whatever order, on however many devices, the examples came: 2^31 examples of a class fit.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ltjax.arrays import ArrayLike, any_promotion, jit

__all__ = [
    "FRACTION_BITS",
    "Counters",
    "average_precision",
    "count_confidences",
    "create",
    "expected_calibration_error",
    "harmonic_mean_accuracy",
    "macro_f1",
    "mean_class_accuracy",
    "merge",
    "overall_accuracy",
    "per_class_accuracy",
    "per_class_f1",
    "reliability",
    "shot_accuracies",
    "update",
    "worst_class_accuracy",
]

# A confidence is counted as whole 2^-20ths, in two words: 2^31 examples of a bin fit, and sums carry no rounding.
FRACTION_BITS = 20


class Counters(NamedTuple):
    """Integer counts, a pytree that adds leaf by leaf; None where something is not counted.

    examples, correct: int32 ``[C]`` per true class; confusion: int32 ``[C, C]``, row = true class, column = predicted;
    bin_examples, bin_correct, bin_whole, bin_fraction: int32 ``[bins]`` by confidence, the last two being the sum of
    the confidences as ``whole + fraction / 2^20``.
    """

    examples: Any
    correct: Any
    confusion: Any = None
    bin_examples: Any = None
    bin_correct: Any = None
    bin_whole: Any = None
    bin_fraction: Any = None


@any_promotion
def create(num_classes: int, *, confusion: bool = True, calibration_bins: int = 0) -> Counters:
    """Counters at zero.

    Args:
      num_classes: C.
      confusion: also keep the ``[C, C]`` confusion matrix.
      calibration_bins: also count confidences in this many equal bins (15 is customary); needs logits in ``update``.

    Raises:
      ValueError: if num_classes is below 1 or calibration_bins below 0.

    Example:
      >>> counters = update(create(3), jnp.array([0, 2, 2]), jnp.array([0, 1, 2]))
      >>> overall_accuracy(counters).round(3), per_class_accuracy(counters).tolist()
      (np.float64(0.667), [1.0, 0.0, 1.0])
    """
    if num_classes < 1 or calibration_bins < 0:
        raise ValueError(
            f"num_classes: {num_classes} must be positive, calibration_bins: {calibration_bins} not negative"
        )
    zeros = functools.partial(jnp.zeros, dtype=jnp.int32)
    bins = [zeros(calibration_bins) for _ in range(4)] if calibration_bins else [None] * 4
    return Counters(
        zeros(num_classes), zeros(num_classes), zeros((num_classes, num_classes)) if confusion else None, *bins
    )


@any_promotion
def update(counters: Counters, predictions: ArrayLike, labels: ArrayLike, where: ArrayLike | None = None) -> Counters:
    """The counters with a batch added; runs under jit.

    Args:
      counters: from ``create``.
      predictions: class numbers, integers ``[...]``, or logits ``[..., C]`` (the first largest is the prediction; a
        row that holds a NaN is wrong). Calibration takes the softmax of logits; class numbers have none.
      labels: integers ``[...]``. Compare ``counters.examples.sum()`` with the size of the data set: a label outside
        0..C-1 is not counted.
      where: bool ``[...]``, False for padding; None counts every example.

    Returns:
      New counters.

    Raises:
      ValueError: if the shapes do not fit, or calibration is to be counted from class numbers.

    Example:
      >>> logits = jnp.array([[2.0, 1.0], [0.0, 3.0], [9.0, 0.0]])
      >>> counters = update(create(2), logits, jnp.array([0, 0, 1]), where=jnp.array([True, True, False]))
      >>> counters.confusion.tolist()
      [[1, 1], [0, 0]]
    """
    predictions, labels = jnp.asarray(predictions), jnp.asarray(labels)
    num_classes = counters.examples.shape[0]
    scored = predictions.ndim == labels.ndim + 1
    if predictions.shape != labels.shape + (num_classes,) * scored:
        shapes = f"{list(labels.shape)} or {[*labels.shape, num_classes]}, not {list(predictions.shape)}"
        raise ValueError(f"predictions: expected shape {shapes}")
    if not jnp.issubdtype(labels.dtype, jnp.integer) or not (scored or jnp.issubdtype(predictions.dtype, jnp.integer)):
        raise ValueError(f"labels, predictions: class numbers are integers, not {labels.dtype}, {predictions.dtype}")
    if counters.bin_examples is not None and not scored:
        raise ValueError("predictions: calibration needs logits [..., C], not class numbers")
    return _update(counters, predictions, labels, where)


@jit
def _update(counters: Counters, predictions: Any, labels: Any, where: Any) -> Counters:
    num_classes = counters.examples.shape[0]
    valid = (labels >= 0) & (labels < num_classes)
    if where is not None:
        valid &= jnp.asarray(where, bool)
    confidence = None
    if predictions.ndim > labels.ndim:
        logits = predictions.astype(jnp.promote_types(predictions.dtype, jnp.float32))
        predictions = jnp.where(jnp.isnan(logits).any(-1), -1, jnp.argmax(logits, -1))
        confidence = jnp.max(jax.nn.softmax(logits, -1), -1).ravel()
    valid, labels, predictions = valid.ravel(), labels.ravel(), predictions.ravel()
    right = valid & (predictions == labels)
    count = functools.partial(_count, num_classes)
    confusion = counters.confusion
    if confusion is not None:
        inside = valid & (predictions >= 0) & (predictions < num_classes)
        cells = jnp.where(inside, labels, 0), jnp.where(inside, predictions, 0)
        confusion = confusion + _cells(num_classes, *cells, inside)
    updated = counters._replace(
        examples=counters.examples + count(labels, valid),
        correct=counters.correct + count(labels, right),
        confusion=confusion,
    )
    return updated if counters.bin_examples is None else _update_bins(updated, confidence, valid, right)


def _count(size: int, index: Any, weights: Any) -> Any:
    """How much of the integer weights falls on each index ``[size]``."""
    return jnp.sum(
        jnp.where(index[:, None] == jnp.arange(size), weights.astype(jnp.int32)[:, None], 0), axis=0, dtype=jnp.int32
    )


def _cells(size: int, rows: Any, columns: Any, weights: Any) -> Any:
    """How much of the integer weights falls on each cell ``[size, size]``."""

    def scatter(rows: Any, columns: Any, weights: Any) -> Any:
        return jnp.zeros((size, size), jnp.int32).at[rows, columns].add(weights.astype(jnp.int32))

    mesh = jax.typeof(rows).sharding.mesh
    if jax.sharding.AxisType.Explicit not in mesh.axis_types:
        return scatter(rows, columns, weights)
    # A scatter has no sharding of its own: let the compiler choose.
    auto_axes: Any = jax.sharding.auto_axes
    partition_spec: Any = jax.sharding.PartitionSpec
    return auto_axes(scatter, out_sharding=partition_spec())(rows, columns, weights)


def _update_bins(counters: Counters, confidence: Any, valid: Any, right: Any) -> Counters:
    """Adds confidences in bins (lower, upper], in two words of 10 bits so that a batch cannot overflow."""
    bins = counters.bin_examples.shape[0]
    known = valid & ~jnp.isnan(confidence)
    confidence = jnp.where(known, confidence, 0)
    index = jnp.clip(jnp.ceil(confidence * bins).astype(jnp.int32) - 1, 0, bins - 1)
    units = jnp.where(known, jnp.round(confidence * 2**FRACTION_BITS), 0).astype(jnp.int32)
    half = FRACTION_BITS // 2
    low = _count(bins, index, units & (2**half - 1))
    high = _count(bins, index, units >> half) + (low >> half)
    fraction = counters.bin_fraction + ((high & (2**half - 1)) << half) + (low & (2**half - 1))
    return counters._replace(
        bin_examples=counters.bin_examples + _count(bins, index, known),
        bin_correct=counters.bin_correct + _count(bins, index, right & known),
        bin_whole=counters.bin_whole + (high >> half) + (fraction >> FRACTION_BITS),
        bin_fraction=fraction & (2**FRACTION_BITS - 1),
    )


@any_promotion
def merge(first: Counters, second: Counters) -> Counters:
    """The counters of both together (of two hosts, two shards, two data sets).

    Example:
      >>> one = update(create(2), jnp.array([0, 1]), jnp.array([0, 0]))
      >>> merge(one, one).examples.tolist()
      [4, 0]
    """
    both: Counters = jax.tree.map(lambda a, b: a + b, first, second)
    return both


def per_class_accuracy(counters: Counters) -> npt.NDArray[np.float64]:
    """Accuracy of each class (float64 ``[C]``); NaN for a class without examples.

    Example:
      >>> per_class_accuracy(update(create(3), jnp.array([0, 1, 1]), jnp.array([0, 0, 1]))).tolist()
      [0.5, 1.0, nan]
    """
    return _ratio(np.asarray(counters.correct), np.asarray(counters.examples))


def overall_accuracy(counters: Counters) -> Any:
    """The fraction of all examples that is right (float64); NaN when there are none.

    Example:
      >>> overall_accuracy(update(create(2), jnp.array([0, 0, 0, 0]), jnp.array([0, 0, 0, 1])))
      np.float64(0.75)
    """
    return _ratio(np.asarray(counters.correct, np.int64).sum(), np.asarray(counters.examples, np.int64).sum())[()]


def mean_class_accuracy(counters: Counters) -> Any:
    """The mean of the accuracies of the classes that have examples (float64); NaN when none has.

    Example:
      >>> mean_class_accuracy(update(create(2), jnp.array([0, 0, 0, 0]), jnp.array([0, 0, 0, 1])))
      np.float64(0.5)
    """
    return _mean(per_class_accuracy(counters))


def worst_class_accuracy(counters: Counters) -> Any:
    """The lowest accuracy of a class that has examples (float64); NaN when none has.

    Example:
      >>> worst_class_accuracy(update(create(3), jnp.array([0, 0, 0, 0]), jnp.array([0, 0, 0, 1])))
      np.float64(0.0)
    """
    present = _present(counters)
    return present.min() if present.size else np.float64(np.nan)


def harmonic_mean_accuracy(counters: Counters) -> Any:
    """The harmonic mean of the accuracies of the classes that have examples: 0 if one is 0; NaN when there are none.

    Example:
      >>> harmonic_mean_accuracy(update(create(2), jnp.array([0, 0, 0]), jnp.array([0, 0, 1])))
      np.float64(0.0)
    """
    present = _present(counters)
    if not present.size or not present.all():
        return np.float64(0.0 if present.size else np.nan)
    return present.size / np.sum(1 / present)


def shot_accuracies(counters: Counters, groups: Mapping[str, Sequence[bool] | npt.NDArray[np.bool_]]) -> dict[str, Any]:
    """For each group, the mean of the accuracies of its classes that have examples; NaN for an empty group.

    Args:
      counters: from ``update``.
      groups: name -> bool ``[C]``, as ``ltjax.class_counts.shot_groups`` makes them.

    Raises:
      ValueError: if a mask has another length.

    Example:
      >>> counters = update(create(3), jnp.array([0, 1, 0]), jnp.array([0, 1, 2]))
      >>> shot_accuracies(counters, {"many": [True, False, False], "few": [False, True, True]})
      {'many': np.float64(1.0), 'few': np.float64(0.5)}
    """
    accuracy = per_class_accuracy(counters)
    for name, mask in groups.items():
        if np.shape(mask) != accuracy.shape:
            raise ValueError(f"groups['{name}']: expected shape {list(accuracy.shape)}, not {list(np.shape(mask))}")
    return {name: _mean(accuracy[np.asarray(mask, bool)]) for name, mask in groups.items()}


def per_class_f1(counters: Counters, predicted: ArrayLike | None = None) -> npt.NDArray[np.float64]:
    """F1 of each class, ``2 TP / (2 TP + FP + FN)`` (float64 ``[C]``); NaN for a class without examples.

    Args:
      counters: from ``update``.
      predicted: ``[C]``, the examples that were predicted as each class; by default from the confusion matrix.

    Raises:
      ValueError: if the counters have no confusion matrix and ``predicted`` is not given, or it has another shape.

    Example:
      >>> per_class_f1(update(create(3), jnp.array([0, 1, 1, 0]), jnp.array([0, 0, 1, 0]))).round(3).tolist()
      [0.8, 0.667, nan]
    """
    if predicted is None:
        if counters.confusion is None:
            raise ValueError("counters: made without confusion; use create(..., confusion=True), or give predicted")
        predicted = np.asarray(counters.confusion, np.int64).sum(axis=0)
    correct, examples, columns = (np.asarray(x, np.int64) for x in (counters.correct, counters.examples, predicted))
    if columns.shape != examples.shape:
        raise ValueError(f"predicted: expected shape {list(examples.shape)}, not {list(columns.shape)}")
    f1 = _ratio(2 * correct, examples + columns)
    return np.where(examples > 0, f1, np.nan)


def macro_f1(counters: Counters, predicted: ArrayLike | None = None) -> Any:
    """The mean of the F1 of the classes that have examples (float64); NaN when none has.

    Unlike accuracies it counts what a class takes from others.

    Args:
      counters, predicted: as of ``per_class_f1``.

    Raises:
      ValueError: as ``per_class_f1``.

    Example:
      >>> macro_f1(update(create(3), jnp.array([0, 1, 1, 0]), jnp.array([0, 0, 1, 0]))).round(3)
      np.float64(0.733)
    """
    return _mean(per_class_f1(counters, predicted))


def average_precision(scores: npt.ArrayLike, targets: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Average precision of each class (float64 ``[C]``): the mean, over its images, of the precision down to each.

    Images of equal scores have one precision, whatever their order; NaN for a class without an image. The mean over
    classes is mAP.

    Args:
      scores: ``[N, C]``, higher for likelier: logits or probabilities.
      targets: bool ``[N, C]``: which images are of the class.

    Raises:
      ValueError: if the shapes differ.

    Example:
      >>> average_precision([[3.0], [2.0], [1.0]], [[True], [False], [True]]).round(3)
      array([0.833])
    """
    values, present = np.asarray(scores), np.asarray(targets, bool)
    if values.ndim != 2 or values.shape != present.shape:
        raise ValueError(f"scores, targets: expected one shape [N, C], not {list(values.shape)}, {list(present.shape)}")
    found = np.full(values.shape[1], np.nan)
    for label, (column, of_class) in enumerate(zip(values.T, present.T, strict=True)):
        if of_class.any():
            order = np.argsort(-column, kind="stable")
            last = np.flatnonzero(np.append(np.diff(column[order]) != 0, True))  # of each run of equal scores
            right = np.cumsum(of_class[order])[last]
            found[label] = np.sum(np.diff(right, prepend=0) * (right / (last + 1))) / right[-1]
    return found


def expected_calibration_error(counters: Counters) -> Any:
    """``sum_b (n_b / N) |accuracy_b - confidence_b|`` over equal bins of the largest probability; NaN when empty.

    Raises:
      ValueError: if the counters were made without ``calibration_bins``.

    Example:
      >>> counters = create(2, calibration_bins=15)
      >>> counters = update(counters, jnp.log(jnp.array([[0.75, 0.25]] * 4)), jnp.array([0, 0, 0, 1]))
      >>> expected_calibration_error(counters).round(5)
      np.float64(0.0)

    Reference: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 3.
    """
    gaps = np.abs(np.asarray(_binned(counters).bin_correct) - _confidences(counters))
    return _ratio(gaps.sum(), np.asarray(counters.bin_examples, np.int64).sum())[()]


def count_confidences(confidence: npt.ArrayLike, correct: npt.ArrayLike, *, calibration_bins: int = 15) -> Counters:
    """Counters of one class from stored numbers: the largest probability of each example, and whether it was right.

    For ``expected_calibration_error`` and ``reliability`` of any part of a test set.

    Args:
      confidence: ``[N]`` in 0..1; NaN is not counted.
      correct: bool ``[N]``.
      calibration_bins: equal bins (lower, upper].

    Raises:
      ValueError: if the shapes differ.

    Example:
      >>> expected_calibration_error(count_confidences([0.75] * 4, [True, True, True, False]))
      np.float64(0.0)
    """
    share, right = np.asarray(confidence, np.float64), np.asarray(correct, bool)
    if share.ndim != 1 or share.shape != right.shape:
        raise ValueError(f"confidence, correct: expected one shape [N], not {list(share.shape)}, {list(right.shape)}")
    share, right = share[~np.isnan(share)], right[~np.isnan(share)]
    bins = np.clip(np.ceil(share * calibration_bins).astype(np.int64) - 1, 0, calibration_bins - 1)
    units = np.bincount(bins, np.round(share * 2**FRACTION_BITS), calibration_bins).astype(np.int64)
    examples, right_in = (np.bincount(one, minlength=calibration_bins) for one in (bins, bins[right]))
    whole, fraction = units >> FRACTION_BITS, units & (2**FRACTION_BITS - 1)
    return Counters(np.array([len(share)]), np.array([right.sum()]), None, examples, right_in, whole, fraction)


def reliability(counters: Counters) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """What a reliability diagram shows: examples ``[bins]``, their accuracy and mean confidence (NaN in empty bins).

    Raises:
      ValueError: if the counters were made without ``calibration_bins``.

    Example:
      >>> counters = count_confidences([0.75, 0.25], [True, False], calibration_bins=2)
      >>> [numbers.tolist() for numbers in reliability(counters)]
      [[1, 1], [0.0, 1.0], [0.25, 0.75]]
    """
    examples = np.asarray(_binned(counters).bin_examples, np.int64)
    return examples, _ratio(np.asarray(counters.bin_correct), examples), _ratio(_confidences(counters), examples)


def _binned(counters: Counters) -> Counters:
    if counters.bin_examples is None:
        raise ValueError("counters: made without calibration_bins; use create(..., calibration_bins=15)")
    return counters


def _confidences(counters: Counters) -> npt.NDArray[np.float64]:
    """The sum of the confidences of each bin."""
    return np.asarray(counters.bin_whole) + np.asarray(counters.bin_fraction) / 2.0**FRACTION_BITS


def _present(counters: Counters) -> npt.NDArray[np.float64]:
    accuracy = per_class_accuracy(counters)
    return accuracy[~np.isnan(accuracy)]


def _mean(accuracy: npt.NDArray[np.float64]) -> Any:
    present = accuracy[~np.isnan(accuracy)]
    return np.mean(present) if present.size else np.float64(np.nan)


def _ratio(part: Any, whole: Any) -> npt.NDArray[np.float64]:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)
