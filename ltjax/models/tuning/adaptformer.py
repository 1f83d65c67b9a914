"""A bottleneck beside the MLP of a block (Chen et al., "AdaptFormer", NeurIPS 2022)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ltjax.models.norm import Dtype

# of a layer whose inputs have variance 1: kaiming_normal with negative slope sqrt(5), as in LIFT's public code
narrow = nn.initializers.variance_scaling(1 / 3, "fan_in", "normal")


class AdaptFormer(nn.Module):
    """scale * up(relu(down(norm(x)))): [B, T, d] -> [B, T, d], 0 at first. It is added to what the MLP makes of x.

    Parameters: ``norm``, ``down`` {kernel [d, size], bias}, ``up`` {kernel [size, d], bias}, the scalar ``scale``.
    They start as in LIFT's public code: ``up`` at 0, the biases at 0, the scale at 1.

    Example:
      >>> made, variables = AdaptFormer(4).init_with_output(jax.random.key(0), jnp.ones([2, 5, 16]))
      >>> made.any().item(), sum(p.size for p in jax.tree.leaves(variables))
      (False, 181)
    """

    size: int
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        y = nn.LayerNorm(1e-5, use_fast_variance=False, name="norm", **types)(x)
        y = nn.relu(nn.Dense(self.size, kernel_init=narrow, name="down", **types)(y))
        y = nn.Dense(x.shape[-1], kernel_init=nn.initializers.zeros, name="up", **types)(y)
        return y * self.param("scale", nn.initializers.ones, (), self.param_dtype).astype(self.dtype)
