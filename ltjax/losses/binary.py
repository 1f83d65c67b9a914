"""Binary cross-entropy of softmax probabilities: what two-class losses make of a softmax."""

from typing import Any

import jax
import jax.numpy as jnp

from ltjax.arrays import Array, ArrayLike, any_promotion, as_float, jit
from ltjax.losses.examples import at_label, check_examples, is_hard, mask_examples, mask_losses, shift


@any_promotion
def softmax_binary_loss(logits: ArrayLike, labels: ArrayLike, *, where: ArrayLike | None = None) -> Array:
    """The mean over classes of the binary cross-entropy of each one's softmax probability.

    ``-1/C sum_c (t_c log p_c + (1 - t_c) log(1 - p_c))``, ``p = softmax(x)``. Its gradient is about 2 / C of that of
    cross-entropy: a weight decay beside it weighs C / 2 times as much.

    Args:
      logits: ``[..., C]``, any float dtype; computed in at least float32. C is at least 2.
      labels: integers ``[...]`` in 0..C-1, or probabilities ``[..., C]``. A label outside gives NaN, unless masked.
      where: bool ``[...]``; a masked example has loss 0 and gradient 0, whatever it holds.

    Returns:
      ``[...]``, one loss per example, unreduced.

    Raises:
      ValueError: if the shapes do not fit.

    Example:
      >>> import numpy as np
      >>> print(np.asarray(softmax_binary_loss(np.array([[2.0, 1.0, 0.0]]), np.array([0]))).round(3))
      [0.261]

    Elsewhere: a public class-balanced loss has this as its form "softmax", and weight balancing is trained with it.

    Reference: Alshammari et al., Long-Tailed Recognition via Weight Balancing, CVPR 2022, authors' code.
    """
    logits = as_float(logits)
    labels, where = check_examples(logits.shape, labels, where)
    return _softmax_binary_loss(logits, labels, where)


@jit
def _softmax_binary_loss(logits: Array, labels: Array, where: Any) -> Array:
    num_classes = logits.shape[-1]
    logits, labels = mask_examples(where, logits, labels)
    hard = is_hard(labels, logits)
    target = at_label(labels, num_classes) if hard else labels
    shifted = shift(logits)
    largest = at_label(jnp.argmax(logits, axis=-1), num_classes)
    log_total = jax.nn.logsumexp(shifted, axis=-1, keepdims=True)
    # 1 - p of the largest p is what the others make: 1 minus it would have no digits left
    of_others = jax.nn.logsumexp(shifted, axis=-1, keepdims=True, where=~largest) - log_total
    log_p = shifted - log_total
    log_rest = jnp.where(largest, of_others, jnp.log1p(-jnp.exp(jnp.where(largest, -1, log_p))))
    losses = -jnp.mean(target * log_p + (1 - target) * log_rest, axis=-1)
    if hard:
        losses = jnp.where((labels >= 0) & (labels < num_classes), losses, jnp.nan)
    return mask_losses(losses, where)
