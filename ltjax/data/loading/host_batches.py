"""Batches through grain: an element of the data set is a whole batch, made from nothing but its step.

So there is no iterator state to save: a run that resumes at step s asks for the batches from s on, on any number of
hosts.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from ltjax.data.augment.registry import TRANSFORMS
from ltjax.data.augment.transform import Transform
from ltjax.data.dataset import Source
from ltjax.data.loading.prefetch import FAULTS, Batches, Watch
from ltjax.data.loading.unreadable import Fault, Position, as_arrays, read_or_replace
from ltjax.data.sampling.counter_rng import name_id
from ltjax.data.sampling.sampler import Sampler, Tables
from ltjax.errors import InputError

HostBatch = dict[str, Any]
MOST_WORKERS = 1024
NONE = TRANSFORMS["none"]
EVALUATION = name_id("evaluation")


@dataclasses.dataclass(frozen=True)
class TrainElements:
    """Element k is the batch of step ``start + k``, made when it is asked for: {stream: {image, label, index}}.

    The other attributes are as in ``train_batches``; ``replace``: records that cannot be read are replaced by others of
    their class, and the batch says so under ``FAULTS``.
    """

    source: Source
    samplers: Mapping[str, Sampler]
    tables: Mapping[str, Tables]
    seed: int
    batch_size: int
    steps_per_epoch: int
    start: int
    stop: int
    transform: Transform
    shard: tuple[int, int]
    replace: bool = False

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, element: Any) -> dict[str, HostBatch]:
        step, faults = self.start + int(element), list[Fault]()
        try:
            batch = {name: self._batch(name, step, faults) for name in self.samplers}
        except InputError as error:
            raise InputError(f"training batch of step {step}: {error}") from error
        return batch | ({FAULTS: as_arrays(faults)} if faults else {})

    def _batch(self, name: str, step: int, faults: list[Fault]) -> HostBatch:
        epoch, step_of_epoch = divmod(step, self.steps_per_epoch)
        offset = step_of_epoch * self.batch_size + _slots(self.batch_size, self.shard)
        position = (self.seed, name_id(name), epoch, offset)
        records = self.samplers[name].draw(self.tables[name], *position)
        draws = self.transform.draw(*position)
        images, records, bad = _cut(self.source, records, self.transform, draws, position if self.replace else None)
        faults += bad
        images = self.transform.apply(images, draws)
        return {"image": images, "label": self.source.labels[records], "index": records}


@dataclasses.dataclass(frozen=True)
class _EvaluationBatches:
    """Element k holds records (start + k) * batch_size and on; those beyond the last one are padding."""

    source: Source
    batch_size: int
    shard: tuple[int, int]
    replace: bool
    start: int = 0

    def __len__(self) -> int:
        return -(-len(self.source) // self.batch_size) - self.start

    def __getitem__(self, element: Any) -> HostBatch:
        element = self.start + int(element)
        records = element * self.batch_size + _slots(self.batch_size, self.shard)
        mask = records < len(self.source)
        readable = np.where(mask, records, 0)  # a padded slot needs an image of the right shape: the first one, blanked
        position = (0, EVALUATION, 0, readable)
        try:
            images, _, faults = _cut(self.source, readable, NONE, {}, position if self.replace else None)
        except InputError as error:
            raise InputError(f"evaluation batch {element}: {error}") from error
        images = np.where(mask[:, None, None, None], images, np.uint8(0))
        batch = {"image": images, "label": np.where(mask, self.source.labels[readable], np.int32(0)), "mask": mask}
        return batch | ({FAULTS: as_arrays(faults)} if faults else {})


def train_batches(
    source: Source,
    samplers: Mapping[str, Sampler],
    tables: Mapping[str, Tables],
    *,
    seed: int,
    batch_size: int,
    steps_per_epoch: int,
    start: int,
    stop: int,
    transform: Transform,
    shard: tuple[int, int] = (0, 1),
    workers: int = 0,
    watch: Watch | None = None,
) -> Batches:
    """The training batches of steps ``start`` .. ``stop - 1``, read ahead in threads or worker processes.

    Slot i of the global batch of step t holds the record that the stream's sampler draws at epoch t // steps_per_epoch,
    offset (t % steps_per_epoch) * batch_size + i, however many hosts share the batch.

    Args:
      source: the training images.
      samplers: stream name -> sampler.
      tables: stream name -> the sampler's tables for this source.
      seed: 0 .. 2^32 - 1.
      batch_size: of all hosts together; divisible by their number.
      steps_per_epoch: steps after which the next epoch begins.
      start, stop: the first step and the one after the last.
      transform: the augmentation.
      shard: (this host, number of hosts); a host makes its contiguous slice of every batch.
      workers: processes that make batches; 0 makes them in threads of this one, best while the images are in memory.
      watch: what is done about records that cannot be read, slow disks and stuck ones; without it the first is an
        error, and the others are waited for.

    Returns:
      Batches, an iterator of {stream: {"image": uint8 [b, H, W, C], "label": int32 [b], "index": int32 [b] (record)}},
      b being batch_size / hosts. ``close()`` stops the threads or processes before the end.

    Raises:
      InputError: for impossible sizes, at once; for an image that cannot be read, with step, record and index.
      ChildProcessError, TimeoutError: from the iterator, when a worker dies, and when there is no batch for too long.

    Example:
      >>> from ltjax.data.sampling.epoch_shuffle import instance_balanced
      >>> from ltjax.data.dataset import array_source
      >>> from ltjax.data.augment.registry import TRANSFORMS
      >>> source = array_source(np.zeros((6, 8, 8, 3), np.uint8), labels=[0, 0, 0, 1, 1, 2], index=range(6))
      >>> sampler = instance_balanced()
      >>> batches = train_batches(
      ...     source, {"image": sampler}, {"image": sampler.tables(source.labels, 3)}, seed=0, batch_size=2,
      ...     steps_per_epoch=3, start=0, stop=3, transform=TRANSFORMS["pad_crop_flip"])
      >>> [batch["image"]["index"].tolist() for batch in batches]
      [[3, 0], [1, 5], [4, 2]]
    """
    _check_batch(batch_size, shard)
    _check_range("seed", seed, 0, 2**32 - 1)
    _check_range("steps_per_epoch", steps_per_epoch, 1, (2**32 - 1) // batch_size)
    _check_range("start", start, 0, stop)
    _check_range("workers", workers, 0, MOST_WORKERS)
    if set(samplers) != set(tables):
        raise InputError(f"samplers of streams {sorted(samplers)}, but tables of {sorted(tables)}")
    return Batches(
        TrainElements(
            source, dict(samplers), dict(tables), seed, batch_size, steps_per_epoch, start, stop, transform, shard,
            replace=watch is not None and watch.faults is not None,
        ),
        workers,
        watch,
        first=start,
    )  # fmt: skip


def evaluation_batches(
    source: Source,
    batch_size: int,
    shard: tuple[int, int] = (0, 1),
    workers: int = 0,
    watch: Watch | None = None,
    start: int = 0,
) -> Batches:
    """Every record once, in order; the last batch is padded with blank images of label 0 that the mask excludes.

    Args:
      source: the images to evaluate.
      batch_size: of all hosts together; divisible by their number.
      shard: (this host, number of hosts). Every host gets the same number of batches.
      workers, watch: as in ``train_batches``.
      start: the first batch.

    Returns:
      Batches, an iterator of {"image": uint8 [b, H, W, C], "label": int32 [b], "mask": bool [b]}.

    Example:
      >>> from ltjax.data.dataset import array_source
      >>> source = array_source(np.ones((3, 8, 8, 3), np.uint8), labels=[0, 1, 2], index=range(3))
      >>> [(batch["label"].tolist(), batch["mask"].tolist()) for batch in evaluation_batches(source, batch_size=2)]
      [([0, 1], [True, True]), ([2, 0], [True, False])]
    """
    _check_batch(batch_size, shard)
    _check_range("workers", workers, 0, MOST_WORKERS)
    replace = watch is not None and watch.faults is not None
    _check_range("start", start, 0, -(-len(source) // batch_size))
    return Batches(_EvaluationBatches(source, batch_size, shard, replace, start), workers, watch, first=start)


def _cut(
    source: Source, records: np.ndarray, transform: Transform, draws: dict[str, Any], position: Position | None
) -> tuple[np.ndarray, np.ndarray, list[Fault]]:
    """The images of these records [B] as they are before ``transform.apply``, the records, and those it replaced.

    With a position, records that cannot be read are replaced; without, they are errors.
    """
    cut = transform.cut

    def one(place: int, record: int) -> np.ndarray:
        if cut is None:
            return source.images(np.array([record]))[0]
        return source.cut(record, lambda image: cut(image, {name: drawn[place] for name, drawn in draws.items()}))

    if cut is None:
        try:
            return source.images(records), records, []
        except InputError:
            if position is None:
                raise
    if position is None:
        return np.stack([one(place, record) for place, record in enumerate(records.tolist())]), records, []
    images, used, faults = read_or_replace(source, records, one, position)
    return np.stack(images), used, faults


def _slots(batch_size: int, shard: tuple[int, int]) -> np.ndarray:
    """This host's slots of the global batch."""
    host, hosts = shard
    share = batch_size // hosts
    return np.arange(host * share, (host + 1) * share, dtype=np.int64)


def _check_batch(batch_size: int, shard: tuple[int, int]) -> None:
    host, hosts = shard
    _check_range("batch_size", batch_size, 1, 2**31 - 1)
    _check_range("shard", host, 0, hosts - 1)
    if batch_size % hosts:
        low = batch_size // hosts * hosts
        nearest = f"{low} or {low + hosts}" if low else str(hosts)
        raise InputError(f"batch_size: {batch_size} cannot be shared by {hosts} hosts; the nearest that can: {nearest}")


def _check_range(name: str, value: Any, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value <= high:
        raise InputError(f"{name}: {value!r} is not possible; an integer from {low} to {high}")
