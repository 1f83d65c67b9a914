"""Focal losses: examples that are already right weigh less."""

from typing import Any

import jax
import jax.numpy as jnp

from ltjax.arrays import Array, ArrayLike, Scalar, any_promotion, as_float, jit
from ltjax.class_counts import PerClass
from ltjax.losses.examples import (
    at_label,
    check_class_weights,
    check_examples,
    is_hard,
    mask_examples,
    mask_losses,
    of_label,
)
from ltjax.losses.softmax import negative_log_likelihood


@any_promotion
def focal_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    gamma: Scalar = 2.0,
    class_weights: PerClass | None = None,
    where: ArrayLike | None = None,
) -> Array:
    """Softmax focal loss, in the form of the LDAM-DRW code: the class weight stands inside the exponent.

    ``(1 - exp(-l))^gamma l`` with ``l = w_y CE(x, y)``; for w = 1 it is equation 4 of the paper with softmax
    probabilities, ``-(1 - p_y)^gamma log p_y``. Reduce it with a plain mean.

    Args:
      logits: ``[..., C]``, any float dtype; computed in at least float32.
      labels: integers ``[...]`` in 0..C-1, or probabilities ``[..., C]`` (then ``l = -sum_c t_c w_c log p_c``). A label
        outside gives NaN, unless masked.
      gamma: focusing exponent, at least 0; 0 is (weighted) cross-entropy.
      class_weights: ``[C]``, not negative, or None for ones.
      where: bool ``[...]``; a masked example has loss 0 and gradient 0.

    Returns:
      ``[...]``, one loss per example, unreduced.

    Raises:
      ValueError: if shapes do not fit or class_weights are invalid, naming the class. Weights that are traced by the
        caller's jit are not checked.

    Example:
      >>> import numpy as np
      >>> print(np.asarray(focal_loss(np.zeros((1, 2)), np.array([1]), gamma=2.0)).round(4))
      [0.1733]

    Elsewhere: LDAM-DRW has gamma 1 and this form; most others put the weight outside the exponent.

    Reference: Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, equation 4.
    """
    logits = as_float(logits)
    labels, where = check_examples(logits.shape, labels, where)
    return _focal_loss(logits, labels, gamma, check_class_weights(class_weights, logits.shape[-1]), where)


@jit
def _focal_loss(logits: Array, labels: Array, gamma: Any, class_weights: Any, where: Any) -> Array:
    logits, labels = mask_examples(where, logits, labels)
    weights = None if class_weights is None else jnp.asarray(class_weights, logits.dtype)
    loss = negative_log_likelihood(logits, labels, class_weights=weights)
    # At l = 0 the power's derivative is infinite for gamma < 1, though the product's is 0.
    positive = loss > 0
    hardness = -jnp.expm1(-jnp.where(positive, loss, 1))
    factor = jnp.where(positive, hardness**gamma, jnp.where(jnp.asarray(gamma) == 0, 1, 0).astype(loss.dtype))
    return mask_losses(jnp.where(jnp.isnan(loss), loss, factor * loss), where)


@any_promotion
def sigmoid_focal_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    gamma: Scalar = 2.0,
    class_weights: PerClass | None = None,
    where: ArrayLike | None = None,
) -> Array:
    """One-vs-rest focal loss, the base of the class-balanced focal loss: a binary problem for each class.

    ``w_y sum_c [t_c (1 - p_c)^gamma + (1 - t_c) p_c^gamma] BCE(x_c, t_c)``, ``p = sigmoid(x)``, ``t = onehot(y)``.
    With ``class_weights = effective_number_weights(...)`` it is the class-balanced focal loss. Reduce it with a plain
    mean. A constant added to the logits changes it: every class has a separate sigmoid.

    Args:
      logits: ``[..., C]``, any float dtype; computed in at least float32.
      labels: integers ``[...]`` in 0..C-1, or probabilities ``[..., C]`` (the weight is then ``sum_c t_c w_c``). A
        label outside gives NaN, unless masked.
      gamma: focusing exponent, at least 0.
      class_weights: ``[C]``, not negative, or None for ones.
      where: bool ``[...]``; a masked example has loss 0 and gradient 0.

    Returns:
      ``[...]``, one loss per example, summed over classes, unreduced over examples.

    Raises:
      ValueError: if shapes do not fit or class_weights are invalid, naming the class. Weights that are traced by the
        caller's jit are not checked.

    Example:
      >>> import numpy as np
      >>> print(np.asarray(sigmoid_focal_loss(np.zeros((1, 2)), np.array([1]), gamma=1.0)).round(4))
      [0.6931]

    Elsewhere: optax has gamma 2 and does not sum over classes; torchvision gamma 2 and alpha 0.25; Cui et al.
    divide by B.

    Reference: Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, equation 4; Cui et al., Class-Balanced Loss
    Based on Effective Number of Samples, CVPR 2019, section 4.3.
    """
    logits = as_float(logits)
    labels, where = check_examples(logits.shape, labels, where)
    return _sigmoid_focal_loss(logits, labels, gamma, check_class_weights(class_weights, logits.shape[-1]), where)


@jit
def _sigmoid_focal_loss(logits: Array, labels: Array, gamma: Any, class_weights: Any, where: Any) -> Array:
    logits, labels = mask_examples(where, logits, labels)
    num_classes = logits.shape[-1]

    def of_true_class(x: Array) -> Array:
        # -(1 - p)^gamma log p with log p = -softplus(-x), log(1 - p) = -softplus(x): nothing underflows to log 0.
        return jnp.exp(-gamma * jax.nn.softplus(x)) * jax.nn.softplus(-x)

    if is_hard(labels, logits):
        true = at_label(labels, num_classes)
        loss = jnp.sum(of_true_class(jnp.where(true, logits, -logits)), axis=-1)
        loss = jnp.where((labels >= 0) & (labels < num_classes), loss, jnp.nan)
    else:
        # The focal factor interpolates between the two, as does the binary cross-entropy.
        factor = labels * jnp.exp(-gamma * jax.nn.softplus(logits)) + (1 - labels) * jnp.exp(
            -gamma * jax.nn.softplus(-logits)
        )
        entropy = labels * jax.nn.softplus(-logits) + (1 - labels) * jax.nn.softplus(logits)
        loss = jnp.sum(factor * entropy, axis=-1)
    if class_weights is not None:
        loss = loss * of_label(jnp.asarray(class_weights, logits.dtype), labels)
    return mask_losses(loss, where)
