"""Losses of images with any number of labels: a binary problem for each class, with what is rare weighed up."""

from typing import Any

import jax
import jax.numpy as jnp

from ltjax.arrays import Array, ArrayLike, Scalar, any_promotion, as_float, jit, per_class
from ltjax.class_counts import PerClass
from ltjax.losses.examples import check_class_weights, check_mask, mask_examples, mask_losses


def _checked(logits: ArrayLike, targets: ArrayLike, where: ArrayLike | None) -> tuple[Array, Array, Array | None]:
    """Logits, targets in their dtype, and the mask, once they fit.

    Raises:
      ValueError: naming both shapes when they do not.
    """
    scores = as_float(logits)
    known = jnp.asarray(targets)
    if not scores.ndim:
        raise ValueError("logits: expected shape [..., C], not a scalar")
    if known.shape != scores.shape:
        raise ValueError(
            f"targets: expected one for each class, shape {list(scores.shape)}, not {list(known.shape)}; for class "
            "numbers give their one_hot"
        )
    return scores, known.astype(scores.dtype), check_mask(where, scores.shape[:-1])


@any_promotion
def binary_cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    gamma: Scalar = 0.0,
    class_weights: PerClass | None = None,
    where: ArrayLike | None = None,
) -> Array:
    """Binary cross-entropy summed over the classes, of images with any number of labels; focal with ``gamma``.

    ``w sum_c [t_c (1 - p_c)^gamma + (1 - t_c) p_c^gamma] BCE(x_c, t_c)``, ``p = sigmoid(x)``. The weight w is the mean
    of the weights of the image's classes (of all classes for an image of none), so for one label it is
    ``sigmoid_focal_loss``. With ``class_weights = effective_number_weights(...)`` it is the class-balanced loss.

    Args:
      logits: ``[..., C]``, any float dtype; computed in at least float32.
      targets: ``[..., C]``, bool or 0 and 1: the classes of the image; numbers between are probabilities.
      gamma: focusing exponent, at least 0; 0 is (weighted) binary cross-entropy.
      class_weights: ``[C]``, not negative, or None for ones.
      where: bool ``[...]``; a masked example has loss 0 and gradient 0, whatever it holds.

    Returns:
      ``[...]``, one loss per example, summed over classes, unreduced over examples.

    Raises:
      ValueError: if shapes do not fit or class_weights are invalid, naming the class. Weights that are traced by the
        caller's jit are not checked.

    Example:
      >>> import numpy as np
      >>> print(np.asarray(binary_cross_entropy(np.array([[2.0, 0.0, -1.0]]), np.array([[1, 1, 0]]))).round(3))
      [1.133]

    Elsewhere: PyTorch's ``BCEWithLogitsLoss`` and the authors of the distribution-balanced loss divide by C.

    Reference: Cui et al., Class-Balanced Loss Based on Effective Number of Samples, CVPR 2019, section 4; Wu et al.,
    Distribution-Balanced Loss for Multi-Label Classification in Long-Tailed Datasets, ECCV 2020, section 4.1.
    """
    scores, known, mask = _checked(logits, targets, where)
    weights = check_class_weights(class_weights, scores.shape[-1])
    return _binary_cross_entropy(scores, known, gamma, weights, mask)


@jit
def _binary_cross_entropy(logits: Array, targets: Array, gamma: Any, class_weights: Any, where: Any) -> Array:
    logits, targets = mask_examples(where, logits, targets)
    loss = jnp.sum(_focused(logits, targets, gamma), axis=-1)
    if class_weights is not None:
        weights = jnp.asarray(class_weights, logits.dtype)
        number = jnp.sum(targets, axis=-1)
        of_classes = jnp.sum(targets * weights, axis=-1) / jnp.where(number > 0, number, 1)
        loss = loss * jnp.where(number > 0, of_classes, jnp.mean(weights))
    return mask_losses(loss, where)


def _focused(logits: Array, targets: Array, gamma: Any) -> Array:
    """The binary cross-entropy of each class, times the focal factor."""
    # log p = -softplus(-x), log(1 - p) = -softplus(x): nothing underflows to log 0
    wrong_if_absent, wrong_if_present = jax.nn.softplus(logits), jax.nn.softplus(-logits)
    factor = targets * jnp.exp(-gamma * wrong_if_absent) + (1 - targets) * jnp.exp(-gamma * wrong_if_present)
    return factor * (targets * wrong_if_present + (1 - targets) * wrong_if_absent)


