"""How tau is found on features: exact, by class-averaged accuracy, over the authors' grid."""

import numpy as np
import pytest

from ltjax.methods.decoupling import tau_search


def by_hand(features, labels, kernel, value):
    """The mean over the classes that occur of each one's accuracy, in float64, by the formula."""
    weights = kernel / np.linalg.norm(kernel, axis=0) ** value
    hit = np.argmax(features @ weights, 1) == labels
    return np.mean([hit[labels == c].mean() for c in np.unique(labels)])


def problem():
    random = np.random.RandomState(0)
    kernel = random.randn(4, 5) * [3.0, 2.0, 1.0, 0.5, 0.2]
    labels = random.choice(5, 57, p=[0.5, 0.3, 0.1, 0.1, 0.0])  # the last class has no image
    return random.randn(57, 4) + kernel.T[labels] / 3, labels, kernel


@pytest.mark.parametrize("rows", [10, 57, 4096])  # several calls with a remainder, one exact call, one call
def test_class_averaged_accuracies_are_those_of_the_formula(rows, monkeypatch):
    monkeypatch.setattr(tau_search, "ROWS", rows)
    features, labels, kernel = problem()
    expected = [by_hand(features, labels, kernel, value) for value in tau_search.TAUS]
    assert len(set(expected)) > 5
    np.testing.assert_allclose(tau_search.class_averaged_accuracies(features, labels, kernel), expected, rtol=1e-12)


def test_the_grid_is_the_authors():
    np.testing.assert_allclose(tau_search.TAUS, np.linspace(0, 2, 21), atol=1e-12)


@pytest.mark.parametrize("value", ["0.0", "0.3", "0.5", "0.7", "1.0", "2.0"])
def test_the_reference_logits_name_the_same_classes(value, reference):
    r = reference("tau_norm")[f"tau{value}"]
    labels = np.argmax(r["logits"], 1)
    assert tau_search.class_averaged_accuracies(r["features"], labels, r["weight"].T, [float(value)]) == 1


def test_a_class_of_zero_weights_harms_nothing():
    features, labels, kernel = problem()
    kernel[:, 2] = 0
    assert np.isfinite(tau_search.class_averaged_accuracies(features, labels, kernel)).all()


@pytest.mark.parametrize(
    "accuracies, best",
    [
        ([0.1, 0.9, 0.2, 0.3], 0.1),
        ([1.0, 1.0, 1.0, 1.0], 0.1),
        ([0.2, 0.2, 0.7, 0.7], 0.2),
        ([0.0, 0.5, 0.6, 0.7], 0.3),
    ],
)
def test_the_best_tau_is_the_middle_one_of_equals(accuracies, best):
    assert tau_search.best_tau(accuracies, (0.0, 0.1, 0.2, 0.3)) == best


def test_of_equal_logits_the_first_class_counts_as_argmax_has_it():
    features, kernel = np.ones((3, 2)), np.array([[1.0, 1.0, 0.5], [1.0, 1.0, 0.5]])
    assert tau_search.class_averaged_accuracies(features, np.array([0, 1, 2]), kernel, [0.0]) == pytest.approx(1 / 3)
