"""The moving average of the weights during training, batch statistics included (config.optimizer.ema_decay)."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from ltjax.methods.stage import Tree


def start_average(trainable: Mapping, model_state: Tree) -> Tree:
    """The average before the first step: the weights that the stage starts from. Frozen parameters have none."""
    return jax.tree.map(jnp.array, {"params": dict(trainable), "model_state": model_state})


def decay_at(decay: float, step: jax.Array) -> jax.Array:
    """The decay of the update after step ``step`` (0, 1, ...): min(decay, (1 + step) / (10 + step)).

    So that the average forgets the random start: of t steps it is mainly over the last t / 9 until ``decay`` is the
    smaller, as in TensorFlow's ``ExponentialMovingAverage``.

    Example:
      >>> [round(float(decay_at(0.99, jnp.int32(step))), 4) for step in (0, 8, 10_000)]
      [0.1, 0.5, 0.99]
    """
    done = step.astype(jnp.promote_types(jnp.float32, jnp.result_type(float)))
    return jnp.minimum(decay, (1 + done) / (10 + done))


def next_average(average: Tree, trainable: Mapping, model_state: Tree, decay: jax.Array) -> Tree:
    """decay * average + (1 - decay) * the new weights; what does not move stays bit for bit. Counters are the newest.

    Args:
      average: from ``start_average``, or of the step before.
      trainable, model_state: after this step.
      decay: of this step.
    """

    def move(old: jax.Array, new: jax.Array) -> jax.Array:
        if not jnp.issubdtype(new.dtype, jnp.floating):
            return new
        return (old + (1 - decay) * (new - old)).astype(old.dtype)

    return jax.tree.map(move, average, {"params": dict(trainable), "model_state": model_state})
