"""Losses on the geometry of a batch of features: metric learning, as compared in the long-tailed tables."""

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.arrays import (
    Array,
    ArrayLike,
    Scalar,
    any_promotion,
    as_float,
    check_features,
    jit,
    l2_normalize,
    pairwise_squared_distances,
    product,
    square_root,
)
from ltjax.losses.examples import all_if_none, at_label, check_mask, mask_examples, of_label
from ltjax.losses.reduction import divide_or_zero, gathered, replicated, weighted_mean


@any_promotion
def lifted_structure_loss(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    margin: Scalar = 1.0,
    where: ArrayLike | None = None,
    axis_name: str | None = None,
) -> Array:
    """Lifted structure: every positive pair against all negatives of both its members at once.

    Equation 4, over the pairs P of examples of one class (each once), D the Euclidean distance::

        J_ij = log( sum_{k: y_k != y_i} exp(margin - D_ik) + sum_{l: y_l != y_j} exp(margin - D_jl) ) + D_ij
        loss = 1 / (2 |P|) sum_{(i,j) in P} max(0, J_ij)^2

    Args:
      features: ``[B, d]``, any float dtype; computed in at least float32. Not normalised here.
      labels: integers ``[B]``.
      margin: how far negatives should stay away.
      where: bool ``[B]``; masked examples belong to no pair.
      axis_name: inside ``shard_map``, the mesh axis that the batch lies on: the result is that of the whole batch.
        So are gradients taken inside with ``check_vma=True``, shard_map's default; without it they are multiplied by
        the number of devices.

    Returns:
      A scalar; 0 when there is no positive pair or no negative.

    Raises:
      ValueError: if the shapes do not fit.

    Example:
      >>> import numpy as np
      >>> print(f"{lifted_structure_loss(np.array([[0.0], [1.0], [3.0]]), np.array([0, 0, 1])):.4f}")
      0.0491

    Reference: Oh Song et al., Deep Metric Learning via Lifted Structured Feature Embedding, CVPR 2016, equation 4.
    """
    features, labels, where = gathered(axis_name, features, labels, where)
    return replicated(_lifted_structure(*_check(features, labels, where), margin), axis_name)


@jit
def _lifted_structure(features: Array, labels: Array, exist: Array, margin: Any) -> Array:
    (features,), (same, negative) = mask_examples(exist, features), _pairs(labels, exist)
    distances = square_root(pairwise_squared_distances(features, features))
    has_negative = negative.any(axis=1)
    scores = jnp.where(negative, margin - distances, np.finfo(distances.dtype).min)
    total = jax.nn.logsumexp(jnp.where(has_negative[:, None], scores, 0), axis=1)
    positive = jnp.triu(same, 1)
    hinge = jax.nn.relu(jnp.logaddexp(total[:, None], total) + distances)
    squares = jnp.where(positive & has_negative[:, None], hinge, 0) ** 2
    return divide_or_zero(jnp.sum(squares), 2 * jnp.sum(positive))


@any_promotion
def range_loss(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    k: int = 2,
    margin: Scalar = 1.0,
    alpha: Scalar = 1.0,
    beta: Scalar = 1.0,
    where: ArrayLike | None = None,
    axis_name: str | None = None,
) -> Array:
    """Range loss: a class's k largest ranges shrink, and the two nearest class centres move apart.

    With D the squared Euclidean distance::

        loss = alpha sum_{classes c in the batch} k_c / sum_{j=1}^{k_c} 1 / D_j(c)  +  beta max(0, margin - D_centre)

    ``D_1(c) >= D_2(c) >= ...`` are the distances between pairs of the class, ``k_c`` is k or the number of its pairs if
    that is smaller (a class with one example has none), and ``D_centre`` is the smallest distance between the means of
    two classes of the batch.

    Args:
      features: ``[B, d]``, any float dtype; computed in at least float32. Not normalised here.
      labels: integers ``[B]``.
      k: number of ranges in the harmonic mean; 2 in the paper.
      margin: distance that centres should keep; like alpha and beta it goes with the scale of the features.
      alpha, beta: weights of the two terms.
      where: bool ``[B]``; masked examples belong to no class.
      axis_name: inside ``shard_map``, the mesh axis that the batch lies on: the result is that of the whole batch.
        So are gradients taken inside with ``check_vma=True``, shard_map's default; without it they are multiplied by
        the number of devices.

    Returns:
      A scalar.

    Raises:
      ValueError: if the shapes do not fit or k is below 1.

    Example:
      >>> import numpy as np
      >>> print(f"{range_loss(np.array([[0.0], [1.0], [3.0], [3.5]]), np.array([0, 0, 0, 1])):.4f}")
      5.5385

    Reference: Zhang et al., Range Loss for Deep Face Recognition with Long-Tailed Training Data, ICCV 2017, section 3.
    """
    if k < 1:
        raise ValueError(f"k: must be at least 1, not {k}")
    features, labels, where = gathered(axis_name, features, labels, where)
    return replicated(_range(*_check(features, labels, where), margin, alpha, beta, k=k), axis_name)


