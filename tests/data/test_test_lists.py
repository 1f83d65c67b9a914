"""Test lists of other class distributions: how many images, which ones, what a command line may ask for."""

import numpy as np
import pytest

from ltjax.data.test_lists import TestList, parse_lists
from ltjax.errors import InputError

COUNTS = np.array([500 - 4 * k for k in range(100)])  # of training, class 0 the commonest
FORWARD, BACKWARD = parse_lists("forward:50,backward:50")


def authors_counts(largest, factor, classes, reverse):
    """The authors' formula, written out."""
    exponents = [(classes - 1 - k if reverse else k) / (classes - 1.0) for k in range(classes)]
    return [int(largest * factor**exponent) for exponent in exponents]


@pytest.mark.parametrize("ratio", [50, 25, 10, 5, 2])
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_the_counts_of_cifar_100_are_the_authors(direction, ratio):
    (one,) = parse_lists(f"{direction}:{ratio}")
    expected = authors_counts(100, 1 / ratio, 100, direction == "backward")
    assert one.counts(COUNTS, np.full(100, 100)).tolist() == expected
    assert max(expected) == 100 and min(expected) == 100 // ratio


def test_the_images_are_those_of_the_authors_generator():
    """Seeded once; class after class the positions are shuffled, and the first ones taken."""
    labels = np.random.default_rng(5).permutation(np.repeat(np.arange(100), 100))
    generator, expected = np.random.RandomState(0), []
    for label, count in enumerate(authors_counts(100, 1 / 50, 100, False)):
        positions = np.where(labels == label)[0]
        generator.shuffle(positions)
        expected += positions[:count].tolist()
    assert FORWARD.records(COUNTS, labels).tolist() == expected
    everything = parse_lists("uniform,forward:2")[0].records(COUNTS, labels)
    assert sorted(everything.tolist()) == list(range(10000))
    assert set(expected) < set(everything.tolist())
    shorter, longer = (set(one.records(COUNTS, labels).tolist()) for one in (FORWARD, TestList("forward:5", 5.0)))
    assert shorter < longer


def test_ranks_are_by_training_images():
    rare_first = COUNTS[::-1]
    np.testing.assert_allclose(FORWARD.shares(rare_first), BACKWARD.shares(COUNTS))


def test_of_an_unbalanced_test_set_it_is_the_largest_list_of_these_shares():
    counts = TestList("forward:4", 4.0).counts(np.array([90, 20, 5]), np.array([10, 20, 30]))
    assert counts.tolist() == [10, 5, 2]
    assert TestList("uniform").counts(np.array([90, 20, 5]), np.array([10, 20, 30])).tolist() == [10, 10, 10]
    assert TestList("uniform").counts(np.array([90, 20, 5]), np.array([10, 0, 30])).tolist() == [10, 0, 10]


def test_what_is_a_list_and_what_is_not():
    assert [one.name for one in parse_lists("forward:50, uniform,backward:2.5")] == [
        "forward:50", "uniform", "backward:2.5"
    ]  # fmt: skip
    for other in ("uniform", "train", "estimate", "shares.csv", "a,b.csv"):
        assert parse_lists(other) == ()


@pytest.mark.parametrize(
    "text, words",
    [
        ("forward", "'forward' is no test list"),
        ("sideways:5", "'sideways:5' is no test list; allowed in a list: uniform, forward:RATIO"),
        ("forward:50,train", "'train' is no test list; allowed in a list: uniform, forward:RATIO"),
        ("forward:0.5", "impossible ratio '0.5' in 'forward:0.5'; allowed: a number >= 1"),
        ("backward:x", "impossible ratio 'x'"),
        ("forward:50,uniform,forward:50", "'forward:50' stands there twice"),
    ],
)
def test_mistakes_are_one_line(text, words):
    with pytest.raises(InputError, match=words):
        parse_lists(text)
