"""Grad-CAM: where in an image a network sees the evidence for a class.

Of any network that makes a feature map [B, h, w, d]: the last one with more than one place is taken. With several
experts that are modules of their own it is the last expert's.

Reference: Selvaraju et al., Grad-CAM, ICCV 2017, equations 1 and 2.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ltjax.errors import InputError

Place = tuple[str, ...]  # the path of a module


@jax.custom_vjp
def _tap(x: jax.Array, value: jax.Array, gradient: jax.Array) -> jax.Array:
    """``x``; its "gradients" by ``value`` and ``gradient`` are x itself and the gradient by x."""
    return x


def _forward(x: jax.Array, value: jax.Array, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    return x, x


def _backward(x: jax.Array, cotangent: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    return cotangent, x.astype(jnp.float32), cotangent.astype(jnp.float32)


_tap.defvjp(_forward, _backward)


def last_map(predict: Callable[[Any, Any], Any], variables: Any, images: Any) -> tuple[Place, tuple[int, ...]]:
    """The module that makes the last feature map, and its shape [B, h, w, d].

    Raises:
      InputError: if the network makes none.
    """
    found: list[tuple[Place, tuple[int, ...]]] = []

    def record(next_function: Any, arguments: Any, options: Any, context: Any) -> Any:
        made = next_function(*arguments, **options)
        if context.method_name == "__call__" and getattr(made, "ndim", 0) == 4 and made.shape[1] * made.shape[2] > 1:
            found.append((context.module.path, made.shape))
        return made

    with nn.intercept_methods(record):
        jax.eval_shape(lambda *arguments: predict(*arguments), variables, images)  # JAX traces a known function once
    if not found:
        raise InputError("--grad-cam: this network makes no feature map with more than one place")
    return found[-1]


def grad_cam(predict: Callable[[Any, Any], Any], variables: Any, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The evidence for a class at each place of an image.

    Args:
      predict: (variables, images) -> logits [B, C], of Linen modules.
      variables: of one seed.
      images: uint8 [B, H, W, channels].
      classes: int [B].

    Returns:
      float32 [B, H, W] in 0..1, 1 at the strongest place of each image; 0 where nothing speaks for the class.

    Raises:
      InputError: if the network makes no feature map.
    """
    place, shape = last_map(predict, variables, images)
    zeros = jnp.zeros(shape, jnp.float32)

    def score(value: jax.Array, gradient: jax.Array) -> jax.Array:
        tapped = False

        def tap(next_function: Any, arguments: Any, options: Any, context: Any) -> Any:
            nonlocal tapped
            made = next_function(*arguments, **options)
            if tapped or context.method_name != "__call__" or context.module.path != place:
                return made
            if getattr(made, "shape", None) != shape:
                return made
            tapped = True
            return _tap(made, value, gradient)

        with nn.intercept_methods(tap):
            logits = predict(variables, images)
        return jnp.take_along_axis(logits, jnp.asarray(classes)[:, None], 1).sum()

    features, gradients = jax.jit(jax.grad(score, argnums=(0, 1)))(zeros, zeros)
    heat = jax.nn.relu(jnp.einsum("bhwd,bd->bhw", features, gradients.mean((1, 2))))
    heat = jax.image.resize(heat, (len(images), *images.shape[1:3]), "bilinear")
    strongest = heat.max((1, 2), keepdims=True)
    return np.asarray(heat / jnp.where(strongest > 0, strongest, 1))
