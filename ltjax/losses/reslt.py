"""The loss of ResLT: branches that specialise on the rarer classes, and their sum."""

import functools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.arrays import Array, ArrayLike, Scalar, any_promotion, as_float, is_traced, jit
from ltjax.losses.examples import all_if_none, check_examples, is_zero, mask_examples, of_label
from ltjax.losses.reduction import weighted_mean
from ltjax.losses.softmax import negative_log_likelihood


class ResLTTerms(NamedTuple):
    """Losses per example and what each weighs: ``[B]`` of the fused logits, ``[K, B]`` of the branches."""

    fusion: Array
    fusion_weights: Array
    branch: Array
    branch_weights: Array


class ResLTLoss(NamedTuple):
    """Scalars: ``total = (1 - alpha) fusion + alpha branch``."""

    total: Array
    fusion: Array
    branch: Array


@any_promotion
def reslt_terms(
    branch_logits: ArrayLike,
    labels: ArrayLike,
    *,
    branch_masks: ArrayLike,
    probability_epsilon: Scalar = 0.0,
    fusion_epsilon: Scalar = 0.0,
    main_branch: bool = True,
    where: ArrayLike | None = None,
) -> ResLTTerms:
    """The per-example terms of the ResLT loss, before any mean: what ``reslt_loss`` and a training loop reduce.

    Args, errors: as for ``reslt_loss``; ``main_branch=False`` allows masks without a row that holds every class, as in
    the paper's figure 2(b).

    Returns:
      ``ResLTTerms``: fusion ``[B]`` = J(sum_k x_k, y); branch ``[K, B]`` = J(x_k, y), 0 where y is no member of
      branch k; the weights are 1 for what counts and 0 for what does not (``where``, and membership). For soft labels
      membership is the mass of the label inside the branch. The pooled divisor is the sum of ``branch_weights``.

    Example:
      >>> import numpy as np
      >>> masks = np.array([[True, True], [False, True]])
      >>> terms = reslt_terms(np.zeros((2, 3, 2)), np.array([0, 1, 1]), branch_masks=masks)
      >>> print(np.asarray(terms.branch).round(3))
      [[0.693 0.693 0.693]
       [0.    0.693 0.693]]
    """
    branch_logits = as_float(branch_logits)
    if branch_logits.ndim < 2:
        raise ValueError(f"branch_logits: expected shape [K, ..., C], not {list(branch_logits.shape)}")
    labels, where = check_examples(branch_logits.shape[1:], labels, where)
    masks = _check_masks(branch_masks, branch_logits.shape[0], branch_logits.shape[-1], main_branch)
    epsilon, of_fusion = (None if is_zero(e) else e for e in (probability_epsilon, fusion_epsilon))
    return _reslt_terms(branch_logits, labels, masks, epsilon, of_fusion, where)


def _check_masks(branch_masks: Any, branches: int, num_classes: int, main_branch: bool) -> Array:
    if np.shape(branch_masks) != (branches, num_classes):
        raise ValueError(f"branch_masks: expected shape {[branches, num_classes]}, not {list(np.shape(branch_masks))}")
    if not is_traced(branch_masks):
        masks = np.asarray(branch_masks).astype(bool)
        if main_branch and not masks[0].all():
            raise ValueError(f"branch_masks: row 0 must hold every class; class {np.argmin(masks[0])} is missing")
        return jnp.asarray(masks)
    return branch_masks.astype(bool)


@jit
def _reslt_terms(
    logits: Array, labels: Array, masks: Array, epsilon: Any, fusion_epsilon: Any, where: Any
) -> ResLTTerms:
    mask = all_if_none(where, logits.shape[1:-1])
    logits, labels = jnp.where(mask[..., None], logits, 0), *mask_examples(mask, labels)
    fusion = jnp.where(mask, negative_log_likelihood(jnp.sum(logits, axis=0), labels, epsilon=fusion_epsilon), 0)
    weights = jax.vmap(lambda row: of_label(row.astype(logits.dtype), labels))(masks)
    weights = jnp.where(mask, weights, 0).astype(logits.dtype)
    # Logits of an example that is no member must not reach the formula: 0 * inf would be its gradient.
    member = weights > 0
    branch = jax.vmap(lambda x: negative_log_likelihood(x, labels, epsilon=epsilon))(
        jnp.where(member[..., None], logits, 0)
    )
    return ResLTTerms(fusion, mask.astype(logits.dtype), jnp.where(member, branch, 0), weights)


