"""The views of contrastive learning against slow, plain definitions."""

import colorsys

import numpy as np
import pytest

from ltjax.data.augment import simclr
from ltjax.data.augment.registry import TRANSFORMS
from ltjax.data.sampling.counter_rng import name_id

IMAGE = name_id("image")
IMAGES = np.random.RandomState(0).randint(0, 256, (60, 16, 20, 3), dtype=np.uint8)
OFFSET = np.arange(len(IMAGES))


def plain_part(image, top, left, rows, columns, flip):
    height, width = image.shape[:2]
    part = image[top : top + rows, left : left + columns].astype(float)
    made = np.zeros(image.shape)
    for i in range(height):
        for j in range(width):
            column = width - 1 - j if flip else j
            y = min(max((i + 0.5) * rows / height - 0.5, 0), rows - 1)
            x = min(max((column + 0.5) * columns / width - 0.5, 0), columns - 1)
            above, before = int(y), int(x)
            under, after = min(above + 1, rows - 1), min(before + 1, columns - 1)
            down, right = y - above, x - before
            upper = part[above, before] * (1 - right) + part[above, after] * right
            lower = part[under, before] * (1 - right) + part[under, after] * right
            made[i, j] = upper * (1 - down) + lower * down
    return made


def test_a_part_is_resized_to_the_image_as_drawn():
    draws = simclr.draw_part(3, IMAGE, 1, OFFSET)
    made = simclr.resized_part(IMAGES, draws, smallest=0.08)
    assert made.dtype == np.uint8 and made.shape == IMAGES.shape
    sizes = simclr.parts(16, 20, 0.08)
    for i in range(20):
        rows, columns = (int(side) for side in sizes[draws["part"][i] * len(sizes) >> 16])
        top = int(draws["part_top"][i] * (16 - rows + 1) / 2**16)
        left = int(draws["part_left"][i] * (20 - columns + 1) / 2**16)
        expected = plain_part(IMAGES[i], top, left, rows, columns, draws["flip"][i])
        assert np.abs(made[i] - expected).max() < 2.5  # places and shares are in 1/256


def test_parts_have_the_areas_and_ratios_of_a_random_resized_crop():
    sizes = simclr.parts(200, 200, 0.2)
    area, ratio = sizes.prod(1) / 200**2, sizes[:, 1] / sizes[:, 0]
    assert 0.2 <= area.min() < 0.22 and area.max() > 0.98 and 0.74 < ratio.min() < ratio.max() < 1.35
    assert len(sizes) > 3000 and abs(np.log(ratio).mean()) < 0.01
    assert simclr.parts(1, 1, 0.08).tolist() == [[1, 1]] * len(simclr.parts(1, 1, 0.08))
    assert (simclr.parts(3, 400, 0.9) == [[3, 400]]).all()  # nothing fits: all of the image


