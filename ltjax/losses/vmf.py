"""Probabilistic contrastive learning: an image against the von Mises-Fisher distribution of every class."""

import math
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.arrays import Array, ArrayLike, Scalar, any_promotion, as_float, jit, l2_normalize, norm, per_class, product
from ltjax.class_counts import PerClass
from ltjax.losses.examples import check_examples, mask_examples, mask_losses
from ltjax.losses.softmax import negative_log_likelihood

LARGEST_CONCENTRATION = 1e5
ORDER = 20  # of a Bessel function, from which on the expansion is exact to float64's rounding
TERMS = 9


@any_promotion
def proco_loss(
    features: ArrayLike,
    labels: ArrayLike,
    class_means: ArrayLike,
    *,
    class_counts: PerClass,
    temperature: Scalar = 0.1,
    normalize: bool = True,
    where: ArrayLike | None = None,
) -> Array:
    """ProCo: the contrastive loss against infinitely many images of every class, in closed form.

    The features of a class are von Mises-Fisher distributed on the sphere, with the direction mu of their mean m and
    the concentration ``kappa = d |m| / (1 - |m|^2)``. The expectation of ``exp(z z' / t)`` over z' of class c is then

        exp(x_c),   x_c = log C(kappa_c) - log C(|kappa_c mu_c + z / t|)

    with the distribution's normaliser C, and the loss is ``-log softmax(x + log prior)_y``.

    Args:
      features: ``[..., d]``, d at least 2, any float dtype; computed in at least float32.
      labels: integers ``[...]`` in 0..C-1, or probabilities ``[..., C]``. A label outside gives NaN, unless masked.
      class_means: m, ``[C, d]``: the mean of each class's unit features, so none is longer than 1. Constants: they get
        no gradient.
      class_counts: training images of each class ``[C]``, for the prior.
      temperature: t.
      normalize: L2-normalise the features first.
      where: bool ``[...]``; a masked example has loss 0 and gradient 0, whatever it holds.

    Returns:
      ``[...]``, one loss per example, unreduced.

    Raises:
      ValueError: if the shapes do not fit, or the counts are invalid.

    Example:
      >>> import numpy as np
      >>> loss = proco_loss(np.eye(3)[:1], np.array([0]), 0.8 * np.eye(3), class_counts=[9, 3, 1])
      >>> print(np.asarray(loss).round(3))
      [0.006]

    Elsewhere: the authors' code computes the Bessel functions by Miller's recurrence in float64, and their largest
    kappa is 1e5, as here.

    Reference: Du et al., Probabilistic Contrastive Learning for Long-Tailed Visual Recognition, TPAMI 2024.
    """
    features, means = as_float(features), as_float(class_means)
    if means.ndim != 2 or features.ndim < 1 or features.shape[-1] != means.shape[1] or means.shape[1] < 2:
        raise ValueError(
            f"class_means: expected [C, d] for features [..., d], d at least 2, not {list(means.shape)} for "
            f"{list(features.shape)}"
        )
    labels, where = check_examples((*features.shape[:-1], len(means)), labels, where)
    log_counts = per_class(class_counts, len(means), lambda counts, xp: xp.log(counts))
    return _proco(features, labels, means, log_counts, temperature, where, normalize=normalize)


@jit(static_argnames=("normalize",))
def _proco(
    features: Array, labels: Array, means: Array, log_counts: Any, temperature: Any, where: Any, normalize: bool
) -> Array:
    features = mask_examples(where, features)[0]
    features = l2_normalize(features) if normalize else features
    means = jax.lax.stop_gradient(means)
    length = norm(means)[:, 0]
    concentration = concentration_of(length, means.shape[1])
    cosines = product(features, l2_normalize(means).T)
    squares = jnp.sum(features**2, axis=-1, keepdims=True)
    # |kappa mu + z / t|^2 - kappa^2
    excess = 2 * concentration / temperature * cosines + squares / temperature**2
    logits = log_normalizer_difference(concentration**2, excess, means.shape[1])
    adjusted = logits + jnp.asarray(log_counts).astype(logits.dtype)
    return mask_losses(negative_log_likelihood(adjusted, labels), where)


def concentration_of(length: Array, dimension: int) -> Array:
    """kappa of a von Mises-Fisher distribution in d dimensions whose mean has this length: ``d R / (1 - R^2)``.

    At most 1e5. Banerjee et al., "Clustering on the unit hypersphere using von Mises-Fisher distributions", 2005, have
    ``(d R - R^3) / (1 - R^2)``; this is ProCo's.

    Example:
      >>> concentration_of(jnp.array([0.0, 0.5, 1.0]), 3).tolist()
      [0.0, 2.0, 100000.0]
    """
    left = 1 - length**2
    inside = left > dimension * length / LARGEST_CONCENTRATION
    return jnp.where(inside, dimension * length / jnp.where(inside, left, 1), LARGEST_CONCENTRATION)