@jit(static_argnames=("k",))
def _range(features: Array, labels: Array, exist: Array, margin: Any, alpha: Any, beta: Any, k: int) -> Array:
    (features,), (same, other) = mask_examples(exist, features), _pairs(labels, exist)
    pairs = jnp.where(jnp.triu(same, 1), pairwise_squared_distances(features, features), -1).ravel()
    # All pairs by class, the largest distance first: a class's ranges are then the first k of its run.
    classes = jnp.broadcast_to(labels[:, None], same.shape).ravel()
    order = jnp.lexsort((-jax.lax.stop_gradient(pairs), classes))
    pairs, classes = pairs[order], classes[order]
    position = jnp.arange(pairs.size)
    first = jnp.concatenate([jnp.ones(1, bool), classes[1:] != classes[:-1]])
    chosen = (position - jax.lax.cummax(jnp.where(first, position, 0)) < k) & (pairs >= 0)
    per_class = functools.partial(
        jax.ops.segment_sum, segment_ids=jnp.cumsum(first) - 1, num_segments=len(labels), indices_are_sorted=True
    )
    apart = chosen & (pairs > 0)
    reciprocals = per_class(jnp.where(apart, 1 / jnp.where(apart, pairs, 1), 0))
    # A range of 0 makes the harmonic mean 0.
    collapsed = per_class((chosen & ~apart).astype(jnp.int32)) > 0
    ranges = jnp.where(collapsed, 0, divide_or_zero(per_class(chosen.astype(pairs.dtype)), reciprocals))

    members = same.astype(features.dtype)
    centres = divide_or_zero(product(members, features), jnp.sum(members, axis=1, keepdims=True))
    nearest = jnp.min(jnp.where(other, pairwise_squared_distances(centres, centres), jnp.inf))
    gap = jnp.where(other.any(), margin - jnp.where(other.any(), nearest, 0), 0)
    total: Array = alpha * jnp.sum(ranges) + beta * jax.nn.relu(gap)
    return total


@any_promotion
def triplet_loss(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    margin: Scalar = 0.2,
    form: Literal["margin", "ratio"] = "margin",
    normalize: bool = True,
    where: ArrayLike | None = None,
    axis_name: str | None = None,
) -> Array:
    """Triplets: an example must be nearer to its own class than to another. The mean over all triplets of the batch.

    Over anchors a, positives p (same class, another example) and negatives n (another class), D Euclidean::

        form="margin" (FaceNet):          max(0, D_ap^2 - D_an^2 + margin)
        form="ratio" (triplet network):   (exp(D_ap) / (exp(D_ap) + exp(D_an)))^2

    Args:
      features: ``[B, d]``, any float dtype; computed in at least float32.
      labels: integers ``[B]``.
      margin: for the first form.
      form: "margin", the usual one, or "ratio", that of the triplet network which the long-tailed tables cite.
      normalize: L2-normalise the features first (FaceNet does, the triplet network does not).
      where: bool ``[B]``; masked examples belong to no triplet.
      axis_name: inside ``shard_map``, the mesh axis that the batch lies on: the result is that of the whole batch.
        So are gradients taken inside with ``check_vma=True``, shard_map's default; without it they are multiplied by
        the number of devices.

    Returns:
      A scalar; 0 when the batch has no triplet. Memory grows as B^2, not as the B^3 triplets.

    Raises:
      ValueError: if the shapes do not fit or form is unknown.

    Example:
      >>> import numpy as np
      >>> features, labels = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]), np.array([0, 0, 1])
      >>> print(f"{triplet_loss(features, labels):.4f}")
      0.1000

    Elsewhere: FaceNet has margin 0.2 on unit vectors; PyTorch margin 1 and distances, not their squares.

    Reference: Schroff et al., FaceNet, CVPR 2015, section 3.1; Hoffer and Ailon, Deep Metric Learning Using Triplet
    Network, 2015, section 2.
    """
    if form not in ("margin", "ratio"):
        raise ValueError(f"form: unknown value '{form}'; allowed: margin, ratio")
    features, labels, where = gathered(axis_name, features, labels, where)
    loss = _triplet(*_check(features, labels, where), margin, form=form, normalize=normalize)
    return replicated(loss, axis_name)


