"""Exact evaluation: every example once, integer counts, remainder padded and masked."""

import contextlib
import functools
import logging
from collections.abc import Callable, Generator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from ltjax import metrics
from ltjax.class_counts import shot_groups
from ltjax.data import Data, Source
from ltjax.data.loading.device_batches import Resident, evaluation_batch
from ltjax.data.loading.host_batches import evaluation_batches
from ltjax.data.loading.prefetch import Watch
from ltjax.methods.stage import Tree
from ltjax.training.execution import mesh as meshes
from ltjax.training.execution.compiler_options import Options
from ltjax.training.execution.seeds import over_seeds, split_seeds, stack_seeds

LARGEST_CONFUSION = 1000  # classes; beyond it only the counts per class are kept


class Reading(NamedTuple):
    """How images that are not on the device are read."""

    workers: int = 0  # processes, as in ``evaluation_batches``
    watch: Watch | None = None


IN_THREADS = Reading()
Predict = Callable[[Tree, jax.Array], jax.Array]
RESULT = ""  # the name of `predict` among the predictions: no view has it


class Answers(NamedTuple):
    """What `predict` says of each image of a source, in its order. With several seeds [S, N] in place of [N].

    prediction: int32 [N], the likeliest class (-1: the logits hold a NaN); probability: float32 [N], its softmax;
    label_probability: float32 [N], that of the image's own class.
    """

    prediction: Any
    probability: Any
    label_probability: Any


