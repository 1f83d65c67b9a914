"""The loss of RIDE: experts trained individually, and pushed apart."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ltjax.arrays import Array, ArrayLike, Scalar, any_promotion, as_float, jit, per_class
from ltjax.class_counts import PerClass
from ltjax.losses.examples import all_if_none, check_examples, mask_examples, of_label
from ltjax.losses.margin import margins_of, subtract_margins
from ltjax.losses.reduction import divide_or_zero, summed, weighted_mean
from ltjax.losses.softmax import negative_log_likelihood

MAX_MARGIN = 0.5
BETA = 0.9999


class RIDELoss(NamedTuple):
    """Scalars, summed over experts: ``total = individual + diversity_factor * diversity``."""

    total: Array
    individual: Array
    diversity: Array


@any_promotion
def ride_loss(
    expert_logits: ArrayLike,
    labels: ArrayLike,
    *,
    class_counts: PerClass,
    diversity: Scalar = -0.2,
    use_ldam: bool = True,
    scale: Scalar = 30.0,
    reweight_factor: Scalar = 0.05,
    reweight: bool | Array = False,
    where: ArrayLike | None = None,
    axis_name: str | None = None,
) -> RIDELoss:
    """The loss of RIDE: every expert is trained separately and pushed away from the experts' mean.

    Over the experts e of ``[E, B, C]``::

        total = sum_e CE(x_e - s m_y onehot(y), y; w) + diversity Tbar^2 / B sum_i KL(softmax(xbar/T) || softmax(x_e/T))

    ``xbar`` is the mean of the experts' logits, without gradient (in the authors' code; the paper writes pairs of
    experts, equation 2). ``T = 1`` and ``w = 1`` before re-weighting; from then on ``T = q / max q`` per class,
    ``q_k = 1 - r + r C n_k / sum n``, ``Tbar = mean T``, and w are the effective-number weights with beta 0.9999. CE is
    the weighted mean, its divisor the sum of w. m are the LDAM margins, at most 0.5.

    Args:
      expert_logits: ``[E, B, C]`` (or ``[E, ..., C]``), which already include the scale s; any float dtype, computed
        in at least float32.
      labels: integers ``[B]`` in 0..C-1, or probabilities ``[B, C]``. A label outside gives NaN, unless masked.
      class_counts: ``[C]`` training images per class, all positive.
      diversity: the factor of the second term; negative pushes apart (-0.2; -0.45 for CIFAR-100). Exactly 0 is, as in
        the authors' code, the collaborative loss: xbar, now with its gradient, takes the place of every x_e.
      use_ldam: False leaves out all that depends on the class counts: margins and, as in the authors' code, the weights
        and temperatures of ``reweight`` too.
      scale: s, by which the margins are multiplied to match the logits.
      reweight_factor: r, how far the temperature follows the class frequencies.
      reweight: whether the re-weighting epoch has come (``epoch > 160`` on CIFAR); may be traced.
      where: bool ``[B]``; masked examples count nowhere.
      axis_name: inside ``shard_map``, the mesh axis that the batch lies on: the result is that of the whole batch.
        So are gradients taken inside with ``check_vma=True``, shard_map's default; without it they are multiplied by
        the number of devices.

    Returns:
      ``RIDELoss(total, individual, diversity)``: scalars; the third is the divergence before its factor.

    Raises:
      ValueError: if shapes do not fit or class_counts are invalid, naming the class. Counts that are traced by the
        caller's jit are not checked.

    Example:
      >>> import numpy as np
      >>> logits = np.array([[[2.0, 0.0]], [[0.0, 0.0]]])
      >>> loss = ride_loss(logits, np.array([0]), class_counts=[100, 100], use_ldam=False)
      >>> print(f"{loss.total:.4f} {loss.individual:.4f} {loss.diversity:.4f}")
      0.7814 0.8201 0.1936

    Elsewhere: the authors have -0.2, on CIFAR-100 -0.45; a factor of 0 trains on the mean logits, as here.

    Reference: Wang et al., Long-tailed Recognition by Routing Diverse Distribution-Aware Experts, ICLR 2021,
    equations 1 to 3.
    """
    expert_logits = as_float(expert_logits)
    if expert_logits.ndim < 2:
        raise ValueError(f"expert_logits: expected shape [E, ..., C], not {list(expert_logits.shape)}")
    labels, where = check_examples(expert_logits.shape[1:], labels, where)
    num_classes = expert_logits.shape[-1]
    margins = scale * margins_of(class_counts, num_classes, MAX_MARGIN) if use_ldam else None
    frequency = per_class(class_counts, num_classes, lambda n, xp: num_classes * n / n.sum())
    effective = per_class(class_counts, num_classes, _effective_number_weights)
    tables = jax.tree.map(lambda table: jnp.asarray(table, expert_logits.dtype), (margins, frequency, effective))
    return _ride_loss(expert_logits, labels, tables, diversity, reweight_factor, reweight, where, axis_name=axis_name)


def _effective_number_weights(counts: Any, xp: Any) -> Any:
    weights = (1 - BETA) / -xp.expm1(counts * xp.log(BETA))
    return weights / weights.sum() * weights.shape[0]


@jit(static_argnames=("axis_name",))
def _ride_loss(
    logits: Array, labels: Array, tables: Any, factor: Any, rate: Any, reweight: Any, where: Any, axis_name: str | None
) -> RIDELoss:
    margins, frequency, effective = tables
    mask = all_if_none(where, logits.shape[1:-1])
    logits, labels = jnp.where(mask[..., None], logits, 0), *mask_examples(mask, labels)
    reweight = jnp.asarray(False if margins is None else reweight, bool)

    class_weights = jnp.where(reweight, effective, 1)
    example_weights = jnp.where(mask, of_label(class_weights, labels), 0)

    def individual(x: Array) -> Array:
        x = x if margins is None else subtract_margins(x, labels, margins)
        losses = jnp.where(mask, negative_log_likelihood(x, labels, class_weights=class_weights), 0)
        return divide_or_zero(summed(jnp.sum(losses), axis_name), summed(jnp.sum(example_weights), axis_name))

    spread = 1 - rate + rate * frequency
    temperature = jnp.where(reweight, spread / jnp.max(spread), 1)
    mean_log_p = jax.nn.log_softmax(jax.lax.stop_gradient(jnp.mean(logits, axis=0)) / temperature)
    mean_p = jnp.exp(mean_log_p)

    def divergence(x: Array) -> Array:
        gap = mean_log_p - jax.nn.log_softmax(x / temperature)
        return weighted_mean(jnp.sum(jnp.where(mean_p > 0, mean_p * gap, 0), axis=-1), mask, axis_name=axis_name)

    # With a factor of 0 the authors' code trains every expert on the mean logits: the collaborative loss.
    judged = jnp.where(jnp.asarray(factor) == 0, jnp.mean(logits, axis=0), logits)
    total_individual = jnp.sum(jax.vmap(individual)(judged))
    total_diversity = jnp.mean(temperature) ** 2 * jnp.sum(jax.vmap(divergence)(logits))
    return RIDELoss(total_individual + factor * total_diversity, total_individual, total_diversity)
