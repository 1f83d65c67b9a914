"""Millions of file names in little memory: one text, and where each name begins and ends in it."""

import array
import dataclasses
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping

import numpy as np


@dataclasses.dataclass(frozen=True)
class PackedNames:
    """File names by position; the 437,513 of iNaturalist 2018 take 35 MB.

    Attributes:
      text: bytes that contain all names.
      starts, ends: int64 [N]; name i is ``text[starts[i]:ends[i]]``. Bytes that are not UTF-8 are preserved, as in
        Python's paths (surrogateescape); in a locale of another encoding a name is what opens the file there.

    Example:
      >>> names = PackedNames.of(["rose/1.jpg", "tulip/7.jpg"])
      >>> len(names), names[1], list(names.take(np.array([1, 0])))
      (2, 'tulip/7.jpg', ['tulip/7.jpg', 'rose/1.jpg'])
    """

    text: bytes
    starts: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, names: Iterable[str]) -> "PackedNames":
        """Packs these names, as the bytes that they are on the disk."""
        text, ends = bytearray(), array.array("q")
        for name in names:
            text += os.fsencode(name)
            ends.append(len(text))
        stops = np.array(ends, np.int64)
        return cls(bytes(text), np.concatenate([[0], stops])[:-1].astype(np.int64), stops)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, position: int) -> str:
        return os.fsdecode(self.text[self.starts[position] : self.ends[position]])

    def __iter__(self) -> Iterator[str]:
        return map(os.fsdecode, self.encoded())

    def encoded(self) -> Iterator[bytes]:
        """All names as bytes, in order."""
        text = self.text
        return (text[a:b] for a, b in zip(self.starts.tolist(), self.ends.tolist(), strict=True))

    def take(self, positions: np.ndarray) -> "PackedNames":
        """The names at these positions [n], in this order."""
        return PackedNames(self.text, self.starts[positions], self.ends[positions])

    def replaced(self, changes: Mapping[int, str]) -> "PackedNames":
        """The names with those at some positions replaced.

        Example:
          >>> list(PackedNames.of(["a", "./b", "c"]).replaced({1: "b"}))
          ['a', 'b', 'c']
        """
        new, positions = PackedNames.of(changes.values()), np.array(list(changes), np.int64)
        starts, ends = self.starts.copy(), self.ends.copy()
        starts[positions], ends[positions] = new.starts + len(self.text), new.ends + len(self.text)
        return PackedNames(self.text + new.text, starts, ends)

    def sha256(self) -> str:
        """SHA-256, in hex, of the names joined by line breaks."""
        return hashlib.sha256(b"\n".join(self.encoded())).hexdigest()

    def keys(self) -> np.ndarray:
        """int64 [N], hashes of the names; valid in this process only."""
        return np.fromiter((hash(name) for name in self.encoded()), np.int64, len(self))

    def shared(self, other: "PackedNames") -> tuple[np.ndarray, np.ndarray]:
        """(here, there): the positions, here and in ``other``, of the names that both have; int64.

        Example:
          >>> here, there = PackedNames.of(["a", "b", "c"]).shared(PackedNames.of(["c", "x", "a"]))
          >>> here.tolist(), there.tolist()
          ([0, 2], [2, 0])
        """
        keys, others = self.keys(), other.keys()
        places = {other[i]: i for i in np.flatnonzero(np.isin(others, keys)).tolist()}
        pairs = [(i, places[self[i]]) for i in np.flatnonzero(np.isin(keys, others)).tolist() if self[i] in places]
        found = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        return found[:, 0], found[:, 1]

    def repeats(self) -> tuple[np.ndarray, np.ndarray]:
        """(later, first): the positions of repeated names, and of their first occurrences; int64, ``later`` ascending.

        Example:
          >>> later, first = PackedNames.of(["a", "b", "a", "a"]).repeats()
          >>> later.tolist(), first.tolist()
          ([2, 3], [0, 0])
        """
        keys = self.keys()
        order = np.argsort(keys, kind="stable")
        same = keys[order][1:] == keys[order][:-1]
        suspects = np.unique(np.concatenate([order[1:][same], order[:-1][same]]))
        seen: dict[str, int] = {}
        pairs = [(int(i), seen.setdefault(self[i], int(i))) for i in suspects]
        later = np.array([pair for pair in pairs if pair[0] != pair[1]], dtype=np.int64).reshape(-1, 2)
        return later[:, 0], later[:, 1]
