"""Batches of decoded images, read ahead by threads or worker processes while the device is busy."""

import dataclasses
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import SupportsInt

import numpy as np

from ltjax.data.loading.prefetch import FAULTS, Batch, Batches, Watch
from ltjax.data.loading.unreadable import Fault, as_arrays

Read = Callable[[int], np.ndarray | str]  # position -> image uint8 [H, W, C], or why it cannot be read


@dataclasses.dataclass(frozen=True)
class Spans:
    """The images of each batch, [begin, end) positions: blocks are cut into batches, and no batch has two blocks.

    Attributes:
      blocks: the numbers of the blocks, in order.
      block: images of a block.
      batch: images of a batch.
      total: images in all.
    """

    blocks: tuple[int, ...]
    block: int
    batch: int
    total: int

    @property
    def each(self) -> int:
        """Batches of a block."""
        return -(-self.block // self.batch)

    def __len__(self) -> int:
        return len(self.blocks) * self.each

    def __getitem__(self, number: int) -> tuple[int, int]:
        """Its images; none for those beyond the end of the last block."""
        first = self.blocks[number // self.each] * self.block
        begin = first + number % self.each * self.batch
        end = min(begin + self.batch, first + self.block, self.total)
        return min(begin, end), end


@dataclasses.dataclass(frozen=True)
class Elements:
    """Element k is batch k: {"image": uint8 [batch, H, W, C], "mask": bool [batch]}; unreadable ones under FAULTS.

    Attributes:
      read: the images, by position.
      spans: which images are in a batch.
      positions: int64, what the spans are positions in; None: the images themselves.
      image_shape: (H, W, C).
      threads: that read one batch together; 1 in worker processes.
    """

    read: Read
    spans: Spans
    positions: np.ndarray | None
    image_shape: tuple[int, int, int]
    threads: int = 1

    def __len__(self) -> int:
        return len(self.spans)

    def __getitem__(self, element: SupportsInt) -> Batch:
        begin, end = self.spans[int(element)]
        images = np.zeros((self.spans.batch, *self.image_shape), np.uint8)  # of one shape: one program is compiled
        mask = np.zeros(self.spans.batch, bool)
        places = range(begin, end) if self.positions is None else self.positions[begin:end].tolist()
        faults = []
        mapped = _pool(self.threads).map(self.read, places) if self.threads > 1 else map(self.read, places)
        for row, (place, found) in enumerate(zip(places, mapped, strict=True)):
            if isinstance(found, str):
                faults.append(Fault(row, place, found))
            else:
                images[row], mask[row] = found, True
        return {"image": images, "mask": mask} | ({FAULTS: as_arrays(faults)} if faults else {})


_POOLS: dict[int, ThreadPoolExecutor] = {}


def _pool(threads: int) -> ThreadPoolExecutor:
    """The threads of this process, started once."""
    if threads not in _POOLS:
        _POOLS[threads] = ThreadPoolExecutor(threads, thread_name_prefix="ltjax-decode")
    return _POOLS[threads]


def read_ahead(elements: Elements, workers: int, on_faults: Callable[[list[Fault]], None]) -> Batches:
    """The batches in order; ``workers`` processes read them, or with 0 as many threads as there are cores."""
    threads = 1 if workers else len(os.sched_getaffinity(0)) + 2
    return Batches(dataclasses.replace(elements, threads=threads), workers, Watch(on_faults))