@any_promotion
def distribution_balanced_loss(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    class_counts: PerClass,
    num_images: Scalar,
    alpha: Scalar = 0.1,
    beta: Scalar = 10.0,
    mu: Scalar = 0.2,
    negative_scale: Scalar = 2.0,
    bias_scale: Scalar = 0.05,
    gamma: Scalar = 0.0,
    where: ArrayLike | None = None,
) -> Array:
    """Distribution-balanced loss: weights that know of several labels, and negatives that stop to count once right.

    Rebalanced weighting (equations 3 to 6): if classes are drawn alike, an image that was meant for class c is also
    drawn for its other labels. ``r_c = (1 / n_c) / sum_(k in image) (1 / n_k)`` is the share that was meant, and
    ``w_c = alpha + sigmoid(beta (r_c - mu))`` the weight. Negative-tolerant regularisation (equations 7 to 9):
    ``z_c = x_c + s log(n_c / (N - n_c))``, the second summand being bias_scale times the log odds of the class, and

    ``sum_c w_c [t_c log(1 + e^(-z_c)) + (1 - t_c) log(1 + e^(L z_c)) / L]``, L = negative_scale.

    Args:
      logits: ``[..., C]``, any float dtype; computed in at least float32.
      targets: ``[..., C]``, bool or 0 and 1: the classes of the image.
      class_counts: ``[C]`` training images of each class, all positive.
      num_images: N, training images.
      alpha, beta, mu: of the map from shares to weights; 0.1, 10 and 0.2 for COCO-LT, mu 0.3 for VOC-LT.
      negative_scale: lambda, at least 1; 2 for COCO-LT, 5 for VOC-LT. Negatives of probability below a half count less
        with it; 1 is no regularisation.
      bias_scale: kappa; 0 leaves the logits as they are.
      gamma: focusing exponent of the regularised logits; 2 is "DB-Focal".
      where: bool ``[...]``; a masked example has loss 0 and gradient 0, whatever it holds.

    Returns:
      ``[...]``, one loss per example, summed over classes, unreduced over examples.

    Raises:
      ValueError: if shapes do not fit or class_counts are invalid, naming the class. Counts that are traced by the
        caller's jit are not checked.

    Example:
      >>> import numpy as np
      >>> x, t = np.zeros((2, 3)), np.array([[1, 0, 1], [0, 0, 0]])
      >>> loss = distribution_balanced_loss(x, t, class_counts=[60, 30, 2], num_images=80)
      >>> print(np.asarray(loss).round(3))
      [1.141 1.069]

    Elsewhere: the authors' code divides by C and by lambda once more in the bias, and has a factor 2 on "DB-Focal". An
    image without a label has weight alpha + 1 here, the limit of r to infinity.

    Reference: Wu et al., Distribution-Balanced Loss for Multi-Label Classification in Long-Tailed Datasets, ECCV 2020.
    """
    scores, known, mask = _checked(logits, targets, where)
    inverse = per_class(class_counts, scores.shape[-1], lambda n, xp: 1 / n)
    return _distribution_balanced_loss(
        scores, known, inverse, num_images, (alpha, beta, mu), negative_scale, bias_scale, gamma, mask
    )


@jit
def _distribution_balanced_loss(
    logits: Array,
    targets: Array,
    inverse: Any,
    num_images: Any,
    mapped: Any,
    negative_scale: Any,
    bias_scale: Any,
    gamma: Any,
    where: Any,
) -> Array:
    logits, targets = mask_examples(where, logits, targets)
    inverse = jnp.asarray(inverse, logits.dtype)
    alpha, beta, mu = mapped
    drawn = jnp.sum(targets * inverse, axis=-1, keepdims=True)
    share = inverse / jnp.where(drawn > 0, drawn, 1)
    weights = alpha + jnp.where(drawn > 0, jax.nn.sigmoid(beta * (share - mu)), 1)
    # a class of every image would have infinite odds: half an image lacks it
    odds = -jnp.log(jnp.maximum(num_images * inverse - 1, 0.5 * inverse))
    regularised = logits + bias_scale * odds
    scale = targets + (1 - targets) * negative_scale
    loss = _focused(scale * regularised, targets, gamma) / scale
    return mask_losses(jnp.sum(weights * loss, axis=-1), where)


@any_promotion
def asymmetric_loss(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    gamma_positive: Scalar = 0.0,
    gamma_negative: Scalar = 4.0,
    clip: Scalar = 0.05,
    where: ArrayLike | None = None,
) -> Array:
    """Asymmetric loss: negatives are focused more than positives, and easy ones do not count at all.

    ``-sum_c [t_c (1 - p_c)^gamma+ log p_c + (1 - t_c) q_c^gamma- log(1 - q_c)]`` with ``p = sigmoid(x)`` and
    ``q_c = max(p_c - clip, 0)`` (equations 4 to 7).

    Args:
      logits: ``[..., C]``, any float dtype; computed in at least float32.
      targets: ``[..., C]``, bool or 0 and 1: the classes of the image.
      gamma_positive, gamma_negative: focusing exponents, at least 0.
      clip: m, in [0, 1): negatives of a probability below it have no loss; 0 shifts nothing.
      where: bool ``[...]``; a masked example has loss 0 and gradient 0, whatever it holds.

    Returns:
      ``[...]``, one loss per example, summed over classes, unreduced over examples.

    Raises:
      ValueError: if shapes do not fit.

    Example:
      >>> import numpy as np
      >>> print(np.asarray(asymmetric_loss(np.array([[2.0, 0.0, -4.0]]), np.array([[1, 0, 0]]))).round(4))
      [0.1514]

    Elsewhere: the authors' code has gamma+ 1 by default, and takes no gradient of the focusing factors.

    Reference: Ridnik et al., Asymmetric Loss For Multi-Label Classification, ICCV 2021.
    """
    scores, known, mask = _checked(logits, targets, where)
    return _asymmetric_loss(scores, known, gamma_positive, gamma_negative, clip, mask)


@jit
def _asymmetric_loss(
    logits: Array, targets: Array, gamma_positive: Any, gamma_negative: Any, clip: Any, where: Any
) -> Array:
    logits, targets = mask_examples(where, logits, targets)
    positive = jnp.exp(-gamma_positive * jax.nn.softplus(logits)) * jax.nn.softplus(-logits)
    # 1 - q = (1 - p) + clip, which does not cancel where p is nearly 1
    rest = jnp.minimum(jax.nn.sigmoid(-logits) + clip, 1)
    counts = rest < 1  # elsewhere q is 0, and its power has no derivative
    shifted = jnp.where(counts, 1 - rest, 1)
    # log(1 - p) of sigmoid would be -inf where p rounds to 1, which counts with clip = 0 alone
    entropy = jnp.where(clip > 0, -jnp.log(jnp.where(clip > 0, rest, 1)), jax.nn.softplus(logits))
    negative = jnp.where(counts, shifted**gamma_negative * entropy, 0)
    return mask_losses(jnp.sum(targets * positive + (1 - targets) * negative, axis=-1), where)
