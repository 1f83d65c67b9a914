"""Crops of whole images against torchvision's semantics, written here with Pillow; what is drawn; extreme sizes."""

import io
import math
import tarfile
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from ltjax.data.augment import color_jitter, crops
from ltjax.data.augment.color_jitter import draw_jitter, factor, jitter
from ltjax.data.augment.crops import Box, draw_crop, evaluation_view, random_box, random_resized_crop, resized
from ltjax.data.dataset import Source
from ltjax.data.sampling.counter_rng import name_id
from ltjax.errors import InputError
from ltjax.training.execution.inputs import of_images
from tests.shared import shared_path

IMAGE = name_id("image")


@pytest.fixture(params=["opencv", "pillow"])
def backend(request, monkeypatch):
    if request.param == "pillow":
        monkeypatch.setattr(crops, "opencv", lambda: None)
        monkeypatch.setattr(color_jitter, "opencv", lambda: None)
    else:
        pytest.importorskip("cv2")
    return request.param


def photograph(height, width, seed=0):
    """Edges and surfaces like those of a photograph: shapes of one colour, blurred by a pixel, and a little noise."""
    rng = np.random.RandomState(seed)
    y, x = np.ogrid[:height, :width]
    pixels = np.zeros((height, width, 3)) + rng.randint(60, 200, 3)
    for _ in range(40):
        cy, cx, r = rng.rand() * height, rng.rand() * width, (0.03 + 0.2 * rng.rand()) * max(height, width)
        pixels[(np.abs(y - cy) + np.abs(x - cx) * rng.rand() < r) & (np.hypot(y - cy, x - cx) < 2 * r)] = rng.randint(
            0, 256, 3
        )
    blurred = Image.fromarray(pixels.astype(np.uint8)).filter(ImageFilter.GaussianBlur(1))
    return np.clip(np.asarray(blurred) + rng.normal(0, 2, pixels.shape), 0, 255).astype(np.uint8)


def one(draws, i):
    return {name: drawn[i] for name, drawn in draws.items()}


