"""The influence-balanced loss: an image counts the less, the more it moves the decision boundary."""

from typing import Any

import jax
import jax.numpy as jnp

from ltjax.arrays import Array, ArrayLike, Scalar, any_promotion, as_float, jit
from ltjax.class_counts import PerClass
from ltjax.losses.examples import at_label, check_examples, is_hard, mask_examples
from ltjax.losses.focal import focal_loss


@any_promotion
def influence_balanced_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    features: ArrayLike,
    *,
    alpha: Scalar = 1000.0,
    epsilon: Scalar = 1e-3,
    gamma: Scalar = 0.0,
    class_weights: PerClass | None = None,
    where: ArrayLike | None = None,
) -> Array:
    """Influence-balanced loss (IB): cross-entropy over the size of its gradient at the last layer.

    ``alpha w_y CE(x, y) / (|p - onehot(y)|_1 |h|_1 + epsilon)``, p the softmax and h the features: the
    divisor is the L1 norm of the gradient that the image has on the classifier's weights. Gradients go through the
    divisor too. With ``gamma``, the focal form: CE is ``l = w_y CE(x, y)`` times ``(1 - e^(-l))^gamma``.

    Args:
      logits: ``[..., C]``, any float dtype; computed in at least float32.
      labels: integers ``[...]`` in 0..C-1, or probabilities ``[..., C]``. A label outside gives NaN, unless masked.
      features: ``[..., d]``, what the classifier sees.
      alpha: a factor.
      epsilon: what keeps an image that is right with certainty from a division by 0.
      gamma: power of the focal form; 0 is plain.
      class_weights: w ``[C]``; None is ones.
      where: bool ``[...]``; a masked example has loss 0 and gradient 0, whatever it holds.

    Returns:
      ``[...]``, one loss per example, unreduced; the paper takes the mean over the batch.

    Raises:
      ValueError: if shapes do not fit or class_weights are invalid, naming the class.

    Example:
      >>> import numpy as np
      >>> logits, features = np.array([[2.0, 0.0], [0.0, 0.0]]), np.array([[1.0, 3.0], [1.0, 0.0]])
      >>> print(np.asarray(influence_balanced_loss(logits, np.array([0, 0]), features, alpha=1)).round(3))
      [0.133 0.692]

    Elsewhere: the authors have alpha 1000 and epsilon 0.001, and weights ``1 / n_k`` scaled to sum C.

    Reference: Park et al., Influence-Balanced Loss for Imbalanced Visual Classification, ICCV 2021.
    """
    logits, features = as_float(logits), as_float(features)
    labels, where = check_examples(logits.shape, labels, where)
    if features.ndim != logits.ndim or features.shape[:-1] != logits.shape[:-1]:
        raise ValueError(f"features: expected shape {[*logits.shape[:-1], 'd']}, not {list(features.shape)}")
    losses = focal_loss(logits, labels, gamma=gamma, class_weights=class_weights, where=where)
    return _over_influence(losses, logits, labels, features, alpha, epsilon, where)


@jit
def _over_influence(
    losses: Array, logits: Array, labels: Array, features: Array, alpha: Any, epsilon: Any, where: Any
) -> Array:
    logits, labels, features = mask_examples(where, logits, labels, features)
    target = at_label(labels, logits.shape[-1]) if is_hard(labels, logits) else labels
    distance = jnp.sum(jnp.abs(jax.nn.softmax(logits) - target), axis=-1)
    balanced: Array = alpha * losses / (distance * jnp.sum(jnp.abs(features), axis=-1) + epsilon)
    return balanced
