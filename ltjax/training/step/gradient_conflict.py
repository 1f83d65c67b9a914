"""Gradient distortion: how the gradients of frequent and of rare classes stand to their sum.

Asynchronous Modeling: A Dual-phase Perspective for Long-Tailed Recognition, section 3.1 and figure 1.

The loss is a function of the network's outputs, which have a row for each image. Holding the rows of the rare classes
still gives the gradient that the frequent ones make, and the other way round; the two sum to the whole, for any loss
and with batch statistics shared by all. What an objective reads beside the outputs (weight decay, a proxy) is in none.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.class_counts import frequency_order
from ltjax.errors import InputError
from ltjax.methods.stage import Apply, Batch, Stage, Tree
from ltjax.training.step.state import TrainState, merge, select
from ltjax.training.step.step import make_apply, make_context

MEDIUM_SHOT = 20  # images from which on a class counts as frequent, unless a number of classes is given


def frequent_classes(settings: Any, class_counts: np.ndarray) -> np.ndarray:
    """bool [C]: the classes on the frequent side, config.gradients.frequent_classes of them.

    Raises:
      InputError: if none or all of the classes are frequent.

    Example:
      >>> from types import SimpleNamespace
      >>> frequent_classes(SimpleNamespace(frequent_classes=0), np.array([90, 20, 19]))
      array([ True,  True, False])
    """
    number = settings.frequent_classes or int(np.sum(class_counts >= MEDIUM_SHOT))
    if not 0 < number < len(class_counts):
        raise InputError(
            f"config.gradients.frequent_classes: {number} of {len(class_counts)} classes; both sides need one, so give "
            f"1 to {len(class_counts) - 1}"
        )
    frequent = np.zeros(len(class_counts), bool)
    frequent[frequency_order(class_counts)[:number]] = True
    return frequent


def make_distortion(
    stage: Stage, steps_per_epoch: int, frequent: np.ndarray
) -> Callable[[TrainState, Tree, Batch], dict[str, jax.Array]]:
    """(state, constants, batch) -> gradient/cosine_frequent, cosine_rare, norm_frequent, norm_rare, norm (scalars)."""
    split = make_split_gradients(stage, steps_per_epoch, frequent)

    def distortion(state: TrainState, constants: Tree, batch: Batch) -> dict[str, jax.Array]:
        own, rare = split(state, constants, batch)
        whole = jax.tree.map(jnp.add, own, rare)
        norms = {"frequent": _norm(own), "rare": _norm(rare), "": _norm(whole)}
        metrics = {f"gradient/norm_{side}".rstrip("_"): norm for side, norm in norms.items()}
        for side, gradient in (("frequent", own), ("rare", rare)):
            scale = norms[side] * norms[""]
            metrics[f"gradient/cosine_{side}"] = jnp.where(scale > 0, _dot(gradient, whole) / scale, jnp.nan)
        return metrics

    return distortion


def make_split_gradients(
    stage: Stage, steps_per_epoch: int, frequent: np.ndarray
) -> Callable[[TrainState, Tree, Batch], tuple[Tree, Tree]]:
    """(state, constants, batch) -> the gradients of the frequent and of the rare classes, flat dicts."""
    inner = make_apply(stage)
    of_class = jnp.asarray(frequent)

    def split(state: TrainState, constants: Tree, batch: Batch) -> tuple[Tree, Tree]:
        context = make_context(stage, state, constants, steps_per_epoch)
        moving, standing = select(state.params, stage.trainable)

        def gradient(side: bool | None) -> Tree:
            """With only the rows of one side moving; with none for None."""

            def moves(labels: jax.Array) -> jax.Array:
                return jnp.zeros(labels.shape, bool) if side is None else of_class[labels] == side

            def loss_of(moving: Tree) -> jax.Array:
                apply = _held(inner, batch, moves)
                outcome = stage.objective(apply, merge(moving, standing), state.model_state, batch, context)
                return jnp.asarray(sum(term.scale * term.mean() for term in outcome.terms.values()))

            return jax.grad(loss_of)(moving)

        beside = gradient(None)
        frequent_side, rare_side = gradient(True), gradient(False)
        return jax.tree.map(jnp.subtract, frequent_side, beside), jax.tree.map(jnp.subtract, rare_side, beside)

    return split


def _held(inner: Apply, batch: Batch, moves: Callable[[jax.Array], jax.Array]) -> Apply:
    """``inner`` with the rows of all images held still but for those whose classes move."""

    def apply(params, model_state, images, train=True, labels=None, **options):
        outputs, model_state = inner(params, model_state, images, train, **options)
        rows = moves(_labels_of(images, labels, batch))

        def hold(leaf: jax.Array) -> jax.Array:
            if leaf.ndim < 2 or leaf.shape[-2] != len(rows):
                return leaf
            return jnp.where(rows[:, None], leaf, jax.lax.stop_gradient(leaf))

        return jax.tree.map(hold, outputs), model_state

    return apply


def _labels_of(images: jax.Array, labels: jax.Array | None, batch: Batch) -> jax.Array:
    if labels is not None:
        return labels
    for stream in batch.values():
        if stream["image"] is images:
            return stream["label"]
    raise InputError(
        "config.gradients: the method's objective calls the network with images that are no stream's and gives no "
        "labels; set config.gradients.every_steps=0"
    )


def _dot(a: Tree, b: Tree) -> jax.Array:
    return jnp.asarray(sum(jnp.vdot(a[path], b[path]) for path in a))


def _norm(tree: Tree) -> jax.Array:
    return jnp.sqrt(_dot(tree, tree))
