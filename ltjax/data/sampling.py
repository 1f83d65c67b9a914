"""Samplers: pure functions from a position (epoch, offset) to a record. There is no iterator and so no state to save.

A sampler is written once over the array namespace it is given (``Ops``): numpy on the host, jax.numpy inside a jitted
program, the same records. Whatever it needs of the data set lies in its tables, which are arrays and may be traced. A
sampler that works in blocks (a batch of distinct classes, a visit to a class) gets the block's number from
``offset // block``; one that changes over training gets the total number of epochs when it is made.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from ltjax.data.random import HOST, Ops, below, name_id, permutation_tables, permute, uint32, words

SAMPLE = name_id("sample")

FEISTEL_ROUNDS = 12  # measured: 8 leave the 720 orders of six records visibly unequal, 12 do not
GOLDEN_RATIO = np.uint32(0x9E3779B9)  # 2^32 / phi: its multiples spread evenly over the words

Tables = Mapping[str, Any]


class Draw(Protocol):
    """The records at the positions ``offset`` of an epoch: int32, of the shape of ``offset``."""

    def __call__(self, tables: Tables, seed: Any, stream: Any, epoch: Any, offset: Any, ops: Ops = HOST) -> Any: ...


@dataclasses.dataclass(frozen=True)
class Sampler:
    """One way to choose the training images.

    Attributes:
      name: as in ``SAMPLERS``.
      tables: (labels [N], num_classes) -> dict of numpy arrays, computed once on the host.
      draw: (tables, seed, stream, epoch, offset, ops) -> int32 records of the shape of ``offset``. ``seed``, ``stream``
        and ``epoch`` are integers 0 .. 2^32 - 1 (``stream`` is ``name_id`` of the stream's name); all may be traced.

    Example:
      >>> sampler = class_balanced()
      >>> tables = sampler.tables(np.array([0, 0, 0, 0, 0, 0, 0, 1]), num_classes=2)
      >>> sampler.draw(tables, seed=0, stream=name_id("image"), epoch=0, offset=np.arange(8)).tolist()
      [3, 7, 7, 0, 0, 1, 0, 7]
    """

    name: str
    tables: Callable[[np.ndarray, int], dict[str, np.ndarray]]
    draw: Draw


def _framed(draw: Callable) -> Draw:
    """The frame of every draw: positions come in as uint32 arrays, records go out as int32 of the caller's shape."""

    @functools.wraps(draw)
    def framed(tables: Tables, seed: Any, stream: Any, epoch: Any, offset: Any, ops: Ops = HOST) -> Any:
        records = draw(tables, seed, stream, epoch, uint32(offset, ops), ops)
        return ops.xp.reshape(records, ops.xp.shape(offset)).astype(ops.xp.int32)

    return framed


def _shuffle_keys(seed: Any, stream: Any, epoch: Any, lap: Any, ops: Ops) -> list:
    """The round keys of the permutation of one epoch, and of every further lap of positions beyond the data set."""
    pairs = words(seed, stream, SAMPLE, epoch, np.arange(FEISTEL_ROUNDS // 2), ops)
    return [word[i : i + 1] + lap * GOLDEN_RATIO for i in range(FEISTEL_ROUNDS // 2) for word in pairs]


def _instance_tables(labels: np.ndarray, num_classes: int) -> dict[str, np.ndarray]:
    del num_classes
    return permutation_tables(len(labels))


@_framed
def _instance_draw(tables: Tables, seed: Any, stream: Any, epoch: Any, offset: Any, ops: Ops) -> Any:
    lap, position = offset // tables["size"], offset % tables["size"]
    return permute(tables, _shuffle_keys(seed, stream, epoch, lap, ops), position, ops)


def instance_balanced() -> Sampler:
    """Every image once an epoch, in another order each epoch: p(class) = n_c / N.

    Positions 0 .. N - 1 of an epoch are an exact permutation of the records; positions N .. 2N - 1 are another one.

    Example:
      >>> sampler = instance_balanced()
      >>> tables = sampler.tables(np.zeros(6, np.int32), num_classes=1)
      >>> [sampler.draw(tables, 0, name_id("image"), epoch, np.arange(6)).tolist() for epoch in range(2)]
      [[3, 0, 1, 5, 4, 2], [1, 4, 0, 2, 5, 3]]

    Source: Kang et al., "Decoupling representation and classifier for long-tailed recognition", ICLR 2020, eq. 1 with
    q = 1.
    """
    return Sampler("instance_balanced", _instance_tables, _instance_draw)


def class_tables(labels: np.ndarray, num_classes: int) -> dict[str, np.ndarray]:
    """The records of every class that has any, one class after another ("CSR").

    Returns:
      ``records`` int32 [N]; ``first`` and ``size`` uint32 [number of classes with records].
    """
    labels = np.asarray(labels)
    counts = np.bincount(labels, minlength=num_classes)
    narrow = labels.astype(np.uint16) if num_classes <= 2**16 else labels  # numpy sorts 16-bit integers by radix
    first = np.cumsum(counts) - counts
    present = counts > 0
    return {
        "records": np.argsort(narrow, kind="stable").astype(np.int32),
        "first": first[present].astype(np.uint32),
        "size": counts[present].astype(np.uint32),
    }


@_framed
def _class_draw(tables: Tables, seed: Any, stream: Any, epoch: Any, offset: Any, ops: Ops) -> Any:
    class_word, image_word = words(seed, stream, SAMPLE, epoch, offset, ops)
    chosen = below(class_word, uint32(tables["size"].shape[0], ops))
    image = below(image_word, tables["size"][chosen])
    return tables["records"][tables["first"][chosen] + image]


def class_balanced() -> Sampler:
    """Every draw on its own: a class, all alike, then one of its images, all alike: p(class) = 1 / C.

    Classes without a record are not drawn. No class and no image of a class is off by more than the fraction
    C / 2^32 and n_c / 2^32 of its probability.

    Example:
      >>> sampler = class_balanced()
      >>> tables = sampler.tables(np.array([0, 0, 0, 0, 0, 0, 0, 1]), num_classes=2)
      >>> sampler.draw(tables, 0, name_id("image"), 0, np.arange(8)).tolist()
      [3, 7, 7, 0, 0, 1, 0, 7]

    Source: Kang et al., "Decoupling representation and classifier for long-tailed recognition", ICLR 2020, eq. 1 with
    q = 0.
    """
    return Sampler("class_balanced", class_tables, _class_draw)


SAMPLERS: dict[str, Callable[..., Sampler]] = {
    "instance_balanced": instance_balanced,
    "class_balanced": class_balanced,
}
