"""From the number of training images per class: priors, class weights, margins, groups, sampling probabilities.

Every function takes ``class_counts``: a sequence ``[C]`` of numbers, class ``k`` having ``class_counts[k]`` training
images. It is validated first: a wrong length, a NaN, an infinite, negative or (where it would be divided by) zero count
is a ``ValueError`` that names the class. Results are numpy, float64 or bool; only ``drw_weights`` and
``sampling_probabilities`` also accept a traced epoch or progress, and then return a jax array.
"""

import importlib
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

__all__ = [
    "SAMPLING_STRATEGIES",
    "SHOT_CONVENTIONS",
    "HasArray",
    "PerClass",
    "branch_masks",
    "drw_weights",
    "effective_number_weights",
    "frequency_order",
    "frequent_classes",
    "inverse_frequency_weights",
    "ldam_margins",
    "prior",
    "sampling_probabilities",
    "shot_groups",
    "validate",
]


class HasArray(Protocol):
    """An array of numpy or jax, traced or not, or whatever else numpy can make an array of; no string."""

    def __array__(self) -> npt.NDArray[Any]: ...


PerClass = Sequence[float] | HasArray  # a number for each class

SHOT_CONVENTIONS = ("strict", "inclusive", "index")
SAMPLING_STRATEGIES = ("instance", "class", "square_root", "progressive", "reversed")


def validate(
    class_counts: PerClass, *, num_classes: int | None = None, positive: bool = False, name: str = "class_counts"
) -> npt.NDArray[np.int64 | np.float64]:
    """Checks the number of images of every class and returns them as a numpy array.

    Args:
      class_counts: ``[C]`` finite numbers, none negative, not all zero.
      num_classes: the length they must have; None takes any length.
      positive: also refuse zero counts, for what divides by a count or takes its logarithm.
      name: the argument's name in the error.

    Returns:
      int64 ``[C]``, or float64 ``[C]`` when a count is not a whole number.

    Raises:
      ValueError: naming the class, or the length, that is wrong.

    Example:
      >>> validate([500, 20, 3])
      array([500,  20,   3])
      >>> validate([500, 0, 3], positive=True)
      Traceback (most recent call last):
      ...
      ValueError: class_counts: class 1 has no images (count 0) where a positive count is needed; leave it out
    """
    counts = np.asarray(class_counts)
    if counts.ndim != 1 or counts.size == 0:
        raise ValueError(f"{name}: expected one number per class, shape [C], not shape {list(counts.shape)}")
    if counts.dtype.kind not in "iuf" and counts.dtype.name != "bfloat16":
        raise ValueError(f"{name}: expected numbers, not {counts.dtype}")
    if num_classes is not None and counts.size != num_classes:
        raise ValueError(f"{name}: has {counts.size} classes where the logits or labels have {num_classes}")
    values = counts.astype(np.float64)
    for bad, what in ((~np.isfinite(values), "a count that is not finite"), (values < 0, "a negative count")):
        for k in np.flatnonzero(bad)[:1]:
            raise ValueError(f"{name}: class {k} has {what} ({counts[k]})")
    if not values.any():
        raise ValueError(f"{name}: all {counts.size} classes (0 to {counts.size - 1}) have a count of zero")
    if positive and not values.all():
        k = np.argmin(values)
        raise ValueError(f"{name}: class {k} has no images (count 0) where a positive count is needed; leave it out")
    return counts.astype(np.int64) if (values == np.floor(values)).all() and values.max() < 2**63 else values


def prior(class_counts: PerClass) -> npt.NDArray[np.float64]:
    """The share of each class in the training images, ``n_k / sum n`` (float64 ``[C]``, sums to 1).

    Raises:
      ValueError: if the counts are invalid.

    Example:
      >>> prior([6, 3, 1])
      array([0.6, 0.3, 0.1])
    """
    counts = validate(class_counts).astype(np.float64)
    shares: npt.NDArray[np.float64] = counts / counts.sum()
    return shares


