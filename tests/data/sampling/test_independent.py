"""Samplers: the same records on host and device, exact permutations, published distributions, golden orders."""

import itertools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.data.sampling import SAMPLERS
from ltjax.data.sampling.counter_rng import Ops, name_id
from ltjax.data.sampling.epoch_shuffle import instance_balanced
from ltjax.data.sampling.independent import class_balanced, effective_number
from ltjax.data.sampling.sampler import class_tables

DEVICE = Ops(jnp, jax.lax.while_loop)
QUICK = {"xla_backend_optimization_level": 0}  # compiles much faster; safe, because the arithmetic is in integers
IMAGE, OTHER = name_id("image"), name_id("other")
SIZES = [1, 2, 3, 10, 1000, 12406, 437_513]


def long_tailed_labels(size, num_classes):
    """Shuffled long-tailed labels in which every class has at least one record."""
    rng = np.random.RandomState(size)
    tail = rng.geometric(1 / max(num_classes / 4, 1), size - num_classes).clip(1, num_classes) - 1
    return rng.permutation(np.concatenate([np.arange(num_classes), tail])).astype(np.int32)


def make(name, epochs=5, batch_size=8):
    return SAMPLERS[name](epochs=epochs, batch_size=batch_size)


def records(sampler, tables, epoch, offset, seed=0, stream=IMAGE):
    return sampler.draw(tables, seed, stream, epoch, offset)


@pytest.mark.parametrize("name", sorted(SAMPLERS))
@pytest.mark.parametrize("size, wide", [(437_513, False), (10, True)])  # wide: jax with 64-bit types
def test_the_device_draws_the_records_of_the_host(name, size, wide):
    labels = long_tailed_labels(size, min(size, 100))
    sampler = make(name)
    tables = sampler.tables(labels, min(size, 100))
    starts = [0, max(size - 64, 0), 2 * size, 5 * size + 3]  # within an epoch, across its end, in later laps
    with jax.enable_x64(wide):
        traced = jax.jit(
            lambda tables, seed, epoch, offset: sampler.draw(tables, seed, IMAGE, epoch, offset, DEVICE),
            compiler_options=QUICK if wide else None,
        )
        for (seed, epoch), start in zip([(0, 0), (1, 2), (2**32 - 1, 2**32 - 1), (5, 200)], starts, strict=True):
            offset = np.arange(start, start + 128)
            host = records(sampler, tables, epoch, offset, seed=seed)
            assert host.dtype == np.int32 and host.min() >= 0 and host.max() < size
            device = traced(tables, np.uint32(seed), np.uint32(epoch), offset)
            assert device.dtype == jnp.int32
            np.testing.assert_array_equal(device, host)


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_tables_may_differ_under_vmap(name):
    """Several seeds in one program: tables, seeds and records have a leading axis."""
    sampler = make(name)
    sets = [sampler.tables(long_tailed_labels(size, 10), 10) for size in (300, 300, 300)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *sets)
    draw = jax.vmap(lambda tables, seed: sampler.draw(tables, seed, IMAGE, 3, jnp.arange(64), DEVICE))
    draw = jax.jit(draw, compiler_options=QUICK)
    for seed, row in enumerate(draw(stacked, jnp.arange(3, dtype=jnp.uint32))):
        np.testing.assert_array_equal(row, records(sampler, sets[seed], 3, np.arange(64), seed=seed))


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_a_record_depends_on_its_position_alone(name):
    sampler = make(name)
    tables = sampler.tables(long_tailed_labels(1000, 10), 10)
    whole = records(sampler, tables, 4, np.arange(1000))
    for offset in (0, 17, 999):
        alone = records(sampler, tables, 4, np.int64(offset))
        assert alone.shape == () and alone == whole[offset]
    np.testing.assert_array_equal(records(sampler, tables, 4, np.arange(1000).reshape(10, 4, 25)).ravel(), whole)
    np.testing.assert_array_equal(records(sampler, tables, 4, [5, 3]), whole[[5, 3]])


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_a_single_image_is_drawn_at_every_position(name):
    sampler = make(name, epochs=1, batch_size=4)
    tables = sampler.tables(np.zeros(1, np.int32), 1)
    np.testing.assert_array_equal(records(sampler, tables, 0, np.arange(9)), np.zeros(9))


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_samplers_are_picklable(name):
    sampler, tables = make(name), make(name).tables(long_tailed_labels(300, 10), 10)
    again = pickle.loads(pickle.dumps(sampler))
    np.testing.assert_array_equal(records(again, tables, 1, np.arange(64)), records(sampler, tables, 1, np.arange(64)))


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_seeds_streams_and_epochs_draw_different_records(name):
    sampler = make(name)
    tables = sampler.tables(long_tailed_labels(12406, 10), 10)
    offset = np.arange(1000)
    drawn = [
        records(sampler, tables, epoch, offset, seed, stream)
        for seed, stream, epoch in itertools.product((0, 1), (IMAGE, OTHER), (0, 1))
    ]
    for one, two in itertools.combinations(drawn, 2):
        assert (one == two).mean() < 0.02


