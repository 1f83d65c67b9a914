"""Samplers for long-tailed training sets, for any loader: numpy only, without a state, the same records every time.

Choose how to sample, give it the labels and a seed, and ask for the records at any positions of any epoch::

    from ltjax import samplers

    records = samplers.Records(samplers.class_balanced(), labels, seed=0)
    records(range(128), epoch=3)              # the first 128 records of epoch 3: int32 [128]
    records.batches(128, epoch=3)[7]          # batch 7 of that epoch: int32 [128]

Every record is a pure function of (seed, stream, epoch, position). So a loader that starts again at batch 7 sees what
it would have seen, hosts and workers take the positions they like (``positions[host::hosts]``), and nothing is saved
but the step. A run of ltjax with this seed and sampler draws the same records.

Plain numpy:

  >>> labels = np.repeat([0, 1, 2], [90, 9, 1])
  >>> records = Records(class_balanced(), labels, seed=0)
  >>> for batch in records.batches(50, epoch=0):
  ...     print(batch.shape, np.bincount(labels[batch]))
  (50,) [13 20 17]
  (50,) [21 14 15]

PyTorch takes the batches of an epoch as ``batch_sampler``, with any number of workers::

    for epoch in range(epochs):
        loader = DataLoader(dataset, batch_sampler=records.batches(128, epoch=epoch), num_workers=8)

or, where one loader serves all epochs, a ``Sampler`` whose epoch is set::

    class EpochSampler(torch.utils.data.Sampler):
        def __init__(self, records):
            self.records, self.epoch = records, 0

        def __iter__(self):
            return iter(self.records(range(len(self)), epoch=self.epoch).tolist())

        def __len__(self):
            return len(self.records)

grain maps positions to records, and records to whatever the source holds:

  >>> import grain
  >>> positions = grain.MapDataset.range(len(records))
  >>> dataset = positions.map(lambda position: {"label": labels[records(position, epoch=2)]})
  >>> [int(example["label"]) for example in dataset[:6]]
  [1, 2, 1, 0, 1, 1]

tf.data reads the batches from a generator::

    batches = records.batches(128, epoch=0)
    signature = tf.TensorSpec(shape=(128,), dtype=tf.int32)
    dataset = tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=signature)

``SAMPLERS`` has every sampler by the name that ``config.data.sampler`` knows; the functions beside it take its options.
Below ``Records`` lies ``Sampler``, whose ``draw`` also runs inside a jitted program:
``sampler.draw(sampler.tables(labels, C), seed, name_id("image"), epoch, positions)`` draws the same records.
"""

import dataclasses
import operator
from collections.abc import Sequence
from typing import overload

import numpy as np
import numpy.typing as npt

from ltjax.class_counts import HasArray
from ltjax.data.sampling import SAMPLERS
from ltjax.data.sampling.class_cycle import class_cycle, distinct_classes
from ltjax.data.sampling.combine import deferred
from ltjax.data.sampling.counter_rng import name_id
from ltjax.data.sampling.epoch_shuffle import instance_balanced
from ltjax.data.sampling.independent import (
    class_balanced,
    power,
    progressive,
    reversed_frequency,
    square_root,
)
from ltjax.data.sampling.sampler import Sampler, checked_labels

__all__ = [
    "SAMPLERS",
    "Batches",
    "Records",
    "Sampler",
    "class_balanced",
    "class_cycle",
    "deferred",
    "distinct_classes",
    "instance_balanced",
    "name_id",
    "power",
    "progressive",
    "reversed_frequency",
    "square_root",
]