def effective_number_weights(class_counts: PerClass, beta: float) -> npt.NDArray[np.float64]:
    """Class-balanced weights ``(1 - beta) / (1 - beta^n_k)``, scaled to sum C (float64 ``[C]``).

    ``beta = 0`` gives ones; ``beta -> 1`` approaches inverse frequency. Evaluated with ``expm1``, so it stays exact
    for beta close to 1.

    Raises:
      ValueError: if the counts are invalid, a class has none, or beta is not in [0, 1).

    Example:
      >>> effective_number_weights([100, 10, 1], 0.9).round(3)
      array([0.239, 0.367, 2.393])

    Reference: Cui et al., Class-Balanced Loss Based on Effective Number of Samples, CVPR 2019, section 4.
    """
    if not 0 <= beta < 1:
        raise ValueError(f"beta: must be in [0, 1), not {beta} (inverse_frequency_weights is the limit at 1)")
    counts = validate(class_counts, positive=True).astype(np.float64)
    if beta == 0:
        return np.ones_like(counts)
    weights = (1 - beta) / -np.expm1(counts * np.log(beta))
    scaled: npt.NDArray[np.float64] = weights / weights.sum() * counts.size
    return scaled


def inverse_frequency_weights(class_counts: PerClass, power: float = 1.0) -> npt.NDArray[np.float64]:
    """Cost-sensitive weights ``(n_min / n_k)^power``, 1 for the rarest class, not renormalised (float64 ``[C]``).

    Raises:
      ValueError: if the counts are invalid or a class has none.

    Example:
      >>> inverse_frequency_weights([100, 25, 4], power=0.5)
      array([0.2, 0.4, 1. ])

    Reference: Huang et al., Learning Deep Representation for Imbalanced Classification, CVPR 2016 (power 1).
    """
    counts = validate(class_counts, positive=True).astype(np.float64)
    weights: npt.NDArray[np.float64] = (counts.min() / counts) ** power
    return weights


def ldam_margins(class_counts: PerClass, max_margin: float) -> npt.NDArray[np.float64]:
    """Label-distribution-aware margins, proportional to ``n_k^(-1/4)``, the largest being ``max_margin`` (float64 [C]).

    Raises:
      ValueError: if the counts are invalid or a class has none.

    Example:
      >>> ldam_margins([160000, 625, 16], 0.5)
      array([0.05, 0.2 , 0.5 ])

    Reference: Cao et al., Learning Imbalanced Datasets with LDAM Loss, NeurIPS 2019, section 3.2.
    """
    return max_margin * inverse_frequency_weights(class_counts, 0.25)


def drw_weights(class_counts: PerClass, epoch: Any, *, start: int, beta: float = 0.9999) -> Any:
    """Deferred re-weighting: ones before epoch ``start``, ``effective_number_weights`` from then on.

    Args:
      class_counts: ``[C]``, concrete.
      epoch: a number, or a traced scalar: the choice is a ``where``, so one compiled step serves both phases.
      start: the first epoch with weights (the paper: 160 of 200, counting from 0).
      beta: as in ``effective_number_weights``.

    Returns:
      ``[C]``: float64 numpy, or a jax array when ``epoch`` is one.

    Raises:
      ValueError: if the counts are invalid, a class has none, or beta is not in [0, 1).

    Example:
      >>> drw_weights([100, 10, 1], 159, start=160)
      array([1., 1., 1.])
      >>> drw_weights([100, 10, 1], 160, start=160).round(3)
      array([0.027, 0.27 , 2.702])

    Reference: Cao et al., Learning Imbalanced Datasets with LDAM Loss, NeurIPS 2019, algorithm 1.
    """
    weights = effective_number_weights(class_counts, beta)
    xp = _namespace(epoch)
    return xp.where(xp.asarray(epoch)[..., None] < start, xp.ones_like(weights), weights)


def frequency_order(class_counts: PerClass) -> npt.NDArray[np.int64]:
    """The classes from the commonest to the rarest, ties by label (int64 ``[C]``); ValueError for invalid counts.

    Example:
      >>> frequency_order([20, 500, 20, 3])
      array([1, 0, 2, 3])
    """
    return np.argsort(-validate(class_counts), kind="stable")


