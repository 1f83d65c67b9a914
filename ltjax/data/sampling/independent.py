"""Samplers: pure functions from a position (epoch, offset) to a record. There is no iterator and so no state to save.

A sampler is written once over the array namespace it is given (``Ops``): numpy on the host, jax.numpy inside a jitted
program, the same records. Whatever it needs of the data set lies in its tables, which are arrays and may be traced. A
sampler that works in blocks (a batch of distinct classes, a visit to a class) gets the block's number from
``offset // block``; one that changes over training gets the total number of epochs when it is made.
"""

import dataclasses
import functools
from typing import Any, Protocol

import numpy as np

from ltjax.data.sampling.class_cycle import class_cycle, distinct_classes
from ltjax.data.sampling.counter_rng import Ops, below, permutation_tables, permute, uint32, words
from ltjax.data.sampling.sampler import SAMPLE, Framed, Sampler, Tables, class_tables, shuffle_keys

__all__ = [
    "SAMPLERS",
    "Sampler",
    "Tables",
    "class_balanced",
    "class_cycle",
    "class_tables",
    "deferred",
    "distinct_classes",
    "instance_balanced",
    "power",
    "progressive",
    "reversed_frequency",
    "square_root",
    "subset_tables",
    "within",
]


def _instance_tables(labels: np.ndarray, num_classes: int) -> dict[str, np.ndarray]:
    del num_classes
    return permutation_tables(len(labels))


def _instance_draw(tables: Tables, seed: Any, stream: Any, epoch: Any, offset: Any, ops: Ops) -> Any:
    lap, position = offset // tables["size"], offset % tables["size"]
    return permute(tables, shuffle_keys(seed, stream, epoch, lap, ops), position, ops)


def instance_balanced() -> Sampler:
    """Every image once an epoch, in another order each epoch: p(class) = n_c / N.

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
    return Sampler("instance_balanced", _instance_tables, Framed(_instance_draw))


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
      >>> from ltjax.data.sampling.counter_rng import name_id
      >>> sampler = class_balanced()
      >>> tables = sampler.tables(np.array([0, 0, 0, 0, 0, 0, 0, 1]), num_classes=2)
      >>> sampler.draw(tables, 0, name_id("image"), 0, np.arange(8)).tolist()
      [3, 7, 7, 0, 0, 1, 0, 7]

    Source: Kang et al., "Decoupling representation and classifier for long-tailed recognition", ICLR 2020, eq. 1 with
    q = 0.
    """
    return Sampler("class_balanced", class_tables, Framed(_class_draw))


def _power_tables(labels: np.ndarray, num_classes: int, *, q: float) -> dict[str, np.ndarray]:
    """``class_tables`` and ``last_word`` uint32 [classes with records]: class c has the words from the one after class
    c - 1's last to its own."""
    tables = class_tables(labels, num_classes)
    reached = np.cumsum(tables["size"].astype(np.float64) ** q)
    ends = np.ceil(reached / reached[-1] * 2.0**32)  # of equal classes exactly those of `below`
    return tables | {"last_word": (ends - 1).clip(0, 2**32 - 1).astype(np.uint32)}


def _power_draw(tables: Tables, seed: Any, stream: Any, epoch: Any, offset: Any, ops: Ops) -> Any:
    class_word, image_word = words(seed, stream, SAMPLE, epoch, offset, ops)
    chosen = ops.xp.searchsorted(tables["last_word"], class_word)
    image = below(image_word, tables["size"][chosen])
    return tables["records"][tables["first"][chosen] + image]


def power(q: float, name: str | None = None) -> Sampler:
    """Every draw on its own: a class with p(class) = n_c^q / sum n^q, then one of its images, all alike.

    ``power(0)`` draws the records of ``class_balanced``; ``power(1)`` draws images all alike, with replacement. Classes
    without a record are not drawn. No class's probability is off by more than 2^-32.

    Args:
      q: any finite number.
      name: of the sampler; by default it says q.

    Example:
      >>> from ltjax.data.sampling.counter_rng import name_id
      >>> sampler = power(2)  # of 4 images and 1: 16/17 and 1/17
      >>> tables = sampler.tables(np.array([0, 0, 0, 0, 1]), num_classes=2)
      >>> sampler.name, sampler.draw(tables, 0, name_id("image"), 0, np.arange(8)).tolist()
      ('power(2)', [1, 4, 2, 0, 0, 0, 0, 2])

    Source: Kang et al., "Decoupling representation and classifier for long-tailed recognition", ICLR 2020, eq. 1.
    """
    return Sampler(name or f"power({q:g})", functools.partial(_power_tables, q=q), Framed(_power_draw))


