"""The classes of images that have any number of them, one image after another."""

import dataclasses
import hashlib
from collections.abc import Iterable

import numpy as np


@dataclasses.dataclass(frozen=True)
class LabelSets:
    """The classes of N images, M in all.

    Attributes:
      classes: int32 [M], those of one image after those of another, ascending within an image, each once.
      ends: int64 [N], where those of each image end.

    Example:
      >>> sets = LabelSets.of([[2, 0], [], [1, 1]])
      >>> sets.classes.tolist(), sets.ends.tolist(), sets[0].tolist()
      ([0, 2, 1], [2, 2, 3], [0, 2])
    """

    classes: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, each: Iterable[Iterable[int]]) -> "LabelSets":
        """Those of each image, in any order, possibly repeated."""
        lists = [sorted(set(one)) for one in each]
        flat = [label for one in lists for label in one]
        return cls(np.array(flat, np.int32), np.cumsum([len(one) for one in lists], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, record: int) -> np.ndarray:
        """The classes of one image, int32 [k]."""
        return self.classes[self.ends[record - 1] if record else 0 : self.ends[record]]

    def sizes(self) -> np.ndarray:
        """int64 [N], the number of classes of each image."""
        return np.diff(self.ends, prepend=0)

    def owners(self) -> np.ndarray:
        """int64 [M], the image that each of ``classes`` is of."""
        return np.repeat(np.arange(len(self)), self.sizes())

    def take(self, records: np.ndarray) -> "LabelSets":
        """Those of these images [n], in this order; records may repeat.

        Example:
          >>> LabelSets.of([[0], [1, 2]]).take(np.array([1, 0, 1])).classes.tolist()
          [1, 2, 0, 1, 2]
        """
        sizes = self.sizes()[records]
        ends = np.cumsum(sizes)
        shift = np.repeat((self.ends[records] - sizes) - (ends - sizes), sizes)
        return LabelSets(self.classes[np.arange(len(shift)) + shift], ends)

    def multi_hot(self, num_classes: int) -> np.ndarray:
        """bool [N, C].

        Example:
          >>> LabelSets.of([[2], []]).multi_hot(3).astype(int).tolist()
          [[0, 0, 1], [0, 0, 0]]
        """
        found = np.zeros((len(self), num_classes), bool)
        found[self.owners(), self.classes] = True
        return found

    def counts(self, num_classes: int) -> np.ndarray:
        """int64 [C], the images of each class: their sum is that of the labels, not of the images."""
        return np.bincount(self.classes, minlength=num_classes)

    def rarest(self, counts: np.ndarray) -> np.ndarray:
        """int32 [N]: the class of each image that has the fewest images by ``counts`` [C].

        For an image without a class it is the commonest one.

        Example:
          >>> LabelSets.of([[0, 2], [0, 1], []]).rarest(np.array([9, 5, 1])).tolist()
          [2, 1, 0]
        """
        order = np.argsort(counts, kind="stable")
        rank = np.argsort(order)  # 0 is the rarest
        found = np.full(len(self), len(counts) - 1, np.int64)
        np.minimum.at(found, self.owners(), rank[self.classes])
        return order[found].astype(np.int32)

    def encoded(self) -> bytes:
        """The same bytes for the same classes of the same images."""
        return self.ends.astype("<i8").tobytes() + self.classes.astype("<i8").tobytes()

    def sha256(self) -> str:
        """SHA-256, in hex, of all of them."""
        return hashlib.sha256(self.encoded()).hexdigest()
