"""Samplers made of other samplers: one that switches during training, and one over a subset of the records."""

import dataclasses
import functools

import numpy as np

from ltjax.data.sampling.counter_rng import Array, Integer, Ops, uint32
from ltjax.data.sampling.sampler import PositionDraw, Sampler, Tables


def _deferred_tables(labels: np.ndarray, num_classes: int, *, first: Sampler, then: Sampler) -> dict[str, Array]:
    return {"first": first.tables(labels, num_classes), "then": then.tables(labels, num_classes)}


def _deferred_draw(
    tables: Tables, seed: Integer, stream: Integer, epoch: Integer, offset: Array, ops: Ops, *, first: Sampler,
    then: Sampler, switch_epoch: int,
) -> Array:  # fmt: skip
    position = (seed, stream, epoch, offset, ops)
    early, late = first.draw(tables["first"], *position), then.draw(tables["then"], *position)
    return ops.xp.where(uint32(epoch, ops) < uint32(switch_epoch, ops), early, late)


def deferred(first: Sampler, then: Sampler, switch_epoch: int) -> Sampler:
    """Draws like ``first`` before epoch ``switch_epoch`` (counted from 0), and like ``then`` from that epoch on.

    Its tables are those of both samplers, under "first" and "then".

    Example:
      >>> from ltjax.data.sampling.counter_rng import name_id
      >>> from ltjax.data.sampling.epoch_shuffle import instance_balanced
      >>> from ltjax.data.sampling.independent import class_balanced
      >>> sampler = deferred(instance_balanced(), class_balanced(), switch_epoch=160)
      >>> tables = sampler.tables(np.repeat([0, 1], [7, 1]), num_classes=2)
      >>> [sampler.draw(tables, 0, name_id("image"), epoch, np.arange(8)).tolist() for epoch in (159, 160)]
      [[3, 0, 7, 2, 5, 6, 1, 4], [1, 7, 6, 0, 1, 4, 7, 7]]

    Source: Cao et al., "Learning imbalanced datasets with label-distribution-aware margin loss", NeurIPS 2019, section
    4 (DRS).
    """
    draw = functools.partial(_deferred_draw, first=first, then=then, switch_epoch=switch_epoch)
    tables = functools.partial(_deferred_tables, first=first, then=then)
    return Sampler(f"{first.name} then {then.name}", tables, PositionDraw(draw))


@dataclasses.dataclass(frozen=True)
class SubsetSampler(Sampler):
    """A sampler of a subset of the records."""

    inner: Sampler


def _all_records(labels: np.ndarray, num_classes: int, *, inner: Sampler) -> dict[str, Array]:
    return subset_tables(inner, labels, num_classes, np.arange(len(labels)))


def _subset_draw(
    tables: Tables, seed: Integer, stream: Integer, epoch: Integer, offset: Array, ops: Ops, *, inner: Sampler
) -> Array:
    return tables["members"][inner.draw(tables["inner"], seed, stream, epoch, offset, ops)]


def over_subset(inner: Sampler) -> SubsetSampler:
    """``inner`` over a subset of the records, as if there were no others; ``subset_tables`` makes its tables.

    The subset is part of the tables, so that a stage's init can choose it. The sampler's ``tables`` cover all records.

    Example:
      >>> from ltjax.data.sampling.counter_rng import name_id
      >>> from ltjax.data.sampling.epoch_shuffle import instance_balanced
      >>> sampler, labels = over_subset(instance_balanced()), np.array([0, 0, 1, 1, 2, 2])
      >>> tables = subset_tables(sampler, labels, num_classes=3, records=np.array([5, 2, 3]))
      >>> sampler.draw(tables, 0, name_id("image"), 0, np.arange(6)).tolist()
      [5, 3, 2, 5, 2, 3]
    """
    draw = PositionDraw(functools.partial(_subset_draw, inner=inner))
    return SubsetSampler(f"{inner.name} within", functools.partial(_all_records, inner=inner), draw, inner)


def subset_tables(sampler: Sampler, labels: np.ndarray, num_classes: int, records: Array) -> dict[str, Array]:
    """The tables with which ``over_subset`` draws only from ``records``.

    Args:
      sampler: ``over_subset(inner)``, or just ``inner``.
      labels: integer [N], of all records.
      num_classes: C.
      records: integer [M], the subset, in any order.

    Returns:
      ``members`` int32 [M], and ``inner``, the inner sampler's tables of ``labels[records]``.
    """
    inner = sampler.inner if isinstance(sampler, SubsetSampler) else sampler
    members = np.asarray(records).astype(np.int32)
    return {"members": members, "inner": inner.tables(np.asarray(labels)[members], num_classes)}
