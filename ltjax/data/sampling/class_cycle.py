"""Samplers that visit class after class: a shuffled cycle over the classes, and batches of distinct classes."""

import functools

import numpy as np

from ltjax.data.sampling.counter_rng import (
    Array,
    Integer,
    Ops,
    RoundKeys,
    below,
    name_id,
    permutation_tables,
    permute,
    words,
)
from ltjax.data.sampling.sampler import PositionDraw, Sampler, Tables, class_tables, combine_words, shuffle_keys
from ltjax.errors import InputError

IMAGE_OF_CLASS = name_id("image of a class")


def _visit_tables(labels: np.ndarray, num_classes: int) -> dict[str, Array]:
    """``class_tables``, and the tables that permute the classes and the images of each class."""
    tables = class_tables(labels, num_classes)
    grids = [permutation_tables(int(size)) for size in tables["size"]]
    sides = {side: np.concatenate([grid[side] for grid in grids]) for side in ("rows", "columns")}
    return tables | sides | {"classes": permutation_tables(len(grids))}


def _shuffled_image(tables: Tables, keys: RoundKeys, chosen: Array, position: Array, ops: Ops) -> Array:
    """The record at ``position`` (below the size of the class) when ``keys`` shuffle the images of the class."""
    grid = {name: tables[name][chosen] for name in ("size", "rows", "columns")}
    return tables["records"][tables["first"][chosen] + permute(grid, keys, position, ops)]


def _cycle_draw(
    tables: Tables, seed: Integer, stream: Integer, epoch: Integer, offset: Array, ops: Ops, *, images_per_visit: int
) -> Array:
    visit, within = offset // images_per_visit, offset % images_per_visit
    lap, turn = visit // tables["classes"]["size"], visit % tables["classes"]["size"]
    chosen = permute(tables["classes"], shuffle_keys(seed, stream, epoch, lap, ops), turn, ops)
    # Every lap visits a class once, so the lap gives the number of its images that this epoch has already used.
    taken, size = lap * images_per_visit + within, tables["size"][chosen]
    keys = shuffle_keys(seed, stream, epoch, combine_words(chosen, taken // size), ops, IMAGE_OF_CLASS)
    return _shuffled_image(tables, keys, chosen, taken % size, ops)


def class_cycle(images_per_visit: int = 4) -> Sampler:
    """A shuffled cycle over the classes; each visit takes the next images of the class's own shuffled cycle.

    All classes are visited before any is visited again, and all images of a class are used before any is used again (a
    class with fewer images than a visit takes repeats them within the visit). Both orders are shuffled again after
    every pass, and in every epoch. Classes without a record are left out.

    Args:
      images_per_visit: consecutive images of one class, Z.

    Raises:
      InputError: unless ``images_per_visit`` is a positive integer.

    Example:
      >>> sampler = class_cycle(images_per_visit=2)
      >>> labels = np.array([0, 0, 0, 1])
      >>> records = sampler.draw(sampler.tables(labels, num_classes=2), 0, name_id("image"), 0, np.arange(8))
      >>> records.tolist(), labels[records].tolist()
      ([3, 3, 2, 1, 0, 1, 3, 3], [1, 1, 0, 0, 0, 0, 1, 1])

    Source: Kang et al., "Decoupling representation and classifier for long-tailed recognition", ICLR 2020, section 4.1
    (cRT); the cycle is that of the authors' code, after Shen et al., "Relay backpropagation", ECCV 2016.
    """
    _check_positive("images_per_visit", images_per_visit)
    draw = functools.partial(_cycle_draw, images_per_visit=images_per_visit)
    return Sampler("class_cycle", _visit_tables, PositionDraw(draw))


def _distinct_tables(
    labels: np.ndarray, num_classes: int, *, batch_size: int, images_per_class: int
) -> dict[str, Array]:
    tables = _visit_tables(labels, num_classes)
    needed, present = batch_size // images_per_class, len(tables["size"])
    if needed > present:
        raise InputError(
            f"config.batch_size: {batch_size} images, {images_per_class} per class, need {needed} distinct classes, "
            f"but only {present} have training images; set it to at most {present * images_per_class}"
        )
    return tables


def _distinct_draw(
    tables: Tables,
    seed: Integer,
    stream: Integer,
    epoch: Integer,
    offset: Array,
    ops: Ops,
    *,
    batch_size: int,
    images_per_class: int,
) -> Array:
    batch, slot = offset // batch_size, offset % batch_size
    turn, within = slot // images_per_class, slot % images_per_class
    chosen = permute(tables["classes"], shuffle_keys(seed, stream, epoch, batch, ops), turn, ops)
    size = tables["size"][chosen]
    again = below(words(seed, stream, IMAGE_OF_CLASS, epoch, offset, ops, lane=1)[0], size)
    position = ops.xp.where(within < size, within, again)
    keys = shuffle_keys(seed, stream, epoch, combine_words(chosen, batch), ops, IMAGE_OF_CLASS)
    return _shuffled_image(tables, keys, chosen, position, ops)


def distinct_classes(batch_size: int, images_per_class: int = 4) -> Sampler:
    """Batches of batch_size / Z distinct classes, all sets of classes equally likely, with Z images of each.

    The Z images of a class are drawn without replacement if it has that many; otherwise all of its images are used and
    the remaining slots are drawn with replacement. A position belongs to the batch ``offset // batch_size``.

    Args:
      batch_size: S, over all devices.
      images_per_class: Z.

    Raises:
      InputError: if Z is not a positive integer or does not divide S; from ``tables``, if fewer than S / Z classes have
        a record.

    Example:
      >>> sampler = distinct_classes(batch_size=4, images_per_class=2)
      >>> labels = np.array([0, 0, 0, 0, 0, 1, 1, 2])
      >>> records = sampler.draw(sampler.tables(labels, num_classes=3), 0, name_id("image"), 0, np.arange(8))
      >>> records.reshape(2, 4).tolist(), labels[records].reshape(2, 4).tolist()
      ([[3, 4, 7, 7], [3, 0, 6, 5]], [[0, 0, 2, 2], [0, 0, 1, 1]])

    Source: Zhang et al., "To balance or not to balance", algorithm 1, lines 2 to 6. It leaves open what happens to a
    class with fewer than Z images.
    """
    _check_positive("images_per_class", images_per_class)
    _check_positive("config.batch_size", batch_size)
    if batch_size % images_per_class:
        low = batch_size // images_per_class * images_per_class
        nearest = f"{low} or {low + images_per_class}" if low else str(images_per_class)
        raise InputError(
            f"config.batch_size: {batch_size} is not a multiple of {images_per_class}, the images of each class in a "
            f"batch; set it to {nearest}"
        )
    tables = functools.partial(_distinct_tables, batch_size=batch_size, images_per_class=images_per_class)
    draw = functools.partial(_distinct_draw, batch_size=batch_size, images_per_class=images_per_class)
    return Sampler("distinct_classes", tables, PositionDraw(draw))


def _check_positive(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value < 2**31:
        raise InputError(f"{name}: {value!r} is not possible; it must be an integer, 1 or more")
