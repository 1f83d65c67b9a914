"""Plain PNG and WebP files by OpenCV: Pillow's pixels, and Pillow wherever it and OpenCV could differ."""

import io

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from ltjax.data.augment import decode as decoding
from ltjax.data.augment import png_webp
from ltjax.data.augment.decode import decode, read_head
from tests.data.augment.test_crops import photograph
from tests.data.augment.test_decode import encoded, reference
from tests.faults.mutate import mutated
from tests.faults.test_image_orientation import chunk

cv2 = pytest.importorskip("cv2")
RGB = Image.fromarray(photograph(37, 53))
GREY = RGB.convert("L")
PLAIN = {
    "png": encoded(RGB, "PNG"),
    "png, grey": encoded(GREY, "PNG"),
    "png, resolution": encoded(RGB, "PNG", dpi=(72, 72)),
    "webp": encoded(RGB, "WEBP"),
    "webp, best": encoded(RGB, "WEBP", quality=100, method=6),
    "webp, lossless": encoded(RGB, "WEBP", lossless=True),
    "webp, grey": encoded(GREY, "WEBP"),
    "webp, odd": encoded(RGB.crop((0, 0, 1, 3)), "WEBP"),
}
EXIF = Image.Exif()
EXIF[0x0112] = 6
TEXT = PngImagePlugin.PngInfo()
TEXT.add_text("a", "b" * 99, zip=True)


def rgba(alpha):
    image = RGB.copy()
    image.putalpha(alpha)
    return image


OTHER = {
    "png, transparent": encoded(rgba(9), "PNG"),
    "png, one transparent colour": encoded(RGB, "PNG", transparency=(1, 2, 3)),
    "png, palette": encoded(RGB.convert("P"), "PNG"),
    "png, 16 bits": encoded(Image.fromarray(np.asarray(GREY).astype(np.uint16) * 257), "PNG"),
    "png, bits": encoded(GREY.convert("1"), "PNG"),
    "png, turned": encoded(RGB, "PNG", exif=EXIF),
    "png, turned behind the pixels": PLAIN["png"][:-12] + chunk(b"eXIf", EXIF.tobytes()[6:]) + PLAIN["png"][-12:],
    "png, profile": encoded(RGB, "PNG", icc_profile=b"x" * 200),
    "png, compressed text": encoded(RGB, "PNG", pnginfo=TEXT),
    "png, two frames": encoded(RGB, "PNG", save_all=True, append_images=[GREY.convert("RGB")]),
    "png, more bytes": PLAIN["png"] + b"\0",
    "webp, transparent": encoded(rgba(9), "WEBP"),
    "webp, transparent, lossless": encoded(rgba(9), "WEBP", lossless=True),
    "webp, turned": encoded(RGB, "WEBP", exif=EXIF),
    "webp, two frames": encoded(RGB, "WEBP", save_all=True, append_images=[GREY.convert("RGB")]),
    "webp, more bytes": PLAIN["webp"] + b"\0\0",
}


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_file_has_pillows_pixels(name, monkeypatch):
    expected = reference(PLAIN[name])
    monkeypatch.setattr(decoding, "_open", None)  # without Pillow
    head, pixels = read_head(PLAIN[name]), decode(PLAIN[name])
    assert head == (*expected.shape[:2], True)
    assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous and pixels.flags.writeable
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("name", OTHER)
def test_another_file_is_left_to_pillow(name, monkeypatch):
    assert Image.open(io.BytesIO(OTHER[name])).format.lower() in name
    monkeypatch.setattr(png_webp, "by_opencv", None)
    assert png_webp.plain_size(OTHER[name]) is None
    assert decode(OTHER[name]).shape[:2] == read_head(OTHER[name])[:2]


def test_without_opencv_pillow_reads_plain_files(monkeypatch):
    monkeypatch.setattr(decoding, "opencv", lambda: None)
    for file in PLAIN.values():
        assert not read_head(file).plain
        np.testing.assert_array_equal(decode(file), reference(file))


def test_damaged_files_are_as_with_pillow_alone(capfd):
    """The same pixels or an error, and nothing that a library prints by itself."""
    refused = 0
    for name, content in mutated(PLAIN, 400, seed=0):
        try:
            expected = decoding._pillow(content, 1)
        except decoding.InputError:
            expected = None
        try:
            found = decode(content)
        except decoding.InputError:
            found = None
        refused += expected is None
        assert (found is None) == (expected is None), name
        if found is not None:
            np.testing.assert_array_equal(found, expected, err_msg=name)
    assert refused > 50 and not capfd.readouterr().err
