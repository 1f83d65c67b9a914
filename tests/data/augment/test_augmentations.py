"""RandAugment, the ImageNet policy and cutout as drawn; transforms by name at any size; batches of whole images."""

import io
import pickle

import numpy as np
import pytest
from PIL import Image

from ltjax.data.augment import autoaugment, pillow_ops
from ltjax.data.augment.color_jitter import jitter
from ltjax.data.augment.crops import random_resized_crop
from ltjax.data.augment.cutout import cutout, draw_cutout
from ltjax.data.augment.registry import SIZED_TRANSFORMS, TRANSFORMS, find_transform, output_size
from ltjax.data.dataset import Source
from ltjax.data.loading.host_batches import train_batches
from ltjax.data.sampling.counter_rng import name_id
from ltjax.data.sampling.epoch_shuffle import instance_balanced
from ltjax.errors import InputError
from tests.data.augment.test_autoaugment import pillow

IMAGE = name_id("image")
PIXELS = np.random.RandomState(0).randint(0, 256, (40, 50, 3), np.uint8)


def one(draws, i):
    return {name: drawn[i] for name, drawn in draws.items()}


@pytest.mark.parametrize("operation", autoaugment.OPERATIONS)
def test_operations_match_pillow(operation):
    for level, sign in ((0, 1), (3, -1), (9, 1), (9, -1)):
        found = pillow_ops.operate(PIXELS, operation, level / 9, sign)
        assert found.dtype == np.uint8 and found.shape == PIXELS.shape
        np.testing.assert_array_equal(found, pillow(PIXELS, operation, level, sign))


def test_the_imagenet_policy_applies_the_drawn_operations():
    draws = pillow_ops.draw_imagenet(3, IMAGE, 1, np.arange(300))
    assert set(draws["policy"]) == set(range(25))
    for i in range(300):
        expected = PIXELS
        for slot, name in enumerate(("first", "second")):
            operation, tenths, level = autoaugment.IMAGENET[draws["policy"][i]][slot]
            assert draws[name][i] or tenths < 10
            if draws[name][i]:
                expected = pillow(expected, operation, level, 1 - 2 * draws[f"{name}_sign"][i])
        np.testing.assert_array_equal(pillow_ops.imagenet_policy(PIXELS, one(draws, i)), expected)


def test_randaugment_draws_two_operations_uniformly_and_applies_them():
    draws = pillow_ops.draw_random(0, IMAGE, 0, np.arange(14_000))
    pairs = np.bincount(draws["first"] * 14 + draws["second"], minlength=196)
    assert len(pairs) == 196 and abs(((pairs - 14_000 / 196) ** 2 / (14_000 / 196)).sum() / 195 - 1) < 0.5
    assert abs(draws["first_sign"].mean() - 0.5) < 0.02 and abs(draws["second_sign"].mean() - 0.5) < 0.02
    for i in range(60):
        expected = PIXELS
        for name in ("first", "second"):
            operation = pillow_ops.RANDOM[draws[name][i]]
            expected = pillow_ops.operate(expected, operation, 0.9, 1 - 2 * draws[f"{name}_sign"][i])
        np.testing.assert_array_equal(pillow_ops.random_operations(PIXELS, one(draws, i)), expected)


def test_cutout_covers_a_square_around_the_drawn_centre():
    images = np.repeat(PIXELS[None, :32, :32], 500, 0)
    draws = draw_cutout(0, IMAGE, 0, np.arange(500))
    covered = cutout(images, draws)
    for i in range(500):
        expected = images[i].copy()
        y, x = int(draws["hole_y"][i] * 32 / 2**16), int(draws["hole_x"][i] * 32 / 2**16)
        expected[max(y - 8, 0) : y + 8, max(x - 8, 0) : x + 8] = 128
        np.testing.assert_array_equal(covered[i], expected)
    assert covered.dtype == np.uint8 and (draws["hole_y"] < 2**15).mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("name", sorted(SIZED_TRANSFORMS))
def test_a_sized_transform_has_any_output_size(name):
    for size in (24, 33):
        sized = name.replace("crop", f"crop{size}", 1)
        transform = find_transform(sized)
        assert transform.name == sized and output_size(sized) == size
        draws = transform.draw(0, IMAGE, 0, np.arange(5))
        cuts = np.stack([transform.cut(PIXELS, one(draws, i)) for i in range(5)])
        images = transform.apply(cuts, draws)
        assert images.dtype == np.uint8 and images.shape == (5, size, size, 3)
        again = pickle.loads(pickle.dumps(transform))  # worker processes get it pickled
        np.testing.assert_array_equal(again.cut(PIXELS, one(draws, 1)), cuts[1])


def test_the_crop_does_not_depend_on_what_follows_it():
    draws = find_transform("crop24_flip_jitter").draw(0, IMAGE, 0, np.arange(4))
    for name, drawn in find_transform("crop24_flip").draw(0, IMAGE, 0, np.arange(4)).items():
        np.testing.assert_array_equal(draws[name], drawn)
    cut = random_resized_crop(PIXELS, one(draws, 2), 24)
    np.testing.assert_array_equal(find_transform("crop24_flip").cut(PIXELS, one(draws, 2)), cut)
    np.testing.assert_array_equal(
        find_transform("crop24_flip_jitter").cut(PIXELS, one(draws, 2)), jitter(cut, one(draws, 2))
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("crop_flip_jitter", "'crop_flip_jitter' lacks the output size: .*'crop224_flip_jitter'"),
        ("crop224_flip_jiter", "unknown value 'crop224_flip_jiter'.*did you mean 'crop224_flip_jitter'"),
        ("crop0_flip", "unknown value 'crop0_flip'"),
        ("padcrop", "unknown value 'padcrop'.*crop224_flip, .*pad_crop_flip"),
    ],
)
def test_an_unknown_name_is_an_error_of_one_line(name, message):
    with pytest.raises(InputError, match=message):
        find_transform(name)


def test_transforms_without_a_size_are_found_by_name():
    assert all(find_transform(name) is transform and output_size(name) == 0 for name, transform in TRANSFORMS.items())


class ImageFiles:
    """Encoded images of different sizes; a class, so that worker processes can unpickle it."""

    def __init__(self, count):
        rng = np.random.RandomState(1)
        self.files = []
        for i in range(count):
            file = io.BytesIO()
            pixels = rng.randint(0, 256, (30 + i, 60 - i, 3), np.uint8)
            Image.fromarray(pixels).save(file, ("JPEG", "PNG")[i % 2])
            self.files.append(file.getvalue())

    def __call__(self, record):
        return self.files[record]


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_of_whole_images(workers):
    """In threads and in worker processes, a batch is what the transform makes of the files that the sampler draws."""
    files = ImageFiles(10)
    source = Source(np.arange(10, dtype=np.int32) % 3, np.arange(10), read=files, encoded=files)
    sampler, transform = instance_balanced(), find_transform("crop16_flip_jitter")
    tables = sampler.tables(source.labels, 3)
    batches = train_batches(
        source, {"image": sampler}, {"image": tables}, seed=1, batch_size=4, steps_per_epoch=2, start=0, stop=3,
        transform=transform, workers=workers,
    )  # fmt: skip
    for step, batch in enumerate(batches):
        position = (1, IMAGE, step // 2, step % 2 * 4 + np.arange(4))
        records, draws = sampler.draw(tables, *position), transform.draw(*position)
        expected = [transform.cut(files(record), one(draws, i)) for i, record in enumerate(records)]
        np.testing.assert_array_equal(batch["image"]["image"], np.stack(expected))
        np.testing.assert_array_equal(batch["image"]["label"], records % 3)
