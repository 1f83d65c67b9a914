"""Temperature scaling: probabilities that mean what they say, of a network that has memorised its training images."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ltjax.arrays import ArrayLike

CHUNK_ELEMENTS = 2**22  # logits in float64 at a time


def fit_temperature(logits: ArrayLike, labels: ArrayLike, offset: ArrayLike | None = None) -> float:
    """The temperature T of least negative log-likelihood of ``softmax(logits / T + offset)``; divide logits by it.

    In ``1 / T`` the loss is convex and has one minimum, which Newton's method finds in float64, inside a bracket.
    Predictions do not change. Fit it on images that the network was not trained on, and report on others.
    Where their class distribution is not the one that the network's probabilities assume, as in a balanced validation
    set of a long-tailed training set, give ``offset = log(shares among these images / shares assumed)``: without it T
    makes up for the wrong prior, too.

    Args:
      logits: ``[N, C]``; -inf is a probability of 0.
      labels: integers ``[N]``, 0 to C - 1.
      offset: ``[C]``, finite; None is zeros.

    Returns:
      T > 0, to about 1e-12 relative: above 1 for a network that is too sure of itself.

    Raises:
      ValueError: if shapes or labels do not fit, a logit is NaN or +inf, or there is no minimum: no example is
        classified wrongly (the loss falls with T to 0), or the labels are no likelier than chance (it falls with T to
        infinity).

    Example:
      >>> logits = np.log([[0.9, 0.1]] * 4)  # says 90 %, and is right three times in four
      >>> round(fit_temperature(logits, [0, 0, 0, 1]), 6)  # log 9 / log 3
      2.0

    Reference: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2.
    """
    scores, targets = _checked(logits, labels)
    added = np.zeros(scores.shape[1]) if offset is None else np.asarray(offset, np.float64)
    if added.shape != scores.shape[1:] or not np.isfinite(added).all():
        raise ValueError(f"offset: expected {scores.shape[1]} finite numbers, one of each class")
    slope, _ = _derivatives(scores, targets, added, 0.0)
    if slope >= 0:
        raise ValueError("labels: the logits predict the labels no better than chance, so that no temperature is best")
    low, high = 0.0, 1.0  # of the scale 1 / T
    while _derivatives(scores, targets, added, high)[0] < 0:
        low, high = high, 2 * high
    scale = high
    for _ in range(200):
        slope, curvature = _derivatives(scores, targets, added, scale)
        low, high = (scale, high) if slope < 0 else (low, scale)
        step = scale - slope / curvature if curvature > 0 else low
        after = step if low < step < high else (low + high) / 2
        if abs(after - scale) <= 1e-13 * scale:
            break
        scale = after
    return float(1 / scale)


def _checked(logits: ArrayLike, labels: ArrayLike) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    scores, targets = np.asarray(logits), np.asarray(labels)
    if scores.ndim != 2 or not len(scores):
        raise ValueError(f"logits: expected shape [N, C] with N > 0, not {list(scores.shape)}")
    if targets.shape != scores.shape[:1] or targets.dtype.kind not in "iu":
        raise ValueError(f"labels: expected integers [{len(scores)}], not {targets.dtype} {list(targets.shape)}")
    if targets.min() < 0 or targets.max() >= scores.shape[1]:
        raise ValueError(f"labels: must be 0 to {scores.shape[1] - 1}, not {targets.min()} to {targets.max()}")
    behind = 0.0
    for begin, rows in _chunks(scores):
        if np.isnan(rows).any() or not np.isfinite(rows.max(axis=1)).all():
            raise ValueError(f"logits: not finite in rows {begin} to {begin + len(rows) - 1}")
        chosen = np.take_along_axis(rows, targets[begin : begin + len(rows), None], 1)
        if np.isneginf(chosen).any():
            raise ValueError("labels: one has the logit -inf, a probability of 0 at every temperature")
        behind += float(np.sum(rows.max(axis=1, keepdims=True) - chosen))
    if not behind:
        raise ValueError("labels: every example is classified correctly, so that no temperature is best; use more")
    return scores, targets.astype(np.int64)


def _chunks(scores: npt.NDArray[Any]) -> Any:
    size = max(1, CHUNK_ELEMENTS // scores.shape[1])
    for begin in range(0, len(scores), size):
        yield begin, scores[begin : begin + size].astype(np.float64)


def _derivatives(
    scores: npt.NDArray[Any], targets: npt.NDArray[np.int64], added: npt.NDArray[np.float64], scale: float
) -> tuple[float, float]:
    """The first two derivatives, by the scale, of the mean loss: the mean of E[z] - z_y, and that of the variance."""
    slope = curvature = 0.0
    for begin, rows in _chunks(scores):
        below = rows - rows.max(axis=1, keepdims=True)
        possible = np.isfinite(below)
        below = np.where(possible, below, 0.0)
        exponents = np.where(possible, scale * below + added, -np.inf)
        weights = np.exp(exponents - exponents.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        mean = np.sum(weights * below, axis=1)
        slope += float(np.sum(mean - np.take_along_axis(below, targets[begin : begin + len(rows), None], 1)[:, 0]))
        curvature += float(np.sum(weights * (below - mean[:, None]) ** 2))
    return slope / len(scores), curvature / len(scores)
