"""Batches through grain: an element of the data set is a whole batch, made from nothing but its step.

So there is no iterator state to save: a run that resumes at step s asks for the batches from s on, on any number of
hosts.
"""

import atexit
import dataclasses
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ltjax.data.random import name_id
from ltjax.data.sampling import Sampler, Tables
from ltjax.data.sources import Source
from ltjax.data.transforms import Transform
from ltjax.errors import InputError

READ_THREADS = 2
PREFETCHED_BATCHES = 4

Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class _TrainBatches:
    """Element k is the batch of step ``start + k``: {stream: {image, label, index}}."""

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

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, element: Any) -> dict[str, Batch]:
        step = self.start + int(element)
        try:
            return {name: self._batch(name, step) for name in self.samplers}
        except InputError as error:
            raise InputError(f"training batch of step {step}: {error}") from error

    def _batch(self, name: str, step: int) -> Batch:
        epoch, step_of_epoch = divmod(step, self.steps_per_epoch)
        offset = step_of_epoch * self.batch_size + _slots(self.batch_size, self.shard)
        position = (self.seed, name_id(name), epoch, offset)
        records = self.samplers[name].draw(self.tables[name], *position)
        images = _transformed(self.source, records, self.transform, self.transform.draw(*position))
        return {"image": images, "label": self.source.labels[records], "index": records}


@dataclasses.dataclass(frozen=True)
class _EvaluationBatches:
    """Element k holds records k * batch_size and on; those beyond the last one are padding."""

    source: Source
    batch_size: int
    shard: tuple[int, int]

    def __len__(self) -> int:
        return -(-len(self.source) // self.batch_size)

    def __getitem__(self, element: Any) -> Batch:
        records = int(element) * self.batch_size + _slots(self.batch_size, self.shard)
        mask = records < len(self.source)
        readable = np.where(mask, records, 0)  # a padded slot needs an image of the right shape: the first one, blanked
        try:
            images = self.source.images(readable)
        except InputError as error:
            raise InputError(f"evaluation batch {int(element)}: {error}") from error
        images = np.where(mask[:, None, None, None], images, np.uint8(0))
        return {"image": images, "label": np.where(mask, self.source.labels[readable], np.int32(0)), "mask": mask}


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
) -> "Batches":
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

    Returns:
      Batches, an iterator of {stream: {"image": uint8 [b, H, W, C], "label": int32 [b], "index": int32 [b] (record)}},
      b being batch_size / hosts. ``close()`` stops the threads or processes before the end.

    Raises:
      InputError: for impossible sizes, at once; for an image that cannot be read, with step, record and index.

    Example:
      >>> from ltjax.data.sampling import instance_balanced
      >>> from ltjax.data.sources import array_source
      >>> from ltjax.data.transforms import TRANSFORMS
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
    if set(samplers) != set(tables):
        raise InputError(f"samplers of streams {sorted(samplers)}, but tables of {sorted(tables)}")
    return Batches(
        _TrainBatches(
            source, dict(samplers), dict(tables), seed, batch_size, steps_per_epoch, start, stop, transform, shard
        ),
        workers,
    )


def evaluation_batches(source: Source, batch_size: int, shard: tuple[int, int] = (0, 1), workers: int = 0) -> "Batches":
    """Every record once, in order; the last batch is padded with blank images of label 0 that the mask excludes.

    Args:
      source: the images to evaluate.
      batch_size: of all hosts together; divisible by their number.
      shard: (this host, number of hosts). Every host gets the same number of batches.
      workers: as in ``train_batches``.

    Returns:
      Batches, an iterator of {"image": uint8 [b, H, W, C], "label": int32 [b], "mask": bool [b]}.

    Example:
      >>> from ltjax.data.sources import array_source
      >>> source = array_source(np.ones((3, 8, 8, 3), np.uint8), labels=[0, 1, 2], index=range(3))
      >>> [(batch["label"].tolist(), batch["mask"].tolist()) for batch in evaluation_batches(source, batch_size=2)]
      [([0, 1], [True, True]), ([2, 0], [True, False])]
    """
    _check_batch(batch_size, shard)
    return Batches(_EvaluationBatches(source, batch_size, shard), workers)


def _transformed(source: Source, records: np.ndarray, transform: Transform, draws: dict[str, Any]) -> np.ndarray:
    """The augmented images of these records [B]; what needs the whole pictures is done one by one."""
    if transform.cut is None:
        return transform.apply(source.images(records), draws)
    cut = transform.cut

    def one(i: int) -> np.ndarray:
        return source.cut(int(records[i]), lambda picture: cut(picture, {name: d[i] for name, d in draws.items()}))

    return transform.apply(np.stack([one(i) for i in range(len(records))]), draws)


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


class Batches(Iterator[Any]):
    """Batches read ahead of the caller, in order; ``close()``, or dropping it, stops its threads or processes."""

    def __init__(self, elements: Any, workers: int) -> None:
        _check_range("workers", workers, 0, 1024)
        self._iterator = _grain_iterator(elements, workers) if len(elements) else None
        self._copy = workers > 0
        _OPEN.add(self)
        # What is registered last runs first at exit: before what multiprocessing registered when grain imported it.
        atexit.unregister(_close_open)
        atexit.register(_close_open)

    def __next__(self) -> Any:
        if self._iterator is None:
            raise StopIteration
        try:
            batch = next(self._iterator)
        except BaseException:
            self.close()
            raise
        # A worker's arrays lie in shared memory, which complains when they outlive the interpreter's shutdown.
        return _copied(batch) if self._copy else batch

    def close(self) -> None:
        """Stops reading ahead; there are no further batches."""
        iterator, self._iterator = self._iterator, None
        if iterator is not None:
            iterator.close()


_OPEN: weakref.WeakSet[Batches] = weakref.WeakSet()


def _close_open() -> None:
    """Ends every loop that is still open when the interpreter ends, before multiprocessing tears itself down."""
    for batches in list(_OPEN):
        batches.close()


def _grain_iterator(elements: Any, workers: int) -> Any:
    try:
        import grain
    except ImportError:
        raise InputError('batches are made by grain; pip install "ltjax[train]"') from None
    options = grain.ReadOptions(num_threads=READ_THREADS, prefetch_buffer_size=PREFETCHED_BATCHES)
    dataset = grain.MapDataset.source(elements).to_iter_dataset(options)
    if workers:
        _mark_flags_parsed()
        dataset = dataset.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=2))
    return iter(dataset)


def _copied(tree: Any) -> Any:
    return {name: _copied(value) for name, value in tree.items()} if isinstance(tree, dict) else np.array(tree)


def _mark_flags_parsed() -> None:
    """grain's workers read absl flags, which only ``absl.app.run`` parses; elsewhere they keep their defaults."""
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
