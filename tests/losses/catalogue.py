"""One entry a loss: its options, its formula in slow numpy, and which properties it cannot have, with the reason.

This is all that the contract tests need to know of a loss. They take every entry, and find the rest in the signature:
``class_counts`` and ``class_weights`` are tried with bad and with traced values, every ``Scalar`` is traced, and every
``Literal`` is tried with an unknown value.
"""

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ltjax import losses
from ltjax.arrays import Scalar
from tests.losses import contrastive, multilabel, oracle

NUM_CLASSES = 5
COUNTS = np.array([100, 40, 10, 3, 1])
WEIGHTS = np.array([0.2, 0.5, 1.0, 1.5, 2.0])
MASKS = np.array([[True] * 5, [False, True, True, True, True], [False, False, False, True, True]])
NEGATIVES = np.array([True, False, True, True, True])
NOT_LOSSES = {"rotate", "random_rotations"}

FEATURES = {
    "soft": "labels say which examples are of one class",
    "shift": "features, not logits: a constant moves them",
    "leading": "one batch of features [B, d]",
    "outside": "a label is a name here, of any value",
}
SIGMOIDS = {"shift": "a separate sigmoid for each class"}
SEVERAL_LABELS = SIGMOIDS | {"soft": "a row of targets is the label already"}
DENSITIES = {"soft": "a density is of one class", "shift": "a logit is a log density ratio by itself"}
HARD_ONLY = {"soft": "a margin needs one true class"}
PER_CLASS = {key: why for key, why in FEATURES.items() if key != "outside"}  # features, and something for each class
GRAPH = {**FEATURES, "soft": "no labels", "vmap": "every example meets every other"}


@dataclasses.dataclass(frozen=True)
class Entry:
    """A loss of ``x`` whose axis ``batch_axis`` counts examples, and labels y.

    formula: (x, y) -> the expected values, one a example, or the scalar of a batch.
    call: (function, x, y, where, options) -> the value, where it is not ``function(x, y, where=where, **options)``.
    exceptions: property -> why this loss cannot have it.
    """

    name: str
    formula: Callable[[Any, Any], Any]
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    call: Callable[..., Any] | None = None
    batch_axis: int = 0
    per_example: bool = True
    exceptions: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def function(self) -> Callable[..., Any]:
        return getattr(losses, self.name)

    def inputs(self, leading: tuple[int, ...] = (6,), seed: int = 0, scale: float = 1.0) -> tuple[Any, Any]:
        rng = np.random.default_rng(seed)
        outer = (3,) * self.batch_axis
        x = scale * rng.normal(size=(*outer, *leading, NUM_CLASSES)).astype(np.float32)
        return jnp.asarray(x), jnp.asarray(rng.integers(0, NUM_CLASSES, leading))

    def loss(self, x: Any, y: Any, where: Any = None, **changed: Any) -> Any:
        options = {**self.options, **changed}
        if self.call is not None:
            return self.call(self.function, x, y, where, options)
        value = self.function(x, y, where=where, **options)
        return value.total if hasattr(value, "total") else value

    def scalar(self, x: Any, y: Any, where: Any = None, **changed: Any) -> Any:
        return jnp.sum(self.loss(x, y, where, **changed))

    @functools.cached_property
    def compiled(self) -> Callable[..., Any]:
        """``loss`` as one program: compiling each of its operations would take far longer."""
        return jax.jit(self.loss)

    @functools.cached_property
    def value_and_grad(self) -> Callable[..., Any]:
        """The sum of the losses and its gradient to ``x``, as one program."""
        return jax.jit(jax.value_and_grad(self.scalar))

    def parameters(self, annotation: Any) -> list[str]:
        """The parameters of the loss with this annotation, after the examples."""
        hints = typing.get_type_hints(self.function)
        return [name for name, p in inspect.signature(self.function).parameters.items()
                if p.kind is p.KEYWORD_ONLY and hints[name] == annotation]  # fmt: skip

    def scalars(self) -> dict[str, Any]:
        """The options that may be traced, and what this entry or the signature sets them to."""
        defaults = {name: p.default for name, p in inspect.signature(self.function).parameters.items()}
        return {name: self.options.get(name, defaults[name]) for name in self.parameters(Scalar)}

    def choices(self) -> list[str]:
        """The options that take one of a few strings."""
        hints = typing.get_type_hints(self.function)
        return [name for name, hint in hints.items() if typing.get_origin(hint) is typing.Literal]


