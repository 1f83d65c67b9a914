"""Evaluation of images with several labels: average precision of each class, from the logits of every image.

What ``evaluation`` and ``workdir.results`` are for one label an image; ``loop`` takes one or the other. A precision
depends on the order of all images, so the logits are kept: float32 [N, C] for each seed.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from ltjax import metrics
from ltjax.class_counts import shot_groups
from ltjax.data import Data, Source
from ltjax.methods.stage import Tree
from ltjax.settings import Settings
from ltjax.training.evaluation import RESULT, Predict, Reading, Summary, blocks_of, number, report_broken
from ltjax.training.execution import mesh as meshes
from ltjax.training.execution.seeds import over_seeds, seed_axis, stack_seeds

MEASURE = "average_precision"  # the name in results.json, where one label has "accuracy"


class Scores(NamedTuple):
    """What one network says of N images: logits float32 [N, C], and targets bool [N, C], their classes."""

    logits: np.ndarray
    targets: np.ndarray

    def probabilities(self) -> np.ndarray:
        """float32 [N, C], the sigmoid of the logits."""
        return np.asarray(jax.nn.sigmoid(jnp.asarray(self.logits)))


class ScoreEvaluator:
    """`predict` over a source, compiled once; the ``Scores`` of each seed. Called as an ``Evaluator`` is."""

    def __init__(self, predict: Predict, num_classes: int, batch_size: int, mesh: Mesh, axis: tuple[int, str],
                 reading: Reading):  # fmt: skip
        self.num_classes, self.batch_size, self.mesh, self.reading, self.seeds = (
            num_classes, batch_size, mesh, reading, axis[0],
        )  # fmt: skip
        several = over_seeds(predict, axis, (0, None))

        def of_images(variables: Tree, images: jax.Array) -> jax.Array:
            logits = several(variables, images).astype(jnp.float32)
            return logits[:, None] if axis[0] == 1 else jnp.moveaxis(logits, 0, 1)  # images first, then seeds

        everywhere, over_devices = meshes.replicated(mesh), meshes.split(mesh)
        self.program = jax.jit(of_images, in_shardings=(everywhere, over_devices), out_shardings=everywhere)

    def __call__(self, variables: Tree, source: Source, resident: Any = None, strict: bool = True) -> list[Scores]:
        """The scores of all images of the source; ``resident`` is not needed.

        Raises:
          FloatingPointError: if the logits of an image are not finite; without ``strict`` that is a warning.
        """
        blocks = blocks_of(self.program, variables, source, self.batch_size, self.mesh, self.reading)
        logits = np.concatenate(list(blocks))
        broken = int(np.sum(~np.isfinite(logits).all(axis=(1, 2))))
        if broken:
            report_broken(broken, len(logits), strict)
        assert source.label_sets is not None
        targets = source.label_sets.multi_hot(self.num_classes)
        return [Scores(np.nan_to_num(logits[:, seed]), targets) for seed in range(self.seeds)]

    def with_answers(
        self, variables: Tree, source: Source, resident: Any = None, strict: bool = True
    ) -> tuple[dict[str, list[Scores]], list[Scores]]:
        """The scores twice: as what is counted, and as the answer for each image."""
        scores = self(variables, source, resident, strict)
        return {RESULT: scores}, scores


def summarize(scores: Scores, data: Data, convention: str, index_boundaries: tuple[int, ...]) -> Summary:
    """Average precision: the mean over classes ("all"), over all pairs of image and class ("micro"), and by group."""
    each = metrics.average_precision(scores.logits, scores.targets)
    micro = metrics.average_precision(scores.logits.reshape(-1, 1), scores.targets.reshape(-1, 1))[0]
    positions = tuple(min(boundary, data.num_classes) for boundary in index_boundaries) or None
    shots: dict[str, dict[str, Any]] = {}
    for name in ("strict", "inclusive", "index"):
        groups = shot_groups(data.class_counts, name, boundaries=positions if name == "index" else None)
        shots[name] = {group: _mean(each[mask]) for group, mask in groups.items()}
        shots[name]["classes"] = [int(mask.sum()) for mask in groups.values()]
    tested = each[~np.isnan(each)]
    overall = {
        "all": _mean(each),
        "micro": number(micro),
        "worst_class": float(tested.min()) if tested.size else None,
    } | {group: shots[convention][group] for group in ("many", "medium", "few")}
    return Summary(overall, shots, [number(value) for value in each], MEASURE)


def _mean(values: np.ndarray) -> float | None:
    """The mean of the classes that have an image."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None


