"""The vector-scaling loss: a factor and an offset for each logit, of which LDAM, CDT and logit adjustment are cases."""

from typing import Any

import jax.numpy as jnp

from ltjax.arrays import Array, ArrayLike, Scalar, any_promotion, as_float, jit, per_class
from ltjax.class_counts import PerClass
from ltjax.losses.examples import check_examples, mask_examples, mask_losses, shift
from ltjax.losses.margin import margins_of, subtract_margins
from ltjax.losses.softmax import negative_log_likelihood


@any_promotion
def vector_scaling_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    class_counts: PerClass,
    gamma: Scalar = 0.15,
    tau: Scalar = 1.25,
    max_margin: Scalar = 0.0,
    where: ArrayLike | None = None,
) -> Array:
    """Vector-scaling loss (VS): every logit has a factor and an offset that go with its class's frequency.

    ``CE(Delta x + iota, y)``, ``Delta_k = (n_k / n_max)^gamma``, ``iota_k = tau log(n_k / sum n)``. Its
    special cases: ``gamma = 0`` is logit adjustment, ``tau = 0`` is class-dependent temperatures (CDT), and
    ``gamma = tau = 0`` with ``max_margin`` is LDAM, whose offset is of the true class alone:
    ``iota_y = -max_margin (n_min / n_y)^(1/4)`` (scale s: logits ``s cos``, ``max_margin = 0.5 s``). For class weights
    omega reduce with ``weighted_mean(loss, omega[labels])``.

    Args:
      logits: ``[..., C]``, any float dtype; computed in at least float32.
      labels: integers ``[...]`` in 0..C-1, or probabilities ``[..., C]`` (class k then loses ``t_k`` of its margin). A
        label outside gives NaN, unless masked.
      class_counts: ``[C]`` training images per class, all positive.
      gamma: power of the factors; positive lets rare classes need larger logits.
      tau: factor on the log prior.
      max_margin: the margin of the rarest class, in units of the logits.
      where: bool ``[...]``; a masked example has loss 0 and gradient 0.

    Returns:
      ``[...]``, one loss per example, unreduced.

    Raises:
      ValueError: if shapes do not fit or class_counts are invalid, naming the class. Counts that are traced by the
        caller's jit are not checked: a count of 0 then gives NaN.

    Example:
      >>> import numpy as np
      >>> logits, labels, counts = np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([0, 1]), [160, 10]
      >>> print(np.asarray(vector_scaling_loss(logits, labels, class_counts=counts, gamma=0.25, tau=1)).round(3))
      [0.014 2.833]
      >>> print(np.asarray(vector_scaling_loss(logits, labels, class_counts=counts, gamma=0, tau=0)).round(3))
      [0.313 0.313]

    Elsewhere: the authors divide by ``1 / Delta``; their script has gamma 0.3 and tau 1 by default.

    Reference: Kini et al., Label-Imbalanced and Group-Sensitive Classification under Overparameterization, NeurIPS
    2021; Ye et al., Identifying and Compensating for Feature Deviation in Imbalanced Deep Learning, 2020
    (CDT).
    """
    logits = as_float(logits)
    labels, where = check_examples(logits.shape, labels, where)
    num_classes = logits.shape[-1]
    log_share = per_class(class_counts, num_classes, lambda n, xp: xp.log(n / n.max()))
    log_prior = per_class(class_counts, num_classes, lambda n, xp: xp.log(n / n.sum()))
    margins = margins_of(class_counts, num_classes, max_margin)
    return _vector_scaling_loss(logits, labels, (log_share, log_prior, margins), gamma, tau, where)


@jit
def _vector_scaling_loss(logits: Array, labels: Array, tables: Any, gamma: Any, tau: Any, where: Any) -> Array:
    log_share, log_prior, margins = (jnp.asarray(table, logits.dtype) for table in tables)
    logits, labels = mask_examples(where, logits, labels)
    # Shifted before the small terms are added, which would be rounded away beside a large logit.
    adjusted = shift(logits * jnp.exp(gamma * log_share)) + jnp.asarray(tau * log_prior, logits.dtype)
    adjusted = subtract_margins(adjusted.astype(logits.dtype), labels, margins)
    return mask_losses(negative_log_likelihood(adjusted, labels), where)
