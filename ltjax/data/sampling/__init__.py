"""Samplers: pure functions from a position (seed, stream, epoch, offset) to a record; no iterator, so no state to save.

A sampler is written once, over the array namespace it is given (``Ops``): numpy on the host and jax.numpy inside a
jitted program draw the same records. Everything it needs to know of the data set is in its tables, which are arrays and
may be traced. A sampler that works in blocks (a batch of distinct classes, a visit to a class) computes the block's
number as ``offset // block``. One that changes during training is given the total number of epochs when it is made.

``sampler`` defines what a sampler is, ``counter_rng`` its randomness; ``epoch_shuffle``, ``independent`` and
``class_cycle`` hold the samplers, ``combine`` those made of others. ``SAMPLERS`` lists them by name.
"""

from typing import Protocol

from ltjax.data.sampling import class_cycle, epoch_shuffle, independent
from ltjax.data.sampling.sampler import Sampler

__all__ = ["SAMPLERS", "MakeSampler"]


class MakeSampler(Protocol):
    """Makes a sampler for a training of ``epochs`` epochs in batches of ``batch_size`` images; most need neither."""

    def __call__(self, *, epochs: int, batch_size: int) -> Sampler: ...


SAMPLERS: dict[str, MakeSampler] = {
    "instance_balanced": lambda epochs, batch_size: epoch_shuffle.instance_balanced(),
    "class_balanced": lambda epochs, batch_size: independent.class_balanced(),
    "square_root": lambda epochs, batch_size: independent.square_root(),
    "progressive": lambda epochs, batch_size: independent.progressive(epochs),
    "progressive_paper": lambda epochs, batch_size: independent.progressive(epochs, author=False),
    "class_cycle": lambda epochs, batch_size: class_cycle.class_cycle(),
    "reversed": lambda epochs, batch_size: independent.reversed_frequency(),
    "distinct_classes": lambda epochs, batch_size: class_cycle.distinct_classes(batch_size),
}
