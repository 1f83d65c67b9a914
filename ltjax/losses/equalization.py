"""The softmax equalization loss: rare classes are not pushed down by the images of other classes."""

from typing import Any

import jax.numpy as jnp

from ltjax.arrays import Array, ArrayLike, Scalar, any_promotion, as_float, jit, per_class
from ltjax.class_counts import PerClass
from ltjax.losses.examples import (
    at_label,
    check_broadcast,
    check_examples,
    is_hard,
    mask_examples,
    mask_losses,
    shift,
)
from ltjax.losses.softmax import negative_log_likelihood


@any_promotion
def softmax_equalization_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    class_counts: PerClass,
    threshold: Scalar,
    ignored: ArrayLike | None = None,
    where: ArrayLike | None = None,
) -> Array:
    """Softmax equalization loss (SEQL): rare classes are left out of the softmax of other classes' examples.

    Section 3.3: ``-sum_j t_j log(e^(x_j) / sum_k w_k e^(x_k))``, ``w_k = 1 - b_k [n_k / sum n < threshold] (1 - t_k)``,
    where t is one at the label. So an example gives no gradient to the logit of a rare class that is not its own.

    Args:
      logits: ``[..., C]``, any float dtype; computed in at least float32.
      labels: integers ``[...]`` in 0..C-1, or probabilities ``[..., C]``. A label outside gives NaN, unless masked.
      class_counts: ``[C]`` training images per class, all positive.
      threshold: lambda, the share of all images below which a class is rare; 0 is cross-entropy.
      ignored: b, bool, broadcastable to the logits: drawn anew in every step with probability gamma in the paper, so
        that rare classes still learn something of the others' examples. None is all true, gamma = 1.
      where: bool ``[...]``; a masked example has loss 0 and gradient 0.

    Returns:
      ``[...]``, one loss per example, unreduced.

    Raises:
      ValueError: if shapes do not fit or class_counts are invalid, naming the class. Counts that are traced by the
        caller's jit are not checked.

    Example:
      >>> import numpy as np
      >>> loss = softmax_equalization_loss(np.zeros((2, 3)), np.array([0, 2]), class_counts=[60, 38, 2], threshold=0.1)
      >>> print(np.asarray(loss).round(3))
      [0.693 1.099]

    Elsewhere: a public collection of baselines draws b for every example and class, with gamma 0.9.

    Reference: Tan et al., Equalization Loss for Long-Tailed Object Recognition, CVPR 2020, section 3.3.
    """
    logits = as_float(logits)
    labels, where = check_examples(logits.shape, labels, where)
    shares = per_class(class_counts, logits.shape[-1], lambda n, xp: n / n.sum())
    if ignored is not None:
        ignored = jnp.asarray(ignored, bool)
        check_broadcast("ignored", ignored.shape, logits.shape)
    return _softmax_equalization_loss(logits, labels, shares, threshold, ignored, where)


@jit
def _softmax_equalization_loss(
    logits: Array, labels: Array, shares: Any, threshold: Any, ignored: Any, where: Any
) -> Array:
    logits, labels = mask_examples(where, logits, labels)
    rare = jnp.asarray(shares) < threshold
    left_out = rare if ignored is None else rare & ignored
    if is_hard(labels, logits):
        kept = jnp.where(left_out & ~at_label(labels, logits.shape[-1]), -jnp.inf, logits)
        return mask_losses(negative_log_likelihood(kept, labels), where)
    weights = jnp.where(left_out, labels, 1)
    # the largest logit that counts is taken off: beside one that is left out, the others would underflow
    shifted = shift(jnp.where(weights > 0, logits, -jnp.inf))
    log_total = jnp.log(jnp.sum(weights * jnp.exp(shifted), axis=-1))[..., None]
    loss = jnp.sum(labels * jnp.where(labels > 0, log_total - shifted, 0), axis=-1)
    return mask_losses(loss, where)
