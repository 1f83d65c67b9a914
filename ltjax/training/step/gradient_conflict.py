"""Gradient distortion: how the gradients of frequent and of rare classes relate to their sum.

Asynchronous Modeling: A Dual-phase Perspective for Long-Tailed Recognition, section 3.1 and figure 1.

``class_rows.py`` says how the loss is split by class. What an objective reads beside the network's outputs (weight
decay, a proxy) is on neither side.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.class_counts import frequent_classes
from ltjax.errors import InputError
from ltjax.methods.stage import Apply, Batch, Stage, Tree, missing
from ltjax.training.step.class_rows import holding, images_of_frequent_classes
from ltjax.training.step.state import TrainState, merge, select
from ltjax.training.step.step import make_apply, make_context


def frequent_side(number: int, class_counts: np.ndarray) -> np.ndarray:
    """bool [C]: the classes on the frequent side, for config.gradients.frequent_classes = ``number``.

    Raises:
      InputError: if none or all of the classes are frequent.
    """
    frequent = frequent_classes(class_counts, number)
    if frequent.all() or not frequent.any():
        raise InputError(
            f"config.gradients.frequent_classes: {int(frequent.sum())} of {len(frequent)} classes are frequent; both "
            f"sides need one, so set it to 1 to {len(frequent) - 1}"
        )
    return frequent


def make_distortion(
    stage: Stage, steps_per_epoch: int, frequent: np.ndarray
) -> Callable[[TrainState, Tree, Batch], dict[str, jax.Array]]:
    """(state, constants, batch) -> gradient/cosine_frequent, cosine_rare, norm_frequent, norm_rare, norm (scalars)."""
    split = make_split_gradients(stage, steps_per_epoch, frequent)

    def distortion(state: TrainState, constants: Tree, batch: Batch) -> dict[str, jax.Array]:
        of_frequent, of_rare = split(state, constants, batch)
        whole = jax.tree.map(jnp.add, of_frequent, of_rare)
        norms = {"frequent": _norm(of_frequent), "rare": _norm(of_rare), "": _norm(whole)}
        metrics = {f"gradient/norm_{side}".rstrip("_"): norm for side, norm in norms.items()}
        for side, gradient in (("frequent", of_frequent), ("rare", of_rare)):
            scale = norms[side] * norms[""]
            cosine = _dot(gradient, whole) / jnp.where(scale > 0, scale, 1)
            metrics[f"gradient/cosine_{side}"] = jnp.where(scale == 0, missing(cosine.dtype), cosine)
        return metrics

    return distortion


def make_split_gradients(
    stage: Stage, steps_per_epoch: int, frequent: np.ndarray
) -> Callable[[TrainState, Tree, Batch], tuple[Tree, Tree]]:
    """(state, constants, batch) -> the gradients of the frequent and of the rare classes, flat dicts.

    They are NaN where the objective hides which class an image is of (``images_of_frequent_classes``).
    """

    def split(state: TrainState, constants: Tree, batch: Batch) -> tuple[Tree, Tree]:
        context = make_context(stage, state, constants, steps_per_epoch)
        trainable, frozen = select(state.params, stage.updates)

        def network() -> Apply:
            return make_apply(stage, context.key)  # a new one draws what the step draws

        def loss_of(trainable: Tree, apply: Apply, batch: Batch) -> jax.Array:
            outcome = stage.objective(apply, merge(trainable, frozen), state.model_state, batch, context)
            return jnp.asarray(sum(term.scale * term.mean() for term in outcome.terms.values()))

        def run(apply: Apply, batch: Batch) -> jax.Array:
            return loss_of(trainable, apply, batch)

        # for each call of the network, which of its images are of frequent classes
        calls, decided = images_of_frequent_classes(run, network(), batch, frequent)

        def gradient(differentiated: Sequence[jax.Array]) -> Tree:
            """With only the rows in ``differentiated``, bool [B] for each call, passing gradients."""
            held = holding(network(), differentiated)
            return jax.grad(lambda trainable: loss_of(trainable, held, batch))(trainable)

        beside = gradient([jnp.zeros_like(rows) for rows in calls])
        of_frequent, of_rare = gradient(calls), gradient([~rows for rows in calls])

        def difference(of_side: jax.Array, rest: jax.Array) -> jax.Array:
            return jnp.where(decided, of_side - rest, jnp.nan)

        return jax.tree.map(difference, of_frequent, beside), jax.tree.map(difference, of_rare, beside)

    return split


def _dot(a: Tree, b: Tree) -> jax.Array:
    return jnp.asarray(sum(jnp.vdot(a[path], b[path]) for path in a))


def _norm(tree: Tree) -> jax.Array:
    return jnp.sqrt(_dot(tree, tree))
