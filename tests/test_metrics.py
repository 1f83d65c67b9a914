"""Exact counters: against the reference accuracies, by hand, and the same however the examples are divided."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import class_counts, metrics


def count(predictions, labels, num_classes, **kwargs):
    return metrics.update(metrics.create(num_classes, **kwargs), jnp.asarray(predictions), jnp.asarray(labels))


def test_accuracies_agree_with_the_reference(reference):
    for case, v in reference("shot_accuracy").items():
        counters = count(v["preds"], v["labels"], len(v["train_counts"]))
        np.testing.assert_allclose(metrics.per_class_accuracy(counters), v["per_class"], atol=1e-12, err_msg=case)
        np.testing.assert_allclose(metrics.overall_accuracy(counters), v["overall"], atol=1e-12)
        np.testing.assert_allclose(metrics.mean_class_accuracy(counters), v["mean_class"], atol=1e-12)
        for convention in ("strict", "inclusive"):
            groups = class_counts.shot_groups(v["train_counts"], convention)
            got = list(metrics.shot_accuracies(counters, groups).values())
            empty = np.array([not mask.any() for mask in groups.values()])
            # The strict authors print 0 for an empty group; ours is NaN in both conventions.
            expected = np.where(empty, np.nan, v[convention])
            np.testing.assert_allclose(got, expected, atol=1e-12, err_msg=f"{case} {convention}")


def test_harmonic_mean_and_worst_class():
    counters = count([0, 1, 1, 1, 2, 0], [0, 0, 1, 1, 2, 2], 4)
    assert metrics.harmonic_mean_accuracy(counters) == pytest.approx(3 / (1 / 0.5 + 1 / 1 + 1 / 0.5))
    assert metrics.worst_class_accuracy(counters) == 0.5
    assert metrics.harmonic_mean_accuracy(count([1, 1], [0, 1], 2)) == 0
    np.testing.assert_array_equal(metrics.per_class_accuracy(counters), [0.5, 1, 0.5, np.nan])


def test_nothing_counted_is_nan_everywhere():
    counters = metrics.create(3, calibration_bins=5)
    for function in (
        metrics.overall_accuracy,
        metrics.mean_class_accuracy,
        metrics.worst_class_accuracy,
        metrics.harmonic_mean_accuracy,
        metrics.expected_calibration_error,
    ):
        assert np.isnan(function(counters)), function.__name__


def test_confusion_has_the_true_class_in_rows():
    counters = count([1, 1, 0], [0, 1, 2], 3)
    assert counters.confusion.tolist() == [[0, 1, 0], [0, 1, 0], [1, 0, 0]]
    assert metrics.create(3, confusion=False).confusion is None


def test_logits_predict_their_largest_and_nan_is_wrong():
    logits = jnp.array([[1.0, 2, 0], [3, 3, 0], [jnp.nan, 5, 0], [0, 0, jnp.inf]])
    counters = metrics.update(metrics.create(3), logits, jnp.array([1, 0, 1, 2]))
    assert counters.correct.tolist() == [1, 1, 1]
    assert counters.examples.tolist() == [1, 2, 1]


def test_masked_and_invalid_examples_are_not_counted():
    labels = jnp.array([0, 1, -1, 3, 2])
    mask = jnp.array([True, False, True, True, True])
    counters = metrics.update(metrics.create(3), jnp.array([0, 1, 0, 0, -1]), labels, where=mask)
    assert counters.examples.tolist() == [1, 0, 1]
    assert counters.correct.tolist() == [1, 0, 0]
    assert int(counters.confusion.sum()) == 1  # the prediction -1 has no column


def test_batches_in_any_order_padded_or_merged_give_the_same_counters():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(100, 7)).astype(np.float32), rng.integers(0, 7, 100)
    whole = metrics.update(metrics.create(7, calibration_bins=10), logits, labels)
    shuffled = rng.permutation(100)
    parts = metrics.create(7, calibration_bins=10)
    for index in (shuffled[:33], shuffled[33:34]):
        parts = jax.jit(metrics.update)(parts, logits[index], labels[index])
    rest = metrics.create(7, calibration_bins=10)
    padded = np.concatenate([shuffled[34:], shuffled[:14]])
    rest = metrics.update(rest, logits[padded], labels[padded], where=np.arange(80) < 66)
    merged = metrics.merge(parts, rest)
    # A fraction may be carried at another moment; what is reported may not differ.
    assert metrics.expected_calibration_error(merged) == metrics.expected_calibration_error(whole)
    for name in ("examples", "correct", "confusion", "bin_examples", "bin_correct"):
        np.testing.assert_array_equal(getattr(merged, name), getattr(whole, name), err_msg=name)


def test_sharded_batches_give_the_global_counters():
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("data",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(size=(64, 5)).astype(np.float32), rng.integers(0, 5, 64)
    counters = metrics.create(5, calibration_bins=4)
    expected = metrics.update(counters, logits, labels)
    got = jax.jit(metrics.update)(counters, jax.device_put(logits, sharding), jax.device_put(labels, sharding))
    jax.tree.map(np.testing.assert_array_equal, got, expected)


def test_expected_calibration_error_is_that_of_the_definition():
    rng = np.random.default_rng(2)
    logits = 3 * rng.normal(size=(500, 4))
    labels = rng.integers(0, 4, 500)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    confidence, right = p.max(1), p.argmax(1) == labels
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    got = metrics.expected_calibration_error(count(logits, labels, 4, calibration_bins=15))
    assert got == pytest.approx(expected, abs=2e-6)


def test_counters_keep_their_dtype_where_float64_is_enabled():
    with jax.enable_x64(True):
        counters = metrics.create(3, calibration_bins=5)
        updated = metrics.update(counters, np.eye(3), np.arange(3))
        assert [leaf.dtype for leaf in jax.tree.leaves(updated)] == [np.int32] * 7
        assert metrics.overall_accuracy(updated) == 1


def test_confidences_of_a_large_bin_do_not_overflow():
    counters = metrics.create(2, calibration_bins=3)
    logits, labels = jnp.tile(jnp.array([[50.0, 0.0]]), (100_000, 1)), jnp.zeros(100_000, int)
    for _ in range(3):
        counters = metrics.update(counters, logits, labels)
    assert metrics.expected_calibration_error(counters) == 0
    assert int(counters.bin_whole.sum()) == 300_000


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: metrics.create(0), "num_classes"),
        (lambda: count([0, 1], [0, 1, 1], 3), "predictions"),
        (lambda: count(np.zeros((2, 4)), [0, 1], 3), "predictions"),
        (lambda: count([0.0, 1.0], [0, 1], 3), "integers"),
        (lambda: count([0, 1], [0, 1], 3, calibration_bins=5), "logits"),
        (lambda: metrics.expected_calibration_error(metrics.create(3)), "calibration_bins"),
        (lambda: metrics.shot_accuracies(metrics.create(3), {"many": [True]}), "many"),
    ],
)
def test_bad_input_raises_naming_it(call, message):
    with pytest.raises(ValueError, match=message):
        call()