@any_promotion
def reslt_loss(
    branch_logits: ArrayLike,
    labels: ArrayLike,
    *,
    branch_masks: ArrayLike,
    alpha: Scalar,
    divisor: Literal["pooled", "subset_means"] = "pooled",
    probability_epsilon: Scalar = 0.0,
    fusion_epsilon: Scalar = 0.0,
    where: ArrayLike | None = None,
    axis_name: str | None = None,
) -> ResLTLoss:
    """The loss of ResLT: the fused logits learn every class, the branches all / medium and tail / tail.

    Equations 1 to 3: ``total = (1 - alpha) F + alpha I`` with ``F = mean_i J(sum_k x_k, y)`` and I the
    losses of the branches, ``J(x, y) = -log(softmax(x)_y + epsilon)``. ``divisor="pooled"`` (the authors' code):
    ``I = sum of all counted J / their number``. ``divisor="subset_means"`` (the paper as printed): the sum over
    branches of the mean over the branch's members.

    Args:
      branch_logits: ``[K, B, C]`` (or ``[K, ..., C]``), any float dtype; computed in at least float32.
      labels: integers ``[B]`` in 0..C-1, or probabilities ``[B, C]`` (the mass inside a branch then weighs its term).
        A label outside gives NaN, unless masked.
      branch_masks: bool ``[K, C]``, row 0 all true: the classes that branch k learns
        (``ltjax.class_counts.branch_masks``); numpy or traced. A branch without members in the batch contributes 0,
        with finite gradients.
      alpha: the weight of the branches against the fusion, 0 to 1.
      divisor: "pooled" or "subset_means".
      probability_epsilon, fusion_epsilon: 0 is exact; 1e-7 reproduces the authors' forms (CIFAR: the branches only,
        ImageNet-LT: both), which have no gradient where the true class has a probability far below it.
      where: bool ``[B]``; masked examples count nowhere.
      axis_name: inside ``shard_map``, the mesh axis that the batch lies on: the result is that of the whole batch.
        So are gradients taken inside with ``check_vma=True``, shard_map's default; without it they are multiplied by
        the number of devices.

    Returns:
      ``ResLTLoss(total, fusion, branch)``, scalars.

    Raises:
      ValueError: if shapes do not fit, row 0 of concrete masks misses a class (named), or divisor is unknown. Masks
        that are traced by the caller's jit are not checked.

    Example:
      >>> import numpy as np
      >>> masks = np.array([[True, True, True], [False, True, True], [False, False, True]])
      >>> loss = reslt_loss(np.zeros((3, 4, 3)), np.array([0, 0, 1, 2]), branch_masks=masks, alpha=0.5)
      >>> print(f"{loss.total:.3f}")
      1.099

    Elsewhere: the authors' code adds 1e-7 to the branches' probabilities, on ImageNet-LT to the fusion's too.

    Reference: Cui et al., ResLT: Residual Learning for Long-tailed Recognition, TPAMI 2022, equations 1 to 3.
    """
    if divisor not in ("pooled", "subset_means"):
        raise ValueError(f"divisor: unknown value '{divisor}'; allowed: pooled, subset_means")
    terms = reslt_terms(
        branch_logits,
        labels,
        branch_masks=branch_masks,
        probability_epsilon=probability_epsilon,
        fusion_epsilon=fusion_epsilon,
        where=where,
    )
    mean = functools.partial(weighted_mean, axis_name=axis_name)
    fusion = mean(terms.fusion, terms.fusion_weights)
    if divisor == "pooled":
        branch = mean(terms.branch, terms.branch_weights)
    else:
        branch = jnp.sum(jax.vmap(mean)(terms.branch, terms.branch_weights))
    return ResLTLoss((1 - alpha) * fusion + alpha * branch, fusion, branch)
