"""LADE's regulariser: each logit as the log density ratio of its class, by the Donsker-Varadhan bound."""

from typing import Any, Literal

import jax
import jax.numpy as jnp

from ltjax.arrays import Array, ArrayLike, Scalar, any_promotion, as_float, jit, per_class
from ltjax.class_counts import PerClass
from ltjax.losses.examples import all_if_none, at_label, check_examples, is_hard, mask_examples, of_label
from ltjax.losses.reduction import divide_or_zero, summed

WEIGHTED_BY = ("label", "class")


@any_promotion
def lade_regularizer(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    class_counts: PerClass,
    penalty: Scalar = 0.1,
    weighted_by: Literal["label", "class"] = "label",
    where: ArrayLike | None = None,
    axis_name: str | None = None,
) -> Array:
    """LADE's regulariser: the logit of a class should be the log of its density over that of uniform classes.

    Over a batch of B, of which B_c are of class c, with the regularised Donsker-Varadhan bound::

        sum_c pi_c ( -1 / B_c sum_{y_i = c} x_ic + E_c + penalty E_c^2 ),  E_c = log 1/B sum_i 1 / (C pi_{y_i}) e^(x_ic)

    ``pi_k = n_k / sum n``. E_c estimates the log of the mean of ``e^(x_c)`` under uniform classes, each image weighted
    by what its label is drawn too often, and is to be 0. A class without an image in the batch has its second and third
    term alone.

    Args:
      logits: ``[..., C]``, any float dtype; computed in at least float32. All leading axes are the batch.
      labels: integers ``[...]`` in 0..C-1. A label outside gives NaN, unless masked.
      class_counts: ``[C]`` training images per class, all positive.
      penalty: lambda, the factor on the square.
      weighted_by: "label": as above, the paper. "class": the weight is ``1 / (C pi_c)`` instead, the authors' code.
      where: bool ``[...]``; masked examples count nowhere.
      axis_name: inside ``shard_map``, the mesh axis that the batch lies on: the result is that of the whole batch.
        So are gradients taken inside with ``check_vma=True``, shard_map's default; without it they are multiplied by
        the number of devices.

    Returns:
      A scalar (``[]``); 0 for no examples. LADE is ``balanced_softmax_loss`` plus alpha (0.1) times this.

    Raises:
      ValueError: if the shapes do not fit, labels are soft, class_counts are invalid, naming the class, or
        ``weighted_by`` is unknown. Counts that are traced by the caller's jit are not checked.

    Example:
      >>> import numpy as np
      >>> logits, labels = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1])
      >>> print(f"{lade_regularizer(logits, labels, class_counts=[50, 50]):.3f}")
      -0.341

    Reference: Hong et al., Disentangling Label Distribution for Long-tailed Visual Recognition, CVPR 2021.
    """
    logits = as_float(logits)
    labels, where = check_examples(logits.shape, labels, where)
    if not is_hard(labels, logits):
        raise ValueError("labels: the density of a class needs one true class, integers, not probabilities")
    if weighted_by not in WEIGHTED_BY:
        raise ValueError(f"weighted_by: unknown value '{weighted_by}'; allowed: {', '.join(WEIGHTED_BY)}")
    prior = per_class(class_counts, logits.shape[-1], lambda n, xp: n / n.sum())
    prior, by_label = jnp.asarray(prior, logits.dtype), weighted_by == "label"
    return _lade_regularizer(logits, labels, prior, penalty, where, by_label=by_label, axis_name=axis_name)


@jit(static_argnames=("by_label", "axis_name"))
def _lade_regularizer(
    logits: Array, labels: Array, prior: Any, penalty: Any, where: Any, by_label: bool, axis_name: str | None
) -> Array:
    num_classes = logits.shape[-1]
    mask = all_if_none(where, logits.shape[:-1]).reshape(-1)
    logits, labels = logits.reshape(-1, num_classes), labels.reshape(-1)
    logits, labels = mask_examples(mask, logits, labels)
    outside = jnp.any(mask & ((labels < 0) | (labels >= num_classes)))
    of_class = at_label(labels, num_classes) & mask[:, None]
    count = summed(jnp.sum(mask), axis_name).astype(logits.dtype)
    members = summed(jnp.sum(of_class, axis=0), axis_name).astype(logits.dtype)
    own = divide_or_zero(summed(jnp.sum(jnp.where(of_class, logits, 0), axis=0), axis_name), members)

    log_weights = -jnp.log(num_classes * prior)
    log_weights = of_label(log_weights, labels)[:, None] if by_label else log_weights
    terms = jnp.where(mask[:, None], logits + log_weights, -jnp.inf)
    largest = jax.lax.stop_gradient(jnp.max(terms, axis=0, initial=-jnp.inf))
    if axis_name is not None:
        largest = jax.lax.pmax(largest, axis_name)  # type: ignore[no-untyped-call]
    largest = jnp.where(jnp.isfinite(largest), largest, 0)
    # the inner where keeps the gradient of a masked row finite
    parts = jnp.where(mask[:, None], jnp.exp(jnp.where(mask[:, None], terms - largest, 0)), 0)
    total = summed(jnp.sum(parts, axis=0), axis_name)
    none = count == 0
    log_mean = largest + jnp.log(jnp.where(total > 0, total, 1)) - jnp.log(jnp.where(none, 1, count))
    value = jnp.sum(prior * (-own + log_mean + penalty * jnp.square(log_mean)))
    return jnp.where(none, 0, jnp.where(summed(outside.astype(jnp.int32), axis_name) > 0, jnp.nan, value))
