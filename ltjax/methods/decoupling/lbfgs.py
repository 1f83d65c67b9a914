"""The minimum of balanced training of a classifier on fixed features, found directly: all images, by L-BFGS."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ltjax.errors import InputError
from ltjax.losses import cross_entropy
from ltjax.methods.stage import Tree

ROWS = 4096  # features at a time: logits of all images would not fit on large data sets
TOLERANCE = 1e-4  # what the objective may be above its minimum
MOST = 20_000  # passes over the features


class Optimum(NamedTuple):
    """Where the search ended.

    Attributes:
      params: as they were given, float32 or float64.
      value: of the objective.
      above: what ``value`` is above the minimum at most.
      passes: over all features.
    """

    params: Tree
    value: float
    above: float
    passes: int


def balanced_optimum(
    logits: Callable[[Tree, jax.Array], jax.Array],
    start: Tree,
    features: Any,
    labels: Any,
    *,
    weight_decay: float,
    tolerance: float = TOLERANCE,
) -> Optimum:
    """The parameters of the least balanced cross-entropy with weight decay.

    The objective is what SGD on class-balanced batches descends in expectation: the mean over the classes of the mean
    cross-entropy of each one's images, plus ``weight_decay / 2`` times the sum of squared parameters. Where the logits
    are linear in the parameters it is strongly convex, so that it has one minimum, and its value is at most
    ``|gradient|^2 / (2 weight_decay)`` above it: the search ends when that is below ``tolerance``.

    Args:
      logits: (params, rows [b, d]) -> [b, C], linear in params.
      start: params where it begins.
      features: float [N, d]; may be mapped from a file: ``ROWS`` are read at a time.
      labels: integer [N]. Classes without an image do not count.
      weight_decay: > 0.

    Raises:
      InputError: if it does not get there.

    Example:
      >>> features, labels = np.array([[2.0], [1.0], [-1.0]], np.float32), np.array([0, 0, 1])
      >>> found = balanced_optimum(lambda p, x: x @ p, np.zeros((1, 2), np.float32), features, labels, weight_decay=0.1)
      >>> [[round(float(w), 2) for w in found.params[0]], round(found.value, 3), found.above < 1e-4]
      [[0.99, -0.99], 0.2, True]

    Source: Kang et al., "Decoupling representation and classifier for long-tailed recognition", ICLR 2020, section 4.1
    (cRT) and eq. 4 (LWS), for what is minimised; Byrd et al., "A limited memory algorithm for bound constrained
    optimization", 1995, for how.
    """
    from scipy.optimize import minimize  # jax brings scipy

    labels = np.asarray(labels)
    flat, unravel = ravel_pytree(start)
    counts = np.bincount(labels)
    weights = (1.0 / counts[labels] / np.count_nonzero(counts)).astype(flat.dtype)

    @jax.jit
    def part(flat: jax.Array, rows: jax.Array, labels: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
        def loss(flat: jax.Array) -> jax.Array:
            return jnp.sum(cross_entropy(logits(unravel(flat), rows), labels) * weights)

        return jax.value_and_grad(loss)(flat)

    chunks = _chunks(features, labels, weights)
    last: dict[str, Any] = {"passes": 0}

    def objective(point: np.ndarray) -> tuple[float, np.ndarray]:
        here = jnp.asarray(point, flat.dtype)
        value, gradient = 0.5 * weight_decay * float(point @ point), weight_decay * point
        for chunk in chunks():
            more, slope = part(here, *chunk)
            value, gradient = value + float(more), gradient + np.asarray(slope, np.float64)
        above = float(gradient @ gradient) / (2 * weight_decay)
        last.update(point=point.copy(), value=value, above=above, passes=last["passes"] + 1)
        return value, gradient

    def enough(point: np.ndarray) -> None:
        if last["above"] <= tolerance and np.array_equal(point, last["point"]):
            raise StopIteration

    begin = np.asarray(flat, np.float64)
    options = {"maxiter": MOST, "maxfun": MOST, "ftol": 0.0, "gtol": 0.0}
    found = minimize(objective, begin, jac=True, method="L-BFGS-B", callback=enough, options=options)
    value, gradient = objective(found.x)
    above = float(gradient @ gradient) / (2 * weight_decay)
    if not above <= tolerance:
        raise InputError(
            f"config.decoupling.solver: after {last['passes']:,} passes over the features the objective, {value:.4g}, "
            f"may be {above:.1e} above its minimum (wanted: {tolerance:.0e}); take solver=sgd or a larger "
            "config.second_stage_optimizer.weight_decay"
        )
    return Optimum(unravel(jnp.asarray(found.x, flat.dtype)), value, above, last["passes"])


def _chunks(features: Any, labels: np.ndarray, weights: np.ndarray) -> Callable[[], Any]:
    """A function of no arguments that goes over all rows, in parts of one shape; the last is padded by weights of 0.

    Features in memory are put on the device once, those in a file part by part.
    """
    size = min(ROWS, len(labels))

    def one(begin: int) -> tuple[Any, ...]:
        rows, label, weight = (np.asarray(x[begin : begin + size]) for x in (features, labels, weights))
        missing = size - len(label)
        return np.pad(rows, ((0, missing), (0, 0))), np.pad(label, (0, missing)), np.pad(weight, (0, missing))

    begins = range(0, len(labels), size)
    if isinstance(features, np.memmap):
        return lambda: map(one, begins)
    parts = [jax.device_put(one(begin)) for begin in begins]
    return lambda: parts
