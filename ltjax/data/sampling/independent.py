"""Samplers that draw every position independently of all others: first a class, then one of its images."""

import functools
from collections.abc import Callable

import numpy as np

from ltjax.data.sampling.counter_rng import Array, Integer, Ops, below, uint32, words
from ltjax.data.sampling.sampler import SAMPLE, PositionDraw, Sampler, Tables, class_tables


def _class_draw(tables: Tables, seed: Integer, stream: Integer, epoch: Integer, offset: Array, ops: Ops) -> Array:
    class_word, image_word = words(seed, stream, SAMPLE, epoch, offset, ops)
    chosen = below(class_word, uint32(tables["size"].shape[0], ops))
    image = below(image_word, tables["size"][chosen])
    return tables["records"][tables["first"][chosen] + image]


def class_balanced() -> Sampler:
    """Independent draws: a class, uniformly, then one of its images, uniformly: p(class) = 1 / C.

    Classes without a record are not drawn. The relative error is at most C / 2^32 in the probability of a class and
    n_c / 2^32 in that of an image within its class.

    Example:
      >>> from ltjax.data.sampling.counter_rng import name_id
      >>> sampler = class_balanced()
      >>> tables = sampler.tables(np.array([0, 0, 0, 0, 0, 0, 0, 1]), num_classes=2)
      >>> sampler.draw(tables, 0, name_id("image"), 0, np.arange(8)).tolist()
      [3, 7, 7, 0, 0, 1, 0, 7]

    Source: Kang et al., "Decoupling representation and classifier for long-tailed recognition", ICLR 2020, eq. 1 with
    q = 0.
    """
    return Sampler("class_balanced", class_tables, PositionDraw(_class_draw))


def _weighted_tables(
    labels: np.ndarray, num_classes: int, *, weigh: Callable[[np.ndarray], np.ndarray]
) -> dict[str, np.ndarray]:
    """``class_tables`` and ``last_word`` uint32 [classes with records]: a random word selects the first class whose
    last word is not below it. The classes are drawn in proportion to ``weigh`` of their numbers of records."""
    tables = class_tables(labels, num_classes)
    reached = np.cumsum(weigh(tables["size"].astype(np.float64)))
    ends = np.ceil(reached / reached[-1] * 2.0**32)  # with equal classes exactly those of `below`
    return tables | {"last_word": (ends - 1).clip(0, 2**32 - 1).astype(np.uint32)}


def _weighted_draw(tables: Tables, seed: Integer, stream: Integer, epoch: Integer, offset: Array, ops: Ops) -> Array:
    class_word, image_word = words(seed, stream, SAMPLE, epoch, offset, ops)
    chosen = ops.xp.searchsorted(tables["last_word"], class_word)
    image = below(image_word, tables["size"][chosen])
    return tables["records"][tables["first"][chosen] + image]


def _to_the_power(sizes: np.ndarray, q: float) -> np.ndarray:
    mass: np.ndarray = sizes**q
    return mass


def power(q: float, name: str | None = None) -> Sampler:
    """Independent draws: a class with p(class) = n_c^q / sum n^q, then one of its images, uniformly.

    ``power(0)`` draws the same records as ``class_balanced``; ``power(1)`` draws all images with equal probability,
    with replacement. Classes without a record are not drawn. The probability of a class is exact to 2^-32.

    Args:
      q: any finite number.
      name: of the sampler; by default "power(q)".

    Example:
      >>> from ltjax.data.sampling.counter_rng import name_id
      >>> sampler = power(2)  # p = 16/17 and 1/17 for classes of 4 images and 1
      >>> tables = sampler.tables(np.array([0, 0, 0, 0, 1]), num_classes=2)
      >>> sampler.name, sampler.draw(tables, 0, name_id("image"), 0, np.arange(8)).tolist()
      ('power(2)', [1, 4, 2, 0, 0, 0, 0, 2])

    Source: Kang et al., "Decoupling representation and classifier for long-tailed recognition", ICLR 2020, eq. 1.
    """
    tables = functools.partial(_weighted_tables, weigh=functools.partial(_to_the_power, q=q))
    return Sampler(name or f"power({q:g})", tables, PositionDraw(_weighted_draw))