@pytest.mark.parametrize("size", SIZES)
def test_every_epoch_and_every_lap_is_an_exact_permutation(size):
    sampler = instance_balanced()
    tables = sampler.tables(np.zeros(size, np.int32), 1)
    for epoch in (0, 1, 199):
        for lap in (0, 1, 6):
            offset = np.arange(lap * size, (lap + 1) * size)
            np.testing.assert_array_equal(np.sort(records(sampler, tables, epoch, offset)), np.arange(size))


@pytest.mark.parametrize("size", [2, 3, 4, 5, 6])
def test_all_orders_of_a_small_set_are_about_equally_frequent(size):
    sampler, laps, epochs = instance_balanced(), 100, 100
    tables = sampler.tables(np.zeros(size, np.int32), 1)
    drawn = np.concatenate(
        [records(sampler, tables, e, np.arange(laps * size)).reshape(laps, size) for e in range(epochs)]
    )
    orders, counts = np.unique(drawn, axis=0, return_counts=True)
    expected = laps * epochs / len(list(itertools.permutations(range(size))))
    assert len(orders) * expected == laps * epochs, "an order never occurred"
    spread = np.sqrt((counts / expected - 1).var() - 1 / expected) if counts.var() > expected else 0.0
    assert spread < 0.2, f"probabilities of the orders deviate by {spread:.0%}"


def test_records_are_uniform_at_every_position_and_neighbours_are_independent():
    size, epochs = 1000, 2000
    sampler = instance_balanced()
    tables = sampler.tables(np.zeros(size, np.int32), 1)
    drawn = np.stack([records(sampler, tables, epoch, np.arange(64)) for epoch in range(epochs)])
    # chi-square / degrees of freedom is 1 +- sqrt(2 / degrees); bounds at five deviations
    at_position = np.apply_along_axis(np.bincount, 0, drawn, minlength=size)
    chi = ((at_position - epochs / size) ** 2 / (epochs / size)).sum() / (64 * (size - 1))
    assert abs(chi - 1) < 5 * np.sqrt(2 / (64 * (size - 1)))
    for gap in (1, 2, 31, 32):  # 32 columns and rows: neighbours in a row or a column of the Feistel grid
        between = (drawn[:, gap:] - drawn[:, :-gap]) % size
        counts = np.bincount(between.ravel(), minlength=size)[1:]
        expected = between.size / (size - 1)
        chi = ((counts - expected) ** 2 / expected).sum() / (size - 2)
        assert abs(chi - 1) < 6 * np.sqrt(2 / (size - 2)), gap


def chi_square(counts, probabilities):
    """Chi-square per degree of freedom, and its upper bound at five standard deviations."""
    expected = counts.sum() * probabilities
    degrees = len(counts) - 1
    return ((counts - expected) ** 2 / expected).sum() / degrees, 1 + 5 * np.sqrt(2 / degrees)


@pytest.mark.parametrize("case", ["cifar10lt", "random"])
def test_class_frequencies_are_the_published_ones(case, reference):
    published = reference("sampling_probabilities")[case]
    counts = published["class_counts"]
    labels = np.random.RandomState(0).permutation(np.repeat(np.arange(len(counts)), counts))
    offset = np.arange(200_000)
    drawn = labels[records(class_balanced(), class_balanced().tables(labels, len(counts)), 0, offset)]
    value, bound = chi_square(np.bincount(drawn, minlength=len(counts)), published["CB"])
    assert value < bound
    # instance-balanced frequencies are exact: an epoch is a permutation
    whole = labels[
        records(instance_balanced(), instance_balanced().tables(labels, len(counts)), 0, np.arange(len(labels)))
    ]
    share = np.bincount(whole, minlength=len(counts)) / len(labels)
    np.testing.assert_allclose(share, published["IB"], rtol=1e-12)


