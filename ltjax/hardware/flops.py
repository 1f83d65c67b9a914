"""Floating-point operations of the matrix products and convolutions in a traced function, loops counted in full."""

import math
from typing import Any


def matrix_flops(jaxpr: Any) -> int:
    """Multiplications and additions of every ``dot_general`` and convolution, over all devices.

    A scan counts as often as it runs, a while loop once, and a cond by its most expensive branch. Zeros that a
    convolution inserts between inputs (in the gradient of a strided one) do not count; zero padding does.

    Args:
      jaxpr: of ``jax.make_jaxpr(f)(...)`` or ``jax.jit(f).trace(...).jaxpr``.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> matrix_flops(jax.make_jaxpr(lambda x: jax.lax.fori_loop(0, 3, lambda i, x: x @ x, x))(jnp.ones((2, 2))))
      48
    """
    return sum(_flops(equation) for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns)


def _flops(equation: Any) -> int:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        shape = equation.invars[0].aval.shape
        return 2 * equation.outvars[0].aval.size * math.prod(shape[axis] for axis in contracted)
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        outputs = kernel[params["dimension_numbers"].rhs_spec[0]]
        taps = math.prod(kernel) // outputs
        return 2 * equation.outvars[0].aval.size * taps // math.prod(params["lhs_dilation"])
    if name == "cond":
        return max(matrix_flops(branch) for branch in params["branches"])
    if name == "while":
        return matrix_flops(params["cond_jaxpr"]) + matrix_flops(params["body_jaxpr"])
    times = params["length"] if name == "scan" else 1
    if name == "shard_map":  # its body is the part of one device
        times = params["mesh"].size
    return times * sum(matrix_flops(inner) for value in params.values() for inner in _jaxprs(value))


def _jaxprs(value: Any) -> list[Any]:
    values = value if isinstance(value, list | tuple) else [value]
    return [one for one in values if hasattr(getattr(one, "jaxpr", one), "eqns")]
