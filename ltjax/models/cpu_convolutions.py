"""Convolutions for which XLA's CPU compiler has no fast implementation, in terms of what it is fast at.

Each is ``jax.lax.conv_general_dilated`` of NHWC images and HWIO kernels without dilation: the same values up to the
order of the sums. Times are of jaxlib 0.10 and 0.12, float32, two cores.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

Pads = Sequence[tuple[int, int]]


def small_map(
    inputs: jax.Array, kernel: jax.Array, strides: Sequence[int], pads: Pads, precision: Any = None
) -> jax.Array:
    """A convolution as one matrix product, of the kernel with the pixels that each of its elements meets.

    For outputs smaller than the kernel. XLA exchanges the operands of a convolution whose kernel is larger than its
    image, forward or in the gradient of the input, and then has no fast implementation: 3 by 3 on 2 by 2 pixels with
    512 channels takes 70 times as long, and a training step of a ResNet-10 on images of 64 pixels 8 times.

    Args:
      inputs: [images, height, width, channels].
      kernel: [rows, columns, channels, features].
      strides: of rows and columns.
      pads: (before, after) of rows and columns.
      precision: of the product, as in ``jax.lax.dot_general``.

    Returns:
      [images, height of the output, width of the output, features].

    Example:
      >>> small_map(jnp.ones([1, 2, 2, 1]), jnp.ones([3, 3, 1, 1]), (1, 1), [(1, 1), (1, 1)]).ravel().tolist()
      [4.0, 4.0, 4.0, 4.0]
    """
    pairs = [*_shifted(inputs, kernel, strides, pads)]
    pixels, elements = (
        jnp.concatenate(side, axis) for side, axis in zip(zip(*pairs, strict=True), (-1, 0), strict=True)
    )
    return jnp.matmul(pixels, elements, precision=precision)


def depthwise(inputs: jax.Array, kernel: jax.Array, strides: Sequence[int], pads: Pads) -> jax.Array:
    """A convolution of each channel by itself, as a sum of shifted images.

    10 to 20 times as fast, and its gradients 2 to 9 times.

    Args:
      inputs: [images, height, width, channels].
      kernel: [rows, columns, 1, channels].
      strides: of rows and columns.
      pads: (before, after) of rows and columns.

    Returns:
      [images, height of the output, width of the output, channels].

    Example:
      >>> x = jnp.array([1.0, 10.0, 100.0]).reshape(1, 3, 1, 1)
      >>> depthwise(x, jnp.ones([3, 1, 1, 1]), (1, 1), [(1, 1), (0, 0)]).ravel().tolist()
      [11.0, 111.0, 110.0]
    """
    first, *others = (pixels * element[0] for pixels, element in _shifted(inputs, kernel, strides, pads))
    return sum(others, first)


def grouped(
    inputs: jax.Array, kernel: jax.Array, strides: Sequence[int], pads: Pads, groups: int, precision: Any = None
) -> jax.Array:
    """A grouped convolution as one convolution for each group: its gradients take a hundredth of the time.

    Args:
      inputs: [images, height, width, channels].
      kernel: [rows, columns, channels / groups, features].
      strides: of rows and columns.
      pads: (before, after) of rows and columns.
      groups: of channels and of features.
      precision: as in ``jax.lax.conv_general_dilated``.

    Returns:
      [images, height of the output, width of the output, features].

    Example:
      >>> grouped(jnp.ones([1, 4, 4, 6]), jnp.ones([3, 3, 3, 2]), (1, 1), [(0, 0), (0, 0)], 2).shape
      (1, 2, 2, 2)
    """
    parts = zip(jnp.split(inputs, groups, -1), jnp.split(kernel, groups, -1), strict=True)
    each = [
        jax.lax.conv_general_dilated(
            one, weights, strides, pads, dimension_numbers=("NHWC", "HWIO", "NHWC"), precision=precision
        )
        for one, weights in parts
    ]
    return jnp.concatenate(each, -1)


def _shifted(
    inputs: jax.Array, kernel: jax.Array, strides: Sequence[int], pads: Pads
) -> Iterator[tuple[jax.Array, jax.Array]]:
    """Each element of the kernel with the pixels that it meets, without elements that meet nothing but padding.

    There is at least one, unless strides skip every pixel between two windows that lie in the padding.
    """
    window, lengths = kernel.shape[:2], inputs.shape[1:3]
    sizes = [
        (length + sum(pad) - wide) // stride + 1
        for length, pad, wide, stride in zip(lengths, pads, window, strides, strict=True)
    ]
    padded = jnp.pad(inputs, [(0, 0), *pads, (0, 0)])
    for element in itertools.product(*map(range, window)):
        met = [
            range(first, first + (size - 1) * stride + 1, stride)
            for first, size, stride in zip(element, sizes, strides, strict=True)
        ]
        if all(
            any(before <= at < before + length for at in ats)
            for ats, (before, _), length in zip(met, pads, lengths, strict=True)
        ):
            rows, columns = (slice(ats.start, ats.stop, ats.step) for ats in met)
            yield padded[:, rows, columns], kernel[element]
