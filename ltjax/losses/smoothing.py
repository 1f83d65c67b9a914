"""Label-aware smoothing: the more frequent a class, the more of its label's mass is spread over all classes."""

import math
from typing import Any, Literal

import jax.numpy as jnp

from ltjax.arrays import Array, ArrayLike, Scalar, any_promotion, as_float, jit, per_class
from ltjax.class_counts import PerClass
from ltjax.losses.examples import check_examples, is_hard, mask_examples, mask_losses, of_label
from ltjax.losses.softmax import negative_log_likelihood

Form = Literal["concave", "linear", "convex"]


@any_promotion
def label_aware_smoothing_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    class_counts: PerClass,
    head: Scalar = 0.4,
    tail: Scalar = 0.1,
    form: Form = "concave",
    where: ArrayLike | None = None,
) -> Array:
    """Label-aware smoothing: cross-entropy with label smoothing whose strength goes with the class's images.

    ``-sum_c t_c log softmax(x)_c`` where ``t = (1 - e_y) onehot(y) + e_y / C`` and ``e_y`` goes from ``head`` for the
    most frequent class to ``tail`` for the rarest one, as a function of ``s = (n_y - n_min) / (n_max - n_min)``:
    concave ``tail + (head - tail) sin(pi s / 2)``, linear ``tail + (head - tail) s``, convex
    ``head + (head - tail) sin(3 pi / 2 + pi s / 2)``.

    Args:
      logits: ``[..., C]``, any float dtype; computed in at least float32.
      labels: integers ``[...]`` in 0..C-1, or probabilities ``[..., C]``, each class's part being smoothed by its own
        strength. A label outside gives NaN, unless masked.
      class_counts: ``[C]`` training images per class, all positive. Where all are equal, every class has ``head``.
      head: the strength for the most frequent class, eps_1 of the paper.
      tail: the strength for the rarest class, eps_K of the paper.
      form: "concave", "linear" or "convex".
      where: bool ``[...]``; a masked example has loss 0 and gradient 0, whatever it holds.

    Returns:
      ``[...]``, one loss per example, unreduced.

    Raises:
      ValueError: if shapes do not fit, class_counts are invalid, naming the class, or the form is unknown. Counts that
        are traced by the caller's jit are not checked.

    Example:
      >>> import numpy as np
      >>> loss = label_aware_smoothing_loss(np.array([[2.0, 0.0]] * 2), np.array([0, 1]), class_counts=[90, 10], tail=0)
      >>> print(np.asarray(loss).round(3))
      [0.527 2.127]

    Elsewhere: the authors' code, as here, spreads ``e_y`` over all C classes; their equation over the C - 1 others.

    Reference: Zhong et al., Improving Calibration for Long-Tailed Recognition, CVPR 2021.
    """
    logits = as_float(logits)
    labels, where = check_examples(logits.shape, labels, where)
    strengths = smoothing_strengths(class_counts, logits.shape[-1], head, tail, form)
    return _smoothed(logits, labels, jnp.asarray(strengths, logits.dtype), where)


@jit
def _smoothed(logits: Array, labels: Array, strengths: Array, where: Any) -> Array:
    logits, labels = mask_examples(where, logits, labels)
    if is_hard(labels, logits):
        losses = negative_log_likelihood(logits, labels, smoothing=of_label(strengths, labels))
    else:
        spread = jnp.sum(labels * strengths, axis=-1, keepdims=True) / logits.shape[-1]
        losses = negative_log_likelihood(logits, labels * (1 - strengths) + spread)
    return mask_losses(losses, where)


def smoothing_strengths(class_counts: PerClass, num_classes: int, head: Scalar, tail: Scalar, form: Form) -> Any:
    """``[C]``: e_y of every class; counts may be traced.

    Raises:
      ValueError: for an unknown form, or invalid counts.

    Example:
      >>> [round(float(e), 3) for e in smoothing_strengths([90, 50, 10], 3, 0.4, 0.2, "concave")]
      [0.4, 0.341, 0.2]
    """
    if form not in ("concave", "linear", "convex"):
        raise ValueError(f"form: unknown value '{form}'; allowed: concave, linear, convex")

    def strengths(counts: Any, xp: Any) -> Any:
        width = counts.max() - counts.min()
        share = xp.where(width == 0, 1, (counts - counts.min()) / xp.where(width == 0, 1, width))
        if form == "concave":
            return tail + (head - tail) * xp.sin(math.pi / 2 * share)
        if form == "linear":
            return tail + (head - tail) * share
        return head + (head - tail) * xp.sin(math.pi / 2 * (3 + share))

    return per_class(class_counts, num_classes, strengths)
