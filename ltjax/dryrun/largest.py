"""Searches for the largest batch that fits, with few compilations."""

from collections.abc import Callable
from typing import NamedTuple


class Try(NamedTuple):
    """One compilation.

    Attributes:
      images: images per chip.
      needed: bytes of memory; 0 if the compiler reports none.
      fits: whether it fits.
      speed: upper bound of images/s over all chips; 0 if unknown.
    """

    images: int
    needed: int
    fits: bool
    speed: float = 0.0


def largest_batch(
    measure: Callable[[int], Try], first: Try, fixed: int, limit: int, most: int, unit: int = 8, tries: int = 4
) -> list[Try]:
    """Compiles several batch sizes; the largest one that fits is within about a tenth of the optimum.

    Memory grows almost linearly with the batch, until the compiler starts to recompute values to save memory. So each
    try is at the intersection of the measured line with the limit, bounded by the smallest batch that does not fit.

    Args:
      measure: compiles for a number of images per chip.
      first: the first try, already compiled.
      fixed: bytes independent of the batch, for the first line.
      limit: memory of a chip in bytes.
      most: maximum number of images per chip.
      unit: tries are multiples of this number unless they are smaller.
      tries: maximum number of compilations.

    Example:
      >>> def measure(images):
      ...     return Try(images, 100 + 10 * images, 100 + 10 * images <= 1000)
      >>> [t.images for t in largest_batch(measure, measure(16), 100, 1000, most=10**6)]
      [16, 88, 96]
    """
    made = [first]
    for _ in range(tries):
        fitting = max((t.images for t in made if t.fits), default=0)
        failing = min((t.images for t in made if not t.fits), default=most + 1)
        wanted = _rounded(_intersection(made, fixed, limit), unit)
        if wanted <= fitting:  # the line predicts no more: try slightly beyond it
            wanted = _rounded(fitting + max(unit, fitting // 10), unit)
        if wanted >= failing:
            wanted = _rounded(failing - 1, unit) if failing - fitting <= 2 * unit else _between(fitting, failing, unit)
        if not fitting < wanted < failing or (fitting and (failing - fitting) * 10 <= fitting):
            break
        made.append(measure(wanted))
    return made


def _intersection(made: list[Try], fixed: int, limit: int) -> int:
    """Images at which the line through the two measurements nearest to the limit (or ``fixed`` and one) reaches it."""
    known = sorted({t.images: t for t in made if t.needed}.values(), key=lambda t: abs(t.needed - limit))
    if not known:
        return min(t.images for t in made) // 2
    one = known[0]
    base, start = (known[1].needed, known[1].images) if len(known) > 1 else (fixed, 0)
    if one.images == start or one.needed <= base:
        return 2 * one.images
    slope = (one.needed - base) / (one.images - start)
    return int(one.images + (limit - one.needed) / slope)


def _rounded(images: int, unit: int) -> int:
    return images // unit * unit if images >= unit else images


def _between(low: int, high: int, unit: int) -> int:
    return _rounded((low + high) // 2, unit)
