"""Gradient accumulation: a batch that does not fit in memory is taken in micro-batches, for the same step.

The sum over micro-batches is one of numerators: a term's divisor is the sum of the weights of the whole batch, known
before the first gradient. So the gradient is that of the undivided batch, for any weights, with two exceptions: batch
statistics are those of each micro-batch, and random draws (mixup's partners) are made in each micro-batch.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ltjax.losses.reduction import divide_or_zero
from ltjax.methods.stage import Batch, Context, Outcome, Ratio, Tree

# (trainable parameters, batch, context) -> Outcome
ObjectiveOfParams = Callable[[Tree, Batch, Context], Outcome]


def split(batch: Batch, count: int) -> Batch:
    """[B, ...] -> [count, B / count, ...]; micro-batch i has the images i, i + count, i + 2 count, ...

    Every device holds a contiguous share of the batch, so it holds a share of every micro-batch, and no image moves
    between devices.

    Example:
      >>> split({"image": {"label": jnp.arange(6)}}, 2)["image"]["label"].tolist()
      [[0, 2, 4], [1, 3, 5]]
    """
    return jax.tree.map(lambda x: jnp.moveaxis(x.reshape(-1, count, *x.shape[1:]), 1, 0), batch)


def accumulated(
    objective: ObjectiveOfParams, trainable: Tree, batch: Batch, context: Context, count: int
) -> tuple[jax.Array, dict[str, jax.Array], Outcome, Tree]:
    """(loss, each term's mean, the objective's outcome, gradients) of a batch in ``count`` micro-batches.

    The outcome has no terms. Its model state and extras are the mean over micro-batches of what each one makes of those
    before the step: one update by the mean of their statistics. Metrics are means over micro-batches; a Ratio is the
    ratio of the sums. Weights of terms may depend on labels and time, not on the parameters.
    """
    parts = split(batch, count)

    def outcome_of(trainable: Tree, part: Batch, number: jax.Array) -> Outcome:
        return objective(trainable, part, context._replace(key=jax.random.fold_in(context.key, number)))

    def divisors_of(part: Batch, number: jax.Array) -> dict[str, jax.Array]:
        return {name: term.sums()[1] for name, term in outcome_of(trainable, part, number).terms.items()}

    # Weights hardly ever depend on the network's outputs; the compiler then leaves the network out of this pass.
    divisors = _sum_over(divisors_of, parts, count)

    def loss_of(trainable: Tree, part: Batch, number: jax.Array) -> tuple[jax.Array, Any]:
        outcome = outcome_of(trainable, part, number)
        means = {name: divide_or_zero(term.sums()[0], divisors[name]) for name, term in outcome.terms.items()}
        loss = sum(outcome.terms[name].scale * mean for name, mean in means.items())
        return jnp.asarray(loss), (means, outcome._replace(terms={}, metrics=dict(outcome.metrics)))

    def gradients_of(part: Batch, number: jax.Array) -> Any:
        return jax.value_and_grad(loss_of, has_aux=True)(trainable, part, number)

    (loss, (means, outcome)), gradients = _sum_over(gradients_of, parts, count)
    return loss, means, _mean_outcome(outcome, count), gradients


def _mean_outcome(total: Outcome, count: int) -> Outcome:
    def mean(tree: Tree) -> Tree:
        return jax.tree.map(lambda x: (x / count).astype(x.dtype), tree)

    metrics = {name: m if isinstance(m, Ratio) else mean(m) for name, m in total.metrics.items()}
    return Outcome({}, mean(total.model_state), metrics, mean(total.extras))


def _sum_over(function: Callable[[Batch, jax.Array], Tree], parts: Batch, count: int) -> Tree:
    """The sum of ``function(part, number)`` over the micro-batches, one after the other."""
    shapes = jax.eval_shape(function, jax.tree.map(lambda x: x[0], parts), jnp.int32(0))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

    def add(total: Tree, numbered: tuple[Batch, jax.Array]) -> tuple[Tree, None]:
        # the barrier: a micro-batch starts when the one before it is finished, or both would be in memory
        total, (part, number) = jax.lax.optimization_barrier((total, numbered))
        return jax.tree.map(jnp.add, total, function(part, number)), None

    def loop(unroll: int) -> Callable[[Tree, Any], Tree]:
        return lambda zeros, numbered: jax.lax.scan(add, zeros, numbered, unroll=unroll)[0]

    # a CPU's compiler makes weight gradients inside a loop many times slower
    numbered = (parts, jnp.arange(count, dtype=jnp.int32))
    return jax.lax.platform_dependent(zeros, numbered, cpu=loop(count), default=loop(1))
