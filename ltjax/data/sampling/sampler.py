"""What a sampler is (``Sampler``), and what samplers share: shapes of draws, shuffle keys, records by class."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ltjax.data.sampling.counter_rng import HOST, Array, Integer, Ops, RoundKeys, mix, name_id, uint32, words

SAMPLE = name_id("sample")

FEISTEL_ROUNDS = 12  # measured: after 8 the 720 orders of six records are visibly unequal, after 12 they are not
GOLDEN_RATIO = np.uint32(0x9E3779B9)  # 2^32 / phi: its multiples spread evenly over the words

Tables = Mapping[str, Array]  # name -> array, or nested tables


class Draw(Protocol):
    """The records at the positions ``offset`` of an epoch: int32, of the shape of ``offset``."""

    def __call__(
        self, tables: Tables, seed: Integer, stream: Integer, epoch: Integer, offset: Array, ops: Ops = HOST
    ) -> Array: ...


@dataclasses.dataclass(frozen=True)
class Sampler:
    """One way to choose the training images.

    Attributes:
      name: as in ``SAMPLERS``.
      tables: (labels [N], num_classes) -> dict of numpy arrays (or nested dicts), computed once on the host; ValueError
        for labels that are no integers 0 .. num_classes - 1.
      draw: (tables, seed, stream, epoch, offset, ops) -> int32 records of the shape of ``offset``. ``seed``, ``stream``
        and ``epoch`` are integers 0 .. 2^32 - 1 (``stream`` is ``name_id`` of the stream's name); all may be traced.
      same_as: the stream whose records it draws too, for another view of the same images; "" = records of its own.

    Example:
      >>> from ltjax.data.sampling.independent import class_balanced
      >>> sampler = class_balanced()
      >>> tables = sampler.tables(np.array([0, 0, 0, 0, 0, 0, 0, 1]), num_classes=2)
      >>> sampler.draw(tables, seed=0, stream=name_id("image"), epoch=0, offset=np.arange(8)).tolist()
      [3, 7, 7, 0, 0, 1, 0, 7]
    """

    name: str
    tables: Callable[[np.ndarray, int], dict[str, Array]]
    draw: Draw
    same_as: str = dataclasses.field(default="", kw_only=True)


def another_view(sampler: Sampler, stream: str) -> Sampler:
    """The sampler of a stream with the images of ``stream``, whose sampler is given; only their augmentation differs.

    Example:
      >>> from ltjax.data.sampling.independent import class_balanced
      >>> streams = {"image": class_balanced(), "second": another_view(class_balanced(), "image")}
      >>> {name: order_of(name, sampler) == name_id("image") for name, sampler in streams.items()}
      {'image': True, 'second': True}
    """
    return dataclasses.replace(sampler, same_as=stream)


def order_of(stream: str, sampler: Sampler) -> int:
    """What ``Sampler.draw`` is given as the stream."""
    return name_id(sampler.same_as or stream)


@dataclasses.dataclass(frozen=True)
class PositionDraw:
    """A ``Draw`` made of ``records``, which gets the positions as uint32 arrays; int32, of the shape of ``offset``.

    A class and not a closure, because samplers are pickled for worker processes.
    """

    records: Callable[[Tables, Integer, Integer, Integer, Array, Ops], Array]  # arguments as in ``Draw``

    def __call__(
        self, tables: Tables, seed: Integer, stream: Integer, epoch: Integer, offset: Array, ops: Ops = HOST
    ) -> Array:
        if isinstance(stream, str):
            raise TypeError(f"stream: draw takes the number of a stream, not its name; give name_id({stream!r})")
        records = self.records(tables, seed, stream, epoch, uint32(offset, ops), ops)
        return ops.xp.reshape(records, ops.xp.shape(offset)).astype(ops.xp.int32)


def shuffle_keys(
    seed: Integer, stream: Integer, epoch: Integer, which: Array, ops: Ops, purpose: int = SAMPLE
) -> RoundKeys:
    """The keys of one of an epoch's permutations. ``which`` (uint32) is its number: the lap in an epoch longer than the
    data, a batch, or ``combine_words(class, lap)``."""
    return RoundKeys(*words(seed, stream, purpose, epoch, np.arange(FEISTEL_ROUNDS // 2), ops), which * GOLDEN_RATIO)


def combine_words(one: Array, two: Array) -> Array:
    """One uint32 made of two: pairs of small numbers collide no more often than random words."""
    return mix(mix(one + GOLDEN_RATIO) + two)


def checked_labels(labels: npt.ArrayLike, num_classes: int | None) -> np.ndarray:
    """The labels as an array [N]; without a number of classes C is the largest label plus one, at most 2^31.

    Raises:
      ValueError: if they are no integers [N], or not in 0..C-1.
    """
    classes = np.asarray(labels)
    if classes.ndim != 1 or not classes.size or not np.issubdtype(classes.dtype, np.integer):
        raise ValueError(f"labels: expected integers [N], not {classes.dtype} {list(classes.shape)}")
    if num_classes is None:
        if classes.min() < 0:
            raise ValueError(f"labels: {classes.min()} is negative; classes are numbered from 0")
        num_classes = min(int(classes.max()) + 1, 2**31)
    if classes.min() < 0 or classes.max() >= num_classes:
        raise ValueError(
            f"labels: must be in 0..{num_classes - 1} (num_classes is {num_classes}), "
            f"not {classes.min()}..{classes.max()}"
        )
    return classes


def class_tables(labels: np.ndarray, num_classes: int) -> dict[str, np.ndarray]:
    """The records of every class that has any, one class after another ("CSR").

    Returns:
      ``records`` int32 [N]; ``first`` and ``size`` uint32 [number of classes with records].

    Example:
      >>> {name: table.tolist() for name, table in class_tables(np.array([2, 0, 2]), num_classes=3).items()}
      {'records': [1, 0, 2], 'first': [0, 1], 'size': [1, 2]}
    """
    labels = checked_labels(labels, num_classes)
    counts = np.bincount(labels, minlength=num_classes)
    narrow = labels.astype(np.uint16) if num_classes <= 2**16 else labels  # numpy radix-sorts 16-bit integers
    first = np.cumsum(counts) - counts
    present = counts > 0
    return {
        "records": np.argsort(narrow, kind="stable").astype(np.int32),
        "first": first[present].astype(np.uint32),
        "size": counts[present].astype(np.uint32),
    }
