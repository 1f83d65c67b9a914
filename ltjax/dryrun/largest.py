"""The largest batch that fits, by few compilations."""

from collections.abc import Callable
from typing import NamedTuple


class Try(NamedTuple):
    """One compilation.

    Attributes:
      images: of a chip.
      needed: bytes, 0 where the compiler says none.
      fits: whether it does.
      speed: images/s of all chips at most; 0 where that is not known.
    """

    images: int
    needed: int
    fits: bool
    speed: float = 0.0


def largest_batch(
    measure: Callable[[int], Try], first: Try, fixed: int, limit: int, most: int, unit: int = 8, tries: int = 4
) -> list[Try]:
    """Tries of which the largest that fits is the answer, within about a tenth.

    Memory grows nearly linearly with the batch, until the compiler begins to compute things anew to save some. So each
    try is where the line through what was measured meets the limit; one that overshoots is bounded by the last.

    Args:
      measure: compiles with so many images a chip.
      first: a try that was made already.
      fixed: bytes that do not depend on the batch, for the first line.
      limit: bytes of a chip.
      most: images a chip that make sense.
      unit: tries are multiples of it, if they are not smaller.
      tries: compilations at most.

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
        wanted = _rounded(_meets(made, fixed, limit), unit)
        if wanted <= fitting:  # the line says no more: look a little beyond it
            wanted = _rounded(fitting + max(unit, fitting // 10), unit)
        if wanted >= failing:
            wanted = _rounded(failing - 1, unit) if failing - fitting <= 2 * unit else _between(fitting, failing, unit)
        if not fitting < wanted < failing or (fitting and (failing - fitting) * 10 <= fitting):
            break
        made.append(measure(wanted))
    return made


def _meets(made: list[Try], fixed: int, limit: int) -> int:
    """Where the line through the two measurements next to the limit, or through ``fixed`` and the one, meets it."""
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