def feature_table(seed: int, width: int) -> Any:
    """A feature of each class, so that a subset of the examples keeps its own."""
    return np.random.default_rng(seed).normal(size=(NUM_CLASSES, width)).astype(np.float32)


def mixup_call(function: Any, x: Any, y: Any, where: Any, options: Any) -> Any:
    other = y[..., ::-1] if y.ndim == x.ndim else (y + 1) % NUM_CLASSES
    return function(x, y, other, 0.3, loss=functools.partial(losses.cross_entropy, where=where), **options)


def mixup_formula(x: Any, y: Any) -> Any:
    first, second = (np.array(oracle.cross_entropy(x, labels)) for labels in (y, (y + 1) % NUM_CLASSES))
    return 0.3 * first + 0.7 * second


def weighted_mean_call(function: Any, x: Any, y: Any, where: Any, options: Any) -> Any:
    weights = jnp.asarray(WEIGHTS)[y][..., None]
    return function(x, weights, None if where is None else jnp.asarray(where)[..., None], **options)


def terms_call(function: Any, x: Any, y: Any, where: Any, options: Any) -> Any:
    terms = function(x, y, where=where, **options)
    return terms.fusion * terms.fusion_weights + jnp.sum(terms.branch * terms.branch_weights, axis=0)


def terms_formula(x: Any, y: Any) -> Any:
    fusion = np.array(oracle.cross_entropy(x.sum(0), y))
    return fusion + sum(
        mask[y] * np.array(oracle.cross_entropy(branch, y)) for mask, branch in zip(MASKS, x, strict=True)
    )


def graph_call(function: Any, x: Any, y: Any, where: Any, options: Any) -> Any:
    old = jnp.take(jnp.asarray(feature_table(7, x.shape[-1])), jnp.clip(y, 0, NUM_CLASSES - 1), axis=0)
    return function(old, x, where=where, **options)


def rows_of(labels: Any, table: Any) -> Any:
    """The rows of the labels, as a product: a gather has no sharding of its own."""
    labels = jnp.clip(labels, 0, NUM_CLASSES - 1)[..., None]
    return (labels == jnp.arange(NUM_CLASSES).reshape((1,) * (labels.ndim - 1) + (-1,))).astype(jnp.float32) @ table


def of_label_call(seed: int) -> Any:
    """A call with a third argument, a row of numbers that goes with the label of each example."""

    def call(function: Any, x: Any, y: Any, where: Any, options: Any) -> Any:
        hard = jnp.argmax(y, -1) if y.ndim == x.ndim else y
        return function(x, y, rows_of(hard, feature_table(seed, NUM_CLASSES)), where=where, **options)

    return call


# the classes of an image by its number here: one, several, all, none
TARGETS = np.array([[1, 0, 0, 0, 0], [1, 1, 0, 0, 1], [0, 0, 0, 1, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]], np.float32)


def targets_call(function: Any, x: Any, y: Any, where: Any, options: Any) -> Any:
    return function(x, rows_of(y, TARGETS), where=where, **options)


def graph_formula(similarity: str, normalize: bool) -> Any:
    return lambda x, y: oracle.graph_matching_loss(feature_table(7, x.shape[1])[y], x, similarity, normalize, 1.0)


def proxy_call(function: Any, x: Any, y: Any, where: Any, options: Any) -> Any:
    return function(x, y, jnp.asarray(feature_table(8, x.shape[-1])), where=where, **options)


