"""Every public loss once: how to call it, on what, and which properties it cannot have, with the reason."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from ltjax import losses

NUM_CLASSES = 5
COUNTS = np.array([100, 40, 10, 3, 1])
WEIGHTS = np.array([0.2, 0.5, 1.0, 1.5, 2.0])
MASKS = np.array([[True] * 5, [False, True, True, True, True], [False, False, False, True, True]])
NOT_LOSSES = {"rotate", "random_rotations"}

FEATURES = {
    "soft": "labels say which examples are of one class",
    "shift": "features, not logits: a constant moves them",
    "leading": "one batch of features [B, d]",
}
BATCH_SCALAR = "a scalar over the batch"


@dataclasses.dataclass(frozen=True)
class Entry:
    """``loss(x, y, where)`` on ``x`` whose axis ``batch_axis`` counts examples; ``exceptions``: property -> reason."""

    name: str
    loss: Callable[..., Any]
    batch_axis: int = 0
    per_example: bool = True
    width: int = NUM_CLASSES
    exceptions: dict[str, str] = dataclasses.field(default_factory=dict)

    def inputs(self, leading: tuple[int, ...] = (6,), seed: int = 0, scale: float = 1.0) -> tuple[Any, Any]:
        rng = np.random.default_rng(seed)
        outer = (3,) * self.batch_axis
        x = scale * rng.normal(size=(*outer, *leading, self.width)).astype(np.float32)
        return jnp.asarray(x), jnp.asarray(rng.integers(0, NUM_CLASSES, leading))

    def scalar(self, x: Any, y: Any, where: Any = None) -> Any:
        return jnp.sum(self.loss(x, y, where))


def _with(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    return lambda x, y, where=None: function(x, y, where=where, **options)


def _mixup(x: Any, y: Any, where: Any = None) -> Any:
    other = y[..., ::-1] if y.ndim == x.ndim else (y + 1) % NUM_CLASSES
    return losses.mixup_loss(x, y, other, 0.3, loss=functools.partial(losses.cross_entropy, where=where))


def _reslt_terms(x: Any, y: Any, where: Any = None) -> Any:
    terms = losses.reslt_terms(x, y, branch_masks=MASKS, where=where)
    return terms.fusion * terms.fusion_weights + jnp.sum(terms.branch * terms.branch_weights, axis=0)


def _weighted_mean(x: Any, y: Any, where: Any = None) -> Any:
    weights = jnp.asarray(WEIGHTS)[y][..., None]
    return losses.weighted_mean(x, weights, None if where is None else jnp.asarray(where)[..., None])


def _graph(**options: Any) -> Callable[..., Any]:
    def loss(x: Any, y: Any, where: Any = None) -> Any:
        # The old features are those of the class, so that a subset of the examples keeps its own.
        table = np.random.default_rng(7).normal(size=(NUM_CLASSES, x.shape[-1])).astype(np.float32)
        old = jnp.take(jnp.asarray(table), jnp.clip(y, 0, NUM_CLASSES - 1), axis=0)
        return losses.graph_matching_loss(old, x, where=where, **options)

    return loss


def _proxy(x: Any, y: Any, where: Any = None) -> Any:
    table = np.random.default_rng(8).normal(size=(NUM_CLASSES, x.shape[-1])).astype(np.float32)
    return losses.proxy_loss(x, y, jnp.asarray(table), where=where)


def _total(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    return lambda x, y, where=None: function(x, y, where=where, **options).total


GRAPH = {**FEATURES, "soft": "no labels", "vmap": "every example meets every other"}

ENTRIES = [
    Entry("cross_entropy", _with(losses.cross_entropy)),
    Entry("cross_entropy", _with(losses.cross_entropy, label_smoothing=0.1)),
    Entry("focal_loss", _with(losses.focal_loss)),
    Entry("focal_loss", _with(losses.focal_loss, gamma=0.5, class_weights=WEIGHTS)),
    Entry("focal_loss", _with(losses.focal_loss, gamma=0.0)),
    Entry(
        "sigmoid_focal_loss",
        _with(losses.sigmoid_focal_loss),
        exceptions={"shift": "each class has a logit of its own"},
    ),
    Entry(
        "sigmoid_focal_loss",
        _with(losses.sigmoid_focal_loss, gamma=1.0, class_weights=WEIGHTS),
        exceptions={"shift": "each class has a logit of its own"},
    ),
    Entry("ldam_loss", _with(losses.ldam_loss, class_counts=COUNTS)),
    Entry("balanced_softmax_loss", _with(losses.balanced_softmax_loss, class_counts=COUNTS)),
    Entry("logit_adjusted_loss", _with(losses.logit_adjusted_loss, class_counts=COUNTS, tau=1.5)),
    Entry("mixup_loss", _mixup),
    Entry(
        "weighted_mean",
        _weighted_mean,
        per_example=False,
        exceptions={"soft": "no labels", "shift": "no logits", "leading": BATCH_SCALAR},
    ),
    Entry("reslt_terms", _reslt_terms, batch_axis=1),
    Entry("reslt_loss", _total(losses.reslt_loss, branch_masks=MASKS, alpha=0.8), batch_axis=1, per_example=False),
    Entry(
        "reslt_loss",
        _total(losses.reslt_loss, branch_masks=MASKS, alpha=0.8, divisor="subset_means", probability_epsilon=1e-7),
        batch_axis=1,
        per_example=False,
    ),
    Entry("ride_loss", _total(losses.ride_loss, class_counts=COUNTS), batch_axis=1, per_example=False),
    Entry(
        "ride_loss",
        _total(losses.ride_loss, class_counts=COUNTS, reweight=True),
        batch_axis=1,
        per_example=False,
        exceptions={"shift": "the temperatures differ between classes"},
    ),
    Entry("graph_matching_loss", _graph(), exceptions=GRAPH),
    Entry("graph_matching_loss", _graph(similarity="negative_l2", normalize=False, block_size=4), exceptions=GRAPH),
    Entry(
        "margin_ranking_loss",
        _with(losses.margin_ranking_loss),
        exceptions={"soft": "a margin needs one true class"},
    ),
    Entry(
        "margin_ranking_loss",
        _with(losses.margin_ranking_loss, top_k=2, negatives=np.array([True, False, True, True, True])),
        exceptions={"soft": "a margin needs one true class"},
    ),
    Entry("lifted_structure_loss", _with(losses.lifted_structure_loss), per_example=False, exceptions=FEATURES),
    Entry("range_loss", _with(losses.range_loss, margin=9.0), per_example=False, exceptions=FEATURES),
    Entry("triplet_loss", _with(losses.triplet_loss, margin=0.7), per_example=False, exceptions=FEATURES),
    Entry(
        "triplet_loss",
        _with(losses.triplet_loss, form="ratio", normalize=False),
        per_example=False,
        exceptions=FEATURES,
    ),
    Entry("proxy_loss", _proxy, per_example=False, exceptions=FEATURES),
]


def public_losses() -> set[str]:
    """The functions of ``ltjax.losses`` that are losses."""
    return {n for n in losses.__all__ if inspect.isfunction(getattr(losses, n))} - NOT_LOSSES


def ids(entries: list[Entry]) -> list[str]:
    return [f"{e.name}-{i}" for i, e in enumerate(entries)]
