"""Tokens that are trained beside those of the image (Jia et al., "Visual prompt tuning", ECCV 2022)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ltjax.models.norm import Dtype

NUMBER = 10  # of prompts, where nothing else is asked for (LIFT's public code)


def with_prompts(
    module: nn.Module, x: jax.Array, tokens: int, block: int, number: int, patch: int, param_dtype: Dtype
) -> jax.Array:
    """Tokens [B, T, d] -> [B, tokens + number, d]: the first ``tokens`` of them, then the prompts of this block.

    Parameters, of ``module``: ``prompts<block>`` [number, d]. They start uniform within sqrt(6 / (3 patch^2 + d)), as
    in the authors' code.

    Args:
      module: the network, inside its compact call.
      tokens: of the image, its class and its registers; later ones are the prompts of the block before.
      patch: side of a patch in pixels.
    """
    width = x.shape[-1]
    limit = (6 / (3 * patch**2 + width)) ** 0.5

    def start(key: jax.Array, shape: tuple[int, ...], dtype: Dtype) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -limit, limit)

    prompts = module.param(f"prompts{block}", start, (number, width), param_dtype).astype(x.dtype)
    return jnp.concatenate([x[:, :tokens], jnp.broadcast_to(prompts, (len(x), number, width))], axis=1)