def class_means(width: int) -> Any:
    """Of unit features: of lengths between 0.3 and 0.9."""
    table = feature_table(11, width)
    return (table / np.linalg.norm(table, axis=1, keepdims=True) * np.linspace(0.3, 0.9, NUM_CLASSES)[:, None]).astype(
        np.float32
    )


def proco_call(function: Any, x: Any, y: Any, where: Any, options: Any) -> Any:
    return function(x, y, jnp.asarray(class_means(x.shape[-1])), where=where, **options)


def prototypes_call(function: Any, x: Any, y: Any, where: Any, options: Any) -> Any:
    return function(x, y, jnp.asarray(feature_table(10, x.shape[-1])), where=where, **options)


KEY_LABELS = np.array([0, 1, 2, 3, 4, -1])


def paco_keys(width: int) -> Any:
    """Five keys, and one that does not exist."""
    return np.concatenate([feature_table(13, width), np.full((1, width), np.inf, np.float32)])


def paco_call(function: Any, x: Any, y: Any, where: Any, options: Any) -> Any:
    dtype = x.dtype if x.dtype == np.float64 else np.float32
    logits = x.astype(dtype) @ feature_table(12, x.shape[-1]).T.astype(dtype)
    return function(logits, y, x, jnp.asarray(paco_keys(x.shape[-1])), KEY_LABELS, where=where, **options)


def paco_formula(x: Any, y: Any) -> Any:
    table = feature_table(12, x.shape[1]).astype(float)
    return contrastive.paco_loss(
        x @ table.T, y, x, paco_keys(x.shape[1]).astype(float), KEY_LABELS, COUNTS, 0.3, 1.5, 0.7, 0.5
    )


def consistency_call(function: Any, x: Any, y: Any, where: Any, options: Any) -> Any:
    return function(x, rows_of(y, feature_table(14, x.shape[-1])), where=where, **options)


def distillation_call(function: Any, x: Any, y: Any, where: Any, options: Any) -> Any:
    table = jnp.asarray(feature_table(9, x.shape[-1]))
    chosen = jnp.clip(y, 0, NUM_CLASSES - 1)[..., None] == jnp.arange(NUM_CLASSES).reshape((1,) * y.ndim + (-1,))
    teacher = chosen.astype(table.dtype) @ table  # a gather has no sharding of its own
    return function(x, teacher, where=where, **options)