def summarize_seeds(config: Settings, data: Data, scores: Sequence[Scores]) -> list[Summary]:
    """Each seed's summary."""
    settings = config.evaluation
    return [summarize(one, data, settings.shots, settings.index_boundaries) for one in scores]


def quality(scores: Sequence[Scores], thresholds: np.ndarray | None = None) -> list[dict[str, float | None]]:
    """F1 of each seed, the mean over classes and over all pairs of image and class.

    Args:
      scores: of each seed.
      thresholds: [C], the probability from which on a class is predicted; None = a half.
    """
    found: list[dict[str, float | None]] = []
    for one in scores:
        least = np.zeros(one.logits.shape[1]) if thresholds is None else np.log(thresholds) - np.log1p(-thresholds)
        said = one.logits >= least
        right, both = (said & one.targets).sum(0), said.sum(0) + one.targets.sum(0)
        tested = one.targets.any(0)
        of_classes = np.where(tested, 2 * right / np.maximum(both, 1), np.nan)
        found.append({"macro_f1": _mean(of_classes), "micro_f1": float(2 * right.sum() / max(both.sum(), 1))})
    return found


def best_thresholds(scores: Scores) -> np.ndarray:
    """float64 [C]: the probability of each class at which its F1 on these images is highest; a half without an image.

    It lies halfway between the least probability that counts as the class and the next lower one.

    Example:
      >>> logits = np.array([[2.0], [1.0], [0.0], [-1.0]])
      >>> best_thresholds(Scores(logits, np.array([[True], [True], [False], [False]]))).round(3)
      array([0.616])
    """
    chosen = np.full(scores.logits.shape[1], 0.5)
    shares = 1 / (1 + np.exp(-scores.logits.astype(np.float64)))
    for label, present in enumerate(scores.targets.T):
        if not present.any():
            continue
        order = np.argsort(-shares[:, label], kind="stable")
        ordered = np.append(shares[order, label], 0.0)
        f1 = 2 * np.cumsum(present[order]) / (np.arange(1, len(order) + 1) + present.sum())
        f1[ordered[:-1] == ordered[1:]] = -1.0  # no threshold separates equal probabilities
        best = int(np.argmax(f1))
        chosen[label] = (ordered[best] + ordered[best + 1]) / 2
    return np.clip(chosen, 1e-6, 1 - 1e-6)


def evaluation_arrays(scores: Sequence[Scores], norms: Sequence[np.ndarray | None]) -> dict[str, np.ndarray]:
    """What evaluation.npz holds; with several seeds all of it has a leading seed axis."""
    each: list[Mapping[str, Any]] = [
        {"total": one.targets.sum(0), "logits": one.logits, "targets": one.targets}
        | ({} if norm is None else {"weight_norms": norm})
        for one, norm in zip(scores, norms, strict=True)
    ]
    arrays: dict[str, np.ndarray] = stack_seeds(each, "evaluation")
    return arrays


def log_odds_of(predict: Predict, config: Settings, platform: str) -> Predict:
    """(variables, images) -> [B, C]: the logits; of several seeds the log odds of their mean probability."""
    axis = seed_axis(config, platform)
    several = over_seeds(predict, axis, (0, None))

    def mean(variables: Tree, images: jax.Array) -> jax.Array:
        logits = several(variables, images)
        if axis[0] == 1:
            return logits
        shares = jax.nn.sigmoid(logits).mean(0)
        return jnp.log(shares) - jnp.log1p(-shares)

    return mean


def averaged(scores: Sequence[Scores]) -> Scores:
    """The network whose probabilities are the mean over the seeds, as predictions have them."""
    if len(scores) == 1:
        return scores[0]
    shares = np.mean([one.probabilities().astype(np.float64) for one in scores], axis=0).clip(1e-12, 1 - 1e-12)
    return Scores((np.log(shares) - np.log1p(-shares)).astype(np.float32), scores[0].targets)
