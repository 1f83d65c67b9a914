"""Rotation: the pixels of Pillow's, uniform angles, its degrees in a name. On the device: test_registry."""

import functools

import numpy as np
import pytest
from PIL import Image

from ltjax.data.augment.registry import TRANSFORMS, find_transform
from ltjax.data.augment.rotation import ANGLES, angles, draw_rotation, parse, rotate
from ltjax.data.sampling.counter_rng import name_id
from ltjax.errors import InputError
from tests.data.augment.test_autoaugment import sample_images

IMAGE = name_id("image")


@pytest.mark.parametrize("degrees", [15, 90, 180])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (21, 28)])
def test_a_drawn_angle_turns_as_pillow_does(degrees, height, width):
    images = sample_images(3, height, width)
    for angle in (0, 1, 300, 511, 512, 700, ANGLES - 1):
        found = rotate(images, {"angle": np.full(len(images), angle)}, degrees=degrees)
        # Image.rotate turns counter-clockwise, as RandomRotation calls it: nearest, black outside
        turned = [Image.fromarray(image).rotate(angles(degrees)[angle]) for image in images]
        assert found.dtype == np.uint8
        # a source that falls between two pixels, to rounding, may be either
        apart = np.any(found != np.stack([np.asarray(one) for one in turned]), -1).mean()
        assert apart <= 1 / (height * width), (angle, apart)


def test_angles_are_uniform_symmetric_and_below_the_largest():
    found = angles(15)[draw_rotation(0, IMAGE, 0, np.arange(200_000))["angle"]]
    counts, _ = np.histogram(found, bins=30, range=(-15, 15))
    assert counts.sum() == 200_000 and np.abs(counts / (200_000 / 30) - 1).max() < 5 / np.sqrt(200_000 / 30)
    np.testing.assert_allclose(angles(15), -angles(15)[::-1], atol=1e-12)
    assert np.abs(angles(15)).max() < 15


def test_it_comes_after_the_crop_and_flip_which_are_those_of_the_plain_name():
    images, transform = np.tile(sample_images(), (6, 1, 1, 1)), find_transform("pad_crop_flip_rotate15")
    draws, plain = (one.draw(3, IMAGE, 1, np.arange(42)) for one in (transform, TRANSFORMS["pad_crop_flip"]))
    assert set(draws) == {*plain, "angle"}
    for key, values in plain.items():
        np.testing.assert_array_equal(draws[key], values)
    assert abs(np.corrcoef(draws["angle"], draws["top"])[0, 1]) < 0.5
    cropped = TRANSFORMS["pad_crop_flip"].apply(images, plain)
    turned = transform.apply(images, draws)
    np.testing.assert_array_equal(turned, rotate(cropped, draws, degrees=15))
    assert (turned != cropped).any()


def test_the_degrees_stand_in_the_name():
    assert parse("pad_crop_flip_rotate180") == ("pad_crop_flip_rotate", 180)
    images, draws = sample_images(), {"angle": np.arange(7) * 100}
    transform = find_transform("pad_crop_flip_rotate40")
    assert transform.name == "pad_crop_flip_rotate40"
    uncut = {"top": np.full(7, 4), "left": np.full(7, 4), "flip": np.zeros(7, int)}
    found, expected = transform.apply(images, uncut | draws), rotate(images, draws, degrees=40)
    np.testing.assert_array_equal(found, expected)
    assert isinstance(transform.apply, functools.partial)  # worker processes get it pickled


@pytest.mark.parametrize("degrees", ["", "0", "015", "181", "1000"])
def test_what_is_no_angle_is_refused_with_the_form_of_one(degrees):
    name = f"pad_crop_flip_rotate{degrees}"
    told = rf"config.data.augment: '{name}' is no .*1 to 180 degrees.*'pad_crop_flip_rotate15'"
    with pytest.raises(InputError, match=told):
        find_transform(name)
