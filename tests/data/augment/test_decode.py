"""Images of every kind, by both decoders: Pillow's pixels, upright, on white; and one line for an unreadable file."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from ltjax.data.augment import decode as decoding
from ltjax.data.augment.decode import decode, read_head
from ltjax.errors import InputError

EITHER = ("simplejpeg", "pillow")


@pytest.fixture(params=EITHER)
def decoder(request, monkeypatch):
    """Tests that use it run with both JPEG decoders."""
    if request.param == "pillow":
        monkeypatch.setattr(decoding, "simplejpeg_module", lambda: None)
    else:
        pytest.importorskip("simplejpeg")
    return request.param


def smooth_image(height=37, width=53, mode="RGB"):
    """Smooth gradients; all corners differ."""
    y, x = np.mgrid[:height, :width]
    channels = [255 * y / max(height - 1, 1), 255 * x / max(width - 1, 1), 128 + 60 * np.sin(x / 40 + y / 30)]
    return Image.fromarray(np.stack(channels, -1).astype(np.uint8)).convert(mode)


def encoded(image, kind="JPEG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned(orientation, kind="JPEG"):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(smooth_image(), kind, exif=exif, **({"quality": 95} if kind == "JPEG" else {}))


def reference(file):
    """The pixels that torchvision's loader gives."""
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0, "quality": 30}])
def test_a_jpeg_decodes_to_pillows_pixels(decoder, mode, options):
    file = encoded(smooth_image(mode=mode), **(options if mode == "RGB" else {}))
    pixels = decode(file)
    assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous and pixels.flags.writeable
    np.testing.assert_array_equal(pixels, reference(file))
    assert read_head(file)[:2] == pixels.shape[:2]


@pytest.mark.parametrize("shrink", [2, 4, 8])
def test_a_jpeg_is_decoded_at_a_reduced_size(decoder, shrink):
    file = encoded(smooth_image(301, 403), quality=95)
    pixels = decode(file, shrink)
    assert pixels.shape == (-(-301 // shrink), -(-403 // shrink), 3)
    means = np.asarray(smooth_image(301, 403).reduce(shrink))  # each pixel is the mean of shrink x shrink
    assert np.abs(pixels.astype(int) - means).mean() < 1
    assert decode(encoded(smooth_image(301, 403), "PNG"), shrink).shape == (301, 403, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 10))
def test_the_orientation_is_applied(decoder, kind, orientation):
    file = turned(orientation, kind)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(file))))
    np.testing.assert_array_equal(decode(file), expected)
    assert read_head(file)[:2] == expected.shape[:2]
    if kind == "JPEG":
        assert decode(file, 4).shape[:2] == tuple(-(-side // 4) for side in expected.shape[:2])


def test_cmyk_with_adobes_inverted_values(decoder):
    """Pillow writes Adobe's marker and inverted values; decoded, they are the original colours."""
    cmyk = smooth_image(mode="CMYK")
    inverted = encoded(cmyk, quality=95)
    assert b"Adobe" in inverted
    expected = np.asarray(cmyk.convert("RGB")).astype(int)
    assert np.abs(decode(inverted) - expected).mean() < 3
    assert read_head(inverted)[:2] == (37, 53)


def test_transparent_pixels_are_composited_on_white():
    clear = smooth_image(mode="RGBA")
    clear.putalpha(Image.fromarray(np.tile(np.arange(53, dtype=np.uint8) * 4, (37, 1))))
    pixels = decode(encoded(clear, "PNG"))
    assert (pixels[:, 0] == 255).all()
    alpha = np.asarray(clear)[..., 3:] / 255
    expected = alpha * np.asarray(clear)[..., :3] + (1 - alpha) * 255
    assert np.abs(pixels - expected).max() <= 1
    palette = smooth_image(mode="P")
    palette.info["transparency"] = palette.getpixel((0, 0))
    transparent = np.asarray(palette) == palette.getpixel((0, 0))
    pixels = decode(encoded(palette, "PNG"))
    assert transparent.any() and (pixels[transparent] == 255).all()
    np.testing.assert_array_equal(pixels[~transparent], np.asarray(smooth_image(mode="P").convert("RGB"))[~transparent])


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB"])
def test_other_modes_match_pillow(mode):
    file = encoded(smooth_image(mode=mode), "PNG")
    np.testing.assert_array_equal(decode(file), reference(file))


def test_16_bit_values_are_scaled_to_8_bits():
    deep = Image.fromarray((np.arange(256, dtype=np.uint16) * 257).reshape(16, 16))
    assert deep.mode == "I;16"
    np.testing.assert_array_equal(decode(encoded(deep, "PNG"))[..., 1].ravel(), np.arange(256))
    wide = Image.fromarray((np.arange(256, dtype=np.int32) * 257).reshape(16, 16))
    np.testing.assert_array_equal(decode(encoded(wide, "TIFF"))[..., 1].ravel(), np.arange(256))


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_the_format_is_recognised_by_the_content(kind):
    """The file name plays no part: a PNG called .jpg is a PNG."""
    file = encoded(smooth_image(), kind)
    np.testing.assert_array_equal(decode(file), reference(file))


@pytest.mark.parametrize("shape", [(1, 1), (1, 30_000), (30_000, 3)])
def test_extreme_sizes(decoder, shape):
    file = encoded(smooth_image(*shape))
    assert decode(file).shape == (*shape, 3) and read_head(file)[:2] == shape
    np.testing.assert_array_equal(decode(file), reference(file))


def huge(side):
    """A JPEG whose header claims side x side pixels."""
    file = bytearray(encoded(smooth_image(16, 16)))
    start = file.index(b"\xff\xc0") + 5
    file[start : start + 4] = side.to_bytes(2, "big") * 2
    return bytes(file)


def inverted(file, begin):
    return file[:begin] + bytes(255 - b for b in file[begin:])


GOOD = encoded(smooth_image(200, 200), quality=95)
BAD = {
    "empty": (b"", r"empty \(0 bytes\)"),
    "text": (b"<!DOCTYPE html><html>", r"not an image \(21 bytes that begin with b'<!DOCTYP'\)"),
    "truncated": (GOOD[: len(GOOD) // 2], "truncated or corrupt JPEG"),
    "cut in the header": (GOOD[:100], "corrupt image header|not an image"),
    "corrupt header": (inverted(GOOD, 2), "corrupt image header|not an image"),
    "truncated png": (encoded(smooth_image(), "PNG")[:300], "truncated or corrupt PNG"),
    "corrupt png": (inverted(encoded(smooth_image(), "PNG"), 60), "truncated or corrupt PNG"),
    "large": (huge(10_000), r"10000 x 10000 pixels; at most 89,478,485"),
    "larger": (huge(60_000), r"pixels.*at most 89,478,485"),
    "float": (encoded(Image.new("F", (4, 4)), "TIFF"), "floating-point"),
    "32 bits": (encoded(Image.new("I", (4, 4), 70_000), "TIFF"), "8 or 16 bits"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_an_error_of_one_short_line(decoder, name):
    file, message = BAD[name]
    with pytest.raises(InputError, match=message) as error:
        decode(file)
    assert "\n" not in str(error.value) and len(str(error.value)) < 160


def test_extra_bytes_are_no_error(decoder):
    """ImageNet contains such files, and all published results include them."""
    np.testing.assert_array_equal(decode(GOOD + b"\0" * 100), reference(GOOD))
    end = GOOD.rindex(b"\xff\xd9")
    np.testing.assert_array_equal(decode(GOOD[:end] + b"\0" * 40 + GOOD[end:]), reference(GOOD))
