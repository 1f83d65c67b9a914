"""Convolution, and what it takes to be fast on a CPU."""

import contextvars
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax

from ltjax.models.cpu_convolutions import Pads, depthwise, grouped, small_map

# Whether programs are traced for other compilers than XLA's, which do not know its barriers.
PLAIN = contextvars.ContextVar("plain", default=False)


def convolution(
    inputs: jax.Array, kernel: jax.Array, strides: Sequence[int], padding: str | Pads, **options: Any
) -> jax.Array:
    """``jax.lax.conv_general_dilated`` of NHWC images; in programs for a CPU in the form that is fast there."""

    def general(inputs: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(inputs, kernel, strides, padding, **options)

    window, groups, precision = kernel.shape[:-2], options["feature_group_count"], options["precision"]
    if PLAIN.get() or len(window) != 2 or {*options["lhs_dilation"], *options["rhs_dilation"]} != {1}:
        return general(inputs, kernel)
    pads = (
        jax.lax.padtype_to_pads(inputs.shape[1:-1], window, strides, padding) if isinstance(padding, str) else padding
    )
    sizes = zip(inputs.shape[1:-1], pads, window, strides, strict=True)
    outputs = [(length + sum(pad) - wide) // stride + 1 for length, pad, wide, stride in sizes]
    fast: Callable[[jax.Array, jax.Array], jax.Array]
    if groups == inputs.shape[-1] == kernel.shape[-1] > 1:
        fast = functools.partial(depthwise, strides=strides, pads=pads)
    elif groups > 1:
        fast = functools.partial(grouped, strides=strides, pads=pads, groups=groups, precision=precision)
    elif min(outputs) > 0 and math.prod(outputs) < math.prod(window):
        fast = functools.partial(small_map, strides=strides, pads=pads, precision=precision)
    else:
        return general(inputs, kernel)
    return jax.lax.platform_dependent(inputs, kernel, cpu=fast, default=general)


class Conv(nn.Conv):
    """``flax.linen.Conv``, computed in another way when the program is compiled for a CPU. The values are the same.

    The input is computed once and kept. XLA's CPU compiler would otherwise compute it again inside the transposition
    that a weight gradient needs: in a residual network that is the whole chain of blocks up to there, element by
    element across memory. Training a ResNet-32 takes 1.3 times as long without it, ResLT's 1.5 times. It needs the
    compiler setting of ``ltjax.training.execution.cpu_flags`` to have an effect, which jaxlib 0.10 gets; the compiler
    of 0.12 gains nothing from the barriers and drops them.

    Grouped and depthwise convolutions, and those on maps smaller than the kernel, such as the 2 by 2 pixels of a
    ResNet's last stage on images of 64, have forms of their own (``ltjax.models.cpu_convolutions``).

    Example:
      >>> conv = Conv(4, (3, 3), use_bias=False)
      >>> conv.init_with_output(jax.random.key(0), jax.numpy.zeros([1, 8, 8, 3]))[0].shape
      (1, 8, 8, 4)
    """

    conv_general_dilated: Any = convolution

    def __call__(self, inputs: jax.Array) -> jax.Array:
        if PLAIN.get():
            return super().__call__(inputs)
        return super().__call__(
            jax.lax.platform_dependent(inputs, cpu=jax.lax.optimization_barrier, default=_unchanged)
        )


def _unchanged(x: jax.Array) -> jax.Array:
    return x
