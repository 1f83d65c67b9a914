"""Consistency: what one view of an image predicts of another one."""

import jax
import jax.numpy as jnp

from ltjax.arrays import Array, ArrayLike, any_promotion, as_float, jit, l2_normalize
from ltjax.losses.examples import check_mask, mask_examples, mask_losses


@any_promotion
def cosine_consistency_loss(predictions: ArrayLike, targets: ArrayLike, *, where: ArrayLike | None = None) -> Array:
    """The negative cosine between a prediction and its target: SimSiam's loss.

    ``-p z / (|p| |z|)``, from -1 to 1. The gradient flows into the predictions only.

    Args:
      predictions: ``[..., d]``, any float dtype; computed in at least float32.
      targets: the same shape.
      where: bool ``[...]``; a masked example has loss 0 and gradient 0, whatever it holds.

    Returns:
      ``[...]``, one loss per example, unreduced; 0 where one of the two is zero.

    Raises:
      ValueError: if the shapes do not fit.

    Example:
      >>> import numpy as np
      >>> print(np.asarray(cosine_consistency_loss([[3.0, 4.0], [1.0, 0.0]], [[6.0, 8.0], [2.0, 2.0]])).round(3))
      [-1.    -0.707]

    Elsewhere: SimSiam halves the sum over both directions; GLMC does not.

    Reference: Chen and He, Exploring Simple Siamese Representation Learning, CVPR 2021, equation 1; Du et al., Global
    and Local Mixture Consistency Cumulative Learning, CVPR 2023.
    """
    predictions, targets = as_float(predictions), as_float(targets)
    if predictions.ndim < 1 or predictions.shape != targets.shape:
        raise ValueError(
            f"targets: expected the shape of the predictions, {list(predictions.shape)}, not {list(targets.shape)}"
        )
    return _cosine_consistency(predictions, targets, check_mask(where, predictions.shape[:-1]))


@jit
def _cosine_consistency(predictions: Array, targets: Array, where: Array | None) -> Array:
    predictions, targets = mask_examples(where, predictions, targets)
    target = jax.lax.stop_gradient(l2_normalize(targets))
    return mask_losses(-jnp.sum(l2_normalize(predictions) * target, axis=-1), where)
