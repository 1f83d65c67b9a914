"""What every loss does with its examples before and after its formula: labels, masks, class weights."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ltjax import class_counts as counts_of
from ltjax.arrays import Array, ArrayLike, any_promotion, as_float, is_traced
from ltjax.class_counts import PerClass


def is_zero(value: Any) -> bool:
    """Whether an option is known, before tracing, to be switched off."""
    return isinstance(value, (int, float, np.number)) and value == 0


def check_examples(
    logits_shape: tuple[int, ...], labels: ArrayLike, where: ArrayLike | None
) -> tuple[Array, Array | None]:
    """Labels, hard ``[...]`` or soft ``[..., C]``, and mask ``[...]`` or None, once they fit logits ``[..., C]``.

    Raises:
      ValueError: naming both shapes when they do not.
    """
    labels = jnp.asarray(labels)
    if not logits_shape:
        raise ValueError("logits: expected shape [..., C], not a scalar")
    hard = jnp.issubdtype(labels.dtype, jnp.integer) and labels.shape == logits_shape[:-1]
    if not hard and labels.shape != logits_shape:
        raise ValueError(
            f"labels: expected integers {list(logits_shape[:-1])} or probabilities {list(logits_shape)} for logits"
            f" {list(logits_shape)}, not {labels.dtype} {list(labels.shape)}"
        )
    return labels.astype(jnp.int32) if hard else as_float(labels), check_mask(where, logits_shape[:-1])


def check_mask(where: ArrayLike | None, shape: tuple[int, ...]) -> Array | None:
    """The mask with one bool per example, or None for none.

    Raises:
      ValueError: unless ``where`` broadcasts to the shape of the examples.
    """
    if where is None:
        return None
    mask = jnp.asarray(where, bool)
    check_broadcast("where", mask.shape, shape)
    return jnp.broadcast_to(mask, shape)


def check_broadcast(name: str, shape: tuple[int, ...], to: tuple[int, ...]) -> None:
    """Raises ValueError, naming the argument, unless it broadcasts to the shape of the examples."""
    try:
        fits = np.broadcast_shapes(shape, to) == to
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{name}: expected a scalar or shape {list(to)}, not {list(shape)}")


def all_if_none(where: Array | None, shape: tuple[int, ...]) -> Array:
    """The mask, or one that keeps every example."""
    return jnp.ones(shape, bool) if where is None else where


def is_hard(labels: Array, logits: Array) -> bool:
    """Whether labels are class numbers ``[...]`` rather than probabilities ``[..., C]``."""
    return labels.ndim == logits.ndim - 1


def mask_examples(where: Array | None, *arrays: Array) -> tuple[Array, ...]:
    """Zeroes the examples ``[...]`` or ``[..., d]`` that are masked out, so that whatever they hold stays finite.

    The caller masks the result once more: a mask on one side of the formula alone would let 0 * inf through the
    gradient.
    """
    if where is None:
        return arrays
    return tuple(jnp.where(jnp.expand_dims(where, range(where.ndim, a.ndim)), a, 0) for a in arrays)


def mask_losses(losses: Array, where: Array | None) -> Array:
    """0 for the examples that are masked out."""
    return losses if where is None else jnp.where(where, losses, 0)


def shift(logits: Array) -> Array:
    """The logits less the largest of their example, which no softmax notices."""
    largest = jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    return logits - jnp.where(jnp.isfinite(largest), largest, 0)


def check_class_weights(class_weights: PerClass | None, num_classes: int) -> Any:
    """Validates concrete class weights ``[C]``; None and traced ones pass (a traced one of a wrong length does not).

    Raises:
      ValueError: naming the class.
    """
    if class_weights is None:
        return None
    if is_traced(class_weights):
        if class_weights.shape != (num_classes,):
            raise ValueError(f"class_weights: expected shape [{num_classes}], not {list(class_weights.shape)}")
        return class_weights
    return counts_of.validate(class_weights, num_classes=num_classes, name="class_weights").astype(np.float64)


def at_label(labels: Array, num_classes: int) -> Array:
    """Bool ``[..., C]``, true at the class of each hard label ``[...]``; nowhere for a label outside 0..C-1."""
    return labels[..., None] == jnp.arange(num_classes)


def of_label(values: Array, labels: Array) -> Array:
    """The entry of ``values``, ``[C]`` or ``[..., C]``, at each example's class; for soft labels its expectation.

    The caller marks labels outside 0..C-1: what is read there is the entry of some class.
    """
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        return jnp.sum(labels * values, axis=-1)
    labels = jnp.clip(labels, 0, values.shape[-1] - 1)
    return _entry(values, labels) if values.ndim > 1 or not labels.ndim else _look_up(values, labels)


@jax.custom_jvp
def _entry(values: Array, labels: Array) -> Array:
    return jnp.take_along_axis(values, labels[..., None], axis=-1)[..., 0]


@_entry.defjvp
@any_promotion  # the rule may run when the gradient is taken, long after the loss
def _entry_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Any]) -> tuple[Array, Array]:
    # The transpose of a gather is a scatter into zeros; of this it is a comparison, which fuses with the pass over the
    # logits that the rest of the gradient needs anyway.
    values, labels = primals
    moved = jnp.where(at_label(labels, values.shape[-1]), tangents[0], 0)
    return _entry(values, labels), jnp.sum(moved, axis=-1)


def _look_up(table: Array, labels: Array) -> Array:
    sharding = jax.typeof(labels).sharding
    if jax.sharding.AxisType.Explicit in sharding.mesh.axis_types:
        return table.at[labels].get(out_sharding=sharding)
    return table[labels]
