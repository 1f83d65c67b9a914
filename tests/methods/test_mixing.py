"""mixup and CutMix on the device: shares, partners, rounding; the loss against its vectors is tests/losses' matter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.methods.mixing import Mixed, mix, paste

IMAGES = jnp.asarray(np.random.RandomState(0).randint(0, 256, (6, 3, 3, 2)), jnp.uint8)
LABELS = jnp.arange(6)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_images_and_labels_are_mixed_in_the_same_order_and_share(dtype):
    images = IMAGES.astype(dtype)
    mixed = jax.jit(lambda key: mix(key, images, LABELS, 1.0))(jax.random.key(3))
    other = np.asarray(mixed.labels_b)
    assert sorted(other) == list(range(6)) and list(other) != list(range(6))
    np.testing.assert_array_equal(mixed.labels_a, LABELS)
    exact = np.asarray(images, np.float64)
    expected = float(mixed.lam) * exact + (1 - float(mixed.lam)) * exact[other]
    assert mixed.images.dtype == dtype
    np.testing.assert_allclose(mixed.images, expected, atol=0.5001 if dtype == "uint8" else 1e-4)


@pytest.mark.parametrize("alpha, variance", [(1.0, 1 / 12), (0.2, 1 / (4 * 1.4))])
def test_the_share_is_beta_distributed_and_one_a_batch(alpha, variance):
    lams = jax.vmap(lambda key: mix(key, IMAGES, LABELS, alpha).lam)(jax.random.split(jax.random.key(0), 2000))
    assert lams.shape == (2000,) and lams.min() >= 0 and lams.max() <= 1
    assert abs(lams.mean() - 0.5) < 0.03
    assert abs(lams.var() - variance) < 0.01  # 1 / (4 (2 alpha + 1))


def test_alpha_0_mixes_nothing():
    mixed = mix(jax.random.key(0), IMAGES, LABELS, 0.0)
    assert mixed.lam == 1
    np.testing.assert_array_equal(mixed.images, IMAGES)


def test_the_larger_share_names_the_class():
    labels = Mixed(IMAGES, LABELS, LABELS[::-1], jnp.float32(0.4)).larger
    np.testing.assert_array_equal(labels, LABELS[::-1])


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_box_of_another_image_is_pasted_and_counted(dtype):
    images = jnp.arange(6, dtype=dtype)[:, None, None, None] * jnp.ones((6, 9, 14, 2), dtype)
    pasting, areas = jax.jit(lambda key: paste(key, images, LABELS, 1.0)), set()
    for seed in range(40):
        pasted = pasting(jax.random.key(seed))
        other, changed = np.asarray(pasted.labels_b), np.asarray(pasted.images)
        assert pasted.images.dtype == dtype and sorted(other) == list(range(6))
        i = next((i for i in range(6) if other[i] != i), None)
        if i is None:
            continue
        box = changed[i, ..., 0] == other[i]
        rows, columns = np.flatnonzero(box.any(1)), np.flatnonzero(box.any(0))
        assert box.sum() == len(rows) * len(columns)  # one box ...
        if len(rows):
            assert np.ptp(rows) == len(rows) - 1 and np.ptp(columns) == len(columns) - 1
        for j in range(6):  # ... the same in all images
            np.testing.assert_array_equal(changed[j, ..., 1], np.where(box, other[j], j))
        assert float(pasted.lam) == pytest.approx(1 - box.mean(), abs=1e-6)
        areas.add(round(float(pasted.lam), 2))
    assert len(areas) > 10


def test_nothing_is_pasted_with_alpha_0():
    pasted = paste(jax.random.key(0), IMAGES, LABELS, 0.0)
    assert pasted.lam == 1
    np.testing.assert_array_equal(pasted.images, IMAGES)
