"""The memory-retentive loss: what the old model knew of the batch as a graph, the new one must still know."""

import functools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.arrays import (
    Array,
    ArrayLike,
    Scalar,
    any_promotion,
    as_float,
    jit,
    l2_normalize,
    product,
    square_root,
    squared_distances_from_products,
)
from ltjax.losses.examples import all_if_none, check_mask
from ltjax.losses.reduction import gathered


@any_promotion
def graph_matching_loss(
    old_features: ArrayLike,
    new_features: ArrayLike,
    *,
    similarity: Literal["cosine", "negative_l2"] = "cosine",
    normalize: bool = True,
    temperature: Scalar = 1.0,
    block_size: int | None = None,
    where: ArrayLike | None = None,
    axis_name: str | None = None,
) -> Array:
    """Graph matching between two models' features of one batch: each old node's expected distance to the new nodes.

    Equations 6 to 8: ``a_ji = softmax_j(s(z_i, zhat_j) / temperature)``, ``mu_i = sum_j a_ji |z_i - zhat_j|_2``; the
    loss of the paper is ``sum_i mu_i`` on features as they are (``normalize=False``), its mean keeps the scale of a
    cross-entropy. The gradient flows into ``new_features`` through both the distances and a, never into
    ``old_features``.

    Args:
      old_features: ``[B, d]`` of the frozen model, any float dtype; computed in at least float32.
      new_features: ``[B, d]`` of the model in training, the same examples.
      similarity: s, "cosine" or "negative_l2" (minus the distance).
      normalize: L2-normalise both first.
      temperature: 1 is the paper; lower sharpens an attention that is nearly uniform over cosines.
      block_size: number of old nodes handled at once. Then no B x B matrix is held, forward or backward (which computes
        each block again): memory grows as ``block_size * B``, and the result is that of the plain form.
      where: bool ``[B]``; a masked example is no node of either graph, and has mu 0 and gradient 0.
      axis_name: inside ``shard_map``, the mesh axis that the batch lies on: this device's old nodes ``[b, d]`` are
        matched with the new nodes of all devices. Without it they are matched with this device's alone.
        Gradients of the sum over the devices need ``check_vma=True``, shard_map's default; without it those taken
        inside are multiplied by the number of devices.

    Returns:
      mu ``[B]``, or ``[b]`` with ``axis_name``, unreduced. A distance whose square is below 1e-6 (|z|^2 + |zhat|^2)
      counts as 0, with gradient 0.

    Raises:
      ValueError: if shapes do not fit, similarity is unknown, or block_size is below 1.

    Example:
      >>> import numpy as np
      >>> old = np.array([[1.0, 0.0], [0.0, 1.0]])
      >>> print(np.asarray(graph_matching_loss(old, old)).round(4))
      [0.3803 0.3803]
      >>> print(np.asarray(graph_matching_loss(old, old, temperature=0.1)).round(4))
      [0.0001 0.0001]

    Elsewhere: no public code; the paper sums over raw features (``normalize=False``, then ``sum``).

    Reference: Asynchronous Modeling: A Dual-phase Perspective for Long-Tailed Recognition, equations 6 to 8.
    """
    old, new = as_float(old_features), as_float(new_features)
    if old.ndim != 2 or old.shape != new.shape:
        raise ValueError(f"features: expected [B, d] of old and new alike, not {list(old.shape)}, {list(new.shape)}")
    if similarity not in ("cosine", "negative_l2"):
        raise ValueError(f"similarity: unknown value '{similarity}'; allowed: cosine, negative_l2")
    if block_size is not None and block_size < 1:
        raise ValueError(f"block_size: must be at least 1, or None for the plain form, not {block_size}")
    where = check_mask(where, old.shape[:1])
    return _graph_matching_loss(old, new, temperature, where, similarity, normalize, block_size, axis_name)


class _Nodes(NamedTuple):
    """Features ``[n, d]``, their squared norms ``[n]`` and which of them exist, bool ``[n]``."""

    features: Array
    squares: Array
    exist: Array


@jit(static_argnames=("similarity", "normalize", "block_size", "axis_name"))
def _graph_matching_loss(
    old: Array, new: Array, temperature: Any, where: Any, similarity: str, normalize: bool, block_size: int | None,
    axis_name: str | None,
) -> Array:  # fmt: skip
    dtype = jnp.promote_types(old.dtype, new.dtype)
    exist = all_if_none(where, old.shape[:1])

    def nodes(features: Array) -> _Nodes:
        features = jnp.where(exist[:, None], features.astype(dtype), 0)
        features = l2_normalize(features) if normalize else features
        return _Nodes(features, jnp.sum(features**2, axis=-1), exist)

    matching = functools.partial(_match, similarity=similarity)
    old_nodes, new_nodes = jax.lax.stop_gradient(nodes(old)), _Nodes(*gathered(axis_name, *nodes(new)))
    if block_size is None or block_size >= len(old):
        return matching(old_nodes, new_nodes, temperature)
    # Whole rows at a time, so that each softmax is complete; the checkpoint keeps nothing of a block for the backward.
    blocks = -(-len(old) // block_size)
    padding = blocks * block_size - len(old)
    padded = jax.tree.map(lambda a: jnp.pad(a, [(0, padding)] + [(0, 0)] * (a.ndim - 1)), old_nodes)
    stacked = jax.tree.map(lambda a: a.reshape(blocks, block_size, *a.shape[1:]), padded)
    rows = jax.checkpoint(lambda block: matching(block, new_nodes, temperature))
    mu: Array = jax.lax.map(rows, stacked)
    return mu.reshape(-1)[: len(old)]


def _match(old: _Nodes, new: _Nodes, temperature: Any, similarity: str) -> Array:
    """mu of the old nodes ``[n]`` against all new nodes."""
    dots = product(old.features, new.features.T)
    distances = square_root(squared_distances_from_products(dots, old.squares, new.squares))
    if similarity == "cosine":
        scores = dots * _inverse_norm(old.squares)[:, None] * _inverse_norm(new.squares)
    else:
        scores = -distances
    scores = jnp.where(new.exist, scores / temperature, np.finfo(dots.dtype).min)
    return jnp.where(old.exist, jnp.sum(jax.nn.softmax(scores, axis=-1) * distances, axis=-1), 0)


def _inverse_norm(squares: Array) -> Array:
    return jnp.where(squares > 0, jax.lax.rsqrt(jnp.where(squares > 0, squares, 1)), 0)
