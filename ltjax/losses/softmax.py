"""Losses that are a softmax cross-entropy of (adjusted) logits."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from ltjax.arrays import Array, ArrayLike, Scalar, any_promotion, as_float, jit, per_class
from ltjax.class_counts import PerClass
from ltjax.losses.examples import (
    check_broadcast,
    check_examples,
    is_hard,
    is_zero,
    mask_examples,
    mask_losses,
    of_label,
    shift,
)


def negative_log_likelihood(
    logits: Array,
    labels: Array,
    *,
    smoothing: Scalar | None = None,
    class_weights: Array | None = None,
    epsilon: Scalar | None = None,
) -> Array:
    """``-sum_c t_c w_c log(p_c + epsilon)`` per example, ``p = softmax(logits)``, ``t`` the labels as distributions.

    The largest logit is subtracted before anything else: what is left is exact near the largest, where float32 logits
    of 1e4 would otherwise lose three digits. A hard label outside 0..C-1 gives NaN rather than the loss of some class.
    """
    shifted = shift(logits)
    log_total = jnp.log(jnp.sum(jnp.exp(shifted), axis=-1))
    num_classes = logits.shape[-1]
    if is_hard(labels, logits):
        log_p = of_label(shifted, labels) - log_total
        loss = -_log_plus(log_p, epsilon)
        if class_weights is not None:
            loss = loss * of_label(class_weights, labels)
        if smoothing is not None:
            loss = (1 - smoothing) * loss + smoothing * (log_total - jnp.mean(shifted, axis=-1))
        return jnp.where((labels >= 0) & (labels < num_classes), loss, jnp.nan)
    target = labels if smoothing is None else (1 - smoothing) * labels + smoothing / num_classes
    if class_weights is not None:
        target = target * class_weights
    log_p = _log_plus(shifted - log_total[..., None], epsilon)
    # A class of probability 0 with a logit of -inf has no part in the loss: 0, not 0 * inf.
    return -jnp.sum(target * jnp.where((target == 0) & jnp.isinf(log_p), 0, log_p), axis=-1)


def _log_plus(log_p: Array, epsilon: Scalar | None) -> Array:
    return log_p if epsilon is None else jnp.logaddexp(log_p, jnp.log(jnp.asarray(epsilon, log_p.dtype)))


@any_promotion
def cross_entropy(
    logits: ArrayLike, labels: ArrayLike, *, label_smoothing: Scalar = 0.0, where: ArrayLike | None = None
) -> Array:
    """Softmax cross-entropy: the loss that the long-tailed ones are measured against.

    ``-sum_c t_c log softmax(x)_c`` where ``t = (1 - label_smoothing) onehot(y) + label_smoothing / C``.

    Args:
      logits: ``[..., C]``, any float dtype; computed in at least float32.
      labels: integers ``[...]`` in 0..C-1, or probabilities ``[..., C]``. A label outside gives NaN, unless masked.
      label_smoothing: share of the label's mass that is spread over all classes.
      where: bool ``[...]``; a masked example has loss 0 and gradient 0, whatever it holds.

    Returns:
      ``[...]``, one loss per example, unreduced.

    Raises:
      ValueError: if the shapes do not fit.

    Example:
      >>> import numpy as np
      >>> logits = np.array([[2.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
      >>> print(np.asarray(cross_entropy(logits, np.array([0, 2]))).round(3))
      [0.408 1.099]

    Elsewhere: optax and PyTorch compute the same; optax scores label -1 as the last class.

    Reference: Szegedy et al., Rethinking the Inception Architecture, CVPR 2016, section 7 (label smoothing).
    """
    logits = as_float(logits)
    labels, where = check_examples(logits.shape, labels, where)
    return _cross_entropy(logits, labels, None if is_zero(label_smoothing) else label_smoothing, where)


@jit
def _cross_entropy(logits: Array, labels: Array, smoothing: Any, where: Any) -> Array:
    logits, labels = mask_examples(where, logits, labels)
    return mask_losses(negative_log_likelihood(logits, labels, smoothing=smoothing), where)


@any_promotion
def balanced_softmax_loss(
    logits: ArrayLike, labels: ArrayLike, *, class_counts: PerClass, where: ArrayLike | None = None
) -> Array:
    """Balanced softmax: cross-entropy under the prior of the training set, so that at test the classes are equal.

    Theorem 1: ``CE(x + log n, y)``; the same as ``logit_adjusted_loss`` with tau 1.

    Args:
      logits: ``[..., C]``, any float dtype; computed in at least float32.
      labels: integers ``[...]`` in 0..C-1, or probabilities ``[..., C]``. A label outside gives NaN, unless masked.
      class_counts: ``[C]`` training images per class, all positive.
      where: bool ``[...]``; a masked example has loss 0 and gradient 0.

    Returns:
      ``[...]``, one loss per example, unreduced.

    Raises:
      ValueError: if shapes do not fit or class_counts are invalid, naming the class. Counts that are traced by the
        caller's jit are not checked: a count of 0 then removes the class from the softmax.

    Example:
      >>> import numpy as np
      >>> loss = balanced_softmax_loss(np.zeros((2, 2)), np.array([0, 1]), class_counts=[90, 10])
      >>> print(np.asarray(loss).round(3))
      [0.105 2.303]

    Reference: Ren et al., Balanced Meta-Softmax for Long-Tailed Visual Recognition, NeurIPS 2020, theorem 1.
    """
    return logit_adjusted_loss(logits, labels, class_counts=class_counts, tau=1.0, where=where)


@any_promotion
def logit_adjusted_loss(
    logits: ArrayLike, labels: ArrayLike, *, class_counts: PerClass, tau: Scalar = 1.0, where: ArrayLike | None = None
) -> Array:
    """Logit adjustment: cross-entropy of logits to which tau times the log prior has been added.

    Equation 10: ``CE(x + tau log pi, y)``, ``pi_k = n_k / sum n``. ``ltjax.classifiers.adjust_logits`` is its
    post-hoc counterpart, which subtracts from the logits of a network trained with plain cross-entropy.

    Args:
      logits: ``[..., C]``, any float dtype; computed in at least float32.
      labels: integers ``[...]`` in 0..C-1, or probabilities ``[..., C]``. A label outside gives NaN, unless masked.
      class_counts: ``[C]`` training images per class, all positive.
      tau: strength of the adjustment; 1 is consistent for the balanced error.
      where: bool ``[...]``; a masked example has loss 0 and gradient 0.

    Returns:
      ``[...]``, one loss per example, unreduced.

    Raises:
      ValueError: if shapes do not fit or class_counts are invalid, naming the class. Counts that are traced by the
        caller's jit are not checked: a count of 0 then removes the class from the softmax.

    Example:
      >>> import numpy as np
      >>> loss = logit_adjusted_loss(np.zeros((2, 2)), np.array([0, 1]), class_counts=[90, 10], tau=2.0)
      >>> print(np.asarray(loss).round(3))
      [0.012 4.407]

    Reference: Menon et al., Long-Tail Learning via Logit Adjustment, ICLR 2021, equation 10.
    """
    logits = as_float(logits)
    labels, where = check_examples(logits.shape, labels, where)
    log_prior = per_class(class_counts, logits.shape[-1], lambda n, xp: xp.log(n / n.sum()))
    return _adjusted_cross_entropy(logits, labels, log_prior, tau, where)


@jit
def _adjusted_cross_entropy(logits: Array, labels: Array, log_prior: Any, tau: Any, where: Any) -> Array:
    logits, labels = mask_examples(where, logits, labels)
    # Shifted before the small term is added, which would be rounded away beside a large logit.
    adjusted = shift(logits) + jnp.asarray(tau * log_prior, logits.dtype)
    return mask_losses(negative_log_likelihood(adjusted, labels), where)


@any_promotion
def mixup_loss(
    logits: ArrayLike,
    labels_a: ArrayLike,
    labels_b: ArrayLike,
    lam: ArrayLike,
    *,
    loss: Callable[..., Array] = cross_entropy,
) -> Array:
    """The loss of an input mixed from two: each label's loss in the share of its image (or feature, in BBN).

    ``lam loss(x, y_a) + (1 - lam) loss(x, y_b)``.

    Args:
      logits: ``[..., C]`` of the mixed input.
      labels_a, labels_b: integers ``[...]`` or probabilities ``[..., C]``, whatever ``loss`` takes.
      lam: the share of the first, a scalar (one a batch) or ``[...]``.
      loss: ``f(logits, labels)`` -> ``[...]``; bind its other arguments with ``functools.partial``.

    Returns:
      ``[...]``, one loss per example, unreduced.

    Raises:
      ValueError: as ``loss`` does; or if ``lam`` does not fit the examples.

    Example:
      >>> import numpy as np
      >>> loss = mixup_loss(np.array([[2.0, 0.0]]), np.array([0]), np.array([1]), 0.75)
      >>> print(np.asarray(loss).round(3))
      [0.627]

    Elsewhere: one lam a batch; BBN mixes features, with lam from the epoch.

    Reference: Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018, section 2; Zhou et al., BBN,
    CVPR 2020, section 4.
    """
    of_a, of_b = loss(logits, labels_a), loss(logits, labels_b)
    lam = jnp.asarray(lam, of_a.dtype)
    check_broadcast("lam", lam.shape, of_a.shape)
    return lam * of_a + (1 - lam) * of_b
