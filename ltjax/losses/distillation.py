"""Knowledge distillation: a student's softmax follows a teacher's."""

from typing import Any

import jax
import jax.numpy as jnp

from ltjax.arrays import Array, ArrayLike, Scalar, any_promotion, as_float, jit
from ltjax.losses.examples import check_mask, mask_examples, mask_losses


@any_promotion
def distillation_loss(
    logits: ArrayLike, teacher_logits: ArrayLike, *, temperature: Scalar = 2.0, where: ArrayLike | None = None
) -> Array:
    """Knowledge distillation: the divergence of the student's softmax from the teacher's at a temperature.

    ``sum_c q_c (log q_c - log p_c)``, ``p = softmax(x / T)`` of the student, ``q`` the same of the teacher. No gradient
    reaches the teacher.

    Args:
      logits: ``[..., C]`` of the student, any float dtype; computed in at least float32. Where the teacher knows a part
        of the classes, take these columns.
      teacher_logits: of the same shape.
      temperature: T, positive; the higher, the more the small probabilities count.
      where: bool ``[...]``; a masked example has loss 0 and gradient 0.

    Returns:
      ``[...]``, one loss per example, unreduced.

    Raises:
      ValueError: if the shapes do not fit.

    Example:
      >>> import numpy as np
      >>> loss = distillation_loss(np.zeros((1, 2)), np.array([[2.0, 0.0]]), temperature=1.0)
      >>> print(np.asarray(loss).round(3))
      [0.328]

    Elsewhere: many multiply by T^2, so that gradients keep their size; LFME's authors do not.

    Reference: Hinton et al., Distilling the Knowledge in a Neural Network, 2015, section 2; Xiang et al., Learning From
    Multiple Experts, ECCV 2020, section 4.
    """
    logits, teacher = as_float(logits), jax.lax.stop_gradient(as_float(teacher_logits))
    if not logits.ndim or teacher.shape != logits.shape:
        raise ValueError(
            f"teacher_logits: expected the shape of the logits, [..., C] = {list(logits.shape)}, "
            f"not {list(teacher.shape)}"
        )
    return _distillation_loss(logits, teacher, temperature, check_mask(where, logits.shape[:-1]))


@jit
def _distillation_loss(logits: Array, teacher: Array, temperature: Any, where: Any) -> Array:
    logits, teacher = mask_examples(where, logits, teacher)
    log_p = jax.nn.log_softmax(logits / temperature)
    log_q = jax.nn.log_softmax(teacher / temperature)
    return mask_losses(jnp.sum(jnp.exp(log_q) * (log_q - log_p), axis=-1), where)
