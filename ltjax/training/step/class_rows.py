"""Splits the loss of any objective by the classes of the images.

The loss is a function of the network's outputs, which have a row for each image. With the rows of some classes held
constant, its gradient is that of the others. The two add up to the whole, for any loss and with batch statistics shared
by all images, but for what an objective reads beside the outputs (weight decay, a proxy).
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.methods.stage import Apply, Batch, Outcome, Tree

Rows = Literal["chosen", "others", "none"]


def through_rows(
    run: Callable[[Apply, Batch], Outcome], network: Callable[[], Apply], batch: Batch, chosen: np.ndarray, rows: Rows
) -> Outcome:
    """What ``run`` gives, with a gradient through the outputs on images of some of the classes alone.

    The values are those of ``run(network(), batch)``. Terms are NaN where the objective hides which class an image is
    of (``images_of_frequent_classes``).

    Args:
      run: the objective, of a network and a batch.
      network: makes the network; each has the same draws.
      batch: of the step.
      chosen: bool [C].
      rows: the images that pass gradients: of the ``chosen`` classes, of the ``others``, or of none. An image that is
        a blend is of the classes of its larger share, and of the chosen ones if both shares are equal.
    """
    others, decided = images_of_frequent_classes(run, network(), batch, ~np.asarray(chosen))
    passing = {"others": lambda rows: rows, "chosen": jnp.logical_not, "none": jnp.zeros_like}[rows]
    outcome = run(holding(network(), [passing(of_call) for of_call in others]), batch)
    terms = {name: one._replace(scale=jnp.where(decided, one.scale, jnp.nan)) for name, one in outcome.terms.items()}
    return outcome._replace(terms=terms)


def images_of_frequent_classes(
    run: Callable[[Apply, Batch], Any], network: Apply, batch: Batch, frequent: np.ndarray
) -> tuple[list[jax.Array], jax.Array]:
    """For each call that ``run`` makes of the network, bool [B]: which of its images are of frequent classes.

    And one bool: whether that could be decided for all of them.

    An objective may reorder, join, repeat, turn or blend the images of its streams before it calls the network. So it
    is run on images that are white for frequent classes and black for rare ones: an image of the network is frequent
    if its brightness is nearer to what it is with all images white than with all black. A blend counts as what has the
    larger share in it, and as rare if both shares are equal. An objective that gives white and black images the same
    brightness, because it standardizes each image, leaves the question open. Nothing uses the outputs on these images,
    so a compiler leaves the network out.
    """

    def brightness(white: dict[str, jax.Array]) -> list[jax.Array]:
        found: list[jax.Array] = []

        def apply(params: Tree, model_state: Tree, images: jax.Array, train: bool = True, **options: Any) -> Any:
            found.append(jnp.mean(images.astype(jnp.float32), axis=tuple(range(1, images.ndim))))
            return network(params, model_state, images, train, **options)

        painted = {}
        for name, stream in batch.items():
            images = jnp.asarray(stream["image"])
            level = 255 if jnp.issubdtype(images.dtype, jnp.integer) else 1
            shown = white[name].reshape(-1, *(1,) * (images.ndim - 1))
            painted[name] = {**stream, "image": jnp.broadcast_to(shown * level, images.shape).astype(images.dtype)}
        run(apply, painted)
        return found

    of_class = jnp.asarray(frequent)
    by_class = {name: of_class[jnp.asarray(stream["label"])] for name, stream in batch.items()}
    all_white = jax.tree.map(jnp.ones_like, by_class)
    all_black = jax.tree.map(jnp.zeros_like, by_class)
    seen, white, black = brightness(by_class), brightness(all_white), brightness(all_black)
    decided = [
        jnp.all(jnp.abs(w - b) > 1e-3 * jnp.maximum(jnp.abs(w), jnp.abs(b))) for w, b in zip(white, black, strict=True)
    ]
    frequent_images = [jnp.abs(s - w) < jnp.abs(s - b) for s, w, b in zip(seen, white, black, strict=True)]
    return frequent_images, jnp.all(jnp.stack(decided))


def holding(network: Apply, differentiated: Sequence[jax.Array]) -> Apply:
    """``network`` whose n-th call passes gradients only through the rows in ``differentiated[n]``."""
    left = iter(differentiated)

    def apply(params: Tree, model_state: Tree, images: jax.Array, train: bool = True, **options: Any) -> Any:
        outputs, model_state = network(params, model_state, images, train, **options)
        rows = next(left)

        def hold(leaf: jax.Array) -> jax.Array:
            if leaf.ndim < 2 or leaf.shape[-2] != len(rows):
                return leaf
            return jnp.where(rows[:, None], leaf, jax.lax.stop_gradient(leaf))

        return jax.tree.map(hold, outputs), model_state

    return apply