def test_class_balanced_draws_images_of_a_class_equally_often_and_positions_independently():
    counts = np.array([50, 20, 5, 1])
    labels = np.repeat(np.arange(4), counts)
    drawn = records(class_balanced(), class_balanced().tables(labels, 4), 0, np.arange(400_000))
    value, bound = chi_square(np.bincount(drawn, minlength=76), np.repeat(1 / (4 * counts), counts))
    assert value < bound
    after = np.histogram2d(labels[drawn[:-1]], labels[drawn[1:]], bins=4)[0].ravel()
    value, bound = chi_square(after, np.full(16, 1 / 16))
    assert value < bound


def test_a_class_without_records_is_never_drawn():
    labels = np.array([0, 3, 3, 0, 5])
    tables = class_tables(labels, 7)
    drawn = labels[records(class_balanced(), tables, 0, np.arange(3000))]
    np.testing.assert_array_equal(np.unique(drawn), [0, 3, 5])
    assert np.abs(np.bincount(drawn)[[0, 3, 5]] / 3000 - 1 / 3).max() < 0.05


def test_class_tables_list_every_class_in_record_order():
    labels = long_tailed_labels(1000, 37)
    tables = class_tables(labels, 37)
    for label in range(37):
        first, size = int(tables["first"][label]), int(tables["size"][label])
        np.testing.assert_array_equal(tables["records"][first : first + size], np.flatnonzero(labels == label))
    wide = class_tables(labels.astype(np.int64) * 3000, 120_000)  # more classes than 16 bits can number
    np.testing.assert_array_equal(wide["records"], tables["records"])


GOLDEN = {
    "instance_balanced": "1317 11945 12224 1267 11461 11267 1947 474 10175 4064 10103 9857 1823 237 8830 6522",
    "class_balanced": "333 12355 9834 12020 11533 12197 11085 2037 12383 11940 5457 8872 7531 12371 9009 11930",
    "square_root": "333 11898 5116 10345 8083 11690 8596 2037 12318 9969 763 2437 4223 12299 2818 9924",
    "progressive": "333 12355 9834 12020 11533 12197 11085 2037 12383 1331 5520 8872 7531 12371 9060 11930",
    "progressive_paper": "333 12355 9834 11146 11533 3589 11085 2037 12383 1331 5520 8872 7531 12371 9060 6161",
    "class_cycle": "10729 10458 9927 10388 7982 5844 6242 6487 292 1681 4816 3541 12393 12392 12382 12389",
    "reversed": "9864 12405 12276 12381 12277 12378 12300 11672 12383 12364 11937 12201 11841 12371 12212 12362",
    "distinct_classes": "10729 10458 9927 10388 7982 5844 6242 6487 4956 549 2432 2071 12202 12259 12183 12262",
}


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_golden_order(name):
    """The first 16 records for the class counts of CIFAR-10-LT. Another order would silently change resumed runs."""
    labels = np.repeat(np.arange(10), [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50])
    sampler = make(name)
    drawn = records(sampler, sampler.tables(labels, 10), 3, np.arange(16), seed=42)
    assert " ".join(map(str, drawn)) == GOLDEN[name]


def test_every_sampler_has_a_golden_order_and_the_name_of_its_entry():
    assert set(GOLDEN) == set(SAMPLERS)
    assert all(make(name).name == name for name in SAMPLERS)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_a_hundred_million_records(name):
    """Records are drawn over the whole range, also in classes of more than 2^24 records."""
    size, classes = 10**8, 4
    labels = np.arange(size, dtype=np.uint8) % classes  # 25 million records of each
    sampler = make(name, batch_size=16)
    drawn = records(sampler, sampler.tables(labels, classes), 0, np.arange(40_000)).astype(np.int64)
    assert 0 <= drawn.min() < size * 1e-3 and size * (1 - 1e-3) < drawn.max() < size
    for quarter in np.bincount(labels[drawn], minlength=classes), np.bincount(drawn * 4 // size, minlength=4):
        assert np.abs(quarter - 10_000).max() < 600
    assert len(np.unique(drawn % 2**8)) == 2**8


def test_classes_are_drawn_by_their_effective_number():
    labels = np.repeat([0, 1, 3], [5000, 500, 50])
    sampler = pickle.loads(pickle.dumps(effective_number(beta=0.999, spread=1e-4)))
    tables = sampler.tables(labels, 4)
    drawn = np.bincount(labels[records(sampler, tables, 0, np.arange(60_000))], minlength=4) / 60_000
    betas = 0.999 + 1e-4 * np.array([0, 0.5, 1])
    shares = np.array([5000, 500, 50]) * (1 - betas) / (1 - betas ** np.array([5000, 500, 50]))
    np.testing.assert_allclose(drawn, np.insert(shares / shares.sum(), 2, 0), atol=0.006)