class Records:
    """What a sampler draws from a training set: a function from positions of an epoch to records.

    It may be pickled and sent to workers. ``len`` is the number of records, the customary length of an epoch; positions
    beyond it go on drawing (``instance_balanced`` then begins another permutation).

    Args:
      sampler: of this module, such as ``class_balanced()``.
      labels: integers ``[N]`` in 0..C-1, the class of every record.
      seed: 0 .. 2^32 - 1.
      num_classes: C; None takes the largest label plus one.
      stream: a name; two streams with one seed draw independently (BBN and CBS+RRS+SS train on two at once).

    Raises:
      ValueError: if labels are no integers ``[N]``, or not in 0..C-1; for another seed, or a stream that is no name.

    Example:
      >>> records = Records(instance_balanced(), [0, 0, 0, 0, 1, 1], seed=0)
      >>> records(range(6)), records(range(6), epoch=1)
      (array([3, 0, 1, 5, 4, 2], dtype=int32), array([1, 4, 0, 2, 5, 3], dtype=int32))
      >>> int(records(4))
      4
    """

    def __init__(
        self,
        sampler: Sampler,
        labels: Sequence[int] | HasArray,
        *,
        seed: int = 0,
        num_classes: int | None = None,
        stream: str = "image",
    ) -> None:
        classes = checked_labels(labels, num_classes)
        num_classes = int(classes.max()) + 1 if num_classes is None else num_classes
        if not isinstance(stream, str):
            raise ValueError(f"stream: must be a name, such as 'image', not {stream!r}")
        _check_word("seed", seed)
        self._sampler, self._tables = sampler, sampler.tables(classes, num_classes)
        self._seed, self._stream, self._size = seed, name_id(stream), len(classes)

    def __len__(self) -> int:
        return self._size

    def __call__(self, positions: int | Sequence[int] | HasArray, *, epoch: int = 0) -> npt.NDArray[np.int32]:
        """The records at these positions (integers of any shape, 0 .. 2^32 - 1) of an epoch: int32 of their shape.

        Raises:
          ValueError: for other positions, or an epoch that is not 0 .. 2^32 - 1.
        """
        offset = np.asarray(positions)
        if not np.issubdtype(offset.dtype, np.integer):
            raise ValueError(f"positions: must be integers, not {offset.dtype}")
        if offset.size and not 0 <= offset.min() <= offset.max() < 2**32:
            raise ValueError(f"positions: must be in 0..2^32-1, not {offset.min()}..{offset.max()}")
        _check_word("epoch", epoch)
        records: npt.NDArray[np.int32] = self._sampler.draw(self._tables, self._seed, self._stream, epoch, offset)
        return records

    def batches(self, batch_size: int, *, epoch: int = 0, drop_last: bool = True) -> "Batches":
        """The batches of one epoch, as a sequence; ``drop_last=False`` keeps a last one that is smaller.

        Raises:
          ValueError: if batch_size is below 1.

        Example:
          >>> batches = Records(class_cycle(), np.repeat([0, 1], [9, 1])).batches(4, drop_last=False)
          >>> [batch.tolist() for batch in batches], batches[1].tolist()
          ([[9, 9, 9, 9], [6, 0, 5, 8], [2, 4]], [6, 0, 5, 8])
        """
        if batch_size < 1:
            raise ValueError(f"batch_size: must be at least 1, not {batch_size}")
        return Batches(self, batch_size, epoch, drop_last)


def _check_word(name: str, value: int) -> None:
    if not 0 <= operator.index(value) < 2**32:
        raise ValueError(f"{name}: must be in 0..2^32-1, not {value}")


@dataclasses.dataclass(frozen=True)
class Batches(Sequence[npt.NDArray[np.int32]]):
    """The batches of records of one epoch, of ``Records.batches``: any of them at once, or all of them in order."""

    records: Records
    batch_size: int
    epoch: int
    drop_last: bool

    def __len__(self) -> int:
        whole, rest = divmod(len(self.records), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    @overload
    def __getitem__(self, index: int) -> npt.NDArray[np.int32]: ...
    @overload
    def __getitem__(self, index: slice) -> list[npt.NDArray[np.int32]]: ...
    def __getitem__(self, index: int | slice) -> npt.NDArray[np.int32] | list[npt.NDArray[np.int32]]:
        """Batch ``index``, int32 ``[batch_size]``; a list of batches for a slice."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        number = range(len(self))[index]  # also from the end, or an IndexError
        begin = number * self.batch_size
        return self.records(range(begin, min(begin + self.batch_size, len(self.records))), epoch=self.epoch)