def test_hues_are_shifted_around_the_colour_circle():
    shift = np.array([100, -153, 0, 700])
    pixels = IMAGES[:4].astype(np.int32)
    pixels[:, 0, 0], pixels[:, 0, 1] = 77, (255, 0, 255)
    made = simclr.shift_hue(pixels, shift)
    np.testing.assert_array_equal(made[:, 0, 0], 77)
    for image, turned, by in zip(pixels, made, shift, strict=True):
        for before, after in zip(image.reshape(-1, 3)[:80], turned.reshape(-1, 3), strict=False):
            hue, saturation, value = colorsys.rgb_to_hsv(*(before / 255))
            expected = 255 * np.array(colorsys.hsv_to_rgb((hue + by / 1536) % 1, saturation, value))
            assert np.abs(after - expected).max() <= 2, (before, by)
    np.testing.assert_array_equal(made[2][made[2] > 0] // 255, pixels[2][made[2] > 0] // 255)


def test_colours_change_by_the_drawn_factors_in_the_drawn_order():
    draws = simclr.draw_colors(0, IMAGE, 0, OFFSET, jitter=0.8, grey=0.2)
    made = simclr.recolored(IMAGES, draws).astype(int)
    for i in range(len(IMAGES)):
        x = IMAGES[i].astype(float)
        if draws["colored"][i]:
            for kind in simclr.ORDERS[draws["order"][i]]:
                factor = draws[("brightness", "contrast", "saturation")[kind]][i] / 1024
                grey = x @ [0.299, 0.587, 0.114]
                base = (0.0, grey.mean(), grey[..., None])[kind]
                x = np.clip(base + (x - base) * factor, 0, 255)
            x = simclr.shift_hue(np.rint(x).astype(np.int32)[None], draws["hue"][i : i + 1])[0].astype(float)
        if draws["grey"][i]:
            x = np.broadcast_to((x @ [0.299, 0.587, 0.114])[..., None], x.shape)
        assert np.abs(made[i] - x).mean() < 2.5
    assert set(draws["order"]) == set(range(6)) and np.abs(draws["hue"]).max() <= 154


def test_colours_and_blurs_come_with_their_probabilities():
    offset = np.arange(20_000)
    colors = simclr.draw_colors(0, IMAGE, 0, offset, jitter=0.8, grey=0.2)
    blur = simclr.draw_blur(0, IMAGE, 0, offset, probability=0.5)["blur"]
    assert colors["colored"].mean() == pytest.approx(0.8, abs=0.02)
    assert colors["grey"].mean() == pytest.approx(0.2, abs=0.02)
    assert (blur > 0).mean() == pytest.approx(0.5, abs=0.02) and set(blur) == set(range(21))
    for name, low, high in (("brightness", 614, 1434), ("hue", -154, 154)):
        drawn = colors[name]
        assert low <= drawn.min() < drawn.max() <= high and drawn.mean() == pytest.approx((low + high) / 2, abs=6)
    assert not simclr.draw_colors(0, IMAGE, 0, offset, jitter=1, grey=0, hue=0.0)["hue"].any()


def test_a_blur_is_a_gaussian_of_the_drawn_width():
    draws = {"blur": np.array([0, 5, 20])}
    made = simclr.blurred(IMAGES[:3], draws)
    np.testing.assert_array_equal(made[0], IMAGES[0])
    for image, blurred, level in zip(IMAGES[1:3], made[1:], (5, 20), strict=True):
        sigma = 0.1 + 1.9 * (level - 0.5) / 20
        x = np.arange(-6, 7)
        weights = np.exp(-0.5 * (x / sigma) ** 2)
        weights /= weights.sum()
        padded = np.pad(image.astype(float), ((6, 6), (6, 6), (0, 0)), mode="edge")
        rows = sum(w * padded[k : k + 16] for k, w in enumerate(weights))
        expected = sum(w * rows[:, k : k + 20] for k, w in enumerate(weights))
        assert np.abs(blurred - expected).max() < 2


@pytest.mark.parametrize(("name", "share"), [("simclr_blur", 0.5), ("simclr_blur20", 0.2)])
def test_the_share_of_views_that_are_blurred_is_that_of_paco_and_of_gpaco(name, share):
    draws = TRANSFORMS[name].draw(0, IMAGE, 0, np.arange(20_000))
    assert np.mean(draws["blur"] > 0) == pytest.approx(share, abs=0.015)  # four deviations


def test_images_of_one_channel_and_views_of_large_ones():
    grey = IMAGES[..., :1]
    view = TRANSFORMS["simclr_blur"]
    made = view.apply(grey, view.draw(0, IMAGE, 0, OFFSET))
    assert made.shape == grey.shape and not np.array_equal(made, grey)
    draws = simclr.draw_colors(0, IMAGE, 0, OFFSET, jitter=1.0, grey=0.2) | simclr.draw_blur(
        0, IMAGE, 0, OFFSET, probability=0.5
    )
    alone = simclr.each(IMAGES[7], {name: drawn[7] for name, drawn in draws.items()}, ("recolored", "blurred"))
    np.testing.assert_array_equal(alone, simclr.blurred(simclr.recolored(IMAGES, draws), draws)[7])
