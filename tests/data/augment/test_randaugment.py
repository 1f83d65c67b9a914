"""RandAugment on a batch: every operation against Pillow's, magnitudes as drawn, its strength in a name."""

import numpy as np
import pytest

from ltjax.data.augment import autoaugment, randaugment
from ltjax.data.augment.cutout import cutout
from ltjax.data.augment.pillow_ops import operate, random_operations
from ltjax.data.augment.randaugment import RANDOM, Strength, parse
from ltjax.data.augment.registry import TRANSFORMS, find_transform, output_size
from ltjax.data.sampling.counter_rng import name_id
from ltjax.errors import InputError
from tests.data.augment.test_autoaugment import sample_images

IMAGE = name_id("image")
# Share of pixels that Pillow's floating point may round differently, by 1: AutoContrast measured in test_autoaugment
ROUNDED = dict.fromkeys(autoaugment.BLENDS, 0.08) | {"AutoContrast": 0.1}


@pytest.mark.parametrize("strength", [Strength(1, 9), Strength(1, 5, 2.0)])
def test_operations_are_those_of_pillow(strength):
    images, levels = sample_images(), strength.fractions()
    for number, operation in enumerate(RANDOM):
        for sign, level in ((0, 0), (1, len(levels) - 1), (0, len(levels) // 3)):
            draws = {"first": number, "first_sign": sign, "first_level": level}
            found = randaugment.apply(
                images, {key: np.full(7, value) for key, value in draws.items()}, strength=strength
            )
            expected = np.stack([operate(image, operation, levels[level], 1 - 2 * sign) for image in images])
            apart = np.abs(found.astype(int) - expected)
            assert apart.max() <= (operation in ROUNDED), operation
            assert (apart > 0).mean() <= ROUNDED.get(operation, 0), (operation, sign, level)


def test_operations_signs_and_magnitudes_are_drawn_uniformly_and_apart():
    strength = Strength(5, 9, 1.0)
    draws = randaugment.draw(0, IMAGE, 0, np.arange(20_000), strength=strength)
    assert len(draws) == 15
    for name in strength.names():
        for key, size in ((name, 14), (f"{name}_sign", 2), (f"{name}_level", 64)):
            counts = np.bincount(draws[key], minlength=size)
            assert len(counts) == size and np.abs(counts / (20_000 / size) - 1).max() < 6 / np.sqrt(20_000 / size)
    apart = np.corrcoef(list(draws.values()))[np.triu_indices(15, 1)]
    assert np.abs(apart).max() < 0.04
    default = randaugment.draw(0, IMAGE, 0, np.arange(20_000))
    assert set(default) == {"first", "first_sign", "second", "second_sign"}
    for key, values in default.items():
        np.testing.assert_array_equal(values, draws[key])


def test_magnitudes_are_normal_around_m_within_the_scale():
    levels = 10 * np.array(Strength(2, 5, 1.0).fractions())
    assert levels.mean() == pytest.approx(5, abs=0.01) and levels.std() == pytest.approx(1, abs=0.03)
    assert Strength(2, 10, 3.0).fractions()[-1] == 1 and Strength(2, 0, 3.0).fractions()[0] == 0


def test_a_batch_gets_the_drawn_operations_in_order_and_then_a_hole():
    transform = find_transform("randaugment_n3_m10_std1.5_flip_cutout")
    images = np.tile(sample_images(), (6, 1, 1, 1))
    draws = transform.draw(3, IMAGE, 1, np.arange(42))
    plain = {key: draws[key] for key in ("top", "left", "flip")}
    cropped = TRANSFORMS["pad_crop_flip"].apply(images, plain)
    strength = Strength(3, 10, 1.5)
    for i, name in enumerate(strength.names()):  # one after the other
        one = {key.replace(name, "first"): draws[key] for key in (name, f"{name}_sign", f"{name}_level")}
        cropped = randaugment.apply(cropped, one, strength=Strength(1, 10, 1.5))
        assert cropped.dtype == np.uint8, i
    np.testing.assert_array_equal(transform.apply(images, draws), cutout(cropped, draws))


def test_the_strength_stands_in_the_name():
    assert parse("randaugment_n1_m10_flip") == ("randaugment_flip", Strength(1, 10.0))
    assert parse("autoaugment_flip") == ("autoaugment_flip", Strength())
    name = "crop24_flip_randaugment_n2_m10_std0.5"
    transform = find_transform(name)
    assert transform.name == name and output_size(name) == 24
    pixels = sample_images()[0]
    draws = {key: values[0] for key, values in transform.draw(0, IMAGE, 0, np.arange(1)).items()}
    plain = find_transform("crop24_flip").cut(pixels, draws)
    expected = random_operations(plain, draws, Strength(2, 10, 0.5))
    np.testing.assert_array_equal(transform.cut(pixels, draws), expected)


@pytest.mark.parametrize(
    "name", ["randaugment_n6_m5_flip", "randaugment_n2_m11_flip", "randaugment_m5_flip", "crop_flip_randaugment_n2_m5"]
)
def test_what_is_no_strength_is_refused_with_the_form_of_one(name):
    told = rf"config.data.augment: '{name}' is no .* randaugment_n2_m10_std0.5_flip, .* 1 to 5 operations \(n\)"
    with pytest.raises(InputError, match=told):
        find_transform(name)
