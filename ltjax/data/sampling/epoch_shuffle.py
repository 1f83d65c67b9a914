"""The sampler of ordinary training: every image once per epoch, in an order that is shuffled again every epoch."""

import numpy as np

from ltjax.data.sampling.counter_rng import Array, Integer, Ops, permutation_tables, permute
from ltjax.data.sampling.sampler import PositionDraw, Sampler, Tables, checked_labels, shuffle_keys


def _instance_tables(labels: np.ndarray, num_classes: int) -> dict[str, np.ndarray]:
    return permutation_tables(len(checked_labels(labels, num_classes)))


def _instance_draw(tables: Tables, seed: Integer, stream: Integer, epoch: Integer, offset: Array, ops: Ops) -> Array:
    lap, position = offset // tables["size"], offset % tables["size"]
    return permute(tables, shuffle_keys(seed, stream, epoch, lap, ops), position, ops)


def instance_balanced() -> Sampler:
    """Every image once per epoch, in a different order each epoch: p(class) = n_c / N.

    Positions 0 .. N - 1 of an epoch are an exact permutation of the records; positions N .. 2N - 1 are another one.

    Example:
      >>> from ltjax.data.sampling.counter_rng import name_id
      >>> sampler = instance_balanced()
      >>> tables = sampler.tables(np.zeros(6, np.int32), num_classes=1)
      >>> [sampler.draw(tables, 0, name_id("image"), epoch, np.arange(6)).tolist() for epoch in range(2)]
      [[3, 0, 1, 5, 4, 2], [1, 4, 0, 2, 5, 3]]

    Source: Kang et al., "Decoupling representation and classifier for long-tailed recognition", ICLR 2020, eq. 1 with
    q = 1.
    """
    return Sampler("instance_balanced", _instance_tables, PositionDraw(_instance_draw))
