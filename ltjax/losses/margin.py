"""Losses with a margin between the true class and the others."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.arrays import Array, ArrayLike, Scalar, any_promotion, as_float, is_traced, jit, per_class
from ltjax.class_counts import PerClass
from ltjax.losses.examples import at_label, check_examples, is_hard, mask_examples, mask_losses, of_label, shift
from ltjax.losses.softmax import negative_log_likelihood


def margins_of(class_counts: PerClass, num_classes: int, max_margin: Scalar) -> Any:
    """``[C]`` margins proportional to ``n^(-1/4)``, the largest being ``max_margin``; counts may be traced."""
    return max_margin * per_class(class_counts, num_classes, lambda n, xp: (n.min() / n) ** 0.25)


def subtract_margins(logits: Array, labels: Array, margins: Array) -> Array:
    """The logits, from the largest down, with the margin of its class taken off the true one (or its share of it)."""
    shifted = shift(logits)
    if is_hard(labels, logits):
        return jnp.where(at_label(labels, logits.shape[-1]), shifted - margins, shifted)
    return shifted - labels * margins


@any_promotion
def ldam_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    class_counts: PerClass,
    max_margin: Scalar = 0.5,
    scale: Scalar = 30.0,
    where: ArrayLike | None = None,
) -> Array:
    """Label-distribution-aware margin loss: the rarer the class, the larger the margin it must win by.

    Section 3.2: ``CE(s (x - m_y onehot(y)), y)``, ``m_k = max_margin (n_min / n_k)^(1/4)``. For its deferred
    re-weighting (section 3.3), reduce with ``weighted_mean(loss, drw_weights(...)[labels])``.

    Args:
      logits: ``[..., C]`` UNSCALED cosines (``ltjax.classifiers.cosine_logits`` with scale 1), any float dtype;
        computed in at least float32.
      labels: integers ``[...]`` in 0..C-1, or probabilities ``[..., C]`` (class k then loses ``t_k m_k``). A label
        outside gives NaN, unless masked.
      class_counts: ``[C]`` training images per class, all positive.
      max_margin: the margin of the rarest class.
      scale: s, applied after the margin.
      where: bool ``[...]``; a masked example has loss 0 and gradient 0.

    Returns:
      ``[...]``, one loss per example, unreduced.

    Raises:
      ValueError: if shapes do not fit or class_counts are invalid, naming the class. Counts that are traced by the
        caller's jit are not checked: a count of 0 then gives NaN.

    Example:
      >>> import numpy as np
      >>> loss = ldam_loss(np.array([[0.9, 0.5], [0.9, 0.5]]), np.array([0, 1]), class_counts=[1600, 100], scale=10)
      >>> print(np.asarray(loss).round(3))
      [0.201 9.   ]

    Elsewhere: LDAM-DRW has these defaults.

    Reference: Cao et al., Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss, NeurIPS 2019,
    section 3.2.
    """
    logits = as_float(logits)
    labels, where = check_examples(logits.shape, labels, where)
    return _ldam_loss(logits, labels, margins_of(class_counts, logits.shape[-1], max_margin), scale, where)


@jit
def _ldam_loss(logits: Array, labels: Array, margins: Any, scale: Any, where: Any) -> Array:
    logits, labels = mask_examples(where, logits, labels)
    adjusted = scale * subtract_margins(logits, labels, jnp.asarray(margins, logits.dtype))
    return mask_losses(negative_log_likelihood(adjusted, labels), where)


@any_promotion
def margin_ranking_loss(
    cosines: ArrayLike,
    labels: ArrayLike,
    *,
    margin: Scalar = 0.5,
    top_k: int | None = None,
    negatives: ArrayLike | None = None,
    where: ArrayLike | None = None,
) -> Array:
    """The true class's cosine must exceed those of the other classes by a margin (the intra-classification loss).

    After equation 9 of asynchronous modelling: ``sum_k max(0, m - cos_y + cos_k)`` over the other classes k.

    Args:
      cosines: ``[..., C]`` scores before any scale, any float dtype; computed in at least float32.
      labels: integers ``[...]`` in 0..C-1; a label outside gives NaN, unless masked. Soft labels have no meaning here.
      margin: m.
      top_k: only the K largest of the negatives count (2 in LUCIR); None is the paper's sum over all of them.
      negatives: bool ``[C]``, the classes that may be a negative (the new ones in LUCIR); None allows every class. The
        example's true class never is one. With fewer than ``top_k`` negatives all of them count.
      where: bool ``[...]``; a masked example has loss 0 and gradient 0 (LUCIR counts the old classes' examples only:
        divide the sum by their number times K for its mean).

    Returns:
      ``[...]``, one loss per example, summed over negatives.

    Raises:
      ValueError: if shapes do not fit, labels are soft, or top_k is below 1.

    Example:
      >>> import numpy as np
      >>> cosines, labels = np.array([[0.7, 0.5, 0.1], [0.7, 0.5, 0.1]]), np.array([0, 1])
      >>> print(np.asarray(margin_ranking_loss(cosines, labels)).round(3))
      [0.3 0.8]
      >>> print(np.asarray(margin_ranking_loss(cosines, labels, top_k=1)).round(3))
      [0.3 0.7]

    Elsewhere: LUCIR has m 0.5, the 2 largest among new classes, old examples only, and a mean.

    Reference: Asynchronous Modeling: A Dual-phase Perspective for Long-Tailed Recognition, after equation 9; Hou et
    al., Learning a Unified Classifier Incrementally via Rebalancing (LUCIR), CVPR 2019, section 3.4.
    """
    cosines = as_float(cosines)
    labels, where = check_examples(cosines.shape, labels, where)
    if not is_hard(labels, cosines):
        raise ValueError("labels: a margin needs one true class, integers, not probabilities")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k: must be at least 1, or None for all, not {top_k}")
    if negatives is not None:
        negatives = negatives if is_traced(negatives) else np.asarray(negatives, bool)
        if negatives.shape != cosines.shape[-1:]:
            raise ValueError(f"negatives: expected shape {list(cosines.shape[-1:])}, not {list(negatives.shape)}")
    return _margin_ranking_loss(cosines, labels, margin, negatives, where, top_k=top_k)


@jit(static_argnames=("top_k",))
def _margin_ranking_loss(cosines: Array, labels: Array, margin: Any, negatives: Any, where: Any, top_k: Any) -> Array:
    num_classes = cosines.shape[-1]
    cosines, labels = mask_examples(where, cosines, labels)
    allowed = ~at_label(labels, num_classes)
    if negatives is not None:
        allowed &= jnp.asarray(negatives, bool)
    others = cosines
    if top_k is not None:
        others = _largest(jnp.where(allowed, cosines, -jnp.inf), min(top_k, num_classes))
        allowed = others > -jnp.inf
    violation = margin - of_label(cosines, labels)[..., None] + jnp.where(allowed, others, 0)
    loss = jnp.sum(jnp.where(allowed, jax.nn.relu(violation), 0), axis=-1)
    return mask_losses(jnp.where((labels >= 0) & (labels < num_classes), loss, jnp.nan), where)


def _largest(values: Array, count: int) -> Array:
    """[..., count], the largest of [..., C] in falling order.

    A few of them one after the other: the compiler would collect the rows of all devices for ``jax.lax.top_k``.
    """
    if count > 8:
        return jax.lax.top_k(values, count)[0]
    found = []
    for _ in range(count):
        best = jnp.argmax(values, axis=-1, keepdims=True)
        found.append(jnp.sum(jnp.where(jnp.arange(values.shape[-1]) == best, values, 0), axis=-1))
        values = jnp.where(jnp.arange(values.shape[-1]) == best, -jnp.inf, values)
    return jnp.stack(found, axis=-1)
