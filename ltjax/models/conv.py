"""Convolution, and what it takes to be fast on a CPU."""

import contextvars

import flax.linen as nn
import jax

# Whether programs are traced for other compilers than XLA's, which do not know its barriers.
PLAIN = contextvars.ContextVar("plain", default=False)


class Conv(nn.Conv):
    """``flax.linen.Conv`` whose input is computed once and kept when the program is compiled for a CPU.

    XLA's CPU compiler would otherwise compute the input again inside the transposition that a weight gradient needs: in
    a residual network that is the whole chain of blocks up to there, element by element across memory. Training a
    ResNet-32 takes 1.3 times as long without it, ResLT's 1.5 times. It needs the compiler setting of
    ``ltjax.training.execution.cpu_flags`` to have an effect, which jaxlib 0.10 gets; the compiler of 0.12 gains
    nothing from the barriers and drops them. The values are the same in any case.

    Example:
      >>> conv = Conv(4, (3, 3), use_bias=False)
      >>> conv.init_with_output(jax.random.key(0), jax.numpy.zeros([1, 8, 8, 3]))[0].shape
      (1, 8, 8, 4)
    """

    def __call__(self, inputs: jax.Array) -> jax.Array:
        if PLAIN.get():
            return super().__call__(inputs)
        return super().__call__(
            jax.lax.platform_dependent(inputs, cpu=jax.lax.optimization_barrier, default=_unchanged)
        )


def _unchanged(x: jax.Array) -> jax.Array:
    return x