def frequent_classes(class_counts: PerClass, number: int = 0, least: int = 20) -> np.ndarray:
    """The ``number`` most frequent classes, ties by label; with 0 those of ``least`` images or more (bool ``[C]``).

    Twenty images separate many- and medium-shot from few-shot classes.

    Raises:
      ValueError: if the counts are invalid.

    Example:
      >>> frequent_classes([20, 500, 19]).tolist(), frequent_classes([20, 500, 19], number=1).tolist()
      ([True, True, False], [False, True, False])
    """
    counts = validate(class_counts)
    return np.argsort(frequency_order(counts)) < number if number else counts >= least


def shot_groups(
    class_counts: PerClass, convention: str = "strict", boundaries: Sequence[int] | None = None
) -> dict[str, npt.NDArray[np.bool_]]:
    """The many / medium / few-shot classes, under one of the conventions of the published tables.

    Args:
      class_counts: ``[C]`` training images per class.
      convention: "strict" (many > 100, few < 20: decoupling, RIDE, asynchronous modelling), "inclusive" (many >= 100,
        few <= 20: OLTR, CBS+RRS+SS) or "index" (ResLT's CIFAR tables: the first ``boundaries[0]`` classes in frequency
        order, ties by label, the classes up to ``boundaries[1]``, the rest).
      boundaries: for "index" only: two positions, (3, 6) for CIFAR-10 and (35, 70) for CIFAR-100; None = thirds of the
        classes, C // 3 and 2 * C // 3, no group of three classes or more being empty.

    Returns:
      ``{"many": bool [C], "medium": bool [C], "few": bool [C]}``; every class is in exactly one.

    Raises:
      ValueError: if the counts are invalid, the convention unknown, or boundaries are wrong or not needed.

    Example:
      >>> {name: mask.tolist() for name, mask in shot_groups([101, 100, 20, 19]).items()}
      {'many': [True, False, False, False], 'medium': [False, True, True, False], 'few': [False, False, False, True]}
      >>> [int(mask.sum()) for mask in shot_groups(range(34, 0, -1), "index").values()]
      [11, 11, 12]
    """
    counts = validate(class_counts)
    if convention not in SHOT_CONVENTIONS:
        raise ValueError(f"convention: unknown value '{convention}'; allowed: {', '.join(SHOT_CONVENTIONS)}")
    if boundaries is not None and convention != "index":
        raise ValueError(f"boundaries: only convention 'index' takes positions; got {boundaries}")
    if convention == "index":
        first, second = _thirds(counts.size) if boundaries is None else _positions(boundaries, counts.size, exactly=2)
        rank = np.argsort(frequency_order(counts))
        many, few = rank < first, rank >= second
    elif convention == "strict":
        many, few = counts > 100, counts < 20
    else:
        many, few = counts >= 100, counts <= 20
    return {"many": many, "medium": ~(many | few), "few": few}


def branch_masks(
    class_counts: PerClass, *, num_groups: int = 3, boundaries: Sequence[int] | None = None
) -> npt.NDArray[np.bool_]:
    """Which classes each ResLT branch is trained on: all, then all but the commonest group, ..., then the rarest.

    Args:
      class_counts: ``[C]`` training images per class.
      num_groups: number of groups K, when there are no boundaries: group g ends where the count falls to
        ``n_max * r^g`` or below, ``r = (n_min / n_max)^(1 / K)`` ("the same imbalance factor per group"; n_min is
        the smallest positive count).
      boundaries: K - 1 positions in frequency order (ties by label) at which the groups end; then ``num_groups`` is not
        used. The authors' constants: CIFAR-10 (2, 4), CIFAR-100 (35, 70), ImageNet-LT (175, 780), iNaturalist (1542,).

    Returns:
      bool ``[K, C]``; row 0 is all true, row k holds the classes from the k-th group on.

    Raises:
      ValueError: if the counts are invalid, or the boundaries or the number of groups are.

    Example:
      >>> branch_masks([500, 200, 50, 20, 5], boundaries=(1, 3)).astype(int)
      array([[1, 1, 1, 1, 1],
             [0, 1, 1, 1, 1],
             [0, 0, 0, 1, 1]])

    Reference: Cui et al., ResLT: Residual Learning for Long-tailed Recognition, TPAMI 2022, section 3.
    """
    counts = validate(class_counts)
    if boundaries is not None:
        rank = np.argsort(frequency_order(counts))
        return np.stack([rank >= start for start in (0, *_positions(boundaries, counts.size))])
    if num_groups < 1:
        raise ValueError(f"num_groups: must be at least 1, not {num_groups}")
    # n <= n_max r^g, raised to the power K: exact in rationals, where the roots of floating point would round a count
    # that lies on a threshold (as those of an exponential profile do) to either side.
    exact = [Fraction(n) for n in counts.tolist()]
    largest, smallest = max(exact), min(n for n in exact if n > 0)
    limits = [smallest**g * largest ** (num_groups - g) for g in range(num_groups)]
    return np.array([[n**num_groups <= limit for n in exact] for limit in limits])


