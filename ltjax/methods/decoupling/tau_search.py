"""Which temperature tau the tau-normalised classifier takes (Kang et al., ICLR 2020, eq. 3 and appendix B.5)."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.arrays import norm, product

TAUS = tuple(round(0.1 * k, 1) for k in range(21))  # the authors' grid
ROWS = 4096  # features at a time: products of all images with all classes would not fit on large data sets


def class_averaged_accuracies(features: Any, labels: Any, kernel: Any, taus: Any = TAUS) -> np.ndarray:
    """The mean over classes of each class's accuracy, for every tau; exact, from the features alone.

    Classes without an example do not count.

    Args:
      features: float [N, d].
      labels: integer [N].
      kernel: float [d, C], not normalised.
      taus: [T].

    Returns:
      float64 [T].

    Example:
      >>> kernel = np.array([[4.0, 0.0], [0.0, 1.0]])  # the first class has the longer weights
      >>> features, labels = np.array([[3.0, 1.0], [1.0, 2.0]]), np.array([0, 1])
      >>> class_averaged_accuracies(features, labels, kernel, taus=(0.0, 1.0)).tolist()
      [0.5, 1.0]

    Source: Kang et al., "Decoupling representation and classifier for long-tailed recognition", ICLR 2020, B.5.
    """
    features, labels, kernel = np.asarray(features), np.asarray(labels), np.asarray(kernel)
    num_classes = kernel.shape[1]
    correct = np.zeros((len(taus), num_classes), np.int64)
    for begin in range(0, len(labels), ROWS):
        chunk, targets = features[begin : begin + ROWS], labels[begin : begin + ROWS]
        missing = min(ROWS, len(labels)) - len(targets)
        # one shape for all chunks, so that one program serves them; no class has label C
        chunk = np.pad(chunk, ((0, missing), (0, 0)))
        targets = np.pad(targets, (0, missing), constant_values=num_classes)
        correct += np.asarray(_correct(chunk, targets, kernel, np.asarray(taus)))
    counts = np.bincount(labels, minlength=num_classes)
    return np.mean(correct[:, counts > 0] / counts[counts > 0], axis=1)


@jax.jit
def _correct(features: jax.Array, labels: jax.Array, kernel: jax.Array, taus: jax.Array) -> jax.Array:
    """int32 [T, C]: the examples of each class whose highest logit is that of their class."""
    num_classes = kernel.shape[1]
    products, norms = product(features, kernel), norm(kernel, axis=0, at_zero=1)  # of eq. 3, whatever tau is
    classes, label = jnp.arange(num_classes), jnp.minimum(labels, num_classes - 1)[:, None]

    def one(tau: jax.Array) -> jax.Array:
        logits = products / norms**tau
        target = jnp.take_along_axis(logits, label, 1)
        # argmax == label, of equals the first: on a CPU comparisons are twice as fast
        won = jnp.where(classes < label, logits < target, logits <= target)
        return jnp.zeros(num_classes, jnp.int32).at[labels].add(won.all(-1).astype(jnp.int32), mode="drop")

    return jax.lax.map(one, taus)


def best_tau(accuracies: Any, taus: Any = TAUS) -> float:
    """The tau of the highest accuracy; among several the middle one (of two the smaller).

    A network that has learned all its training images by heart classifies them well under a whole range of tau.

    Example:
      >>> best_tau([0.3, 0.6, 0.6, 0.6, 0.5], taus=(0.0, 0.1, 0.2, 0.3, 0.4))
      0.2
    """
    best = np.flatnonzero(np.asarray(accuracies) == np.max(accuracies))
    return float(taus[best[(len(best) - 1) // 2]])
