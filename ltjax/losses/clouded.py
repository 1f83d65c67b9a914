"""The Gaussian clouded logit adjustment: the rarer the class, the wider the noise that is taken off its logit."""

from typing import Any

import jax
import jax.numpy as jnp

from ltjax.arrays import Array, ArrayLike, Scalar, any_promotion, as_float, jit, per_class
from ltjax.class_counts import PerClass
from ltjax.losses.examples import at_label, check_broadcast, check_examples, is_hard, mask_examples, mask_losses
from ltjax.losses.softmax import negative_log_likelihood


@any_promotion
def gaussian_clouded_loss(
    cosines: ArrayLike,
    labels: ArrayLike,
    noise: ArrayLike,
    *,
    class_counts: PerClass,
    scale: Scalar = 30.0,
    cloud: Scalar = 0.5,
    margin: Scalar = 0.0,
    gamma: Scalar = 0.0,
    where: ArrayLike | None = None,
) -> Array:
    """Gaussian clouded logits (GCL): noise is taken off the cosines, the more the rarer the class.

    ``CE(s (x - cloud delta |noise| - margin onehot(y)), y)``, where
    ``delta_k = (log n_max - log n_k) / (log n_max - log n_min)`` is 0 for the most frequent class and 1 for the rarest.
    With ``gamma`` it is weighted by ``(1 - p_y)^gamma``, without gradient (the authors' second stage).

    Args:
      cosines: ``[..., C]`` UNSCALED (``ltjax.classifiers.cosine_logits`` with scale 1), any float dtype; computed in at
        least float32.
      labels: integers ``[...]`` in 0..C-1, or probabilities ``[..., C]`` (class k then loses ``t_k`` of the margin). A
        label outside gives NaN, unless masked.
      noise: broadcastable to the cosines, drawn anew in every step: the authors have a normal distribution of standard
        deviation 1/3, clipped to -1..1. Zeros leave the cosines as they are.
      class_counts: ``[C]`` training images per class, all positive.
      scale: s, applied after noise and margin.
      cloud: factor on the noise.
      margin: of every class.
      gamma: power of the weight; 0 is none.
      where: bool ``[...]``; a masked example has loss 0 and gradient 0.

    Returns:
      ``[...]``, one loss per example, unreduced.

    Raises:
      ValueError: if shapes do not fit or class_counts are invalid, naming the class. Counts that are traced by the
        caller's jit are not checked.

    Example:
      >>> import numpy as np
      >>> cosines, labels, noise = np.array([[0.5, 0.3], [0.5, 0.3]]), np.array([0, 1]), np.array([0.1, 0.2])
      >>> loss = gaussian_clouded_loss(cosines, labels, noise, class_counts=[100, 1], scale=10)
      >>> print(np.asarray(loss).round(3))
      [0.049 3.049]

    Reference: Li et al., Long-tailed Visual Recognition via Gaussian Clouded Logit Adjustment, CVPR 2022.
    """
    cosines = as_float(cosines)
    labels, where = check_examples(cosines.shape, labels, where)
    noise = as_float(noise)
    check_broadcast("noise", noise.shape, cosines.shape)
    rarity = per_class(class_counts, cosines.shape[-1], _rarity)
    return _gaussian_clouded_loss(cosines, labels, noise, rarity, (scale, cloud, margin, gamma), where)


def _rarity(counts: Any, xp: Any) -> Any:
    """0 for the most frequent class to 1 for the rarest, by logarithms; 0 for all where all are alike."""
    below = xp.log(counts.max() / counts)
    return below / xp.where(below.max() > 0, below.max(), 1)


@jit
def _gaussian_clouded_loss(
    cosines: Array, labels: Array, noise: Array, rarity: Any, options: tuple[Any, ...], where: Any
) -> Array:
    scale, cloud, margin, gamma = options
    cosines, labels = mask_examples(where, cosines, labels)
    taken = cloud * jnp.asarray(rarity, cosines.dtype) * jnp.abs(noise)
    target = at_label(labels, cosines.shape[-1]) if is_hard(labels, cosines) else labels
    losses = negative_log_likelihood((scale * (cosines - taken - margin * target)).astype(cosines.dtype), labels)
    missing = jax.lax.stop_gradient(-jnp.expm1(-losses))
    return mask_losses(losses * jnp.where(jnp.asarray(gamma) == 0, 1, missing**gamma), where)