@jit(static_argnames=("form", "normalize"))
def _triplet(features: Array, labels: Array, exist: Array, margin: Any, form: str, normalize: bool) -> Array:
    (features,), (same, negative) = mask_examples(exist, features), _pairs(labels, exist)
    features = l2_normalize(features) if normalize else features
    squared = pairwise_squared_distances(features, features)
    distances = squared if form == "margin" else square_root(squared)
    positive = same & ~jnp.eye(len(labels), dtype=bool)

    @jax.checkpoint
    def of_anchor(row: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        distance, positive, negative = row
        excess = distance[:, None] - distance
        losses = jax.nn.relu(excess + margin) if form == "margin" else jax.nn.sigmoid(excess) ** 2
        triplets = positive[:, None] & negative
        return jnp.sum(jnp.where(triplets, losses, 0)), jnp.sum(triplets, dtype=losses.dtype)

    totals, numbers = jax.lax.map(of_anchor, (distances, positive, negative), batch_size=16)
    return divide_or_zero(jnp.sum(totals), jnp.sum(numbers))


@any_promotion
def proxy_loss(
    features: ArrayLike,
    labels: ArrayLike,
    proxies: ArrayLike,
    *,
    normalize: bool = True,
    where: ArrayLike | None = None,
    axis_name: str | None = None,
) -> Array:
    """Proxy-NCA: each example against one learned proxy per class instead of against other examples.

    ``-log( exp(-d(x, p_y)) / sum_{z != y} exp(-d(x, p_z)) )``, the mean over examples; d is the squared Euclidean
    distance between unit vectors, and the true class's proxy is not in the denominator (so it can be negative).

    Args:
      features: ``[B, d]``, any float dtype; computed in at least float32.
      labels: integers ``[B]`` in 0..C-1; a label outside gives NaN, unless masked.
      proxies: ``[C, d]``, C at least 2, trained with the network (the static assignment: a class's proxy is its own).
      normalize: L2-normalise both first.
      where: bool ``[B]``; masked examples do not count.
      axis_name: inside ``shard_map``, the mesh axis that the batch lies on: the result is that of the whole batch.
        So are gradients taken inside with ``check_vma=True``, shard_map's default; without it they are multiplied by
        the number of devices.

    Returns:
      A scalar; 0 when everything is masked.

    Raises:
      ValueError: if the shapes do not fit.

    Example:
      >>> import numpy as np
      >>> print(f"{proxy_loss(np.eye(2), np.array([0, 1]), np.eye(2)):.4f}")
      -2.0000

    Elsewhere: pytorch-metric-learning keeps the true proxy in the denominator.

    Reference: Movshovitz-Attias et al., No Fuss Distance Metric Learning Using Proxies, ICCV 2017, equation 4 with
    proxies (algorithm 1).
    """
    features, labels, exist = _check(features, labels, where)
    proxies = as_float(proxies)
    if proxies.ndim != 2 or proxies.shape[1] != features.shape[1] or len(proxies) < 2:
        raise ValueError(f"proxies: expected [C, {features.shape[1]}] with C >= 2, not {list(proxies.shape)}")
    return _proxy(features, labels, exist, proxies, normalize=normalize, axis_name=axis_name)


@jit(static_argnames=("normalize", "axis_name"))
def _proxy(
    features: Array, labels: Array, exist: Array, proxies: Array, normalize: bool, axis_name: str | None
) -> Array:
    features, labels = mask_examples(exist, features, labels)
    if normalize:
        features, proxies = l2_normalize(features), l2_normalize(proxies)
    squared = pairwise_squared_distances(features, proxies)
    num_classes = len(proxies)
    others = jnp.where(at_label(labels, num_classes), np.finfo(squared.dtype).min, -squared)
    losses = of_label(squared, labels) + jax.nn.logsumexp(others, axis=-1)
    losses = jnp.where((labels >= 0) & (labels < num_classes), losses, jnp.nan)
    return weighted_mean(losses, exist, axis_name=axis_name)


def _check(features: ArrayLike, labels: ArrayLike, where: ArrayLike | None) -> tuple[Array, Array, Array]:
    features, labels = check_features(features, labels)
    return features, labels, all_if_none(check_mask(where, labels.shape), labels.shape)


def _pairs(labels: Array, exist: Array) -> tuple[Array, Array]:
    """Which pairs ``[B, B]`` of examples that exist are of one class, and which of two."""
    pairs, same = exist[:, None] & exist, labels[:, None] == labels
    return pairs & same, pairs & ~same
