"""Substitutes for records that cannot be read, so that one bad file does not end a run of several days.

The substitute is another record of the same class, drawn for the position. So the batch of a step is the same for any
number of hosts and after every resume, like everything else that is drawn.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np

from ltjax.data.dataset import Source
from ltjax.data.sampling.counter_rng import below, name_id, uint32, words
from ltjax.errors import InputError

SUBSTITUTE = name_id("substitute")
MAX_SUBSTITUTES = 16  # tried at one position; a class with more unreadable records has another problem

T = TypeVar("T")
Position = tuple[int, int, int, np.ndarray]  # seed, stream, epoch, offset [B]


@dataclasses.dataclass(frozen=True)
class Fault:
    """A record that cannot be read."""

    record: int
    index: int  # in the data set's original order
    reason: str  # the whole message, with the record, its location, and what is wrong


def substitutes(labels: np.ndarray, record: int, position: tuple[int, int, int, int]) -> Iterator[int]:
    """The other records of the same class, each once, in cyclic order from one that is drawn for the position.

    Args:
      labels: of all records.
      record: the one that cannot be read.
      position: (seed, stream, epoch, offset).

    Example:
      >>> list(substitutes(np.array([0, 1, 0, 0, 1]), 2, (0, name_id("image"), 0, 7)))
      [3, 0]
    """
    members = np.flatnonzero(labels == labels[record])
    seed, stream, epoch, offset = position
    word = words(seed, stream, SUBSTITUTE, epoch, offset)[0]
    start = int(below(word, uint32(len(members)))[0])
    for member in np.roll(members, -start):
        if member != record:
            yield int(member)


def read_or_replace(
    source: Source, records: np.ndarray, make: Callable[[int, int], T], position: Position
) -> tuple[list[T], np.ndarray, list[Fault]]:
    """The images of these records; an unreadable one is replaced by another record of its class.

    Args:
      source: the images.
      records: [B].
      make: (slot of the batch, record) -> its image, or views of it; raises InputError, which names the record, if it
        cannot be read.
      position: of the slots in the epoch.

    Returns:
      images, a list of B; the records [B] that were read; a fault for each record that could not be read.

    Raises:
      InputError: if none of the first ``MAX_SUBSTITUTES`` substitutes can be read either.
    """
    images: list[T] = []
    used, faults = np.array(records), []
    seed, stream, epoch, offsets = position

    def attempt(slot: int, record: int) -> T | None:
        try:
            return make(slot, record)
        except InputError as error:
            faults.append(Fault(record, int(source.index[record]), str(error)))
            return None

    for slot, record in enumerate(records.tolist()):
        image = attempt(slot, record)
        if image is None:
            others = substitutes(source.labels, record, (seed, stream, epoch, int(offsets[slot])))
            for other, _ in zip(others, range(MAX_SUBSTITUTES), strict=False):
                image = attempt(slot, other)
                if image is not None:
                    used[slot] = other
                    break
            else:
                raise InputError(f"{faults[-1].reason}; nor can its substitutes, other records of class "
                                 f"{source.labels[record]}: repair the files")  # fmt: skip
        images.append(image)
    return images, used, faults


def as_arrays(faults: list[Fault]) -> dict[str, np.ndarray]:
    """The faults as arrays, because batches pass between processes as arrays.

    Example:
      >>> faults = [Fault(3, 30, "bad"), Fault(4, 40, "worse")]
      >>> from_arrays(as_arrays(faults)) == faults
      True
    """
    return {
        "record": np.array([fault.record for fault in faults], np.int64),
        "index": np.array([fault.index for fault in faults], np.int64),
        "reason": np.array([fault.reason for fault in faults], np.str_),
    }


def from_arrays(arrays: dict[str, np.ndarray]) -> list[Fault]:
    """The inverse of ``as_arrays``."""
    columns = (np.asarray(arrays[name]).tolist() for name in ("record", "index", "reason"))
    return [Fault(*row) for row in zip(*columns, strict=True)]