class Evaluator:
    """`predict` over a source, compiled once and used as often as needed; one set of counters for each seed.

    `views` are other predictions by the same network: one program makes all of them and shares the common work.
    """

    def __init__(
        self,
        predict: Predict,
        num_classes: int,
        batch_size: int,
        mesh: Mesh,
        axis: tuple[int, str] = (1, "unroll"),
        reading: Reading = IN_THREADS,
        views: Mapping[str, Predict] = MappingProxyType({}),
        compiler_options: Options | None = None,
    ):
        self.reading = reading
        self.batch_size = rows_at_once(batch_size, mesh)
        self.mesh, self.seeds = mesh, axis[0]
        empty = jax.tree.map(np.asarray, metrics.create(num_classes, confusion=num_classes <= LARGEST_CONFUSION))
        predictions = {RESULT: predict, **views}
        start = (empty, np.int32(0))  # the counters, and the images whose logits are not finite
        self.empty = {name: stack_seeds([start] * self.seeds, "counters") for name in predictions}
        everywhere, over_devices = meshes.replicated(mesh), meshes.split(mesh)

        def count(counters: Any, variables: Tree, batch: dict[str, jax.Array]) -> tuple[Any, Answers]:
            added = {}
            for name, one in predictions.items():
                logits, (so_far, broken) = one(variables, batch["image"]), counters[name]
                broken += jnp.sum(batch["mask"].astype(bool) & ~has_softmax(logits), dtype=jnp.int32)
                added[name] = metrics.update(so_far, logits, batch["label"], batch["mask"]), broken
                if name == RESULT:
                    answers = answers_of(logits, batch["label"])
            return added, answers

        count = over_seeds(count, axis, (0, 0, None))
        cut = meshes.by_share(evaluation_batch, mesh, shared=1)

        def count_resident(carry: Any, variables: Tree, resident: Resident, calls: int) -> tuple[Any, Answers]:
            """The counters, and answers with a leading axis of calls where there are several."""

            def one(carry: Any, _: None) -> Any:
                counters, begin = carry
                slots = begin + jnp.arange(self.batch_size, dtype=jnp.int32)
                counters, answers = count(counters, variables, cut(resident, slots))
                return (counters, begin + self.batch_size), answers

            return one(carry, None) if calls == 1 else jax.lax.scan(one, carry, length=calls)

        self.count = jax.jit(
            count,
            donate_argnums=0,
            in_shardings=(everywhere, everywhere, over_devices),
            out_shardings=everywhere,
            compiler_options=compiler_options,
        )
        self.count_resident = jax.jit(
            count_resident,
            static_argnums=3,
            donate_argnums=0,
            in_shardings=(everywhere,) * 3,
            out_shardings=everywhere,
            compiler_options=compiler_options,
        )

    def __call__(
        self, variables: Tree, source: Source, resident: Resident | None = None, strict: bool = True
    ) -> list[Any]:
        """`predict`'s counters over all of `source` for each seed, on the host; `resident` is it on the device.

        Raises:
          FloatingPointError: if the logits of an image are not finite; without `strict` that is a warning.
        """
        return self.all_views(variables, source, resident, strict)[RESULT]

    def all_views(
        self, variables: Tree, source: Source, resident: Resident | None = None, strict: bool = True
    ) -> dict[str, list[Any]]:
        """The same for `predict` (RESULT) and for every view."""
        return self.with_answers(variables, source, resident, strict)[0]

    def with_answers(
        self, variables: Tree, source: Source, resident: Resident | None = None, strict: bool = True
    ) -> tuple[dict[str, list[Any]], Answers]:
        """``all_views``, and the answer of `predict` for each image, on the host."""
        counters = meshes.put_replicated(self.empty, self.mesh)
        counters, blocks = self._from_host(counters, variables, source) if resident is None else self._on_device(
            counters, variables, resident
        )  # fmt: skip
        each = {name: split_seeds(one, self.seeds) for name, one in jax.device_get(counters).items()}
        for name, (one, broken) in ((name, one) for name, seeds in each.items() for one in seeds):
            seen = int(np.sum(one.examples))
            assert seen == len(source), f"evaluation saw {seen} examples of {len(source)}"
            if broken:
                report_broken(broken, seen, strict, f" (view '{name}')" if name else "")
        found = {name: [counters for counters, _ in seeds] for name, seeds in each.items()}
        # a scan's answers [calls, (S,) B] are those of its batches one after another
        batches = [one for block in jax.device_get(blocks) for one in self._batches(block)]
        joined = [np.concatenate(parts, axis=-1)[..., : len(source)] for parts in zip(*batches, strict=True)]
        return found, Answers(*joined)

    def _batches(self, block: Answers) -> list[Answers]:
        single = block.prediction.ndim == (1 if self.seeds == 1 else 2)
        return [block] if single else [Answers(*parts) for parts in zip(*block, strict=True)]

    def _from_host(self, counters: Any, variables: Tree, source: Source) -> tuple[Any, list[Answers]]:
        shard, blocks = (jax.process_index(), jax.process_count()), []
        for batch in evaluation_batches(source, self.batch_size, shard, *self.reading):
            counters, answers = self.count(counters, variables, meshes.put_split(batch, self.mesh))
            blocks.append(answers)
        return counters, blocks

    def _on_device(self, counters: Any, variables: Tree, resident: Resident) -> tuple[Any, list[Answers]]:
        calls, at_once = self.calls(len(resident.labels))
        carry, blocks = (counters, meshes.put_replicated(np.int32(0), self.mesh)), []
        for _ in range(calls // at_once):
            carry, answers = self.count_resident(carry, variables, resident, at_once)
            blocks.append(answers)
        return carry[0], blocks

    def calls(self, images: int) -> tuple[int, int]:
        """(batches, batches in one call) for this number of images on the device; on a CPU one per call is faster."""
        batches = -(-images // self.batch_size)
        return batches, 1 if meshes.platform(self.mesh) == "cpu" else batches


def answers_of(logits: jax.Array, labels: jax.Array) -> Answers:
    """Logits [B, C] and labels [B] -> answers [B].

    Example:
      >>> answers = answers_of(jnp.array([[0.0, 9.0]]), jnp.array([0]))
      >>> answers.prediction.tolist(), answers.probability.round(3).tolist()
      ([1], [1.0])
    """
    shares = jax.nn.softmax(logits.astype(jnp.float32), -1)
    prediction = jnp.where(jnp.isnan(logits).any(-1), -1, jnp.argmax(logits, -1)).astype(jnp.int32)
    return Answers(prediction, shares.max(-1), jnp.take_along_axis(shares, labels[:, None], -1)[:, 0])


def has_softmax(logits: jax.Array) -> jax.Array:
    """[..., C] -> bool [...]: whether the probabilities are numbers. A class may have -inf, which is probability 0.

    Example:
      >>> has_softmax(jnp.array([[0.0, -jnp.inf], [0.0, jnp.nan], [0.0, jnp.inf]])).tolist()
      [True, False, False]
    """
    return jnp.isfinite(jnp.max(logits, axis=-1))


def report_broken(broken: int, images: int, strict: bool, view: str = "") -> None:
    """FloatingPointError for logits that are not finite; without ``strict`` a warning."""
    problem = f"the logits of {broken:,} of {images:,} images of evaluation are not finite{view}"
    if strict:
        raise FloatingPointError(f"{problem}: the training diverged; try a smaller config.optimizer.learning_rate")
    logging.getLogger("ltjax").warning("%s", problem)


class Summary(NamedTuple):
    """The parts of results.json that come from an evaluation.

    ``measure`` is what ``accuracy``, ``shots`` and ``per_class`` are of, and the name of ``accuracy`` in results.json.
    """

    accuracy: dict[str, float | None]
    shots: dict[str, dict[str, Any]]
    per_class: list[float | None]
    measure: str = "accuracy"


def summarize(counters: Any, data: Data, convention: str, index_boundaries: tuple[int, ...]) -> Summary:
    """Accuracies over all images and by class; many / medium / few under all three conventions."""
    shots: dict[str, dict[str, Any]] = {}
    # The boundaries may be too large for this data set; prepare.py refuses that where they are used.
    positions = tuple(min(boundary, data.num_classes) for boundary in index_boundaries) or None
    for name in ("strict", "inclusive", "index"):
        groups = shot_groups(data.class_counts, name, boundaries=positions if name == "index" else None)
        by_shot = metrics.shot_accuracies(counters, groups)
        shots[name] = {g: number(by_shot[g]) for g in groups} | {"classes": [int(np.sum(m)) for m in groups.values()]}
    accuracy: dict[str, float | None] = {
        "all": number(metrics.overall_accuracy(counters)),
        "mean_class": number(metrics.mean_class_accuracy(counters)),
        "worst_class": number(metrics.worst_class_accuracy(counters)),
        "harmonic_mean": number(metrics.harmonic_mean_accuracy(counters)),
    } | {g: shots[convention][g] for g in ("many", "medium", "few")}
    return Summary(accuracy, shots, [number(a) for a in metrics.per_class_accuracy(counters)])


def number(value: Any) -> float | None:
    """JSON has no NaN: a missing value (the accuracy of an empty group) is null."""
    return None if np.isnan(value) else float(value)


def extract_features(
    network: Any,
    variables: Tree,
    source: Source,
    records: np.ndarray,
    batch_size: int,
    mesh: Mesh,
    reading: Reading = IN_THREADS,
) -> np.ndarray:
    """float [n, d]: the network's features of these records in order; evaluation mode, no augmentation."""
    return np.concatenate(list(feature_blocks(network, variables, source.subset(records), batch_size, mesh, reading)))


def feature_blocks(
    network: Any,
    variables: Tree,
    source: Source,
    batch_size: int,
    mesh: Mesh,
    reading: Reading = IN_THREADS,
    start: int = 0,
) -> Generator[np.ndarray]:
    """The same for all records of ``source``, in blocks float [b, d] from block number ``start`` on.

    A block has ``rows_at_once(batch_size, mesh)`` rows, the last one may have fewer; every process gets all of them.
    """
    yield from blocks_of(_feature_program(network, mesh), variables, source, batch_size, mesh, reading, start)


def blocks_of(
    program: Callable[[Tree, jax.Array], jax.Array],
    variables: Tree,
    source: Source,
    batch_size: int,
    mesh: Mesh,
    reading: Reading = IN_THREADS,
    start: int = 0,
) -> Generator[np.ndarray]:
    """What a program, (variables, images) -> rows, makes of all records of ``source``: blocks as ``feature_blocks``."""
    size = rows_at_once(batch_size, mesh)
    variables = meshes.put_replicated(variables, mesh)
    shard = (jax.process_index(), jax.process_count())
    batches = evaluation_batches(source, size, shard, *reading, start=start)
    with contextlib.closing(batches):
        waiting: list[jax.Array] = []  # one batch is computed while the next is read
        for batch in batches:
            waiting.append(program(variables, meshes.put_split(batch["image"], mesh)))
            if len(waiting) > 1:
                yield np.asarray(waiting.pop(0))
        for last in waiting:
            yield np.asarray(last)[: (len(source) - 1) % size + 1]


def rows_at_once(batch_size: int, mesh: Mesh) -> int:
    """``batch_size``, rounded up to a multiple of the number of devices."""
    return -(-batch_size // mesh.size) * mesh.size


@functools.lru_cache(maxsize=4)  # a stage's init asks once for every seed
def _feature_program(network: Any, mesh: Mesh) -> Callable[[Tree, jax.Array], jax.Array]:
    everywhere, over_devices = meshes.replicated(mesh), meshes.split(mesh)
    return jax.jit(
        lambda variables, images: network.apply(variables, images, train=False).features,
        in_shardings=(everywhere, over_devices),
        out_shardings=everywhere,
    )