def square_root() -> Sampler:
    """``power(1/2)``: p(class) ~ sqrt(n_c).

    Source: Kang et al., ICLR 2020, eq. 1 with q = 1/2; Mahajan et al., "Exploring the limits of weakly supervised
    pretraining", ECCV 2018.
    """
    return power(0.5, "square_root")


def reversed_frequency() -> Sampler:
    """``power(-1)``: p(class) ~ 1 / n_c, rare classes more often than frequent ones.

    Source: Zhou et al., "BBN: bilateral-branch network with cumulative learning", CVPR 2020, section 4.2.
    """
    return power(-1.0, "reversed")


def _per_effective_number(sizes: np.ndarray, beta: float, spread: float) -> np.ndarray:
    below = np.log(sizes.max() / sizes)
    betas = beta + spread * below / (below.max() or 1)
    mass: np.ndarray = sizes * (1 - betas) / -np.expm1(sizes * np.log(betas))
    return mass


def effective_number(beta: float = 0.9999, spread: float = 1e-5) -> Sampler:
    """Independent draws: an image of a class counts 1 / the effective number of the class's images.

    ``p(class) ~ n_c (1 - beta_c) / (1 - beta_c^n_c)`` with ``beta_c = beta + spread log(n_max / n_c) / log(n_max /
    n_min)``: nearly class-balanced up to some thousand images a class, and by the images beyond. Classes without a
    record are not drawn.

    Args:
      beta: of the most frequent class, in (0, 1).
      spread: what the rarest class's is above it; together below 1.

    Example:
      >>> tables = effective_number(beta=0.9, spread=0.0).tables(np.repeat([0, 1], [100, 1]), num_classes=2)
      >>> (tables["last_word"] / 2**32).round(3).tolist()
      [0.909, 1.0]

    Source: Li et al., "Long-tailed visual recognition via Gaussian clouded logit adjustment", CVPR 2022, section 3.3.
    """
    tables = functools.partial(
        _weighted_tables, weigh=functools.partial(_per_effective_number, beta=beta, spread=spread)
    )
    return Sampler("effective_number", tables, PositionDraw(_weighted_draw))


def _progressive_tables(labels: np.ndarray, num_classes: int, *, epochs: int, author: bool) -> dict[str, np.ndarray]:
    """``class_tables`` and ``balanced_words`` uint32 [epochs]: of 2^31 words, how many make a draw class-balanced."""
    share = np.arange(epochs) / (max(epochs - 1, 1) if author else epochs)
    return class_tables(labels, num_classes) | {"balanced_words": np.round(share * 2.0**31).astype(np.uint32)}


def _progressive_draw(tables: Tables, seed: Integer, stream: Integer, epoch: Integer, offset: Array, ops: Ops) -> Array:
    coin, record_word = words(seed, stream, SAMPLE, epoch, offset, ops, lane=1)
    at = ops.xp.minimum(uint32(epoch, ops), uint32(tables["balanced_words"].shape[0] - 1, ops))
    any_record = below(record_word, uint32(tables["records"].shape[0], ops)).astype(ops.xp.int32)
    balanced = _class_draw(tables, seed, stream, epoch, offset, ops)
    return ops.xp.where(coin >> 1 < tables["balanced_words"][at], balanced, any_record)  # 31 bits: a share of 1 fits


def progressive(epochs: int, author: bool = True) -> Sampler:
    """From instance- to class-balanced: p(class) = (1 - s) n_c / N + s / C, independent draws.

    Args:
      epochs: T, of the whole training.
      author: s = t / (T - 1) in epoch t = 0 .. T - 1, as in the authors' code (0 if T is 1); False: s = t / T, as in
        the paper. Epochs after the last one use its s.

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
    return Sampler("progressive" if author else "progressive_paper", tables, PositionDraw(_progressive_draw))
