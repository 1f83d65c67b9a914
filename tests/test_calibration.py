"""Temperature, priors and F1: against their formulas, on synthetic data whose answer is known, at their edges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from ltjax import classifiers, metrics


def drawn(size, prior, seed, spread=1.6):
    """Images whose exact posterior is known: a normal feature for each class; (features, labels)."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(len(prior), size, p=prior)
    return rng.normal(size=(size, len(prior))) + spread * np.eye(len(prior))[labels], labels


def posterior(features, prior, spread=1.6):
    return softmax(spread * features + np.log(prior), axis=1)


# ------------------------------------------------------------------------------------------------------- temperature


@pytest.mark.parametrize("true", [0.25, 1.0, 3.0, 40.0])
def test_the_temperature_is_the_minimum_of_the_loss_and_that_of_the_data(true):
    features, labels = drawn(20_000, np.array([0.5, 0.3, 0.15, 0.05]), 0)
    logits = true * np.log(posterior(features, np.array([0.5, 0.3, 0.15, 0.05])))
    found = classifiers.fit_temperature(logits, labels)

    def loss(scale):
        return -np.mean(log_softmax(scale * logits, axis=1)[np.arange(len(labels)), labels])

    best = minimize_scalar(loss, bounds=(0.2 / true, 5 / true), method="bounded", options={"xatol": 1e-12})
    assert found == pytest.approx(1 / best.x, rel=1e-6)
    assert found == pytest.approx(true, rel=0.03)  # the standard error is 0.01
    scale = 1 / found
    probability = softmax(scale * logits, axis=1)
    slope = np.mean(np.sum(probability * logits, 1) - logits[np.arange(len(labels)), labels])
    assert abs(slope) < 1e-11 * true  # to the rounding of float64


def test_the_temperature_is_the_same_in_pieces_shifted_scaled_and_with_impossible_classes(monkeypatch):
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(size=(300, 5)), rng.integers(0, 5, 300)
    logits[np.arange(300), labels] += 1
    found = classifiers.fit_temperature(logits, labels)
    wide = np.concatenate([logits + rng.normal(size=(300, 1)) * 50, np.full((300, 2), -np.inf)], axis=1)
    monkeypatch.setattr("ltjax.classifiers.calibration.CHUNK_ELEMENTS", 70)
    assert classifiers.fit_temperature(wide, labels) == pytest.approx(found, rel=1e-10)
    assert classifiers.fit_temperature(1e6 * logits, labels) == pytest.approx(1e6 * found, rel=1e-10)
    assert classifiers.fit_temperature(jnp.asarray(logits), labels) == pytest.approx(found, rel=1e-5)


def test_one_wrong_example_among_many_is_enough():
    logits, labels = np.tile([10.0, 0.0], (1000, 1)), np.zeros(1000, int)
    labels[0] = 1
    assert classifiers.fit_temperature(logits, labels) == pytest.approx(10 / np.log(999), rel=1e-10)


@pytest.mark.parametrize(
    "logits, labels, says",
    [
        ([[1.0, 0.0]] * 3, [0, 0, 0], "every example is classified correctly"),
        ([[0.0, 0.0]] * 2, [0, 0], "every example is classified correctly"),
        ([[1.0, 0.0]] * 2, [1, 1], "no better than chance"),
        ([[1.0, np.nan]], [0], "not finite"),
        ([[1.0, np.inf]], [0], "not finite"),
        ([[1.0, -np.inf]], [1], "has the logit -inf"),
        ([[1.0, 0.0]], [2], "must be 0 to 1"),
        ([[1.0, 0.0]], [0.0], "expected integers"),
        ([1.0, 0.0], [0], "expected shape"),
        (np.zeros((0, 2)), np.zeros(0, int), "N > 0"),
    ],
)
def test_what_has_no_temperature_says_so(logits, labels, says):
    with pytest.raises(ValueError, match=says):
        classifiers.fit_temperature(logits, labels)


# ------------------------------------------------------------------------------------------------------------- prior


def test_a_changed_prior_is_bayes_rule():
    features, _ = drawn(50, np.full(3, 1 / 3), 2)
    train, test = np.array([60, 30, 10]), np.array([0.2, 0.2, 0.6])
    logits = np.log(posterior(features, train / train.sum()))
    with jax.enable_x64(True):
        changed = classifiers.change_prior(logits, train_prior=train, test_prior=test)
    np.testing.assert_allclose(softmax(changed, axis=1), posterior(features, test), rtol=1e-12)
    uniform = classifiers.change_prior(logits, train_prior=train, test_prior=np.ones(3))
    adjusted = classifiers.adjust_logits(logits, class_counts=train, tau=1.0)
    np.testing.assert_allclose(jax.nn.softmax(uniform), jax.nn.softmax(adjusted), atol=1e-6)
    assert np.isneginf(classifiers.change_prior(logits, train_prior=train, test_prior=[1, 0, 1])[:, 1]).all()
    assert classifiers.change_prior(jnp.zeros(3, jnp.bfloat16), train_prior=train, test_prior=test).dtype == jnp.float32


