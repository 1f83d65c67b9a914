"""Batches through grain: an element of the data set is a whole batch, a function of its step only.

So there is no iterator state to save: a run that resumes at step s asks for the batches from s on, with any number of
hosts.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import SupportsInt

import numpy as np

from ltjax.data.augment.decode import Shared
from ltjax.data.augment.registry import TRANSFORMS
from ltjax.data.augment.transform import Draws, Image, Transform, Transforms, of_stream
from ltjax.data.dataset import Source
from ltjax.data.loading.prefetch import FAULTS, Batch, Batches, Watch
from ltjax.data.loading.unreadable import Fault, Position, as_arrays, read_or_replace
from ltjax.data.sampling.counter_rng import name_id
from ltjax.data.sampling.sampler import Sampler, Tables, order_of
from ltjax.errors import InputError

MAX_WORKERS = 1024
NONE = TRANSFORMS["none"]
EVALUATION = name_id("evaluation")


@dataclasses.dataclass(frozen=True)
class TrainElements:
    """Element k is the batch of step ``start + k``, made on demand: {stream: {image, label, index}}.

    The attributes are as in ``train_batches``; with ``replace``, records that cannot be read are replaced by others of
    their class and listed in the batch under ``FAULTS``.
    """

    source: Source
    samplers: Mapping[str, Sampler]
    tables: Mapping[str, Tables]
    seed: int
    batch_size: int
    steps_per_epoch: int
    start: int
    stop: int
    transform: Transforms
    shard: tuple[int, int]
    replace: bool = False

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, element: SupportsInt) -> Batch:
        step, faults = self.start + int(element), list[Fault]()
        try:
            made = self._streams(step, faults)
        except InputError as error:
            raise InputError(f"training batch of step {step}: {error}") from error
        batch = {name: made[name] for name in self.samplers}
        return batch | ({FAULTS: as_arrays(faults)} if faults else {})

    def _streams(self, step: int, faults: list[Fault]) -> Batch:
        epoch, step_of_epoch = divmod(step, self.steps_per_epoch)
        offset = step_of_epoch * self.batch_size + _slots(self.batch_size, self.shard)
        records, views = {}, dict[tuple[int, bytes], list[str]]()
        for name, sampler in self.samplers.items():
            order = order_of(name, sampler)
            records[name] = sampler.draw(self.tables[name], self.seed, order, epoch, offset)
            views.setdefault((order, records[name].tobytes()), []).append(name)
        made: Batch = {}
        for (order, _), names in views.items():  # an image is read and decoded once for all its views
            transforms = [of_stream(self.transform, name) for name in names]
            draws = [
                transform.draw(self.seed, name_id(name), epoch, offset)
                for name, transform in zip(names, transforms, strict=True)
            ]
            position = (self.seed, order, epoch, offset) if self.replace else None
            cut, used, bad = _cut(self.source, records[names[0]], transforms, draws, position)
            faults += bad
            for name, transform, drawn, images in zip(names, transforms, draws, cut, strict=True):
                images = transform.apply(images, drawn)
                made[name] = {"image": images, "label": self.source.labels[used], "index": used}
        return made


@dataclasses.dataclass(frozen=True)
class _EvaluationBatches:
    """Element k holds the records from (start + k) * batch_size on; slots beyond the last record are padding."""

    source: Source
    batch_size: int
    shard: tuple[int, int]
    replace: bool
    start: int = 0

    def __len__(self) -> int:
        return -(-len(self.source) // self.batch_size) - self.start

    def __getitem__(self, element: SupportsInt) -> Batch:
        number = self.start + int(element)
        records = number * self.batch_size + _slots(self.batch_size, self.shard)
        mask = records < len(self.source)
        readable = np.where(mask, records, 0)  # padding takes the shape of the first image
        position = (0, EVALUATION, 0, readable)
        try:
            (images,), _, faults = _cut(self.source, readable, [NONE], [{}], position if self.replace else None)
        except InputError as error:
            raise InputError(f"evaluation batch {number}: {error}") from error
        images = np.where(mask.reshape(-1, *[1] * (images.ndim - 1)), images, np.uint8(0))  # features have two axes
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
    transform: Transforms,
    shard: tuple[int, int] = (0, 1),
    workers: int = 0,
    watch: Watch | None = None,
) -> Batches:
    """The training batches of steps ``start`` .. ``stop - 1``, prefetched in threads or worker processes.

    Slot i of the global batch of step t holds the record that the stream's sampler draws at epoch t // steps_per_epoch,
    offset (t % steps_per_epoch) * batch_size + i, for any number of hosts.

    Args:
      source: the training images.
      samplers: stream name -> sampler.
      tables: stream name -> the tables of its sampler for this source.
      seed: 0 .. 2^32 - 1.
      batch_size: over all hosts; divisible by their number.
      steps_per_epoch: number of steps in an epoch.
      start, stop: the first step, and the one after the last.
      transform: the augmentation, or one for each stream.
      shard: (this host, number of hosts); each host makes its contiguous slice of every batch.
      workers: number of processes that make batches; 0 makes them in threads of this process, which is best for images
        in memory.
      watch: what to do about unreadable records and slow disks; by default an unreadable record is an error, and there
        is no time limit.

    Returns:
      Batches, an iterator of {stream: {"image": uint8 [b, H, W, C], "label": int32 [b], "index": int32 [b] (record)}},
      b being batch_size / hosts. ``close()`` stops the threads or processes before the end.

    Raises:
      InputError: immediately, for impossible sizes; from the iterator, for an unreadable image, naming step, record and
        index.
      ChildProcessError, TimeoutError: from the iterator, if a worker dies, or no batch arrives within the time limit.

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
    _check_range("workers", workers, 0, MAX_WORKERS)
    if set(samplers) != set(tables):
        raise InputError(f"there are samplers for the streams {sorted(samplers)}, but tables for {sorted(tables)}")
    return Batches(
        TrainElements(
            source, dict(samplers), dict(tables), seed, batch_size, steps_per_epoch, start, stop, transform, shard,
            replace=watch is not None and watch.on_faults is not None,
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
    """Every record once, in order; the last batch is padded with blank images of label 0, which the mask excludes.

    Args:
      source: the images to evaluate.
      batch_size: over all hosts; divisible by their number.
      shard: (this host, number of hosts); every host gets the same number of batches.
      workers, watch: as in ``train_batches``.
      start: the first batch.

    Returns:
      Batches, an iterator of {"image": uint8 [b, H, W, C] or features float [b, d], "label": int32 [b], "mask": bool
      [b]}.

    Example:
      >>> from ltjax.data.dataset import array_source
      >>> source = array_source(np.ones((3, 8, 8, 3), np.uint8), labels=[0, 1, 2], index=range(3))
      >>> [(batch["label"].tolist(), batch["mask"].tolist()) for batch in evaluation_batches(source, batch_size=2)]
      [([0, 1], [True, True]), ([2, 0], [True, False])]
    """
    _check_batch(batch_size, shard)
    _check_range("workers", workers, 0, MAX_WORKERS)
    replace = watch is not None and watch.on_faults is not None
    _check_range("start", start, 0, -(-len(source) // batch_size))
    elements = _EvaluationBatches(source, batch_size, shard, replace, start)
    return Batches(elements, workers, watch, first=start, called="evaluation batch")


def _cut(
    source: Source,
    records: np.ndarray,
    transforms: Sequence[Transform],
    draws: Sequence[Draws],
    position: Position | None,
) -> tuple[list[np.ndarray], np.ndarray, list[Fault]]:
    """Views of these records [B], each before its ``transform.apply``; the records that were read; the unreadable ones.

    With a position, unreadable records are replaced; without one, they are errors.
    """
    cuts = [transform.cut for transform in transforms]
    of_whole = sum(cut is not None for cut in cuts)

    def one(place: int, record: int) -> list[np.ndarray]:
        as_evaluated = [] if of_whole == len(cuts) else [source.images(np.array([record]))[0]]

        def views(image: Image) -> list[np.ndarray]:
            if of_whole > 1 and isinstance(image, bytes):
                image = Shared(image)
            drawn = [{name: values[place] for name, values in of_view.items()} for of_view in draws]
            return [as_evaluated[0] if cut is None else cut(image, drawn[i]) for i, cut in enumerate(cuts)]

        return source.cut(record, views) if of_whole else as_evaluated * len(cuts)

    if not of_whole:
        try:
            return [source.images(records)] * len(cuts), records, []
        except InputError:
            if position is None:
                raise
    used, faults = records, list[Fault]()
    if position is None:
        made = [one(place, record) for place, record in enumerate(records.tolist())]
    else:
        made, used, faults = read_or_replace(source, records, one, position)
    return [np.stack(images) for images in zip(*made, strict=True)], used, faults


def _slots(batch_size: int, shard: tuple[int, int]) -> np.ndarray:
    """The slots of the global batch that this host makes."""
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
        raise InputError(
            f"batch_size: {batch_size} is not divisible by the number of hosts, {hosts}; set it to {nearest}"
        )


def _check_range(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value <= high:
        raise InputError(f"{name}: {value!r} is not possible; it must be an integer from {low} to {high}")
