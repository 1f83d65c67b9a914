"""Stochastic depth: residual blocks that some images skip in training (Huang et al., ECCV 2016)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

STREAM = "drop_path"  # the name of flax's random numbers for it; a network that is given none drops nothing


def drop_path(block: nn.Module, branch: jax.Array, rate: float, train: bool) -> jax.Array:
    """A residual branch [B, ...]: 0 for images drawn with probability ``rate``, else divided by 1 - rate.

    The division keeps its mean, so that evaluation takes the branch as it is; the paper multiplies it there instead.
    Without training, and where ``block`` has no random numbers of this kind, the branch is returned as it is.
    """
    if not (train and rate and block.has_rng(STREAM)):
        return branch
    kept = jax.random.bernoulli(block.make_rng(STREAM), 1 - rate, (len(branch),) + (1,) * (branch.ndim - 1))
    return jnp.where(kept, branch / (1 - rate), jnp.zeros_like(branch))


def rate_of(rate: float, position: int, blocks: int) -> float:
    """The rate of block ``position`` (1, 2, ...) of a network of ``blocks``, whose last one has ``rate``.

    It grows in proportion to the depth (section 3, "linear decay" of the survival).

    Example:
      >>> rate_of(0.2, 1, 4), rate_of(0.2, 4, 4)
      (0.05, 0.2)
    """
    return rate * position / blocks