def log_normalizer_difference(square: Array, excess: Array, dimension: int) -> Array:
    """``g(sqrt(square + excess)) - g(sqrt(square))``, exact also where both are large and alike.

    ``g(kappa) = log I_v(kappa) - v log kappa`` with ``v = d / 2 - 1``: minus the logarithm of the normaliser of a von
    Mises-Fisher distribution in d dimensions, up to a constant. Its derivative is ``I_{v+1} / I_v``, the length of the
    distribution's mean.

    Args:
      square: kappa^2, at least 0.
      excess: what is added to it; broadcasts with ``square``, the sum being at least 0.
      dimension: d, at least 2.

    Example:
      >>> print(f"{log_normalizer_difference(jnp.array(1.0), jnp.array(3.0), 3):.4f}")  # sinh(2) / 2 over sinh(1)
      0.4338
    """
    order = dimension / 2 - 1
    steps = max(0, math.ceil(ORDER - order))
    difference = _expanded_difference(square, excess, order + steps)
    # I_v from I_{v+1}: g_v = g_{v+1} + log(2 (v + 1) + kappa^2 s_{v+1}) with s_v = I_{v+1} / (kappa I_v)
    smaller, larger = _scaled_ratio(square, order + steps), _scaled_ratio(square + excess, order + steps)

    def down(carry: tuple[Array, Array, Array], after: Array) -> tuple[tuple[Array, Array, Array], None]:
        difference, smaller, larger = carry
        twice = 2 * (order + after)
        below, above = twice + square * smaller, twice + (square + excess) * larger
        return (difference + jnp.log(above / below), 1 / below, 1 / above), None

    if steps:  # a loop, because twenty steps and their derivatives take long to compile
        dtype = difference.dtype  # also of a ratio that only one of both arguments makes
        orders = jnp.arange(steps, 0, -1).astype(dtype)
        start = difference, smaller.astype(dtype), larger.astype(dtype)
        (difference, _, _), _ = jax.lax.scan(down, start, orders)
    return difference


def _expanded_difference(square: Array, excess: Array, order: float) -> Array:
    """The same for a large order, by Debye's uniform expansion (NIST's handbook, 10.41.3)."""
    root, moved = jnp.sqrt(order**2 + square), jnp.sqrt(order**2 + square + excess)
    apart = excess / (root + moved)  # moved - root
    series = jnp.log(_series(order, order / moved)) - jnp.log(_series(order, order / root))
    return apart - order * jnp.log1p(apart / (order + root)) - 0.5 * jnp.log1p(apart / root) + series


def _scaled_ratio(square: Array, order: float) -> Array:
    """``I_{v+1}(kappa) / (kappa I_v(kappa))`` for a large order v; ``square`` is kappa^2."""
    root, next_root = jnp.sqrt(order**2 + square), jnp.sqrt((order + 1) ** 2 + square)
    # log of the quotient of both expansions, without kappa^v
    apart = (2 * order + 1) / (root + next_root)  # next_root - root
    exponent = apart - order * jnp.log1p((apart + 1) / (order + root)) - jnp.log(order + 1 + next_root)
    series = _series(order + 1, (order + 1) / next_root) / _series(order, order / root)
    return jnp.exp(exponent - 0.5 * jnp.log1p(apart / root)) * series


def _series(order: float, p: Array) -> Array:
    """``sum_k U_k(p) / v^k``, without terms that are nothing beside the rounding of p's dtype."""
    rounding = float(np.finfo(p.dtype).eps) / 8
    kept = max(k for k, largest in enumerate(LARGEST_TERMS) if largest / order**k > rounding)
    coefficients = sum(
        np.array([float(c) for c in polynomial] + [0.0] * (3 * kept - len(polynomial) + 1)) / order**k
        for k, polynomial in enumerate(POLYNOMIALS[: kept + 1])
    )
    return jnp.polyval(jnp.asarray(np.asarray(coefficients)[::-1], p.dtype), p)


def _debye_polynomials(number: int) -> list[list[Fraction]]:
    """The coefficients of U_0 .. U_number, lowest power first (NIST's handbook, 10.41.9)."""
    found = [[Fraction(1)]]
    for _ in range(number):
        u = found[-1]
        made = [Fraction(0)] * (len(u) + 3)
        for power, c in enumerate(u):
            # (1/2) p^2 (1 - p^2) u' + (1/8) integral of (1 - 5 t^2) u
            made[power + 1] += c * Fraction(power, 2) + c / (8 * (power + 1))
            made[power + 3] -= c * Fraction(power, 2) + 5 * c / (8 * (power + 3))
        found.append(made)
    return found


POLYNOMIALS = _debye_polynomials(TERMS)
# Of p in 0..1.
LARGEST_TERMS = [
    float(np.abs(np.polyval([float(c) for c in reversed(u)], np.linspace(0, 1, 1001))).max()) for u in POLYNOMIALS
]
