"""Randomness without state: every random word is a pure function of (seed, stream, purpose, epoch, position).

Everything here is uint32 arithmetic over the array namespace it is given, so numpy on the host and jax.numpy inside a
jitted program (with or without 64-bit types) give the same words, and so the same records and the same crops.
"""

import dataclasses
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

import numpy as np

Array: TypeAlias = Any  # numpy's, or jax's, which may be traced: the two have no common type
Integer: TypeAlias = int | Array  # 0 .. 2^32 - 1: Python's, or a scalar array
Words: TypeAlias = tuple[Array, Array]
State = TypeVar("State")

GROUPS = 5  # of four rounds each
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))  # of every other group
PARITY = np.uint32(0x1BD11BDA)
MIXERS = (np.uint32(0x7FEB352D), np.uint32(0x846CA68B))  # typed: a bare constant above 2^31 is too large for jax


class WhileLoop(Protocol):
    """``jax.lax.while_loop``, or the same in plain Python."""

    def __call__(self, condition: Callable[[State], Array], body: Callable[[State], State], state: State, /) -> State:
        """``body`` applied to the state as long as ``condition`` holds of it."""
        ...


def _host_while_loop(condition: Callable[[State], Array], body: Callable[[State], State], state: State) -> State:
    while condition(state):
        state = body(state)
    return state


def _looping(looping: Callable[[], Array], straight: Callable[[], Array]) -> Array:
    del straight
    return looping()


def _straight(looping: Callable[[], Words], straight: Callable[[], Words]) -> Words:
    del looping
    return straight()


@dataclasses.dataclass(frozen=True)
class Ops:
    """The array namespace that a function computes with, and its loop; on a device ``Ops(jnp, jax.lax.while_loop)``.

    Attributes:
      xp: numpy or jax.numpy.
      while_loop: repeats a function on a state.
      choose: of two functions with the same result, one with a loop and one without, it returns the result of one.
      records: no permutation is larger; 0 = unknown, then ``choose`` is not asked.
      roll: as ``choose``, for the rounds of the generator, of which a loop makes a compiled program shorter.
    """

    xp: ModuleType
    while_loop: WhileLoop
    choose: Callable[[Callable[[], Array], Callable[[], Array]], Array] = _looping
    records: int = 0
    roll: Callable[[Callable[[], Words], Callable[[], Words]], Words] = _straight


HOST = Ops(np, _host_while_loop)


def name_id(name: str) -> int:
    """The uint32 number of a named stream or purpose: the CRC-32 of its name.

    Example:
      >>> name_id("image")
      3309110367
    """
    return zlib.crc32(name.encode())


def uint32(value: Array, ops: Ops = HOST) -> Array:
    """``value`` as a uint32 array of at least one dimension (numpy warns about wrapping in scalars, not in arrays)."""
    return ops.xp.atleast_1d(ops.xp.asarray(value, dtype=ops.xp.uint32))


