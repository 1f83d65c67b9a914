"""Losses that are a softmax cross-entropy of (adjusted) logits."""

from typing import Any

import jax
import jax.numpy as jnp

from ltjax.losses.arrays import Array, as_float, check_labels, is_hard, is_zero, mask_examples, mask_losses, of_label


def negative_log_likelihood(
    logits: Array, labels: Array, *, smoothing: Any = None, class_weights: Any = None, epsilon: Any = None
) -> Array:
    """``-sum_c t_c w_c log(p_c + epsilon)`` per example, ``p = softmax(logits)``, ``t`` the labels as distributions.

    The largest logit is subtracted before anything else: what is left is exact near the largest, where float32 logits
    of 1e4 would otherwise lose three digits. A hard label outside 0..C-1 gives NaN rather than the loss of some class.
    """
    largest = jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    shifted = logits - jnp.where(jnp.isfinite(largest), largest, 0)
    log_total = jnp.log(jnp.sum(jnp.exp(shifted), axis=-1))
    num_classes = logits.shape[-1]
    if is_hard(labels, logits):
        log_p = of_label(shifted, labels, num_classes) - log_total
        loss = -_log_plus(log_p, epsilon)
        if class_weights is not None:
            loss = loss * of_label(class_weights, labels, num_classes)
        if smoothing is not None:
            loss = (1 - smoothing) * loss + smoothing * (log_total - jnp.mean(shifted, axis=-1))
        return jnp.where((labels >= 0) & (labels < num_classes), loss, jnp.nan)
    target = labels if smoothing is None else (1 - smoothing) * labels + smoothing / num_classes
    if class_weights is not None:
        target = target * class_weights
    log_p = _log_plus(shifted - log_total[..., None], epsilon)
    # A class of probability 0 with a logit of -inf has no part in the loss: 0, not 0 * inf.
    return -jnp.sum(target * jnp.where((target == 0) & jnp.isinf(log_p), 0, log_p), axis=-1)


def _log_plus(log_p: Array, epsilon: Any) -> Array:
    return log_p if epsilon is None else jnp.logaddexp(log_p, jnp.log(jnp.asarray(epsilon, log_p.dtype)))


def cross_entropy(logits: Any, labels: Any, *, label_smoothing: Any = 0.0, where: Any = None) -> Array:
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
    """
    logits = as_float(logits)
    labels = check_labels(logits.shape, labels, where)
    return _cross_entropy(logits, labels, None if is_zero(label_smoothing) else label_smoothing, where)


@jax.jit
def _cross_entropy(logits: Array, labels: Array, smoothing: Any, where: Any) -> Array:
    logits, labels = mask_examples(where, logits.shape[:-1], logits, labels)
    return mask_losses(negative_log_likelihood(logits, labels, smoothing=smoothing), where)
