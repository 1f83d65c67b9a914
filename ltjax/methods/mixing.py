"""mixup and CutMix: every image of a batch is blended with another one of the batch, or gets a box of it pasted.

Both on the device, inside the objective; one share (and one box) a batch, as in the authors' code.

Zhang et al., "mixup: Beyond empirical risk minimization", ICLR 2018, section 2. Yun et al., "CutMix: Regularization
strategy to train strong classifiers with localizable features", ICCV 2019, section 3.1.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ltjax.methods.stage import Term


class Mixed(NamedTuple):
    """A mixed batch; ``ltjax.losses.mixup_loss`` takes the last three."""

    images: jax.Array  # of the shape and dtype that came in
    labels_a: jax.Array  # [B], those of the batch
    labels_b: jax.Array  # [B], those of the images mixed in
    lam: jax.Array  # scalar in [0, 1], the share of labels_a

    @property
    def larger(self) -> jax.Array:
        """[B]: the label of the image that has the larger share in each."""
        return jnp.where(self.lam >= 0.5, self.labels_a, self.labels_b)


def mix(key: jax.Array, images: jax.Array, labels: jax.Array, alpha: float) -> Mixed:
    """``lam x_i + (1 - lam) x_j`` with ``lam ~ Beta(alpha, alpha)``, one a batch, and j a random order of the batch.

    Args:
      key: of this step (context.key).
      images: [B, H, W, channels]; uint8 stays uint8, rounded to the nearest level, so that the network normalises it
        as it does any image. Floats are mixed as they are.
      labels: int [B].
      alpha: 0 mixes nothing (lam = 1); 1 draws the share uniformly.

    Returns:
      ``Mixed(images, labels_a, labels_b, lam)``.

    Example:
      >>> mixed = mix(jax.random.key(0), jnp.zeros([4, 2, 2, 1], jnp.uint8), jnp.arange(4), alpha=1.0)
      >>> mixed.images.dtype, mixed.labels_a.tolist(), sorted(mixed.labels_b.tolist()), 0 <= mixed.lam <= 1
      (dtype('uint8'), [0, 1, 2, 3], [0, 1, 2, 3], Array(True, dtype=bool))
    """
    share_key, order_key = jax.random.split(key)
    lam = _share(share_key, alpha)
    other = jax.random.permutation(order_key, len(labels))
    exact = jnp.promote_types(images.dtype, jnp.float32)
    # the others are picked as they are stored: over several devices it is a quarter of what their floats would be
    blend = lam * images.astype(exact) + (1 - lam) * images[other].astype(exact)
    if jnp.issubdtype(images.dtype, jnp.integer):
        blend = jnp.round(blend)
    return Mixed(blend.astype(images.dtype), labels, labels[other], lam)


def paste(key: jax.Array, images: jax.Array, labels: jax.Array, alpha: float) -> Mixed:
    """CutMix: a box of each image is replaced by the same box of another one.

    The box has the sides of the image times ``sqrt(1 - share)``, ``share ~ Beta(alpha, alpha)``, and its middle
    anywhere inside the image; it is clipped to the image, and ``lam`` is the share of the pixels that is left.

    Args:
      key: of this step (context.key).
      images: [B, H, W, channels], of any dtype.
      labels: int [B].
      alpha: 0 pastes nothing (lam = 1); 1 draws the share uniformly.

    Returns:
      ``Mixed(images, labels_a, labels_b, lam)``.

    Example:
      >>> pasted = paste(jax.random.key(1), jnp.zeros([2, 8, 8, 1], jnp.uint8), jnp.arange(2), alpha=1.0)
      >>> pasted.images.shape, pasted.images.dtype, 0 <= float(pasted.lam) <= 1
      ((2, 8, 8, 1), dtype('uint8'), True)
    """
    share_key, order_key, middle_key = jax.random.split(key, 3)
    sides = jnp.array(images.shape[1:3])
    half = (sides * jnp.sqrt(1 - _share(share_key, alpha))).astype(jnp.int32) // 2
    middle = jax.random.randint(middle_key, (2,), 0, sides)
    other = jax.random.permutation(order_key, len(labels))
    rows, columns = (
        (jnp.arange(side) >= middle[i] - half[i]) & (jnp.arange(side) < middle[i] + half[i])
        for i, side in enumerate(images.shape[1:3])
    )
    box = rows[:, None] & columns[None, :]
    return Mixed(jnp.where(box[..., None], images[other], images), labels, labels[other], 1 - jnp.mean(box))


def _share(key: jax.Array, alpha: float) -> jax.Array:
    if alpha == 0:
        return jnp.ones(())
    if alpha == 1:  # Beta(1, 1) is uniform, without the rejection loops of a gamma variate
        return jax.random.uniform(key)
    return jax.random.beta(key, alpha, alpha)


def blend(terms_a: Mapping[str, Term], terms_b: Mapping[str, Term], lam: jax.Array) -> dict[str, Term]:
    """The objective's terms for a mixed batch: those for the labels a in the share ``lam``, those for b in the rest.

    Each term is reduced by its own weights first, so that a term over few of the labels stays a mean over these.

    Example:
      >>> ones, fives = Term(jnp.ones(3)), Term(jnp.full(3, 5.0), jnp.array([1.0, 0.0, 0.0]))
      >>> float(blend({"x": ones}, {"x": fives}, jnp.float32(0.75))["x"].mean())
      2.0
    """
    return {
        name: Term(lam * term.mean() + (1 - lam) * terms_b[name].mean(), None, term.scale)
        for name, term in terms_a.items()
    }
