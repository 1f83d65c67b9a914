"""The PyTorch side of the samplers: WeightedRandomSampler, and a common class-aware sampler."""

from collections.abc import Iterator
from typing import Any

import numpy as np


def weighted(labels: np.ndarray, num_classes: int, draws: int) -> Any:
    """torch's WeightedRandomSampler with weight 1 / n for each record of a class with n records.

    Raises:
      RuntimeError: from torch, above 2^24 records, when the first record is drawn.
    """
    import torch
    from torch.utils.data import WeightedRandomSampler

    weights = 1 / np.bincount(labels, minlength=num_classes)
    return WeightedRandomSampler(torch.from_numpy(weights[labels]), draws)  # type: ignore[arg-type]


class ClassAware:
    """Visits the classes in a shuffled cycle and takes images from each class's shuffled cycle; with lists of ints."""

    def __init__(self, labels: np.ndarray, num_classes: int, images_per_visit: int, seed: int = 0) -> None:
        import random

        self.random, self.visit = random.Random(seed), images_per_visit
        self.members: list[list[int]] = [[] for _ in range(num_classes)]
        for record, label in enumerate(labels.tolist()):
            self.members[label].append(record)
        self.classes = [c for c, members in enumerate(self.members) if members]
        for members in [self.classes, *self.members]:
            self.random.shuffle(members)
        self.next = [0] * num_classes

    def __iter__(self) -> Iterator[int]:
        while True:
            for c in self.classes:
                members = self.members[c]
                for _ in range(self.visit):
                    if self.next[c] == len(members):
                        self.random.shuffle(members)
                        self.next[c] = 0
                    yield members[self.next[c]]
                    self.next[c] += 1
            self.random.shuffle(self.classes)
