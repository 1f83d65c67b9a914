"""Losses of several experts in one network: an expert for the inverse class distribution, and what experts share."""

from typing import Any

import jax
import jax.numpy as jnp

from ltjax.arrays import Array, ArrayLike, Scalar, any_promotion, as_float, jit, per_class
from ltjax.class_counts import PerClass
from ltjax.losses.examples import at_label, check_examples, check_mask, mask_examples, mask_losses, shift
from ltjax.losses.softmax import negative_log_likelihood


@any_promotion
def inverse_softmax_loss(
    logits: ArrayLike, labels: ArrayLike, *, class_counts: PerClass, tau: Scalar = 2.0, where: ArrayLike | None = None
) -> Array:
    """Inverse softmax: cross-entropy that trains an expert for the inverse of the training set's class distribution.

    ``CE(x + log pi - tau log pibar, y)``: ``pi_k = n_k / sum n``, and pibar has the same shares in reverse order, so
    that the rarest class has the largest. With tau 0 it is balanced softmax. Classes with equal counts are ranked by
    their number.

    Args:
      logits: ``[..., C]``, any float dtype; computed in at least float32.
      labels: integers ``[...]`` in 0..C-1, or probabilities ``[..., C]``. A label outside gives NaN, unless masked.
      class_counts: ``[C]`` training images per class, all positive.
      tau: strength of the inverse distribution, the paper's lambda.
      where: bool ``[...]``; a masked example has loss 0 and gradient 0.

    Returns:
      ``[...]``, one loss per example, unreduced.

    Raises:
      ValueError: if shapes do not fit or class_counts are invalid, naming the class. Counts that are traced by the
        caller's jit are not checked.

    Example:
      >>> import numpy as np
      >>> loss = inverse_softmax_loss(np.zeros((2, 2)), np.array([0, 1]), class_counts=[90, 10], tau=1.0)
      >>> print(np.asarray(loss).round(3))
      [0.012 4.407]

    Elsewhere: the authors have tau 2 on CIFAR-100-LT and ImageNet-LT, 1 on Places-LT and iNaturalist.

    Reference: Zhang et al., Self-Supervised Aggregation of Diverse Experts for Test-Agnostic Long-Tailed Recognition
    (SADE), NeurIPS 2022.
    """
    logits = as_float(logits)
    labels, where = check_examples(logits.shape, labels, where)
    log_prior, log_inverse = per_class(class_counts, logits.shape[-1], _log_priors)
    return _inverse_softmax_loss(logits, labels, log_prior, log_inverse, tau, where)


def _log_priors(counts: Any, xp: Any) -> Any:
    log_prior = xp.log(counts / counts.sum())
    return xp.stack([log_prior, inverse_order(log_prior, xp)])


def inverse_order(values: Any, xp: Any) -> Any:
    """The values ``[C]`` in reverse order of size: the class with the smallest has the largest.

    Example:
      >>> import numpy as np
      >>> inverse_order(np.array([90, 3, 10]), np)
      array([ 3, 90, 10])
    """
    order = xp.argsort(values, stable=True)
    rank = xp.argsort(order, stable=True)
    return xp.sort(values)[::-1][rank]


@jit
def _inverse_softmax_loss(
    logits: Array, labels: Array, log_prior: Any, log_inverse: Any, tau: Any, where: Any
) -> Array:
    logits, labels = mask_examples(where, logits, labels)
    adjusted = shift(logits) + jnp.asarray(log_prior - tau * log_inverse, logits.dtype)
    return mask_losses(negative_log_likelihood(adjusted, labels), where)


@any_promotion
def mutual_distillation_loss(expert_logits: ArrayLike, *, where: ArrayLike | None = None) -> Array:
    """Mutual distillation: how far the experts' distributions are from each other, over all ordered pairs.

    ``sum_{i != j} KL(softmax(x_j) || softmax(x_i))``, with a gradient in both.

    Args:
      expert_logits: ``[E, ..., C]``, any float dtype; computed in at least float32.
      where: bool ``[...]``; a masked example has loss 0 and gradient 0, whatever it holds.

    Returns:
      ``[...]``, one loss per example, unreduced.

    Raises:
      ValueError: if the shapes do not fit.

    Example:
      >>> import numpy as np
      >>> loss = mutual_distillation_loss(np.array([[[2.0, 0.0]], [[0.0, 0.0]]]))
      >>> print(np.asarray(loss).round(3))
      [0.762]

    Elsewhere: SHIKE's authors divide by the number of classes too.

    Reference: Jin et al., Long-Tailed Visual Recognition via Self-Heterogeneous Integration with Knowledge Excavation
    (SHIKE), CVPR 2023; Zhang et al., Deep Mutual Learning, CVPR 2018.
    """
    logits = _experts(expert_logits)
    return _mutual_distillation_loss(logits, check_mask(where, logits.shape[1:-1]))


