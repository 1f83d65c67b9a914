"""Low-rank updates of a linear layer (Hu et al., "LoRA: Low-rank adaptation of large language models", ICLR 2022)."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import traverse_util

from ltjax.models.norm import Dtype

ENDING = "_lora"  # of the module's name, after that of its layer

# uniform within 1 / sqrt(inputs), as PyTorch starts a linear layer
uniform = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


class LoRA(nn.Module):
    """x down up / rank: [..., d] -> [..., features], 0 at first. It is added to what the layer makes of x.

    Parameters: ``down`` [d, rank] and ``up`` [rank, features].

    Example:
      >>> made, variables = LoRA(8, rank=2).init_with_output(jax.random.key(0), jnp.ones([3, 16]))
      >>> made.shape, variables["params"]["down"].shape
      ((3, 8), (16, 2))
    """

    features: int
    rank: int
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        down = self.param("down", uniform, (x.shape[-1], self.rank), self.param_dtype)
        up = self.param("up", nn.initializers.zeros, (self.rank, self.features), self.param_dtype)
        return x @ down.astype(self.dtype) @ up.astype(self.dtype) / self.rank


def merged(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters without updates: each is added to the kernel of its layer, [..., d, features].

    Example:
      >>> update = {"down": jnp.ones([2, 1]), "up": jnp.ones([1, 3])}
      >>> merged({"query": {"kernel": jnp.zeros([2, 3])}, "query_lora": update})
      {'query': {'kernel': Array([[1., 1., 1.],
             [1., 1., 1.]], dtype=float32)}}
    """
    flat = traverse_util.flatten_dict(dict(params))
    made = {path: array for path, array in flat.items() if not path[-2].endswith(ENDING)}
    for path, down in flat.items():
        if path[-2].endswith(ENDING) and path[-1] == "down":
            layer = (*path[:-2], path[-2].removesuffix(ENDING), "kernel")
            update = jnp.matmul(down, flat[(*path[:-1], "up")], precision=jax.lax.Precision.HIGHEST) / down.shape[-1]
            made[layer] = (made[layer] + update).astype(made[layer].dtype)
    return dict(traverse_util.unflatten_dict(made))