def square_root() -> Sampler:
    """``power(1/2)``: p(class) ~ sqrt(n_c).

    Source: Kang et al., ICLR 2020, eq. 1 with q = 1/2; Mahajan et al., "Exploring the limits of weakly supervised
    pretraining", ECCV 2018.
    """
    return power(0.5, "square_root")


def reversed_frequency() -> Sampler:
    """``power(-1)``: p(class) ~ 1 / n_c, the rare classes more often than the common ones.

    Source: Zhou et al., "BBN: bilateral-branch network with cumulative learning", CVPR 2020, section 4.2.
    """
    return power(-1.0, "reversed")


def _progressive_tables(labels: np.ndarray, num_classes: int, *, epochs: int, author: bool) -> dict[str, np.ndarray]:
    """``class_tables`` and ``balanced_words`` uint32 [epochs]: how many of 2^31 words make a draw class-balanced."""
    share = np.arange(epochs) / (max(epochs - 1, 1) if author else epochs)
    return class_tables(labels, num_classes) | {"balanced_words": np.round(share * 2.0**31).astype(np.uint32)}


def _progressive_draw(tables: Tables, seed: Any, stream: Any, epoch: Any, offset: Any, ops: Ops) -> Any:
    coin, record_word = words(seed, stream, SAMPLE, epoch, offset, ops, lane=1)
    at = ops.xp.minimum(uint32(epoch, ops), uint32(tables["balanced_words"].shape[0] - 1, ops))
    alike = below(record_word, uint32(tables["records"].shape[0], ops)).astype(ops.xp.int32)
    balanced = _class_draw(tables, seed, stream, epoch, offset, ops)
    return ops.xp.where(coin >> 1 < tables["balanced_words"][at], balanced, alike)  # 31 bits, so that a share of 1 fits


def progressive(epochs: int, author: bool = True) -> Sampler:
    """From instance- to class-balanced: p(class) = (1 - s) n_c / N + s / C, every draw on its own.

    Args:
      epochs: of the whole training, T.
      author: s = t / (T - 1) in epoch t = 0 .. T - 1, as in the authors' code (0 if T is 1); False: s = t / T, as in
        the paper. Later epochs draw with the last one's s.

    Example:
      >>> from ltjax.data.sampling.counter_rng import name_id
      >>> sampler = progressive(epochs=3)
      >>> labels = np.repeat([0, 1], [98, 2])
      >>> tables = sampler.tables(labels, num_classes=2)
      >>> draws = [sampler.draw(tables, 0, name_id("image"), epoch, np.arange(10_000)) for epoch in range(3)]
      >>> [round(float(np.mean(labels[draw])), 2) for draw in draws]
      [0.02, 0.27, 0.51]

    Source: Kang et al., "Decoupling representation and classifier for long-tailed recognition", ICLR 2020, eq. 2.
    """
    tables = functools.partial(_progressive_tables, epochs=max(epochs, 1), author=author)
    return Sampler("progressive", tables, Framed(_progressive_draw))


def _deferred_tables(labels: np.ndarray, num_classes: int, *, first: Sampler, then: Sampler) -> dict[str, Any]:
    return {"first": first.tables(labels, num_classes), "then": then.tables(labels, num_classes)}


def _deferred_draw(
    tables: Tables, seed: Any, stream: Any, epoch: Any, offset: Any, ops: Ops, *, first: Sampler, then: Sampler,
    switch_epoch: int,
) -> Any:  # fmt: skip
    position = (seed, stream, epoch, offset, ops)
    early, late = first.draw(tables["first"], *position), then.draw(tables["then"], *position)
    return ops.xp.where(uint32(epoch, ops) < uint32(switch_epoch, ops), early, late)