def sampling_probabilities(class_counts: PerClass, strategy: str, progress: Any = None) -> Any:
    """The probability with which each class is drawn (its images are then equally likely).

    Args:
      class_counts: ``[C]`` training images per class. A class without images is never drawn.
      strategy: "instance" ``n_k / sum n``; "class" ``1 / C`` over the classes that have images; "square_root"
        ``sqrt(n_k) / sum sqrt(n)``; "progressive" ``(1 - t) instance + t class``; "reversed", proportional to
        ``1 / n_k`` (BBN's second sampler; needs images in every class).
      progress: t in [0, 1], for "progressive": epoch / epochs in the paper, epoch / (epochs - 1) in the authors' code;
        a number, an array ``[...]``, or traced. The other strategies do not use it.

    Returns:
      ``[C]`` (``[..., C]`` for an array of progress) summing to 1: float64 numpy, or a jax array for a traced progress.

    Raises:
      ValueError: if the counts are invalid, the strategy unknown, or progress missing or outside [0, 1].

    Example:
      >>> sampling_probabilities([9, 4, 1], "square_root").round(3)
      array([0.5  , 0.333, 0.167])
      >>> sampling_probabilities([6, 3, 1], "progressive", progress=0.5).round(3)
      array([0.467, 0.317, 0.217])

    Reference: Kang et al., Decoupling Representation and Classifier for Long-Tailed Recognition, ICLR 2020, equations 1
    and 2; Zhou et al., BBN, CVPR 2020, section 4.2.
    """
    if strategy not in SAMPLING_STRATEGIES:
        raise ValueError(f"strategy: unknown value '{strategy}'; allowed: {', '.join(SAMPLING_STRATEGIES)}")
    counts = validate(class_counts, positive=strategy == "reversed").astype(np.float64)
    if strategy == "progressive":
        xp = _namespace(progress)
        if progress is None or (xp is np and not np.all((np.asarray(progress) >= 0) & (np.asarray(progress) <= 1))):
            raise ValueError(f"progress: the strategy 'progressive' needs it, from 0 to 1, not {progress}")
        t = xp.asarray(progress)[..., None]
        return (1 - t) * sampling_probabilities(counts, "instance") + t * sampling_probabilities(counts, "class")
    powers = {"instance": 1.0, "class": 0.0, "square_root": 0.5, "reversed": -1.0}
    mass = np.where(counts > 0, np.where(counts > 0, counts, 1.0) ** powers[strategy], 0.0)
    return mass / mass.sum()


def _thirds(num_classes: int) -> tuple[int, int]:
    first = max(1, num_classes // 3)
    return first, max(first, 2 * num_classes // 3)


def _positions(boundaries: Any, num_classes: int, exactly: int | None = None) -> tuple[int, ...]:
    positions = tuple(int(b) for b in boundaries)
    if (exactly is not None and len(positions) != exactly) or positions != tuple(boundaries):
        raise ValueError(f"boundaries: expected {exactly or 'whole'} positions, not {boundaries}")
    if list(positions) != sorted(positions) or any(not 0 <= b <= num_classes for b in positions):
        raise ValueError(f"boundaries: must ascend within 0..{num_classes}, not {boundaries}")
    return positions


def _namespace(value: Any) -> Any:
    """numpy for what numpy can hold; jax.numpy, loaded only then, for jax arrays and traced values."""
    if value is None or isinstance(value, (int, float, list, tuple, np.ndarray, np.generic)):
        return np
    return importlib.import_module("jax.numpy")
