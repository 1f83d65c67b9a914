"""The nearest-class-mean classifier: transform, means, scores."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ltjax.arrays import (
    Array,
    ArrayLike,
    any_promotion,
    as_float,
    check_features,
    jit,
    product,
    squared_distances,
    unit,
)


@any_promotion
def class_means(features: ArrayLike, labels: ArrayLike, num_classes: int) -> Array:
    """The mean feature of each class; zeros for a class without examples.

    Args:
      features: ``[N, d]``.
      labels: integers ``[N]``; an example whose label is outside 0..num_classes-1 belongs to no class.
      num_classes: C.

    Returns:
      ``[C, d]``, plain means: not normalised again, even when the features are.

    Raises:
      ValueError: if the shapes do not fit.

    Example:
      >>> import numpy as np
      >>> print(class_means(np.array([[1.0, 0.0], [3.0, 2.0], [0.0, 5.0]]), np.array([0, 0, 2]), 3))
      [[2. 1.]
       [0. 0.]
       [0. 5.]]

    Reference: Kang et al., Decoupling Representation and Classifier, ICLR 2020, section 4.1 (NCM).
    """
    features, labels = check_features(features, labels)
    return _class_means(features, labels, num_classes)


@jit(static_argnames=("num_classes",))
def _class_means(features: Array, labels: Array, num_classes: int) -> Array:
    numbers = jnp.maximum(_class_sums(jnp.ones_like(features[:, :1]), labels, num_classes), 1)
    means = _class_sums(features, labels, num_classes) / numbers
    # The rounding of a long sum, taken off by a second pass over what it left.
    residuals = features - means[jnp.clip(labels, 0, num_classes - 1)]
    return means + _class_sums(residuals, labels, num_classes) / numbers


AT_ONCE = 32 * 2**20  # bytes of features that are taken together


@any_promotion
def class_means_of_rows(
    features: npt.NDArray[Any], labels: ArrayLike, num_classes: int, transform: Callable[[Any], Any] | None = None
) -> npt.NDArray[Any]:
    """``class_means`` of features that need not fit in memory: ``numpy.load(FILE, mmap_mode="r")``.

    They pass twice, 32 MiB at a time, and what lies in memory beside is a few times that and three arrays [C, d]. Up to
    32 MiB of features give the bits of ``class_means``; more are summed in float64, and differ by its rounding (1e-7).

    Args:
      features: an array ``[N, d]`` that gives rows as ``features[a:b]``.
      labels: integers ``[N]``; an example whose label is outside 0..num_classes-1 belongs to no class.
      num_classes: C.
      transform: (rows ``[n, d]``) -> ``[n, d]``, such as ``ncm_transform`` with its mean; the means are of its results.

    Returns:
      ``[C, d]``, of the dtype that ``class_means`` gives.

    Raises:
      ValueError: if the shapes do not fit.

    Example:
      >>> import numpy as np
      >>> features = np.array([[1.0, 0.0], [3.0, 2.0], [0.0, 5.0]])
      >>> print(class_means_of_rows(features, np.array([0, 0, 2]), 3, lambda rows: 2 * rows))
      [[ 4.  2.]
       [ 0.  0.]
       [ 0. 10.]]

    Reference: Kang et al., Decoupling Representation and Classifier, ICLR 2020, section 4.1 (NCM).
    """
    labels = np.asarray(labels)
    transform = transform or (lambda features: features)
    at_once = max(1, AT_ONCE // max(1, features[:1].nbytes))
    if len(features) <= at_once or labels.shape != features.shape[:1]:
        return np.asarray(class_means(transform(features), labels, num_classes))
    numbers = np.maximum(np.bincount(labels[(labels >= 0) & (labels < num_classes)], minlength=num_classes), 1)
    means = np.zeros((num_classes, features.shape[1]), np.dtype(as_float(features[:1]).dtype))
    for _ in range(2):  # the second time of what the first left: its rounding
        sums = np.zeros(means.shape, np.float64)
        for begin in range(0, len(features), at_once):
            part = as_float(transform(np.asarray(features[begin : begin + at_once])))
            part_labels = jnp.asarray(labels[begin : begin + at_once])
            sums += np.asarray(_residual_sums(part, part_labels, jnp.asarray(means)))
        means = np.asarray(means + sums / numbers[:, None], means.dtype)
    return means


@jit
def _residual_sums(features: Array, labels: Array, means: Array) -> Array:
    """Each class's sum of what its mean leaves of its features: [C, d]."""
    num_classes = len(means)
    return _class_sums(features - means[jnp.clip(labels, 0, num_classes - 1)], labels, num_classes)


def _class_sums(values: Array, labels: Array, num_classes: int) -> Array:
    inside = (labels >= 0) & (labels < num_classes)
    return jax.ops.segment_sum(values, jnp.where(inside, labels, num_classes), num_classes + 1)[:num_classes]


@any_promotion
def ncm_transform(
    features: ArrayLike, kind: Literal["raw", "l2", "centered_l2"] = "raw", mean: ArrayLike | None = None
) -> Array:
    """Features as the nearest-class-mean classifier takes them: transform, then ``class_means``, then ``ncm_logits``.

    Args:
      features: ``[..., d]``.
      kind: "raw", "l2" ``x / |x|``, or "centered_l2" ``(x - mean) / |x - mean|``, the authors' default.
      mean: ``[d]`` for "centered_l2": of ALL training features, for test features too. None takes the mean of these.

    Returns:
      ``[..., d]``.

    Raises:
      ValueError: if kind is unknown.

    Example:
      >>> import numpy as np
      >>> print(ncm_transform(np.array([[3.0, 4.0]]), "l2"))
      [[0.6 0.8]]
      >>> print(ncm_transform(np.array([[3.0, 4.0]]), "centered_l2", mean=np.array([3.0, 0.0])))
      [[0. 1.]]

    Reference: Kang et al., Decoupling Representation and Classifier, ICLR 2020, section 4.1 (NCM).
    """
    features = as_float(features)
    if kind not in ("raw", "l2", "centered_l2"):
        raise ValueError(f"kind: unknown value '{kind}'; allowed: raw, l2, centered_l2")
    if kind == "centered_l2":
        centre = jnp.mean(features, axis=range(features.ndim - 1)) if mean is None else as_float(mean)
        features = features - centre
    return features if kind == "raw" else unit(features)


@any_promotion
def ncm_logits(
    features: ArrayLike, means: ArrayLike, *, metric: Literal["cosine", "dot", "euclidean"] = "cosine"
) -> Array:
    """Scores of the nearest-class-mean classifier.

    Args:
      features: ``[..., d]``, transformed like those that the means were taken of.
      means: ``[C, d]`` from ``class_means``.
      metric: "cosine"; "dot", the plain product; "euclidean", minus the squared distance.

    Returns:
      ``[..., C]``.

    Raises:
      ValueError: if metric is unknown.

    Example:
      >>> import numpy as np
      >>> print(ncm_logits(np.array([[1.0, 0.0]]), np.array([[2.0, 0.0], [0.0, 1.0]]), metric="euclidean"))
      [[-1. -2.]]

    Reference: Kang et al., Decoupling Representation and Classifier, ICLR 2020, section 4.1 (NCM).
    """
    features, means = as_float(features), as_float(means)
    if metric == "cosine":
        return product(unit(features), unit(means).T)
    if metric == "dot":
        return product(features, means.T)
    if metric == "euclidean":
        return -squared_distances(features, means)
    raise ValueError(f"metric: unknown value '{metric}'; allowed: cosine, dot, euclidean")