def deferred(first: Sampler, then: Sampler, switch_epoch: int) -> Sampler:
    """Draws as ``first`` before epoch ``switch_epoch`` (counted from 0) and as ``then`` from it on.

    Tables: those of both, under "first" and "then".

    Example:
      >>> from ltjax.data.sampling.counter_rng import name_id
      >>> sampler = deferred(instance_balanced(), class_balanced(), switch_epoch=160)
      >>> tables = sampler.tables(np.repeat([0, 1], [7, 1]), num_classes=2)
      >>> [sampler.draw(tables, 0, name_id("image"), epoch, np.arange(8)).tolist() for epoch in (159, 160)]
      [[3, 0, 7, 2, 5, 6, 1, 4], [1, 7, 6, 0, 1, 4, 7, 7]]

    Source: Cao et al., "Learning imbalanced datasets with label-distribution-aware margin loss", NeurIPS 2019, section
    4 (DRS).
    """
    draw = functools.partial(_deferred_draw, first=first, then=then, switch_epoch=switch_epoch)
    tables = functools.partial(_deferred_tables, first=first, then=then)
    return Sampler(f"{first.name} then {then.name}", tables, Framed(draw))


@dataclasses.dataclass(frozen=True)
class Within(Sampler):
    """A sampler of a subset of the records."""

    inner: Sampler


def _all_records(labels: np.ndarray, num_classes: int, *, inner: Sampler) -> dict[str, Any]:
    return subset_tables(inner, labels, num_classes, np.arange(len(labels)))


def _within_draw(tables: Tables, seed: Any, stream: Any, epoch: Any, offset: Any, ops: Ops, *, inner: Sampler) -> Any:
    return tables["members"][inner.draw(tables["inner"], seed, stream, epoch, offset, ops)]


def within(inner: Sampler) -> Within:
    """``inner`` over a subset of the records, as if there were no others; ``subset_tables`` makes its tables.

    The subset lies in the tables, so that a stage's init may choose it. The sampler's own ``tables`` take all records.

    Example:
      >>> from ltjax.data.sampling.counter_rng import name_id
      >>> sampler, labels = within(instance_balanced()), np.array([0, 0, 1, 1, 2, 2])
      >>> tables = subset_tables(sampler, labels, num_classes=3, records=np.array([5, 2, 3]))
      >>> sampler.draw(tables, 0, name_id("image"), 0, np.arange(6)).tolist()
      [5, 3, 2, 5, 2, 3]
    """
    draw = Framed(functools.partial(_within_draw, inner=inner))
    return Within(f"{inner.name} within", functools.partial(_all_records, inner=inner), draw, inner)


def subset_tables(sampler: Sampler, labels: np.ndarray, num_classes: int, records: Any) -> dict[str, Any]:
    """The tables with which ``within`` draws from ``records`` alone.

    Args:
      sampler: ``within(inner)``, or just ``inner``.
      labels: integer [N], of all records.
      num_classes: C.
      records: integer [M], the subset, in any order.

    Returns:
      ``members`` int32 [M], and ``inner``, the inner sampler's tables of ``labels[records]``.
    """
    inner = sampler.inner if isinstance(sampler, Within) else sampler
    members = np.asarray(records).astype(np.int32)
    return {"members": members, "inner": inner.tables(np.asarray(labels)[members], num_classes)}


class MakeSampler(Protocol):
    """Makes a sampler for a training of so many epochs with batches of so many images; most need neither."""

    def __call__(self, *, epochs: int, batch_size: int) -> Sampler: ...


SAMPLERS: dict[str, MakeSampler] = {
    "instance_balanced": lambda epochs, batch_size: instance_balanced(),
    "class_balanced": lambda epochs, batch_size: class_balanced(),
    "square_root": lambda epochs, batch_size: square_root(),
    "progressive": lambda epochs, batch_size: progressive(epochs),
    "class_cycle": lambda epochs, batch_size: class_cycle(),
    "reversed": lambda epochs, batch_size: reversed_frequency(),
    "distinct_classes": lambda epochs, batch_size: distinct_classes(batch_size),
}
