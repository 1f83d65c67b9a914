"""What every loss does with its arguments before and after its formula: dtypes, labels, masks, class information."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ltjax import class_counts as counts_of

Array = jax.Array


def as_float(values: Any) -> Array:
    """A jax array in at least float32: half precision is widened, float64 stays."""
    array = jnp.asarray(values)
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))


def is_traced(value: Any) -> bool:
    """Whether the value is only known inside the caller's jit, grad or vmap."""
    return isinstance(value, jax.core.Tracer)


def is_zero(value: Any) -> bool:
    """Whether an option is known, before tracing, to be switched off."""
    return isinstance(value, (int, float, np.number)) and value == 0


def check_labels(logits_shape: tuple[int, ...], labels: Any, where: Any = None) -> Array:
    """The labels as an array, hard ``[...]`` or soft ``[..., C]``, once their shape and that of the mask fit.

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
    if where is not None:
        check_mask(where, logits_shape[:-1])
    return labels.astype(jnp.int32) if hard else as_float(labels)


def check_mask(where: Any, shape: tuple[int, ...]) -> None:
    """Raises ValueError unless ``where`` broadcasts to one value per example."""
    if jnp.broadcast_shapes(jnp.shape(where), shape) != shape:
        raise ValueError(f"where: expected a mask of shape {list(shape)}, not {list(jnp.shape(where))}")


def is_hard(labels: Array, logits: Array) -> bool:
    """Whether labels are class numbers ``[...]`` rather than probabilities ``[..., C]``."""
    return labels.ndim == logits.ndim - 1


def mask_examples(where: Any, shape: tuple[int, ...], *arrays: Array) -> tuple[Array, ...]:
    """Zeroes the examples that are masked out, so that whatever they hold has finite values and gradients.

    ``shape`` is that of the examples, ``[...]``; the arrays are ``[...]`` or ``[..., d]``. The caller masks the result
    once more: a mask on one side of the formula alone would let 0 * inf through the gradient.
    """
    if where is None:
        return arrays
    mask = jnp.broadcast_to(jnp.asarray(where, bool), shape)
    return tuple(jnp.where(jnp.expand_dims(mask, range(mask.ndim, a.ndim)), a, 0) for a in arrays)


def mask_losses(losses: Array, where: Any) -> Array:
    """0 for the examples that are masked out."""
    return losses if where is None else jnp.where(jnp.asarray(where, bool), losses, 0)


def per_class(class_counts: Any, num_classes: int, formula: Callable[[Any, Any], Any]) -> Any:
    """``formula(counts, numpy)`` in float64 for concrete counts, once validated; in jax, unchecked, for traced ones."""
    if is_traced(class_counts):
        if class_counts.shape != (num_classes,):
            raise ValueError(f"class_counts: expected shape [{num_classes}], not {list(class_counts.shape)}")
        return formula(as_float(class_counts), jnp)
    counts = counts_of.validate(class_counts, num_classes=num_classes, positive=True)
    return formula(counts.astype(np.float64), np)


def check_class_weights(class_weights: Any, num_classes: int) -> Any:
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


def of_label(values: Array, labels: Array, num_classes: int) -> Array:
    """The entry of ``values`` ``[..., C]`` at each example's class; for soft labels ``[..., C]`` its expectation.

    By comparison, not by a gather: it fuses with the passes over the logits, its gradient needs no scatter, and it has
    one meaning under every sharding, explicit meshes included.
    """
    if jnp.issubdtype(labels.dtype, jnp.integer):
        return jnp.sum(jnp.where(at_label(labels, num_classes), values, 0), axis=-1)
    return jnp.sum(labels * values, axis=-1)
