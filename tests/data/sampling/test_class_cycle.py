"""Samplers that choose a class first: published distributions, cycles without repeats, batches of distinct classes."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.class_counts import sampling_probabilities
from ltjax.data.sampling.class_cycle import class_cycle, distinct_classes
from ltjax.data.sampling.combine import deferred, over_subset, subset_tables
from ltjax.data.sampling.counter_rng import Ops, name_id
from ltjax.data.sampling.epoch_shuffle import instance_balanced
from ltjax.data.sampling.independent import class_balanced, power, progressive, reversed_frequency, square_root
from ltjax.errors import InputError

DEVICE = Ops(jnp, jax.lax.while_loop)
QUICK = {"xla_backend_optimization_level": 0}  # compiles much faster; safe, because the arithmetic is in integers
IMAGE = name_id("image")
COUNTS = np.array([50, 20, 5, 3, 1])


def shuffled_labels(counts):
    return np.random.RandomState(0).permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.int32)


def drawn(sampler, labels, offset, epoch=0, num_classes=None, seed=0):
    tables = sampler.tables(labels, num_classes or int(labels.max()) + 1)
    return sampler.draw(tables, seed, IMAGE, epoch, offset)


def assert_frequencies(found, probabilities):
    """Chi-square per degree of freedom stays within five standard deviations."""
    found, probabilities = np.ravel(found), np.ravel(probabilities)
    counts = np.bincount(found, minlength=len(probabilities))
    assert len(counts) == len(probabilities) and not counts[probabilities == 0].any()
    counts, expected = counts[probabilities > 0], found.size * probabilities[probabilities > 0]
    degrees = max(len(counts) - 1, 1)
    assert ((counts - expected) ** 2 / expected).sum() / degrees < 1 + 5 * np.sqrt(2 / degrees)


def orders(rows):
    """The number of the permutation that each row of [M, k] is, and how many permutations of 0 .. k - 1 exist."""
    found = {order: i for i, order in enumerate(itertools.permutations(range(rows.shape[1])))}
    return np.array([found[tuple(row)] for row in rows.tolist()]), len(found)


STRATEGIES = {"square_root": square_root(), "reversed": reversed_frequency(), "class": power(0), "instance": power(1)}


@pytest.mark.parametrize("case", ["cifar10lt", "random"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_classes_have_the_published_probabilities_and_their_images_equal_probabilities(strategy, case, reference):
    published = reference("sampling_probabilities")[case]
    counts = published["class_counts"]
    probabilities = sampling_probabilities(counts, strategy)
    vector = {"square_root": "SR", "class": "CB", "instance": "IB"}.get(strategy)
    if vector:
        np.testing.assert_allclose(probabilities, published[vector], rtol=1e-12)
    labels = shuffled_labels(counts)
    records = drawn(STRATEGIES[strategy], labels, np.arange(200_000))
    assert_frequencies(labels[records], probabilities)
    assert_frequencies(records, (probabilities / counts)[labels])


@pytest.mark.parametrize("q", [-1, 0, 0.5, 1, 2])
def test_power_divides_the_words_by_probability_to_within_2_32(q):
    counts = np.array([500_000, 7, 0, 1, 30, 30])
    tables = power(q).tables(np.repeat(np.arange(6), counts), 6)
    words = np.diff(np.concatenate([[-1], tables["last_word"].astype(np.int64)]))
    present = counts[counts > 0].astype(np.float64)
    np.testing.assert_allclose(words / 2**32, present**q / (present**q).sum(), atol=2**-32)
    assert words.sum() == 2**32


@pytest.mark.parametrize("num_classes", [1, 2, 7, 10, 100])
def test_power_zero_draws_the_records_of_class_balanced(num_classes):
    labels = shuffled_labels(np.arange(1, num_classes + 1))
    offset = np.arange(5000)
    np.testing.assert_array_equal(drawn(power(0), labels, offset), drawn(class_balanced(), labels, offset))


@pytest.mark.parametrize("author", [True, False])
def test_progressive_has_the_published_probabilities_in_every_epoch(author, reference):
    published = reference("sampling_probabilities")["cifar10lt"]
    rows = published["PB_author" if author else "PB_paper"]
    counts, epochs = published["class_counts"], int(published["T"])
    labels, sampler = shuffled_labels(counts), progressive(epochs, author)
    for epoch, probabilities in zip(published["t"].tolist(), rows, strict=True):
        share = epoch / (epochs - 1 if author else epochs)
        np.testing.assert_allclose(probabilities, sampling_probabilities(counts, "progressive", share), rtol=1e-12)
        records = drawn(sampler, labels, np.arange(100_000), epoch)
        assert_frequencies(labels[records], probabilities)
        assert_frequencies(records, (probabilities / counts)[labels])


def test_progressive_goes_from_instance_balanced_to_class_balanced():
    labels, offset = shuffled_labels(COUNTS), np.arange(4000)
    for epochs in (2, 3, 200):
        balanced = drawn(class_balanced(), labels, offset, epochs - 1)
        np.testing.assert_array_equal(drawn(progressive(epochs), labels, offset, epochs - 1), balanced)
    tables = progressive(3).tables(labels, 5)  # later epochs use the share of the last one
    late = progressive(3).draw(tables, 0, IMAGE, 7, offset)
    np.testing.assert_array_equal(late, drawn(class_balanced(), labels, offset, 7))
    assert tables["balanced_words"].tolist() == [0, 2**30, 2**31]
    assert progressive(4, author=False).tables(labels, 5)["balanced_words"].tolist() == [0, 2**29, 2**30, 3 * 2**29]
    for author in (True, False):  # a single epoch: all images equally likely, and no division by zero
        assert_frequencies(drawn(progressive(1, author), labels, np.arange(50_000)), np.full(79, 1 / 79))


@pytest.mark.parametrize("images_per_visit", [1, 4])
def test_a_class_cycle_visits_all_classes_and_uses_all_images_before_any_repeats(images_per_visit):
    counts, laps = np.array([50, 0, 20, 5, 3, 0, 1]), 60
    labels, classes = shuffled_labels(counts), np.flatnonzero(counts)
    visits = np.arange(laps * 5 * images_per_visit).reshape(laps, 5, images_per_visit)
    records = drawn(class_cycle(images_per_visit), labels, visits, num_classes=7)
    visited = labels[records]
    assert (visited == visited[..., :1]).all(), "a visit is to one class"
    np.testing.assert_array_equal(np.sort(visited[..., 0], 1), np.tile(classes, (laps, 1)))
    assert len(np.unique(visited[..., 0], axis=0)) > 40, "laps have different orders"
    for label in classes:
        images = records[visited == label]
        cycles = images[: images.size // counts[label] * counts[label]].reshape(-1, counts[label])
        np.testing.assert_array_equal(np.sort(cycles, 1), np.tile(np.flatnonzero(labels == label), (len(cycles), 1)))


def test_a_class_cycle_has_all_orders_of_classes_and_images_equally_often():
    labels, laps = np.repeat([0, 1, 2], [3, 4, 1]), 12_000
    records = drawn(class_cycle(1), labels, np.arange(3 * laps).reshape(laps, 3))
    found, number = orders(labels[records])
    assert_frequencies(found, np.full(number, 1 / number))
    for label, size in ((0, 3), (1, 4)):
        found, number = orders(records[labels[records] == label].reshape(-1, size) - 3 * label)
        assert_frequencies(found, np.full(number, 1 / number))
        assert_frequencies(number * found[:-1] + found[1:], np.full(number**2, number**-2.0))  # unrelated neighbours


def test_a_class_cycle_is_shuffled_again_every_epoch():
    labels = shuffled_labels(COUNTS)
    first, second = (drawn(class_cycle(4), labels, np.arange(400), epoch) for epoch in (0, 1))
    assert (first == second).mean() < 0.3
    tables = class_cycle(4).tables(labels, 5)
    firsts = [labels[class_cycle(4).draw(tables, 0, IMAGE, epoch, 0)] for epoch in range(600)]
    assert_frequencies(np.array(firsts), np.full(5, 0.2))


@pytest.mark.parametrize("batch_size, images_per_class", [(20, 4), (8, 4), (6, 2), (5, 1), (16, 16)])
def test_a_batch_holds_distinct_classes_and_as_many_distinct_images_of_each_as_possible(batch_size, images_per_class):
    counts = np.array([50, 0, 20, 5, 3, 1])
    labels, chosen = shuffled_labels(counts), batch_size // images_per_class
    offset = np.arange(300 * batch_size).reshape(300, chosen, images_per_class)
    records = drawn(distinct_classes(batch_size, images_per_class), labels, offset, num_classes=6)
    classes = labels[records]
    assert (classes == classes[..., :1]).all()
    assert all(len(set(row)) == chosen for row in classes[..., 0].tolist())
    assert_frequencies(classes[..., 0], np.where(counts > 0, 0.2, 0))
    for images, label in zip(records.reshape(-1, images_per_class).tolist(), classes[..., 0].ravel(), strict=True):
        size = counts[label]
        assert len(set(images[:size])) == min(size, images_per_class)  # all of them, then repeats


def test_distinct_classes_draw_all_sets_of_classes_and_images_equally_often():
    labels, batches = np.repeat(np.arange(5), [4, 4, 4, 4, 2]), 20_000
    records = drawn(distinct_classes(6, 3), labels, np.arange(6 * batches).reshape(batches, 2, 3))
    classes = labels[records[..., 0]]
    couples = np.full((5, 5), 1 / 20) * (1 - np.eye(5))
    assert_frequencies(classes[:, 0] * 5 + classes[:, 1], couples)
    images = records[:, 0][classes[:, 0] < 4] % 4
    triples = [len(set(three)) == 3 for three in itertools.product(range(4), repeat=3)]
    assert_frequencies(images @ [16, 4, 1], np.array(triples) / 24)
    few = records[:, 0][classes[:, 0] == 4] - 16  # two images for three slots: both, then either
    np.testing.assert_array_equal(np.sort(few[:, :2], 1), np.tile([0, 1], (len(few), 1)))
    assert_frequencies(few[:, 0] * 2 + few[:, 2], np.full(4, 1 / 4))


def test_impossible_batches_of_distinct_classes_name_the_setting():
    with pytest.raises(InputError, match=r"^config\.batch_size: 30 .* multiple of 4, .* set it to 28 or 32$"):
        distinct_classes(30)
    with pytest.raises(InputError, match=r"^config\.batch_size: 3 .* set it to 4$"):
        distinct_classes(3)
    labels = np.array([0, 0, 3, 3, 5])
    assert distinct_classes(12).tables(labels, 7)["first"].size == 3
    with pytest.raises(InputError, match=r"^config\.batch_size: 16 .* 4 distinct classes, but only 3 .* at most 12"):
        distinct_classes(16).tables(labels, 7)
    for wrong in (0, -4, 1.5, True):
        with pytest.raises(InputError, match=r"^images_per_class: .* 1 or more$"):
            distinct_classes(8, wrong)
        with pytest.raises(InputError, match=r"^images_per_visit: .* 1 or more$"):
            class_cycle(wrong)


def test_deferred_switches_at_its_epoch_inside_one_program():
    labels, offset = shuffled_labels(COUNTS), np.arange(64)
    sampler = deferred(instance_balanced(), reversed_frequency(), switch_epoch=3)
    tables = sampler.tables(labels, 5)
    traced = jax.jit(
        lambda tables, epoch: sampler.draw(tables, 0, IMAGE, epoch, offset, DEVICE), compiler_options=QUICK
    )
    for epoch, of in ((0, instance_balanced()), (2, instance_balanced()), (3, reversed_frequency())):
        expected = drawn(of, labels, offset, epoch)
        np.testing.assert_array_equal(sampler.draw(tables, 0, IMAGE, epoch, offset), expected)
        np.testing.assert_array_equal(traced(tables, epoch), expected)
    alone = sampler.draw(tables, 0, IMAGE, 2**32 - 1, np.int64(5))
    assert alone.shape == () and alone.dtype == np.int32


@pytest.mark.parametrize("inner", [instance_balanced(), class_cycle(2)], ids=lambda sampler: sampler.name)
def test_a_subset_is_sampled_as_if_there_were_no_other_records(inner):
    labels, offset = shuffled_labels(COUNTS), np.arange(200)
    members = np.flatnonzero(np.isin(labels, [1, 3, 4]))[::-1]
    sampler = over_subset(inner)
    tables = subset_tables(sampler, labels, 5, members)
    found = sampler.draw(tables, 0, IMAGE, 2, offset)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(np.unique(found), np.sort(members))
    np.testing.assert_array_equal(found, members[drawn(inner, labels[members], offset, 2)])
    np.testing.assert_array_equal(drawn(sampler, labels, offset), drawn(inner, labels, offset))
    jax.tree.map(np.testing.assert_array_equal, tables, subset_tables(inner, labels, 5, members))
    traced = jax.jit(lambda tables: sampler.draw(tables, 0, IMAGE, 2, offset, DEVICE), compiler_options=QUICK)
    np.testing.assert_array_equal(traced(tables), found)
