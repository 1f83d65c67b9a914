"""Substitutes for records that cannot be read, so that one bad file does not end a run of days.

A slot of a batch keeps its class: another record of the class, drawn for this position, takes it. So the batch of a
step is the same on any number of hosts and after any resume, like everything else that is drawn.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ltjax.data.dataset import Source
from ltjax.data.sampling.counter_rng import below, name_id, uint32, words
from ltjax.errors import InputError

SUBSTITUTE = name_id("substitute")
TRIED = 16  # records of a class at one position; a class with so many bad ones has another fault than bad files

Position = tuple[int, int, int, np.ndarray]  # seed, stream, epoch, offset [B]
Make = Callable[[int, int], np.ndarray]  # (place in the batch, record) -> its image


@dataclasses.dataclass(frozen=True)
class Fault:
    """A record that cannot be read."""

    record: int
    index: int  # in the data set's original order
    reason: str  # the whole message: it names the record, where it lies, and what is wrong


def substitutes(labels: np.ndarray, record: int, position: tuple[int, int, int, int]) -> Iterator[int]:
    """Other records of the same class, each once: in order from one that is drawn for the position, and round.

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
    source: Source, records: np.ndarray, make: Make, position: Position
) -> tuple[list[np.ndarray], np.ndarray, list[Fault]]:
    """The images of these records; where one cannot be read, that of another record of its class.

    Args:
      source: what is read.
      records: [B].
      make: (place, record) -> uint8 [H, W, C]; raises InputError for an unreadable record, naming it.
      position: of the places in the epoch.

    Returns:
      images, a list of B; records [B], those that were read; faults, the ones that could not be.

    Raises:
      InputError: where a class has no record left that can be read, or ``TRIED`` of them in turn cannot.
    """
    images: list[np.ndarray] = []
    used, faults = np.array(records), []
    seed, stream, epoch, offsets = position

    def attempt(place: int, record: int) -> np.ndarray | None:
        try:
            return make(place, record)
        except InputError as error:
            faults.append(Fault(record, int(source.index[record]), str(error)))
            return None

    for place, record in enumerate(records.tolist()):
        image = attempt(place, record)
        if image is None:
            others = substitutes(source.labels, record, (seed, stream, epoch, int(offsets[place])))
            for other, _ in zip(others, range(TRIED), strict=False):
                image = attempt(place, other)
                if image is not None:
                    used[place] = other
                    break
            else:
                raise InputError(f"{faults[-1].reason}; nor can any record that may take its place (class "
                                 f"{source.labels[record]})")  # fmt: skip
        images.append(image)
    return images, used, faults


def as_arrays(faults: list[Fault]) -> dict[str, Any]:
    """As a part of a batch, which passes between processes as arrays.

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


def from_arrays(arrays: dict[str, Any]) -> list[Fault]:
    """What ``as_arrays`` was given."""
    columns = (np.asarray(arrays[name]).tolist() for name in ("record", "index", "reason"))
    return [Fault(*row) for row in zip(*columns, strict=True)]
