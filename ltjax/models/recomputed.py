"""Blocks that are computed again in the backward pass instead of kept (config.model.remat)."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax

# What is kept of a block all the same, by jax.ad_checkpoint.checkpoint_name: a few numbers a channel, the sums over
# the whole batch that they are made of cost a pass over the map and, on several devices, a message.
KEPT = "batch_moments"


def recomputed(block: type[nn.Module], static: Sequence[int]) -> Any:
    """The block, whose backward pass computes it again; only its batch statistics are kept (Chen et al., 2016).

    Values and gradients stay. Memory is that of one block and of every block's input.

    Args:
      block: a module.
      static: the positions of arguments of its ``__call__`` that decide what is traced; 0 is the module itself.

    Example:
      >>> import jax.numpy as jnp
      >>> block = recomputed(nn.Dense, static=())(3)
      >>> block.apply(block.init(jax.random.key(0), jnp.ones([2, 4])), jnp.ones([2, 4])).shape
      (2, 3)
    """
    policy = jax.checkpoint_policies.save_only_these_names(KEPT)
    return nn.remat(block, static_argnums=tuple(static), policy=policy)