def threefry2x32(key: tuple[Array, Array], counter: tuple[Array, Array], ops: Ops = HOST) -> tuple[Array, Array]:
    """Threefry-2x32 with 20 rounds: two random words for each pair of counters; the generator behind ``jax.random``.

    Args:
      key: two uint32 arrays.
      counter: two uint32 arrays; all four broadcast.
      ops: the array namespace.

    Returns:
      Two uint32 arrays.

    Example:
      >>> first, second = threefry2x32((uint32(0), uint32(0)), (uint32(0), uint32(0)))
      >>> hex(first[0]), hex(second[0])
      ('0x6b200159', '0x99ba4efe')

    Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
    """
    xp = ops.xp
    keys = (key[0], key[1], key[0] ^ key[1] ^ PARITY)
    x, y = counter[0] + keys[0], counter[1] + keys[1]
    # what is added after each group
    to_x = [keys[(group + 1) % 3] for group in range(GROUPS)]
    to_y = [keys[(group + 2) % 3] + xp.uint32(group + 1) for group in range(GROUPS)]

    def rounds(x: Array, y: Array, rotations: Sequence[Any]) -> Words:
        for rotation in rotations:
            x = x + y
            y = ((y << rotation) | (y >> (32 - rotation))) ^ x
        return x, y

    def straight() -> Words:
        a, b = x, y
        for group in range(GROUPS):
            a, b = rounds(a, b, ROTATIONS[group % 2])
            a, b = a + to_x[group], b + to_y[group]
        return a, b

    def looping() -> Words:
        both = xp.asarray(ROTATIONS, dtype=xp.uint32)
        first, second = (xp.stack(xp.broadcast_arrays(*each)) for each in (to_x, to_y))

        def group(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            number, a, b = state
            a, b = rounds(a, b, [both[number % 2, i] for i in range(4)])
            return number + 1, a + first[number], b + second[number]

        state = (xp.uint32(0), *xp.broadcast_arrays(x, y))
        return ops.while_loop(lambda state: state[0] < GROUPS, group, state)[1:]

    return ops.roll(looping, straight)


def words(
    seed: Integer, stream: Integer, purpose: int, epoch: Integer, offset: Array, ops: Ops = HOST, lane: Integer = 0
) -> tuple[Array, Array]:
    """Two random words for every position: (seed, stream, purpose, epoch) make the key, (offset, lane) the counter.

    Args:
      seed, stream, epoch: integers 0 .. 2^32 - 1, Python's or scalar arrays.
      purpose: ``name_id`` of what the words are used for, so that no two uses share the words of a position.
      offset: integer array, the positions in the epoch.
      ops: the array namespace.
      lane: which pair of words of the position; an array [n, 1] gives n of them, [n, ...].

    Returns:
      Two uint32 arrays of the shape of ``offset`` (at least one dimension).

    Example:
      >>> words(0, name_id("image"), name_id("example"), 0, [0, 1])[0]
      array([2890745639, 3371512481], dtype=uint32)
    """
    key = threefry2x32((uint32(seed, ops), uint32(stream, ops)), (uint32(purpose, ops), uint32(epoch, ops)), ops)
    return threefry2x32(key, (uint32(offset, ops), uint32(lane, ops)), ops)


def below(word: Array, bound: Array) -> Array:
    """An integer in 0 .. bound - 1 from a random word: the high half of word * bound, in 16-bit halves.

    Each value gets floor(2^32 / bound) of the 2^32 words, or one more, so the relative error of its probability is at
    most bound / 2^32 (1e-4 for 437,513 records). In integers, because float32 cannot tell more than 2^24 records apart.

    Example:
      >>> below(uint32([0, 2**31, 2**32 - 1]), uint32(10))
      array([0, 5, 9], dtype=uint32)
    """
    low_word, high_word = word & 0xFFFF, word >> 16
    low_bound, high_bound = bound & 0xFFFF, bound >> 16
    middle = high_word * low_bound + ((low_word * low_bound) >> 16)
    carry = low_word * high_bound + (middle & 0xFFFF)
    return high_word * high_bound + (middle >> 16) + (carry >> 16)


def mix(word: Array) -> Array:
    """A bijective hash of uint32 words: every input bit affects every output bit."""
    word = (word ^ (word >> 16)) * MIXERS[0]
    word = (word ^ (word >> 15)) * MIXERS[1]
    return word ^ (word >> 16)


def permutation_tables(size: int) -> dict[str, np.ndarray]:
    """The tables of ``permute`` for a size: the size, and the sides of a near-square grid that holds it; uint32 [1].

    Example:
      >>> {name: int(table[0]) for name, table in permutation_tables(10).items()}
      {'size': 10, 'rows': 4, 'columns': 3}
    """
    if not 1 <= size < 2**31:
        raise ValueError(f"size: {size} is not possible; a permutation has 1 to {2**31 - 1} records")
    rows = math.isqrt(size - 1) + 1
    return {"size": uint32(size), "rows": uint32(rows), "columns": uint32(-(-size // rows))}


class RoundKeys(NamedTuple):
    """The keys of a permutation's rounds, two by two: ``first[i] + shift`` and then ``second[i] + shift``."""

    first: Array  # uint32 [pairs]
    second: Array  # uint32 [pairs]
    shift: Array  # uint32, of the shape of the positions or [1]


def permute(tables: Mapping[str, Array], keys: RoundKeys, position: Array, ops: Ops = HOST) -> Array:
    """Where a keyed pseudo-random permutation of 0 .. size - 1 sends each position; the permutation is never built.

    A Feistel network on (row, column) of a grid with rows * columns >= size: each round adds a hash of one coordinate
    to the other, which is invertible, so the network permutes the grid. A cell outside 0 .. size - 1 is enciphered
    again until it falls inside ("cycle-walking"); what remains is a permutation of 0 .. size - 1.

    Args:
      tables: from ``permutation_tables``, or arrays with a permutation for each position; may be traced.
      keys: a pair for every two rounds.
      position: uint32 array, values below size.
      ops: the array namespace.

    Returns:
      uint32 array of the shape of ``position``.

    Example:
      >>> keys = RoundKeys(first=uint32([0, 2, 4, 6]), second=uint32([1, 3, 5, 7]), shift=uint32(0))
      >>> permute(permutation_tables(5), keys, uint32(range(5)))
      array([2, 4, 3, 1, 0], dtype=uint32)

    Source: Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002, sections 4 and 5.
    """
    size = tables["size"]

    def encipher(cell: Array) -> Array:
        return _encipher(tables["rows"], tables["columns"], keys, cell)

    def walk(state: tuple[Array, Array]) -> tuple[Array, Array]:
        cell, outside = state
        cell = ops.xp.where(outside, encipher(cell), cell)
        return cell, cell >= size

    def looping() -> Array:
        # The first encipherment is inside the loop, so that a compiled program holds the rounds once.
        everywhere = position >= 0  # all true: positions are unsigned
        return ops.while_loop(lambda state: ops.xp.any(state[1]), walk, (position, everywhere))[0]

    if not ops.records:
        return looping()
    return ops.choose(looping, lambda: permute_straight(tables, keys, position, ops.records, ops))


def permute_straight(
    tables: Mapping[str, Array], keys: RoundKeys, position: Array, largest: int, ops: Ops = HOST
) -> Array:
    """The same as ``permute`` without a loop: more work, but a fixed number of operations, as a GPU needs them.

    The cells outside are enciphered beside the positions, and walks become look-ups. There are at most n of them, the
    root of the size, and a walk passes each at most once: in a table of s steps, n <= s^2, it takes s look-ups.

    Args:
      tables, keys, position, ops: as for ``permute``.
      largest: no size in the tables is above it.

    Example:
      >>> keys = RoundKeys(first=uint32([0, 2, 4, 6]), second=uint32([1, 3, 5, 7]), shift=uint32(0))
      >>> permute_straight(permutation_tables(5), keys, uint32(range(5)), largest=5)
      array([2, 4, 3, 1, 0], dtype=uint32)
    """
    size, rows, columns = tables["size"], tables["rows"], tables["columns"]
    cell = _encipher(rows, columns, keys, position)
    most = math.isqrt(largest - 1)  # the cells outside are less than one column
    if not most:
        return cell
    # One row, or one for each position: where a single step leads from every cell outside.
    in_rows = keys._replace(shift=keys.shift[:, None])
    outside = size[:, None] + ops.xp.arange(most, dtype=ops.xp.uint32)
    step = _encipher(rows[:, None], columns[:, None], in_rows, outside)
    first = ops.xp.arange(step.shape[0], dtype=ops.xp.uint32) * ops.xp.uint32(most)  # of each row in the flat table

    def follow(table: Array, times: int, cell: Array, first: Array, size: Array) -> Array:
        flat = table.reshape(-1)
        for _ in range(times):
            outside = cell >= size
            cell = ops.xp.where(outside, flat[first + ops.xp.where(outside, cell - size, 0)], cell)
        return cell

    steps = math.isqrt(most - 1) + 1
    steps_away = follow(step, steps - 1, step, first[:, None], size[:, None])
    return follow(steps_away, steps, cell, first, size)


def _encipher(rows: Array, columns: Array, keys: RoundKeys, cell: Array) -> Array:
    """The Feistel network on the cells of the grid, of the shape of ``cell`` or of what all broadcast to."""
    row, column = cell // columns, cell % columns
    for i in range(keys.first.shape[0]):
        # Half of the word's range, so that the sum with a coordinate (below 2^16) cannot wrap. The key is added in two
        # steps: XLA would move the sum of both out of the loop and compute the words there again every round.
        row = (row + (mix(column + keys.first[i : i + 1] + keys.shift) >> 1)) % rows
        column = (column + (mix(row + keys.second[i : i + 1] + keys.shift) >> 1)) % columns
    return row * columns + column
