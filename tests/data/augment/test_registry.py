"""Transforms against a slow, plain definition of each, and the same pixels on host and device."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.data.augment.registry import TRANSFORMS, find_transform
from ltjax.data.sampling.counter_rng import Ops, name_id
from ltjax.data.sampling.epoch_shuffle import instance_balanced

DEVICE = Ops(jnp, jax.lax.while_loop)
QUICK = {"xla_backend_optimization_level": 0}  # compiles much faster; safe, because the arithmetic is in integers
IMAGE = name_id("image")
PADS = {"pad_crop_flip": 4, "pad_crop": 2}


def random_images(count, height=32, width=32, channels=3):
    return np.random.RandomState(0).randint(0, 256, (count, height, width, channels), dtype=np.uint8)


def plain_crop(image, top, left, flip, pad):
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
    crop = padded[top : top + image.shape[0], left : left + image.shape[1]]
    return crop[:, ::-1] if flip else crop


@pytest.mark.parametrize("name", sorted(PADS))
@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 28, 1), (5, 9, 3), (1, 1, 1)])
def test_a_crop_matches_its_plain_definition(name, shape):
    images, transform = random_images(64, *shape), TRANSFORMS[name]
    draws = transform.draw(1, IMAGE, 2, np.arange(64))
    before = images.copy()
    changed = transform.apply(images, draws)
    assert changed.dtype == np.uint8 and changed.shape == images.shape
    np.testing.assert_array_equal(images, before)
    flips = draws.get("flip", np.zeros(64, int))
    for i in range(64):
        expected = plain_crop(images[i], draws["top"][i], draws["left"][i], flips[i], PADS[name])
        np.testing.assert_array_equal(changed[i], expected)


RANDOM = "randaugment_n2_m9_std1_flip_cutout"  # all that the other two of RandAugment have
ON_DEVICE = sorted({*TRANSFORMS, RANDOM} - {"randaugment_flip", "randaugment_flip_cutout"})


@pytest.mark.parametrize("name", ON_DEVICE)
def test_every_transform_makes_the_pixels_of_the_host_on_the_device(name):
    images, transform = random_images(48), find_transform(name)

    @functools.partial(jax.jit, compiler_options=QUICK)
    def device(images, seed, epoch, offset):
        draws = transform.draw(seed, IMAGE, epoch, offset, DEVICE)
        return draws, transform.apply(images, draws, DEVICE)

    offset = np.arange(2**31 - 24, 2**31 + 24).astype(np.uint32)
    host_draws = transform.draw(2**32 - 1, IMAGE, 9, offset)
    draws, changed = device(images, np.uint32(2**32 - 1), 9, offset)
    assert set(draws) == set(host_draws)
    for key, drawn in host_draws.items():
        assert drawn.dtype == np.int32 and drawn.shape == (48,)
        np.testing.assert_array_equal(draws[key], drawn)
    np.testing.assert_array_equal(changed, transform.apply(images, host_draws))


@pytest.mark.parametrize("name", sorted(PADS))
def test_draws_are_uniform_and_independent(name):
    count, side = 200_000, 2 * PADS[name] + 1
    draws = TRANSFORMS[name].draw(0, IMAGE, 0, np.arange(count))
    cell = (draws["top"] * side + draws["left"]) * 2 + draws.get("flip", np.arange(count) % 2)
    counts = np.bincount(cell, minlength=2 * side * side)
    assert len(counts) == 2 * side * side
    expected = count / len(counts)
    chi = ((counts - expected) ** 2 / expected).sum() / (len(counts) - 1)
    assert abs(chi - 1) < 5 * np.sqrt(2 / (len(counts) - 1))
    assert ("flip" in draws) == (name == "pad_crop_flip")


def test_draws_depend_on_seed_stream_epoch_and_position_and_not_on_the_sampler():
    transform = TRANSFORMS["pad_crop_flip"]
    offset = np.arange(4000)
    base = transform.draw(0, IMAGE, 0, offset)["top"]
    for other in ((1, IMAGE, 0, offset), (0, IMAGE + 1, 0, offset), (0, IMAGE, 1, offset), (0, IMAGE, 0, offset + 1)):
        assert (transform.draw(*other)["top"] == base).mean() < 0.2  # 1 / 9 by chance
    np.testing.assert_array_equal(transform.draw(0, IMAGE, 0, offset[100:110])["top"], base[100:110])
    sampler = instance_balanced()
    drawn = sampler.draw(sampler.tables(np.zeros(4000, int), 1), 0, IMAGE, 0, offset)
    assert abs(np.corrcoef(drawn, base)[0, 1]) < 0.08


def test_none_changes_nothing_and_draws_nothing():
    images, transform = random_images(3), TRANSFORMS["none"]
    assert transform.draw(0, IMAGE, 0, np.arange(3)) == {}
    np.testing.assert_array_equal(transform.apply(images, {}), images)


def test_every_transform_has_the_name_of_its_entry():
    assert all(transform.name == name for name, transform in TRANSFORMS.items())