ENTRIES = [
    Entry("cross_entropy", oracle.cross_entropy),
    Entry("cross_entropy", lambda x, y: oracle.cross_entropy(x, y, 0.1), {"label_smoothing": 0.1}),
    Entry("focal_loss", lambda x, y: oracle.focal_loss(x, y, 2.0, np.ones(5))),
    Entry(
        "focal_loss",
        lambda x, y: oracle.focal_loss(x, y, 0.5, WEIGHTS),
        {"gamma": 0.5, "class_weights": WEIGHTS},
    ),
    Entry("focal_loss", oracle.cross_entropy, {"gamma": 0.0}),
    Entry(
        "sigmoid_focal_loss",
        lambda x, y: oracle.sigmoid_focal_loss(x, y, 2.0, np.ones(5)),
        exceptions=SIGMOIDS,
    ),
    Entry(
        "sigmoid_focal_loss",
        lambda x, y: oracle.sigmoid_focal_loss(x, y, 1.0, WEIGHTS),
        {"gamma": 1.0, "class_weights": WEIGHTS},
        exceptions=SIGMOIDS,
    ),
    Entry("ldam_loss", lambda x, y: oracle.ldam_loss(x, y, COUNTS, 0.5, 30.0), {"class_counts": COUNTS}),
    Entry(
        "balanced_softmax_loss",
        lambda x, y: oracle.cross_entropy(x + np.log(COUNTS), y),
        {"class_counts": COUNTS},
    ),
    Entry(
        "logit_adjusted_loss",
        lambda x, y: oracle.logit_adjusted_loss(x, y, COUNTS, 1.5),
        {"class_counts": COUNTS, "tau": 1.5},
    ),
    Entry(
        "vector_scaling_loss",
        lambda x, y: oracle.vector_scaling_loss(x, y, COUNTS, 0.2, 1.5, 0.5),
        {"class_counts": COUNTS, "gamma": 0.2, "tau": 1.5, "max_margin": 0.5},
        exceptions={"shift": "every class has its own factor"},
    ),
    Entry(
        "lade_regularizer",
        lambda x, y: oracle.lade_regularizer(x, y, COUNTS, 0.1, True),
        {"class_counts": COUNTS},
        per_example=False,
        exceptions=DENSITIES,
    ),
    Entry(
        "lade_regularizer",
        lambda x, y: oracle.lade_regularizer(x, y, COUNTS, 0.5, False),
        {"class_counts": COUNTS, "penalty": 0.5, "weighted_by": "class"},
        per_example=False,
        exceptions=DENSITIES,
    ),
    Entry(
        "influence_balanced_loss",
        lambda x, y: oracle.influence_balanced_loss(x, y, feature_table(10, 5)[y], 1000.0, 1e-3, 0.0, np.ones(5)),
        call=of_label_call(10),
    ),
    Entry(
        "influence_balanced_loss",
        lambda x, y: oracle.influence_balanced_loss(x, y, feature_table(10, 5)[y], 2.0, 0.1, 1.5, WEIGHTS),
        {"alpha": 2.0, "epsilon": 0.1, "gamma": 1.5, "class_weights": WEIGHTS},
        of_label_call(10),
    ),
    Entry(
        "gaussian_clouded_loss",
        lambda x, y: oracle.gaussian_clouded_loss(x, y, feature_table(11, 5)[y], COUNTS, 30.0, 0.5, 0.0, 0.0),
        {"class_counts": COUNTS},
        of_label_call(11),
    ),
    Entry(
        "gaussian_clouded_loss",
        lambda x, y: oracle.gaussian_clouded_loss(x, y, feature_table(11, 5)[y], COUNTS, 2.0, 1.0, 0.1, 1.5),
        {"class_counts": COUNTS, "scale": 2.0, "cloud": 1.0, "margin": 0.1, "gamma": 1.5},
        of_label_call(11),
        exceptions={"check_grads": "a weight without gradient", "soft": "a weight without gradient"},
    ),
    Entry("softmax_binary_loss", oracle.softmax_binary_loss),
    Entry(
        "binary_cross_entropy",
        lambda x, y: multilabel.binary_cross_entropy(x, TARGETS[y], 0.0, np.ones(5)),
        call=targets_call,
        exceptions=SEVERAL_LABELS,
    ),
    Entry(
        "binary_cross_entropy",
        lambda x, y: multilabel.binary_cross_entropy(x, TARGETS[y], 1.5, WEIGHTS),
        {"gamma": 1.5, "class_weights": WEIGHTS},
        targets_call,
        exceptions=SEVERAL_LABELS,
    ),
    Entry(
        "distribution_balanced_loss",
        lambda x, y: multilabel.distribution_balanced_loss(x, TARGETS[y], COUNTS, 120, (0.1, 10, 0.2), 2.0, 0.05, 0),
        {"class_counts": COUNTS, "num_images": 120},
        targets_call,
        exceptions=SEVERAL_LABELS,
    ),
    Entry(
        "distribution_balanced_loss",
        lambda x, y: multilabel.distribution_balanced_loss(x, TARGETS[y], COUNTS, 100, (0.3, 5, 0.4), 5.0, 0.5, 2.0),
        {
            "class_counts": COUNTS,
            "num_images": 100,
            "alpha": 0.3,
            "beta": 5.0,
            "mu": 0.4,
            "negative_scale": 5.0,
            "bias_scale": 0.5,
            "gamma": 2.0,
        },
        targets_call,
        exceptions=SEVERAL_LABELS,
    ),
    Entry(
        "asymmetric_loss",
        lambda x, y: multilabel.asymmetric_loss(x, TARGETS[y], 0.0, 4.0, 0.05),
        call=targets_call,
        exceptions=SEVERAL_LABELS,
    ),
    Entry(
        "asymmetric_loss",
        lambda x, y: multilabel.asymmetric_loss(x, TARGETS[y], 1.0, 2.5, 0.0),
        {"gamma_positive": 1.0, "gamma_negative": 2.5, "clip": 0.0},
        targets_call,
        exceptions=SEVERAL_LABELS,
    ),
    Entry(
        "label_aware_smoothing_loss",
        lambda x, y: oracle.label_aware_smoothing_loss(x, y, COUNTS, 0.4, 0.1, "concave"),
        {"class_counts": COUNTS},
    ),
    *(
        Entry(
            "label_aware_smoothing_loss",
            lambda x, y, form=form: oracle.label_aware_smoothing_loss(x, y, COUNTS, 0.3, 0.0, form),
            {"class_counts": COUNTS, "head": 0.3, "tail": 0.0, "form": form},
        )
        for form in ("linear", "convex")
    ),
    Entry(
        "softmax_equalization_loss",
        lambda x, y: oracle.softmax_equalization_loss(x, y, COUNTS, 0.1, np.ones(5, bool)),
        {"class_counts": COUNTS, "threshold": 0.1},
    ),
    Entry(
        "softmax_equalization_loss",
        lambda x, y: oracle.softmax_equalization_loss(x, y, COUNTS, 0.3, NEGATIVES),
        {"class_counts": COUNTS, "threshold": 0.3, "ignored": NEGATIVES},
    ),
    Entry(
        "distillation_loss",
        lambda x, y: oracle.distillation_loss(x, feature_table(9, x.shape[1])[y], 2.0),
        call=distillation_call,
        exceptions={"soft": "no labels"},
    ),
    Entry("mixup_loss", mixup_formula, call=mixup_call),
    Entry(
        "weighted_mean",
        lambda x, y: (WEIGHTS[y] @ x).sum() / (WEIGHTS[y].sum() * x.shape[1]),
        call=weighted_mean_call,
        per_example=False,
        exceptions={"soft": "no labels", "shift": "no logits", "leading": "a scalar over the batch"},
    ),
    Entry("reslt_terms", terms_formula, {"branch_masks": MASKS}, terms_call, batch_axis=1),
    Entry(
        "reslt_loss",
        lambda x, y: oracle.reslt_loss(x, y, MASKS, 0.8, "pooled", 0.0, 0.0),
        {"branch_masks": MASKS, "alpha": 0.8},
        batch_axis=1,
        per_example=False,
    ),
    Entry(
        "reslt_loss",
        lambda x, y: oracle.reslt_loss(x, y, MASKS, 0.8, "subset_means", 1e-7, 0.0),
        {"branch_masks": MASKS, "alpha": 0.8, "divisor": "subset_means", "probability_epsilon": 1e-7},
        batch_axis=1,
        per_example=False,
    ),
    Entry(
        "ride_loss",
        lambda x, y: oracle.ride_loss(x, y, COUNTS, -0.2, True, 30.0, 0.05, False),
        {"class_counts": COUNTS},
        batch_axis=1,
        per_example=False,
    ),
    Entry(
        "ride_loss",
        lambda x, y: oracle.ride_loss(x, y, COUNTS, -0.2, True, 30.0, 0.05, True),
        {"class_counts": COUNTS, "reweight": True},
        batch_axis=1,
        per_example=False,
        exceptions={"shift": "the temperatures differ between classes"},
    ),
    Entry(
        "inverse_softmax_loss", lambda x, y: oracle.inverse_softmax_loss(x, y, COUNTS, 2.0), {"class_counts": COUNTS}
    ),
    Entry(
        "mutual_distillation_loss",
        lambda x, y: oracle.mutual_distillation_loss(x),
        call=lambda function, x, y, where, options: function(x, where=where, **options),
        batch_axis=1,
        exceptions={"soft": "no labels"},
    ),
    Entry(
        "nontarget_distillation_loss",
        oracle.nontarget_distillation_loss,
        batch_axis=1,
        exceptions={"soft": "one class is left out of the softmax"},
    ),
    Entry("graph_matching_loss", graph_formula("cosine", True), call=graph_call, exceptions=GRAPH),
    Entry(
        "graph_matching_loss",
        graph_formula("negative_l2", False),
        {"similarity": "negative_l2", "normalize": False, "block_size": 4},
        graph_call,
        exceptions=GRAPH,
    ),
    Entry(
        "margin_ranking_loss",
        lambda x, y: oracle.margin_ranking_loss(x, y, 0.5, None, np.ones(5, bool)),
        exceptions=HARD_ONLY,
    ),
    Entry(
        "margin_ranking_loss",
        lambda x, y: oracle.margin_ranking_loss(x, y, 0.5, 2, NEGATIVES),
        {"top_k": 2, "negatives": NEGATIVES},
        exceptions=HARD_ONLY,
    ),
    Entry(
        "lifted_structure_loss",
        lambda x, y: oracle.lifted_structure_loss(x, y, 1.0),
        per_example=False,
        exceptions=FEATURES,
    ),
    Entry(
        "range_loss",
        lambda x, y: oracle.range_loss(x, y.tolist(), 2, 9.0, 1.0, 1.0),
        {"margin": 9.0},
        per_example=False,
        exceptions=FEATURES,
    ),
    Entry(
        "triplet_loss",
        lambda x, y: oracle.triplet_loss(x, y, 0.7, "margin", True),
        {"margin": 0.7},
        per_example=False,
        exceptions=FEATURES,
    ),
    Entry(
        "triplet_loss",
        lambda x, y: oracle.triplet_loss(x, y, 0.2, "ratio", False),
        {"form": "ratio", "normalize": False},
        per_example=False,
        exceptions=FEATURES,
    ),
    Entry(
        "proxy_loss",
        lambda x, y: oracle.proxy_loss(x, y, feature_table(8, x.shape[1]), True),
        call=proxy_call,
        per_example=False,
        exceptions=FEATURES,
    ),
    Entry(
        "balanced_contrastive_loss",
        lambda x, y: contrastive.balanced_contrastive_loss(x, y, feature_table(10, x.shape[1]), 0.5),
        {"temperature": 0.5},
        prototypes_call,
        per_example=False,
        exceptions=PER_CLASS,
    ),
    Entry(
        "proco_loss",
        lambda x, y: contrastive.proco_loss(x, y, class_means(x.shape[1]).astype(float), COUNTS, 0.5),
        {"class_counts": COUNTS, "temperature": 0.5},
        proco_call,
        exceptions={"shift": "features, not logits: a constant moves them"},
    ),
    Entry(
        "cosine_consistency_loss",
        lambda x, y: contrastive.cosine_consistency_loss(x, feature_table(14, x.shape[1])[y]),
        call=consistency_call,
        exceptions={"soft": "no labels", "shift": "features, not logits: a constant moves them"},
    ),
    Entry(
        "paco_loss",
        paco_formula,
        {"class_counts": COUNTS, "alpha": 0.3, "beta": 1.5, "gamma": 0.7, "temperature": 0.5},
        paco_call,
        exceptions={**PER_CLASS, "vmap": "every example meets every other"},
    ),
]
# One loss of each kind, for properties that only an unusual loss breaks.
SOME = ("cross_entropy", "ldam_loss", "sigmoid_focal_loss", "ride_loss", "balanced_contrastive_loss")
FIRST = list({entry.name: entry for entry in reversed(ENTRIES)}.values())[::-1]  # one of each loss


def public_losses() -> set[str]:
    """The functions of ``ltjax.losses`` that are losses."""
    return {n for n in losses.__all__ if inspect.isfunction(getattr(losses, n))} - NOT_LOSSES


def ids(entries: list[Entry]) -> list[str]:
    return [f"{e.name}-{i}" for i, e in enumerate(entries)]