@jit
def _mutual_distillation_loss(logits: Array, where: Any) -> Array:
    logits = _masked(logits, where)
    log_p = jax.nn.log_softmax(logits)
    gaps = log_p[:, None] - log_p[None]
    return mask_losses(jnp.sum(jnp.exp(log_p)[:, None] * gaps, axis=(0, 1, -1)), where)


@any_promotion
def nontarget_distillation_loss(
    expert_logits: ArrayLike, labels: ArrayLike, *, where: ArrayLike | None = None
) -> Array:
    """Distillation among the wrong classes from a teacher that the experts make together, mild on the hardest one.

    The true class is left out of every softmax. The teacher's logit of a wrong class is the largest of the experts',
    except for the hardest wrong class, the one whose mean over the experts is largest: there it is that mean. The loss
    is ``sum_e KL(teacher || expert e)``, with a gradient in both.

    Args:
      expert_logits: ``[E, ..., C]``, any float dtype; computed in at least float32.
      labels: integers ``[...]`` in 0..C-1. A label outside gives NaN, unless masked.
      where: bool ``[...]``; a masked example has loss 0 and gradient 0, whatever it holds.

    Returns:
      ``[...]``, one loss per example, unreduced.

    Raises:
      ValueError: if the shapes do not fit, or the labels are no integers.

    Example:
      >>> import numpy as np
      >>> loss = nontarget_distillation_loss(np.array([[[0.0, 2.0, 0.0]], [[0.0, 0.0, 0.0]]]), np.array([0]))
      >>> print(np.asarray(loss).round(3))
      [0.194]

    Elsewhere: the authors' code leaves the true class in the teacher's softmax, with a logit of 0, and divides by the
    number of classes.

    Reference: Jin et al., Long-Tailed Visual Recognition via Self-Heterogeneous Integration with Knowledge Excavation
    (SHIKE), CVPR 2023 (dynamic knowledge transfer).
    """
    logits = _experts(expert_logits)
    labels, where = check_examples(logits.shape[1:], labels, where)
    if labels.ndim != logits.ndim - 2:
        raise ValueError(f"labels: expected integers {list(logits.shape[1:-1])}: one true class for each example")
    return _nontarget_distillation_loss(logits, labels, where)


@jit
def _nontarget_distillation_loss(logits: Array, labels: Array, where: Any) -> Array:
    (labels,) = mask_examples(where, labels)
    logits = _masked(logits, where)
    num_classes = logits.shape[-1]
    wrong = ~at_label(labels, num_classes)

    def log_softmax(x: Array) -> Array:
        """Over the wrong classes; 0 at the true one."""
        largest = jax.lax.stop_gradient(jnp.max(jnp.where(wrong, x, -jnp.inf), axis=-1, keepdims=True))
        shifted = jnp.where(wrong, x - jnp.where(jnp.isfinite(largest), largest, 0), 0)
        total = jnp.sum(jnp.where(wrong, jnp.exp(shifted), 0), axis=-1, keepdims=True)
        return jnp.where(wrong, shifted - jnp.log(jnp.where(total > 0, total, 1)), 0)

    mean = jnp.mean(logits, axis=0)
    hardest = jnp.argmax(jnp.where(wrong, mean, -jnp.inf), axis=-1)
    teacher = log_softmax(jnp.where(at_label(hardest, num_classes), mean, jnp.max(logits, axis=0)))
    gaps = jnp.where(wrong, jnp.exp(teacher), 0) * (teacher - log_softmax(logits))
    losses = jnp.sum(gaps, axis=(0, -1))
    return mask_losses(jnp.where((labels >= 0) & (labels < num_classes), losses, jnp.nan), where)


def _experts(expert_logits: ArrayLike) -> Array:
    logits = as_float(expert_logits)
    if logits.ndim < 2:
        raise ValueError(f"expert_logits: expected shape [E, ..., C], not {list(logits.shape)}")
    return logits


def _masked(logits: Array, where: Array | None) -> Array:
    return logits if where is None else jnp.where(where[..., None], logits, 0)
