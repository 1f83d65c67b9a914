"""AutoAugment: every operation against Pillow's, the policy as drawn, the same pixels on host and device."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from ltjax.data.augment import autoaugment
from ltjax.data.sampling.counter_rng import Ops, name_id

DEVICE = Ops(jnp, jax.lax.while_loop)
QUICK = {"xla_backend_optimization_level": 0}  # compiles much faster; safe, because the arithmetic is in integers
IMAGE = name_id("image")
GREY = 128


def sample_images(channels=3, height=32, width=32):
    """Noise, dark noise, noise of four values, gradients, waves, one value, two values."""
    rng = np.random.RandomState(0)
    y, x, c = np.mgrid[:height, :width, :channels]
    shape = (height, width, channels)
    soft = [(20 + 3 * x + 2 * y + 30 * c) % 256, 90 + 40 * np.sin(x / 5 + c) + 30 * np.cos(y / 7)]
    noise = [rng.randint(0, 256, shape), rng.randint(30, 90, shape), rng.randint(0, 256, shape) // 64 * 64]
    plain = [np.full(shape, 77), np.where(x > y, 200, 13)]
    return np.stack([np.array(p) for p in [*noise, *soft, *plain]]).astype(np.uint8)


def pillow(image, operation, level, sign):
    """The operation at this level, by Pillow, with the paper's ranges."""
    original = Image.fromarray(image if image.shape[-1] == 3 else image[..., 0])
    width, height = original.size
    part = level / 9
    fill = (GREY,) * 3 if image.shape[-1] == 3 else GREY
    matrices = {
        "ShearX": (1, sign * 0.3 * part, 0, 0, 1, 0),
        "ShearY": (1, 0, 0, sign * 0.3 * part, 1, 0),
        "TranslateX": (1, 0, sign * part * 150 / 331 * width, 0, 1, 0),
        "TranslateY": (1, 0, 0, 0, 1, sign * part * 150 / 331 * height),
    }
    if operation in matrices:
        changed = original.transform(original.size, Image.Transform.AFFINE, matrices[operation], fillcolor=fill)
    elif operation == "Rotate":
        changed = original.rotate(sign * 30 * part, fillcolor=fill)
    elif operation in autoaugment.BLENDS:
        changed = getattr(ImageEnhance, operation)(original).enhance(1 + sign * 0.9 * part)
    elif operation == "Posterize":
        changed = ImageOps.posterize(original, [8, 8, 7, 7, 6, 6, 5, 5, 4, 4][level])
    elif operation == "Solarize":
        changed = ImageOps.solarize(original, 256 - 256 * part)
    else:
        changed = {
            "Invert": ImageOps.invert, "Equalize": ImageOps.equalize, "AutoContrast": ImageOps.autocontrast
        }[operation](original)  # fmt: skip
    return np.asarray(changed).reshape(image.shape)


def ours(images, operation, level, sign):
    values = autoaugment.strength(operation, level, sign, *images.shape[1:3])
    strengths = {key: np.stack([np.int32(value)] * len(images)) for key, value in values.items()}
    return autoaugment.change(images.astype(np.int32), strengths)


# Share of pixels that Pillow's floating point may round differently, by 1: measured 0.9 %, for AutoContrast 7 %.
ROUNDED = dict.fromkeys(autoaugment.BLENDS, 0.02) | {"AutoContrast": 0.1}


@pytest.mark.parametrize("shape", [(32, 32, 3), (21, 28, 1)])
@pytest.mark.parametrize("operation", autoaugment.OPERATIONS)
def test_operations_match_pillow(operation, shape):
    height, width, channels = shape
    images = sample_images(channels, height, width)
    changed = set()
    for level, sign in itertools.product(range(10), (1, -1)):
        expected = np.stack([pillow(image, operation, level, sign) for image in images]).astype(int)
        found = ours(images, operation, level, sign)
        apart = np.abs(found - expected)
        assert apart.max() <= (operation in ROUNDED) and (apart > 0).mean() <= ROUNDED.get(operation, 0), (level, sign)
        changed.add((found != images).any())
    assert (True in changed) != (operation == "Color" and channels == 1)


def test_no_operation_and_level_zero_change_nothing():
    for operation in ("", *autoaugment.GEOMETRIC, *autoaugment.BLENDS, "Posterize", "Solarize"):
        np.testing.assert_array_equal(ours(sample_images(), operation, 0, 1), sample_images())


def test_images_too_small_to_smooth_or_equalize_are_unchanged():
    for shape in ((1, 1), (2, 5), (5, 1)):
        images = sample_images(3, *shape)
        np.testing.assert_array_equal(ours(images, "Sharpness", 9, 1), images)
        np.testing.assert_array_equal(ours(images, "Equalize", 9, 1), images)


def test_the_policy_is_drawn_with_its_probabilities():
    count = 200_000
    draws = autoaugment.draw(0, IMAGE, 0, np.arange(count))
    assert len(autoaugment.POLICIES) == 25
    assert np.abs(np.bincount(draws["policy"], minlength=25) / (count / 25) - 1).max() < 5 / np.sqrt(count / 25)
    for slot, name in enumerate(("first", "second")):
        for policy, pair in enumerate(autoaugment.POLICIES):
            taken = draws[name][draws["policy"] == policy].mean()
            assert abs(taken - pair[slot][1] / 10) < 5 * 0.5 / np.sqrt(count / 25), (policy, slot)
        assert abs(draws[f"{name}_sign"].mean() - 0.5) < 5 * 0.5 / np.sqrt(count)
    names = ("first", "second", "first_sign", "second_sign")
    apart = np.corrcoef([draws[name] for name in names])[np.triu_indices(4, 1)]
    assert np.abs(apart[1:]).max() < 0.02  # [0]: the probabilities of a pair's operations are related


def test_the_drawn_operations_are_applied_in_order():
    images = np.repeat(sample_images()[3:4], 400, 0)
    draws = autoaugment.draw(3, IMAGE, 1, np.arange(400))
    changed = autoaugment.apply(images, draws)
    assert changed.dtype == np.uint8
    for i in range(400):
        expected = images[i : i + 1].astype(np.int32)
        for slot, name in enumerate(("first", "second")):
            if draws[name][i]:
                operation, _, level = autoaugment.POLICIES[draws["policy"][i]][slot]
                expected = ours(expected, operation, level, 1 - 2 * draws[f"{name}_sign"][i])
        np.testing.assert_array_equal(changed[i], expected[0])


@pytest.mark.parametrize("channels", [3, 1])
def test_the_device_makes_the_pixels_of_the_host(channels):
    images = np.tile(sample_images(channels), (64, 1, 1, 1))
    draws = autoaugment.draw(0, IMAGE, 0, np.arange(len(images)))
    device = jax.jit(lambda images, draws: autoaugment.apply(images, draws, DEVICE), compiler_options=QUICK)
    device = device(images, draws)
    assert device.dtype == np.uint8
    np.testing.assert_array_equal(device, autoaugment.apply(images, draws))
