"""Other class distributions than that of training: logits corrected for one, and the one that a set of images has."""

from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ltjax.arrays import Array, ArrayLike, any_promotion, as_float
from ltjax.class_counts import PerClass, validate

CHUNK_ELEMENTS = 2**22  # probabilities in float64 at a time
Float64s = npt.NDArray[np.float64]


@any_promotion
def change_prior(logits: ArrayLike, *, train_prior: PerClass, test_prior: PerClass) -> Array:
    """Logits for images of another class distribution: ``x + log(test_prior / train_prior)``, by Bayes' rule.

    The probabilities of the result are right where ``softmax(x)`` was for images of ``train_prior`` and the classes
    look alike in both. With ``train_prior`` the class counts and ``test_prior`` uniform, it is ``adjust_logits`` with
    tau 1 (up to a constant).

    Args:
      logits: ``[..., C]``.
      train_prior: ``[C]`` shares or counts, all positive: the distribution that the network's probabilities assume.
        For cross-entropy it is that of the training images, for a balanced loss or balanced batches the uniform one.
      test_prior: ``[C]`` shares or counts; a class of 0 gets the logit -inf.

    Returns:
      ``[..., C]``.

    Raises:
      ValueError: if a prior is invalid, naming the class.

    Example:
      >>> changed = change_prior(np.log([0.9, 0.1]), train_prior=[90, 10], test_prior=[1, 1])
      >>> np.asarray(jnp.exp(changed) / jnp.exp(changed).sum()).round(3)
      array([0.5, 0.5], dtype=float32)

    Reference: Saerens et al., Adjusting the Outputs of a Classifier to New a Priori Probabilities, Neural Computation
    14 (2002), equation 2.4.
    """
    logits = as_float(logits)
    before = _shares(train_prior, logits.shape[-1], "train_prior", positive=True)
    after = _shares(test_prior, logits.shape[-1], "test_prior", positive=False)
    with np.errstate(divide="ignore"):
        return logits + jnp.asarray(np.log(after / before), logits.dtype)


def estimate_prior(
    probabilities: ArrayLike, train_prior: PerClass, *, tolerance: float = 1e-7, max_iterations: int = 2000
) -> Float64s:
    """The class distribution of unlabelled images, from a network's probabilities for them: maximum likelihood by EM.

    From the training prior on, each step corrects the probabilities to the prior so far and takes their mean:
    ``q_c <- mean_i p_ic (q_c / t_c) / sum_k p_ik (q_k / t_k)``. Every step raises the likelihood, which has one maximum
    if the classes can be told apart. The probabilities have to be calibrated (``fit_temperature``).

    Args:
      probabilities: ``[N, C]``, rows that sum to 1; read in pieces, so that it may be mapped from a file.
      train_prior: ``[C]`` shares or counts, all positive: the distribution that the probabilities assume.
      tolerance: ends when a step moves less than this much probability, half the sum of absolute changes.
      max_iterations: ends there in any case.

    Returns:
      float64 ``[C]``, which sums to 1.

    Raises:
      ValueError: if shapes do not fit, the prior is invalid, or a row is negative, not finite or does not sum to 1.

    Example:
      >>> sure = np.eye(2)[[0, 0, 0, 1]]  # of images that it is certain of the counts are the answer
      >>> estimate_prior(sure, [1, 1])
      array([0.75, 0.25])

    Reference: Saerens et al., Adjusting the Outputs of a Classifier to New a Priori Probabilities, Neural Computation
    14 (2002), equation 2.9.
    """
    given = np.asarray(probabilities)
    if given.ndim != 2 or not len(given):
        raise ValueError(f"probabilities: expected shape [N, C] with N > 0, not {list(given.shape)}")
    before = _shares(train_prior, given.shape[1], "train_prior", positive=True)
    for begin, rows in _chunks(given):
        wrong = ~(np.isclose(rows.sum(axis=1), 1, rtol=0, atol=1e-3) & (rows >= 0).all(axis=1))
        if wrong.any():
            first = begin + int(np.argmax(wrong))
            raise ValueError(f"probabilities: row {first} is negative, not finite or does not sum to 1")
    estimate = before
    for _ in range(max_iterations):
        ratio = estimate / before
        # The two products of a step: the likelihood of each row under the estimate, and the mean over the rows.
        total = sum((np.divide(1.0, rows @ ratio) @ rows for _, rows in _chunks(given)), np.zeros_like(before))
        after = ratio * total
        after /= after.sum()  # it is N but for rounding
        moved = 0.5 * np.abs(after - estimate).sum()
        estimate = after
        if moved < tolerance:
            break
    return estimate


def _chunks(rows: npt.NDArray[Any]) -> Iterator[tuple[int, Float64s]]:
    size = max(1, CHUNK_ELEMENTS // rows.shape[1])
    for begin in range(0, len(rows), size):
        yield begin, np.asarray(rows[begin : begin + size], np.float64)


def _shares(prior: PerClass, num_classes: int, name: str, positive: bool) -> Float64s:
    """The prior as float64 shares that sum to 1."""
    shares = validate(prior, num_classes=num_classes, positive=positive, name=name).astype(np.float64)
    made: Float64s = shares / shares.sum()
    return made