def torchvisions_box(height, width, tries, top, left):
    """RandomResizedCrop.get_params with given random numbers, all in [0, 1)."""
    for share, ratio in tries:
        area = height * width * (0.08 + 0.92 * share)
        aspect = math.exp(math.log(3 / 4) + ratio * (math.log(4 / 3) - math.log(3 / 4)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return int(top * (height - h + 1)), int(left * (width - w + 1)), h, w
    if width / height < 3 / 4:
        w, h = width, round(width / (3 / 4))
    elif width / height > 4 / 3:
        w, h = round(height * (4 / 3)), height
    else:
        w, h = width, height
    return (height - h) // 2, (width - w) // 2, h, w


@pytest.mark.parametrize(
    "shape", [(375, 500), (300, 200), (20, 30_000), (30_000, 20), (1, 1), (1, 7), (3, 2), (90, 400)]
)
def test_boxes_match_torchvision(shape):
    draws = draw_crop(5, IMAGE, 1, np.arange(200))
    for i in range(200):
        drawn = one(draws, i)
        tries = zip(drawn["area"] / 2**31, drawn["ratio"] / 2**31, strict=True)
        expected = torchvisions_box(*shape, tries, drawn["top"] / 2**31, drawn["left"] / 2**31)
        assert random_box(*shape, drawn) == Box(*expected)


def test_draws_are_uniform_independent_and_a_function_of_the_position():
    draws = draw_crop(0, IMAGE, 0, np.arange(20_000))
    for name in ("area", "ratio", "top", "left"):
        parts = draws[name].reshape(-1)[:20_000] / 2**31
        counts = np.bincount((parts * 20).astype(int), minlength=20)
        assert len(counts) == 20 and np.abs(counts - 1000).max() < 150
    assert abs(draws["flip"].mean() - 0.5) < 0.02
    flat = np.column_stack([draws["area"], draws["ratio"], draws["top"], draws["left"], draws["flip"]]).astype(float)
    apart = np.corrcoef(flat.T) - np.eye(23)
    assert np.abs(apart).max() < 0.04
    again = draw_crop(0, IMAGE, 0, np.arange(100, 110))
    for name, drawn in again.items():
        assert drawn.dtype == np.int32
        np.testing.assert_array_equal(drawn, draws[name][100:110])
    others = [
        draw_crop(1, IMAGE, 0, np.arange(9)),
        draw_crop(0, 1, 0, np.arange(9)),
        draw_crop(0, IMAGE, 1, np.arange(9)),
    ]
    assert all((other["area"] != draws["area"][:9]).all() for other in others)


@pytest.mark.parametrize(("height", "width"), [(375, 500), (120, 130), (224, 448), (500, 400), (200, 300), (600, 700)])
def test_resizing_matches_pillows_antialiasing(backend, height, width):
    """Enlarged: to within 1. Reduced by at most 2.2: a mean of 1.5; reduced further, or without OpenCV: identical."""
    pixels = photograph(height, width)
    expected = np.asarray(Image.fromarray(pixels).resize((224, 224), Image.Resampling.BILINEAR)).astype(int)
    apart = np.abs(resized(pixels, 224) - expected)
    if backend == "pillow" or max(height, width) > crops.MAX_REDUCTION * 224:
        assert apart.max() == 0
    elif max(height, width) <= 224:
        assert apart.max() <= 1
    else:
        assert apart.mean() < 1.5 and np.percentile(apart, 99) < 12


def test_random_resized_crop_cuts_and_mirrors(backend):
    pixels, draws = photograph(240, 320), draw_crop(2, IMAGE, 0, np.arange(12))
    assert {0, 1} == set(draws["flip"])
    for i in range(12):
        box = random_box(240, 320, one(draws, i))
        cut = Image.fromarray(pixels).crop((box.left, box.top, box.left + box.width, box.top + box.height))
        expected = np.asarray(cut.resize((160, 160), Image.Resampling.BILINEAR)).astype(int)
        expected = expected[:, ::-1] if draws["flip"][i] else expected
        found = random_resized_crop(pixels, one(draws, i), 160)
        assert found.dtype == np.uint8 and found.shape == (160, 160, 3) and found.flags.c_contiguous
        assert np.abs(found - expected).mean() < (1.5 if backend == "opencv" else 1e-9)


def jpeg(pixels, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **({"quality": 95} | options))
    return file.getvalue()


def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size(backend):
    """Within 2 on the mean of what the whole image gives; an image of the usual size is decoded as it is."""
    file = jpeg(np.asarray(Image.fromarray(photograph(375, 500)).resize((2000, 1500), Image.Resampling.BICUBIC)))
    whole = np.asarray(Image.open(io.BytesIO(file)))
    draws = draw_crop(0, IMAGE, 0, np.arange(6))
    for i in range(6):
        apart = np.abs(
            random_resized_crop(file, one(draws, i), 96).astype(int) - random_resized_crop(whole, one(draws, i), 96)
        )
        assert apart.mean() < 2
    apart = np.abs(evaluation_view(file, 96, 112).astype(int) - evaluation_view(whole, 96, 112))
    assert apart.mean() < 2
    usual = jpeg(photograph(375, 500))
    pixels = np.asarray(Image.open(io.BytesIO(usual)))
    for i in range(6):
        np.testing.assert_array_equal(
            random_resized_crop(usual, one(draws, i), 224), random_resized_crop(pixels, one(draws, i), 224)
        )
    np.testing.assert_array_equal(evaluation_view(usual, 224, 256), evaluation_view(pixels, 224, 256))


def ramp(height, width):
    """Grey values that rise linearly across and down, in two channels: where a crop is can be read from its pixels."""
    y, x = np.mgrid[:height, :width]
    return np.stack([200 * x / width + 20, 200 * y / height + 20, np.full((height, width), 99)], -1).astype(np.uint8)


@pytest.mark.parametrize(("height", "width"), [(401, 603), (902, 701)])
def test_with_fast_decode_a_crop_is_at_its_exact_place(backend, height, width):
    """Half a pixel of a crop would be 0.9 or more here."""
    file, draws = jpeg(ramp(height, width), subsampling=0, quality=100), draw_crop(0, IMAGE, 0, np.arange(24))
    smaller = 0
    for i in range(24):
        drawn = one(draws, i)
        box = random_box(height, width, drawn)
        cut = Image.fromarray(ramp(height, width)).crop((box.left, box.top, box.left + box.width, box.top + box.height))
        expected = np.asarray(cut.resize((96, 96), Image.Resampling.BILINEAR)).astype(int)
        expected = expected[:, ::-1] if drawn["flip"] else expected
        found = random_resized_crop(file, drawn, 96, fast_decode=True)
        assert found.dtype == np.uint8 and found.shape == (96, 96, 3) and found.flags.c_contiguous
        assert np.abs((found - expected).mean((0, 1))).max() < 0.35 and np.abs(found - expected)[2:-2, 2:-2].max() <= 3
        if min(box.height, box.width) < 2 * 96:
            np.testing.assert_array_equal(found, random_resized_crop(file, drawn, 96))  # never below the output size
        smaller += min(box.height, box.width) >= 2 * 96
    assert smaller >= 8


def fast_differences(file, size, draws):
    """Mean and maximum difference of a crop with fast_decode from Pillow's of the whole image; None if it is small."""
    whole = np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
    box = random_box(*whole.shape[:2], draws)
    if min(box.height, box.width) < 2 * size:
        return None
    cut = Image.fromarray(whole).crop((box.left, box.top, box.left + box.width, box.top + box.height))
    expected = np.asarray(cut.resize((size, size), Image.Resampling.BILINEAR)).astype(int)
    apart = np.abs(random_resized_crop(file, draws | {"flip": 0}, size, fast_decode=True) - expected)
    return apart.mean(), apart.max()


def check_fast_differences(files):
    draws = draw_crop(0, IMAGE, 0, np.arange(len(files)))
    found = [fast_differences(file, 64, one(draws, i)) for i, file in enumerate(files)]
    means, largest = np.array([pair for pair in found if pair is not None]).T
    assert len(means) > 10 and means.mean() < 2 and means.max() < 6 and largest.max() < 120


def test_fast_decode_changes_pixels_little(backend):
    """As much as another filter does: bicubic for bilinear gives 2 on the mean on photographs."""
    check_fast_differences([jpeg(photograph(200, 300, seed), quality=90) for seed in range(40)])


def test_fast_decode_changes_the_pixels_of_photographs_little(backend):
    """Photographs of 300 x 200 at 64 pixels are reduced as those of 1,000 x 700 are at 224."""
    with tarfile.open(shared_path("data/caltech101_subset/caltech101_subset.tar")) as archive:
        names = [name for name in archive.getnames() if name.endswith("_0001.jpg") or name.endswith("_0002.jpg")]
        check_fast_differences([archive.extractfile(name).read() for name in names])


def test_the_setting_fast_decode_reaches_the_batches():
    file = jpeg(photograph(400, 500))
    source = Source(np.zeros(1, np.int32), np.arange(1), None, encoded=lambda record: file)
    draws = {name: drawn[0] for name, drawn in draw_crop(0, IMAGE, 0, np.arange(1)).items()}
    for fast in (False, True):
        settings = SimpleNamespace(augment="crop64_flip", fast_decode=fast, workers=0)
        made = of_images(SimpleNamespace(data=settings, num_seeds=1), SimpleNamespace(train=source), None)
        expected = random_resized_crop(file, draws, 64, fast_decode=fast)
        np.testing.assert_array_equal(made.transform.cut(source.encoded(0), draws), expected)
    assert (random_resized_crop(file, draws, 64) != expected).any()


def torchvisions_view(pixels, size, resize, resampling=Image.Resampling.BILINEAR):
    height, width = pixels.shape[:2]
    short, long = min(height, width), max(height, width)
    new = int(resize * long / short)
    shape = (resize, new) if width <= height else (new, resize)  # Pillow's (width, height)
    image = Image.fromarray(pixels).resize(shape, resampling)
    top, left = round((image.height - size) / 2), round((image.width - size) / 2)
    return np.asarray(image)[top : top + size, left : left + size]


@pytest.mark.parametrize(
    "shape", [(375, 500), (500, 333), (256, 256), (100, 99), (700, 300), (1, 1), (2, 5), (1100, 41)]
)
@pytest.mark.parametrize(("size", "resize"), [(224, 256), (64, 64), (31, 40)])
def test_evaluation_matches_torchvision(shape, size, resize):
    pixels = photograph(*shape)
    apart = np.abs(evaluation_view(pixels, size, resize).astype(int) - torchvisions_view(pixels, size, resize))
    # Pillow rounds between its passes, whose order depends on the sizes
    assert apart.max() <= 1 and apart.mean() < 0.25


@pytest.mark.parametrize(("size", "resize"), [(224, 248), (64, 64)])
def test_bicubic_evaluation_matches_torchvision(size, resize):
    pixels = photograph(375, 500)
    view = evaluation_view(pixels, size, resize, "bicubic").astype(int)
    apart = np.abs(view - torchvisions_view(pixels, size, resize, Image.Resampling.BICUBIC))
    assert apart.max() <= 2 and apart.mean() < 0.25
    assert np.abs(view - torchvisions_view(pixels, size, resize)).max() > 2


def test_evaluation_of_a_very_long_image_resizes_only_the_crop():
    """Resized as a whole to a shorter side of 256, it would have 98 million pixels."""
    assert evaluation_view(jpeg(np.zeros((20, 30_000, 3), np.uint8)), 224, 256).shape == (224, 224, 3)


def test_a_crop_that_does_not_fit_is_an_error():
    with pytest.raises(InputError, match="a crop of 300 pixels from images resized to 256"):
        evaluation_view(np.zeros((400, 400, 3), np.uint8), 300, 256)


def torchvisions_jitter(pixels, order, factors):
    image = Image.fromarray(pixels)
    for i in order:
        kind = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)[i]
        image = kind(image).enhance(factors[i])
    return np.asarray(image)


def test_color_jitter_matches_pillow(backend):
    pixels, draws = photograph(64, 80), draw_jitter(1, IMAGE, 0, np.arange(60))
    assert set(draws["order"]) == set(range(6))
    for i in range(60):
        factors = [factor(draws, name, i) for name in color_jitter.NAMES]
        expected = torchvisions_jitter(pixels, color_jitter.ORDERS[draws["order"][i]], factors)
        before = pixels.copy()
        apart = np.abs(jitter(pixels, one(draws, i)).astype(int) - expected)
        assert apart.max() <= (3 if backend == "opencv" else 0) and apart.mean() < 0.5
        np.testing.assert_array_equal(pixels, before)


def test_factors_of_color_jitter_are_uniform():
    draws = draw_jitter(0, IMAGE, 0, np.arange(20_000))
    for name in color_jitter.NAMES:
        factors = np.array([factor(draws, name, i) for i in range(0, 20_000, 10)])
        assert 0.6 <= factors.min() < 0.61 and 1.39 < factors.max() < 1.4 and abs(factors.mean() - 1) < 0.02
    assert np.abs(np.bincount(draws["order"], minlength=6) - 20_000 / 6).max() < 250
