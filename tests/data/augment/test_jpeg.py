"""A JPEG is decoded only down to the last row that is needed: the same pixels, and the same files are refused."""

import numpy as np
import pytest
from PIL import Image

from ltjax.data.augment import decode as decoding
from ltjax.data.augment import jpeg
from ltjax.data.augment.crops import draw_crop, random_resized_crop
from ltjax.data.augment.decode import decode, read_head
from ltjax.data.sampling.counter_rng import name_id
from tests.data.augment.test_crops import photograph
from tests.data.augment.test_decode import encoded

pytest.importorskip("simplejpeg")
SUBSAMPLINGS = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (150, 90, 3), np.uint8))


@pytest.mark.parametrize("shrink", [1, 2, 4, 8])
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS.values(), ids=SUBSAMPLINGS)
def test_the_rows_that_are_needed_are_those_of_the_whole_image(subsampling, shrink):
    """Noise: no pixel can be guessed from its neighbours."""
    file = encoded(NOISE, subsampling=subsampling, quality=90)
    whole, block = decode(file, shrink), 16 if subsampling == SUBSAMPLINGS["4:2:0"] else 8
    for rows in (1, 15, 16, 17, 64, 100, 118, 134, 149, 150):
        part = decode(file, shrink, rows=rows)
        decoded = (-(-rows // block) + 1) * block
        assert len(part) == (-(-rows // shrink) if decoded < NOISE.height else len(whole))
        np.testing.assert_array_equal(part, whole[: len(part)])


def test_a_grey_jpeg():
    file = encoded(NOISE.convert("L"))
    part = decode(file, rows=20)
    assert len(part) == 20
    np.testing.assert_array_equal(part, decode(file)[:20])


@pytest.mark.parametrize("options", [{"progressive": True}, {"restart_marker_rows": 1}, {"exif": b"Exif\0\0"}])
def test_other_jpegs_are_decoded_whole(options):
    file = encoded(NOISE, **options)
    np.testing.assert_array_equal(decode(file, rows=20), decode(file))


def test_a_truncated_jpeg_is_refused_whatever_a_crop_needs_of_it():
    file = encoded(NOISE)
    with pytest.raises(decoding.InputError, match="truncated or corrupt JPEG"):
        decode(file[: len(file) * 9 // 10], rows=20)


def test_damage_above_the_last_row_is_left_to_pillow(monkeypatch):
    """Pixels that libjpeg-turbo warns about are taken from Pillow, as those of a whole image are."""
    file = encoded(NOISE)
    middle = len(file) // 2
    damaged = file[:middle] + b"\xff\xd9" + file[middle + 2 :]
    taken, pillow = [], decoding._pillow
    monkeypatch.setattr(decoding, "_pillow", lambda *arguments: taken.append(arguments) or pillow(*arguments))
    assert decode(damaged, rows=120).shape == (150, 90, 3) and len(taken) == 1
    assert len(decode(file, rows=50)) == 50 and len(taken) == 1


def test_crops_do_not_change_when_the_next_image_is_decoded():
    """Images are decoded into memory that is used again."""
    files = [encoded(Image.fromarray(photograph(80, 100, seed)), quality=90) for seed in range(2)]
    draws = {name: drawn[0] for name, drawn in draw_crop(0, name_id("image"), 0, np.arange(1)).items()}
    draws |= {"area": np.full(10, 2**31 - 1, np.int32), "ratio": np.full(10, 2**30, np.int32)}  # all rows, 80 x 80
    for flip in (0, 1):
        for size in (80, 60):
            first = random_resized_crop(files[0], draws | {"flip": flip}, size)
            before = first.copy()
            random_resized_crop(files[1], draws | {"flip": flip}, size)
            np.testing.assert_array_equal(first, before)
            assert first.base is None or not np.shares_memory(first, jpeg._kept.memory)


def test_the_memory_of_a_thread_does_not_keep_a_huge_image(monkeypatch):
    monkeypatch.setattr(jpeg, "KEPT", 40_000)
    jpeg._kept.__dict__.clear()
    for file, kept in ((encoded(NOISE.crop((0, 0, 60, 60))), 10_800), (encoded(NOISE), 10_800)):
        assert decode(file, reuse=True).shape[:2] == read_head(file)[:2]
        assert len(jpeg._kept.memory) == kept
    jpeg._kept.__dict__.clear()
