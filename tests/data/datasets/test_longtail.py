"""Long-tailed data sets: counts, selection and hold-out."""

import numpy as np
import pytest

from ltjax.data import hold_out
from ltjax.data.datasets.longtail import long_tailed_counts, select
from ltjax.errors import InputError

BALANCED = {"cifar10": (5000, 10), "cifar100": (500, 100)}


def test_counts_are_the_published_ones(reference):
    cases = reference("cifar_lt_counts")
    assert len(cases) >= 14
    for name, case in cases.items():
        data_set, profile, imbalance = name.split("_")
        counts = long_tailed_counts(*BALANCED[data_set], float(imbalance.removeprefix("if")), profile)
        assert counts.dtype == np.int64
        assert counts.tolist() == case["counts"], name
        assert counts.sum() == case["total"], name


def test_selection_is_the_published_one(reference):
    for name, case in reference("cifar_lt_selection").items():
        labels = np.array(case["targets"])
        num_classes = len(case["counts"])
        counts = long_tailed_counts(len(labels) / num_classes, num_classes, 1 / case["imb_factor"])
        assert counts.tolist() == case["counts"], name
        assert select(labels, counts, case["rand_number"]).tolist() == case["selected"], name


def test_selection_does_not_use_the_global_generator():
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    select(np.repeat(np.arange(3), 4), np.array([4, 2, 1]), 0)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_selections_of_a_smaller_imbalance_contain_those_of_a_larger_one():
    labels = np.random.RandomState(0).permutation(np.repeat(np.arange(10), 50))
    small, large = (set(select(labels, long_tailed_counts(50, 10, imbalance), 3)) for imbalance in (5, 50))
    assert large < small


def test_imbalance_one_keeps_everything():
    labels = np.random.RandomState(0).permutation(np.repeat(np.arange(10), 50))
    assert sorted(select(labels, long_tailed_counts(50, 10, 1), 0)) == list(range(500))


@pytest.mark.parametrize("imbalance", [0, 0.5, -3, float("nan"), float("inf"), "100", None, True])
def test_impossible_imbalance_names_the_setting(imbalance):
    with pytest.raises(InputError, match=r"^config\.data\.imbalance: .* 1 \(balanced\) or more$"):
        long_tailed_counts(500, 100, imbalance)


@pytest.mark.parametrize("profile", ["exp", "step"])
def test_an_imbalance_that_empties_a_class_names_the_largest_possible(profile):
    assert long_tailed_counts(500, 100, 500, profile).min() == 1
    with pytest.raises(InputError, match=r"^config\.data\.imbalance: 501 leaves \d+ of 100 classes .* at most 500"):
        long_tailed_counts(500, 100, 501, profile)


def test_unknown_profile_names_the_setting():
    with pytest.raises(InputError, match=r"^config\.data\.profile: unknown value 'exq'; allowed: exp, step .*'exp'"):
        long_tailed_counts(500, 100, 10, "exq")


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "0", None, True])
def test_impossible_seed_names_the_setting(seed):
    with pytest.raises(InputError, match=r"^config\.data\.selection_seed: "):
        select(np.array([0, 1]), np.array([1, 1]), seed)


def test_a_class_with_too_few_images_is_named():
    with pytest.raises(InputError, match="class 1 has 1 images"):
        select(np.array([0, 0, 1]), np.array([2, 2]), 0)


@pytest.mark.parametrize("fraction", [0.01, 0.2, 0.5, 0.99])
def test_hold_out_takes_its_share_and_empties_no_class(fraction):
    counts = np.array([100, 40, 0, 10, 3, 2, 1])
    labels = np.repeat(np.arange(7), counts)
    kept, held = hold_out(labels, 7, fraction, 0)
    np.testing.assert_array_equal(np.sort(np.concatenate([kept, held])), np.arange(len(labels)))
    assert (np.diff(kept) > 0).all() and (np.diff(held) > 0).all()
    expected = [min(max(1, round(fraction * n)), n - 1) if n else 0 for n in counts]
    assert np.bincount(labels[held], minlength=7).tolist() == expected
    assert ((np.bincount(labels[kept], minlength=7) > 0) == (counts > 0)).all()


def test_hold_out_depends_on_the_seed_and_is_scattered():
    labels = np.repeat(np.arange(5), 100)
    first, again, other = (hold_out(labels, 5, 0.2, seed)[1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(other)
    for label in range(5):
        positions = first[labels[first] == label]
        assert positions.max() - positions.min() > 50  # not contiguous
    kept, held = hold_out(labels, 5, 0, 0)
    assert kept.tolist() == list(range(500)) and held.size == 0


def test_hold_out_never_changes():
    """Other held-out images would silently change every choice made on them."""
    held = hold_out(np.repeat(np.arange(4), [40, 20, 10, 2]), 4, 0.2, 7)[1]
    assert held.tolist() == [8, 15, 16, 19, 24, 27, 32, 36, 42, 44, 50, 57, 60, 67, 71]


@pytest.mark.parametrize("fraction", [1, 1.5, -0.1, float("nan"), "0.1", None, True])
def test_impossible_fraction_names_the_setting(fraction):
    with pytest.raises(InputError, match=r"^config\.data\.validation_fraction: "):
        hold_out(np.array([0, 1]), 2, fraction, 0)
    with pytest.raises(InputError, match=r"^config\.decoupling\.fraction: "):
        hold_out(np.array([0, 1]), 2, fraction, 0, key="config.decoupling.fraction")
