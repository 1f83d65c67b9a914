"""The exemplar memory: which examples stand for their class."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.arrays import Array, ArrayLike, any_promotion, check_features, is_traced, jit, norm

# The features are read in pieces of about this many numbers, whatever the size of the data set.
CHUNK_ELEMENTS = 2**22


@any_promotion
def select_exemplars(
    features: ArrayLike,
    labels: ArrayLike,
    per_class: int,
    *,
    similarity: Literal["cosine", "negative_l2"] = "cosine",
    num_classes: int | None = None,
) -> Array:
    """The examples that stand for their class in the exemplar memory, picked one by one around the class mean.

    Equations 2 to 5: the first is nearest to the class mean c; then, with ``p = softmax_i s(c, m_i)`` over those picked
    and ``z = sum_i p_i m_i``, the next is nearest to ``c + (c - z)``. None is picked twice (the literal equations can).

    Args:
      features: ``[N, d]``; normalise before, if wanted.
      labels: integers ``[N]``; an example whose label is outside 0..C-1 is never picked.
      per_class: how many to pick of each class.
      similarity: s, "cosine" or "negative_l2" (minus the Euclidean distance).
      num_classes: C; None takes the largest label plus one, which needs concrete labels.

    Returns:
      int32 ``[C, per_class]``, rows of ``features`` in the order of picking, -1 where the class has no more. Ties go to
      the lowest index. All classes are picked for at once, in ``per_class`` passes over the features, a piece at a
      time: beside the features only a few arrays ``[C, d]`` are held.

    Raises:
      ValueError: if shapes do not fit, similarity is unknown or per_class below 1.

    Example:
      >>> import numpy as np
      >>> features = np.array([[0.0, 1.0], [1.0, 0.1], [1.0, 1.0], [5.0, 0.0]])
      >>> print(select_exemplars(features, np.array([0, 0, 0, 1]), 2))
      [[ 2  0]
       [ 3 -1]]

    Reference: Asynchronous Modeling: A Dual-phase Perspective for Long-Tailed Recognition, equations 2 to 5.
    """
    features, labels = check_features(features, labels)
    if similarity not in ("cosine", "negative_l2"):
        raise ValueError(f"similarity: unknown value '{similarity}'; allowed: cosine, negative_l2")
    if per_class < 1 or not len(features):
        raise ValueError(f"per_class: must be at least 1, of at least one example; not {per_class} of {len(features)}")
    if num_classes is None:
        if is_traced(labels):
            raise ValueError("num_classes: must be given where labels are traced")
        num_classes = int(labels.max()) + 1
    return _select_exemplars(features, labels, per_class, similarity, num_classes)


class _Memory(NamedTuple):
    """Of each class: its mean ``[C, d]``, the picks ``[C, per_class]``, and z as numerator / denominator.

    The sums over picks are held relative to ``largest`` ``[C]``, the largest score so far, so that no exponential
    leaves the range of floats.
    """

    means: Array
    picks: Array
    numerator: Array
    denominator: Array
    largest: Array


@jit(static_argnames=("per_class", "similarity", "num_classes"))
def _select_exemplars(features: Array, labels: Array, per_class: int, similarity: str, num_classes: int) -> Array:
    labels = jnp.where((labels >= 0) & (labels < num_classes), labels, num_classes)
    means = _means_by_chunk(features, labels, num_classes)
    score = _cosine if similarity == "cosine" else _negative_distance

    def pick(memory: _Memory, k: Array) -> tuple[_Memory, None]:
        average = memory.numerator / jnp.where(k > 0, memory.denominator, 1)[:, None]
        query = jnp.where(k > 0, means + (means - average), means)
        best = _best_by_chunk(features, labels, query, memory.picks, score)
        picked = features[best]
        similar = score(means, picked)
        largest = jnp.maximum(memory.largest, similar)
        kept, added = jnp.exp(memory.largest - largest), jnp.exp(similar - largest)
        return _Memory(
            means,
            memory.picks.at[:, k].set(best),
            memory.numerator * kept[:, None] + added[:, None] * picked,
            memory.denominator * kept + added,
            largest,
        ), None

    zeros = jnp.zeros_like(means)
    start = _Memory(
        means,
        jnp.full((num_classes, per_class), -1, jnp.int32),
        zeros,
        zeros[:, 0],
        jnp.full_like(zeros[:, 0], -jnp.inf),
    )
    # A class that has run out picks -1 from then on, and its sums no longer matter.
    return jax.lax.scan(pick, start, jnp.arange(per_class))[0].picks


def _cosine(query: Array, features: Array) -> Array:
    return jnp.sum(query * features, axis=-1) / (norm(query, at_zero=1)[..., 0] * norm(features, at_zero=1)[..., 0])


def _negative_distance(query: Array, features: Array) -> Array:
    return -norm(query - features)[..., 0]


def _over_chunks(features: Array, labels: Array, start: Any, step: Any) -> Any:
    """Folds ``step(carry, features, labels, index)`` over pieces of the rows; a row never comes twice."""
    count, width = features.shape
    size = min(count, max(1, CHUNK_ELEMENTS // max(width, 1)))

    def of_chunk(i: Array, carry: Any) -> Any:
        # The last piece reaches back to be whole (padding would copy the features); what came before has no label.
        begin = jnp.minimum(i * size, count - size).astype(jnp.int32)
        index = begin + jnp.arange(size, dtype=jnp.int32)
        rows = jax.lax.dynamic_slice_in_dim(features, begin, size)
        of_rows = jax.lax.dynamic_slice_in_dim(labels, begin, size)
        return step(carry, rows, jnp.where(index >= i * size, of_rows, np.iinfo(np.int32).max), index)

    return jax.lax.fori_loop(0, -(-count // size), of_chunk, start)


def _means_by_chunk(features: Array, labels: Array, num_classes: int) -> Array:
    def add(carry: tuple[Array, Array], rows: Array, labels: Array, index: Array) -> tuple[Array, Array]:
        del index
        segments = jnp.minimum(labels, num_classes)
        sums = jax.ops.segment_sum(rows, segments, num_classes + 1)[:num_classes]
        numbers = jax.ops.segment_sum(jnp.ones_like(labels), segments, num_classes + 1)[:num_classes]
        return carry[0] + sums, carry[1] + numbers

    zeros = jnp.zeros((num_classes, features.shape[1]), features.dtype)
    sums, numbers = _over_chunks(features, labels, (zeros, jnp.zeros(num_classes, jnp.int32)), add)
    means: Array = sums / jnp.maximum(numbers, 1).astype(sums.dtype)[:, None]
    return means


def _best_by_chunk(features: Array, labels: Array, query: Array, picks: Array, score: Any) -> Array:
    """The row of each class ``[C]`` most similar to its query, among those not picked; -1 where there is none."""
    num_classes = len(query)

    def compare(best: tuple[Array, Array], rows: Array, labels: Array, index: Array) -> tuple[Array, Array]:
        inside = labels < num_classes
        of_class = jnp.where(inside, labels, 0)
        free = inside & (picks[of_class] != index[:, None]).all(axis=1)
        scores = jnp.where(free, score(query[of_class], rows), -jnp.inf)
        segments = jnp.where(free, of_class, num_classes)
        top = jax.ops.segment_max(scores, segments, num_classes + 1)
        is_top = free & (scores == top[segments])
        none = np.iinfo(np.int32).max
        first = jax.ops.segment_min(jnp.where(is_top, index, none), segments, num_classes + 1)
        better = top[:num_classes] > best[0]
        return jnp.where(better, top[:num_classes], best[0]), jnp.where(better, first[:num_classes], best[1])

    start = jnp.full(num_classes, -jnp.inf, features.dtype), jnp.full(num_classes, -1, jnp.int32)
    rows: Array = _over_chunks(features, labels, start, compare)[1]
    return rows
