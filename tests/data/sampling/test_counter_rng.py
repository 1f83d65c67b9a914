"""Random words: equal to those of jax's generator, the same under jit, and uniform."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32

from ltjax.data.sampling.counter_rng import (
    HOST,
    Ops,
    RoundKeys,
    below,
    mix,
    name_id,
    permutation_tables,
    permute,
    permute_straight,
    threefry2x32,
    uint32,
    words,
)

DEVICE = Ops(jnp, jax.lax.while_loop)
WORDS = np.array([0, 1, 2, 0xFFFF, 0x10000, 0x12345678, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF], np.uint32)


@pytest.mark.parametrize("key", [(0, 0), (0, 1), (0x13198A2E, 0x03707344), (0xFFFFFFFF, 0xFFFFFFFF)])
def test_threefry_equals_jax(key):
    counters = np.concatenate([WORDS, np.random.RandomState(0).randint(0, 2**32, 999, dtype=np.uint32)])
    expected = np.asarray(threefry_2x32(tuple(jnp.uint32(k) for k in key), jnp.asarray(counters)))
    half = counters.size // 2
    first, second = threefry2x32((uint32(key[0]), uint32(key[1])), (counters[:half], counters[half:]))
    np.testing.assert_array_equal(np.concatenate([first, second]), expected)
    assert first.dtype == np.uint32


def test_threefry_equals_its_authors_known_answers():
    # kat_vectors of Random123: threefry2x32, 20 rounds; counter, key -> words
    for counter, key, expected in [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
    ]:
        got = threefry2x32((uint32(key[0]), uint32(key[1])), (uint32(counter[0]), uint32(counter[1])))
        assert (int(got[0][0]), int(got[1][0])) == expected


def test_below_is_the_exact_high_half_of_the_product():
    rng = np.random.RandomState(0)
    word = np.concatenate([np.repeat(WORDS, len(WORDS)), rng.randint(0, 2**32, 5000, dtype=np.uint32)])
    bound = np.concatenate([np.tile(WORDS, len(WORDS)), rng.randint(1, 2**32, 5000, dtype=np.uint32)])
    exact = (word.astype(object) * bound.astype(object)) >> 32
    np.testing.assert_array_equal(below(word, bound), exact.astype(np.uint32))
    np.testing.assert_array_equal(jax.jit(below)(word, bound), exact.astype(np.uint32))


def test_mix_is_a_bijection_that_avalanches():
    values = np.arange(2**16, dtype=np.uint32)
    assert np.unique(mix(values)).size == values.size
    word = np.random.RandomState(0).randint(0, 2**32, 4000, dtype=np.uint32)
    for bit in range(32):
        changed = mix(word) ^ mix(word ^ np.uint32(1 << bit))
        flips = np.unpackbits(changed.view(np.uint8)).reshape(-1, 32).mean(0)
        assert np.abs(flips - 0.5).max() < 0.05


def test_words_differ_in_every_coordinate_and_are_the_same_under_jit():
    base = {"seed": 3, "stream": name_id("image"), "purpose": name_id("sample"), "epoch": 5, "lane": 0}
    offset = np.arange(1000)
    first = words(offset=offset, **base)
    for name in base:
        other = words(offset=offset, **(base | {name: base[name] + 1}))
        assert (first[0] == other[0]).mean() < 0.01 and (first[1] == other[1]).mean() < 0.01, name
    assert (first[0] == first[1]).mean() < 0.01
    traced = jax.jit(lambda seed, stream, epoch, offset: words(seed, stream, base["purpose"], epoch, offset, DEVICE))
    for host, device in zip(first, traced(np.uint32(3), np.uint32(base["stream"]), 5, offset), strict=True):
        np.testing.assert_array_equal(host, device)
    high = words(2**32 - 1, 2**32 - 1, 2**32 - 1, 2**32 - 1, np.array([2**32 - 1]))
    for host, device in zip(
        high, words(2**32 - 1, 2**32 - 1, 2**32 - 1, 2**32 - 1, np.array([2**32 - 1], np.uint32), DEVICE), strict=True
    ):
        np.testing.assert_array_equal(host, device)


def test_a_seed_out_of_range_is_an_error():
    for seed in (-1, 2**32):
        with pytest.raises(OverflowError):
            words(seed, 0, 0, 0, np.arange(2))


@pytest.mark.parametrize("size", [*range(1, 70), 255, 256, 257, 4095, 12406, 65535, 65537, 437_513])
def test_permute_is_a_permutation(size):
    random = np.random.RandomState(size).randint(0, 2**32, (2, 6), dtype=np.uint32)
    keys = RoundKeys(*random, shift=uint32(0))
    image = permute(permutation_tables(size), keys, np.arange(size, dtype=np.uint32))
    np.testing.assert_array_equal(np.sort(image), np.arange(size))


@pytest.mark.parametrize("size", [*range(1, 30), 257, 12406])
def test_permute_without_a_loop_is_the_same(size):
    """Of one permutation, and of one for each position; every walk is taken."""
    random = np.random.RandomState(size).randint(0, 2**32, (2, 6), dtype=np.uint32)
    tables, positions = permutation_tables(size), np.arange(size, dtype=np.uint32)
    one = RoundKeys(*random, shift=uint32(7))
    np.testing.assert_array_equal(permute_straight(tables, one, positions, size), permute(tables, one, positions))
    several = one._replace(shift=positions // 3)
    np.testing.assert_array_equal(
        permute_straight(tables, several, positions, size + 9), permute(tables, several, positions)
    )


def test_permutations_of_several_sizes_without_a_loop_are_the_same():
    sizes = np.random.RandomState(0).randint(1, 300, 1000)
    grids = [permutation_tables(size) for size in sizes]
    tables = {name: np.concatenate([grid[name] for grid in grids]) for name in ("size", "rows", "columns")}
    keys = RoundKeys(uint32(range(6)), uint32(range(6, 12)), shift=np.arange(1000, dtype=np.uint32))
    positions = (np.random.RandomState(1).randint(0, 300, 1000) % sizes).astype(np.uint32)
    np.testing.assert_array_equal(permute_straight(tables, keys, positions, 300), permute(tables, keys, positions))


def test_permute_of_the_largest_size_stays_in_range_without_repeats():
    tables = permutation_tables(2**31 - 1)
    positions = np.unique(np.random.RandomState(0).randint(0, 2**31 - 1, 10**5, dtype=np.uint32))
    image = permute(tables, RoundKeys(uint32(range(6)), uint32(range(6, 12)), uint32(5)), positions)
    assert image.max() < 2**31 - 1 and np.unique(image).size == positions.size


@pytest.mark.parametrize("size", [0, -1, 2**31])
def test_an_impossible_size_of_a_permutation_is_an_error(size):
    with pytest.raises(ValueError, match=str(size)):
        permutation_tables(size)


def test_host_loop_stops():
    assert HOST.while_loop(lambda v: v < 5, lambda v: v + 2, 0) == 6