def test_estimation_follows_its_formula():
    rng = np.random.default_rng(3)
    p, train = rng.dirichlet(np.ones(4), 30), np.array([0.4, 0.3, 0.2, 0.1])
    estimate = train
    for steps in (1, 2, 5):
        estimate = train
        for _ in range(steps):
            corrected = p * (estimate / train)
            estimate = np.mean(corrected / corrected.sum(axis=1, keepdims=True), axis=0)
        found = classifiers.estimate_prior(p, train, max_iterations=steps, tolerance=0)
        np.testing.assert_allclose(found, estimate, rtol=1e-12)


@pytest.mark.parametrize("prior", [[0.05, 0.15, 0.8], [1 / 3] * 3, [0.7, 0.3, 0.0]])
def test_the_prior_of_synthetic_images_is_found_within_sampling_error(prior):
    train = np.array([700, 250, 50])  # of a long-tailed training set
    features, _ = drawn(20_000, np.array(prior), 4)
    found = classifiers.estimate_prior(posterior(features, train / train.sum()).astype(np.float32), train)
    assert found.dtype == np.float64 and found.sum() == pytest.approx(1)
    np.testing.assert_allclose(found, prior, atol=0.02)  # about three standard errors
    # the likelihood has its maximum there: moving probability between two classes lowers it
    ratio = posterior(features, np.full(3, 1 / 3))
    best = np.sum(np.log(ratio @ found))
    for source in range(3):
        for target in range(3):
            step = min(0.01, found[source])
            moved = found + step * (np.eye(3)[target] - np.eye(3)[source])
            assert np.sum(np.log(ratio @ moved)) <= best + 0.01  # of 20,000 images


def test_estimation_reads_a_file_in_pieces(tmp_path, monkeypatch):
    p = np.random.default_rng(5).dirichlet(np.ones(3), 101).astype(np.float32)
    np.save(tmp_path / "p.npy", p)
    whole = classifiers.estimate_prior(p, [5, 3, 2])
    monkeypatch.setattr("ltjax.classifiers.prior.CHUNK_ELEMENTS", 30)
    in_pieces = classifiers.estimate_prior(np.load(tmp_path / "p.npy", mmap_mode="r"), [5, 3, 2])
    np.testing.assert_allclose(in_pieces, whole, rtol=1e-12)


@pytest.mark.parametrize(
    "probabilities, prior, says",
    [
        ([[0.5, 0.5]], [1, 0], "train_prior: class 1 has no images"),
        ([[0.5, 0.5]], [1, 1, 1], "train_prior: has 3 classes"),
        ([[0.5, 0.5], [0.5, 0.6]], [1, 1], "row 1 is negative, not finite or does not sum to 1"),
        ([[1.5, -0.5]], [1, 1], "row 0 is negative"),
        ([[np.nan, 0.5]], [1, 1], "row 0 is negative, not finite"),
        (np.zeros((0, 2)), [1, 1], "N > 0"),
        ([0.5, 0.5], [1, 1], "expected shape"),
    ],
)
def test_bad_priors_and_probabilities_are_named(probabilities, prior, says):
    with pytest.raises(ValueError, match=says):
        classifiers.estimate_prior(probabilities, prior)


# ---------------------------------------------------------------------------------------------------------------- F1


def test_f1_counts_what_a_class_takes_from_others():
    labels, predictions = np.array([0, 0, 0, 1, 1, 2, 2, 2]), np.array([0, 0, 1, 1, 1, 1, 3, -1])
    counters = metrics.update(metrics.create(4), jnp.asarray(predictions), jnp.asarray(labels))
    expected = [2 * 2 / (3 + 2), 2 * 2 / (2 + 4), 0.0, np.nan]
    np.testing.assert_allclose(metrics.per_class_f1(counters), expected)
    assert metrics.macro_f1(counters) == pytest.approx(np.mean(expected[:3]))
    small = counters._replace(confusion=None)
    np.testing.assert_array_equal(metrics.per_class_f1(small, [2, 4, 0, 1]), metrics.per_class_f1(counters))
    with pytest.raises(ValueError, match="made without confusion"):
        metrics.macro_f1(small)
    with pytest.raises(ValueError, match="expected shape"):
        metrics.macro_f1(small, [1, 2])
    assert np.isnan(metrics.macro_f1(metrics.create(3)))
