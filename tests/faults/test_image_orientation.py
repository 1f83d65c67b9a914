"""Every format that is read, in every mode and orientation, is upright and of the right size, by both JPEG decoders."""

import io
import itertools
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from ltjax.data import image_formats
from ltjax.data.augment import decode as decoding
from ltjax.data.augment.crops import draw_crop, evaluation_view, random_resized_crop
from ltjax.data.augment.decode import decode, describe, read_head
from ltjax.data.sampling.counter_rng import name_id
from ltjax.errors import InputError

MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I;16", "I", "F")
KINDS = ("MPO", *image_formats.readable())
UPRIGHT = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: np.swapaxes(stored, 0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.swapaxes(np.rot90(stored, 2), 0, 1),
    8: np.rot90,
}


@pytest.fixture(params=["simplejpeg", "pillow"])
def decoder(request, monkeypatch):
    if request.param == "pillow":
        monkeypatch.setattr(decoding, "simplejpeg_module", lambda: None)
    else:
        pytest.importorskip("simplejpeg")


def smooth(height=16, width=24, mode="RGB"):
    """Smooth gradients in which no two corners are alike."""
    y, x = np.mgrid[:height, :width]
    channels = [255 * y / (height - 1), 255 * x / (width - 1), 128 + 60 * np.sin(x / 9 + y / 7)]
    image = Image.fromarray(np.stack(channels, -1).astype(np.uint8))
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    if mode == "I":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.int32) * 257)
    if mode == "LAB":
        spaces = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        return ImageCms.profileToProfile(image, *spaces, outputMode="LAB")
    if mode in ("LA", "PA", "RGBA"):
        image = image.convert({"LA": "L", "PA": "P"}.get(mode, mode)).convert(mode)
        image.putalpha(Image.fromarray((y * 9).astype(np.uint8)))
        return image
    return image.convert(mode)


def encoded(image, kind, orientation=1, **options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    more = {"save_all": True, "append_images": [image]} if kind in ("MPO", "GIF", "WEBP", "TIFF") else {}
    file = io.BytesIO()
    image.save(file, kind, exif=exif, **({"quality": 95} if kind in ("JPEG", "MPO") else {}), **more, **options)
    return file.getvalue()


def by_pillow(file):
    """The upright image as Pillow gives it, uint8 [h, w, 3] on white."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(file)))
    if image.mode.startswith("I"):
        return np.repeat((np.asarray(image).astype(int) >> 8)[..., None], 3, -1)
    if not image.has_transparency_data:
        return np.asarray(image.convert("RGB")).astype(int)
    pixels = np.asarray(image.convert("RGBA")).astype(float)
    return np.round(pixels[..., 3:] / 255 * pixels[..., :3] + 255 - pixels[..., 3:])


def stored_orientation(file):
    return Image.open(io.BytesIO(file)).getexif().get(0x0112, 1)


def assert_same(file, expected, within=0):
    assert read_head(file)[:2] == describe(file)[2:4] == expected.shape[:2]
    for shrink in (1, 2, 4, 8):
        pixels = decode(file, shrink)
        if pixels.shape == expected.shape:
            assert np.abs(pixels.astype(int) - expected).max() <= within
        else:
            assert pixels.shape[:2] == tuple(-(-side // shrink) for side in expected.shape[:2])
            coarse = np.asarray(Image.fromarray(expected.astype(np.uint8)).reduce(shrink)).astype(int)
            assert np.abs(pixels - coarse).mean() < 12


CASES = list(itertools.product(KINDS, MODES))


@pytest.mark.parametrize(("kind", "mode"), CASES, ids=[f"{kind} {mode}" for kind, mode in CASES])
def test_every_format_mode_and_orientation(kind, mode):
    check_orientations(kind, mode)


@pytest.mark.parametrize("kind", ["JPEG", "MPO"])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpegs_without_simplejpeg(monkeypatch, kind, mode):
    monkeypatch.setattr(decoding, "simplejpeg_module", lambda: None)
    check_orientations(kind, mode)


def check_orientations(kind, mode):
    image = smooth(mode=mode)
    try:
        stored = encoded(image, kind)
    except (OSError, ValueError, KeyError):
        return  # the format has no such mode
    opened = Image.open(io.BytesIO(stored))
    if opened.mode == "F":
        with pytest.raises(InputError, match="floating-point"):
            decode(stored)
        return
    try:
        upright = by_pillow(stored)
    except OSError:
        return  # Pillow 11 does not read its own CMYK MPO
    within = 1 if opened.has_transparency_data else 0  # rounding
    # Pillow 11 writes the orientation over a value of a pixel in the YCbCr TIFFs that it saves.
    written = 7 if mode == "YCbCr" and Image.__version__ < "12" else within
    draws = {name: drawn[0] for name, drawn in draw_crop(3, name_id("image"), 0, np.arange(1)).items()}
    for orientation in UPRIGHT:
        file = encoded(image, kind, orientation)
        expected = by_pillow(file)
        turn = UPRIGHT[stored_orientation(file)]
        assert expected.shape == turn(upright).shape and np.abs(expected - turn(upright)).max() <= written
        assert_same(file, expected, within)
        found = describe(file)
        assert (found.format, found.mode, found.orientation) == (opened.format, opened.mode, stored_orientation(file))
        for crop in (lambda image: random_resized_crop(image, draws, 16), lambda image: evaluation_view(image, 12, 16)):
            difference = crop(file).astype(int) - crop(expected.astype(np.uint8))
            assert np.abs(difference).max() <= within


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("BMP", "GIF", "PPM", "JPEG2000", "HEIF")])
def test_these_formats_store_an_orientation(kind):
    """Else the test of every format would compare nothing."""
    assert [stored_orientation(encoded(smooth(), kind, orientation)) for orientation in UPRIGHT] == list(UPRIGHT)


@pytest.mark.parametrize("kind", ["JPEG", "MPO"])
@pytest.mark.parametrize("orientation", [1, 5, 8])
def test_crops_of_a_large_photograph(decoder, kind, orientation):
    """Decoded at a reduced size, at the right place of the image."""
    file = encoded(smooth(288, 400), kind, orientation)
    expected = by_pillow(file).astype(np.uint8)
    for offset in range(6):
        draws = {name: drawn[0] for name, drawn in draw_crop(0, name_id("image"), 0, np.array([offset])).items()}
        difference = random_resized_crop(file, draws, 16).astype(int) - random_resized_crop(expected, draws, 16)
        assert np.abs(difference).mean() < 5
    assert np.abs(evaluation_view(file, 16, 18).astype(int) - evaluation_view(expected, 16, 18)).mean() < 2


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def chunk(name, content):
    return len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")


def odd_files():
    """name -> a file whose orientation is 6, where few look for it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    block = exif.tobytes()
    plain_jpeg, plain_png, webp, tiff = (io.BytesIO() for _ in range(4))
    smooth().save(plain_jpeg, "JPEG")
    smooth().save(plain_png, "PNG")
    smooth().save(webp, "WEBP", xmp=XMP)
    smooth().save(tiff, "TIFF", tiffinfo={700: XMP})
    jpeg, png = plain_jpeg.getvalue(), plain_png.getvalue()
    segment = b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block
    xmp = b"http://ns.adobe.com/xap/1.0/\0" + XMP
    text = b"XML:com.adobe.xmp\0\0\0\0\0" + XMP
    raw = b"\nexif\n%8d\n%s\n" % (len(block), block.hex().encode())
    return {
        "JPEG, XMP": jpeg[:2] + b"\xff\xe1" + (len(xmp) + 2).to_bytes(2, "big") + xmp + jpeg[2:],
        "JPEG, padding": jpeg[:2] + b"\xff\xff\xff" + segment + jpeg[2:],
        "JPEG, after a comment": jpeg[:2] + b"\xff\xfe\0\x04ab" + segment + jpeg[2:],
        "PNG, behind the pixels": png[:-12] + chunk(b"eXIf", block[6:]) + png[-12:],
        "PNG, XMP": png[:33] + chunk(b"iTXt", text) + png[33:],
        "PNG, raw profile": png[:33] + chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw)) + png[33:],
        "WEBP, XMP": webp.getvalue(),
        "TIFF, XMP": tiff.getvalue(),
    }


@pytest.mark.parametrize("name", odd_files())
def test_an_orientation_at_an_unusual_place(decoder, name):
    file = odd_files()[name]
    expected = by_pillow(file)
    if Image.__version__ >= "12" or "XMP" not in name:  # Pillow 11 reads XMP of PNGs only
        assert expected.shape == (24, 16, 3) and describe(file).orientation == 6
    assert_same(file, expected)


@pytest.mark.filterwarnings("ignore:Metadata Warning")
@pytest.mark.parametrize("value", [0, 9, 255, (6, 6), 65_535])
@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "PNG"])
def test_an_invalid_orientation_is_upright(decoder, kind, value):
    exif = Image.Exif()
    exif[0x0112] = value
    file = io.BytesIO()
    smooth().save(file, kind, exif=exif)
    assert_same(file.getvalue(), by_pillow(file.getvalue()))


def tiff_grey(values, bits, photometric=1):
    """An uncompressed TIFF of grey values with 12 or 16 bits, uint16 [h, w]."""
    if bits == 12:
        pairs = values.reshape(-1, 2).astype(np.uint32)
        word = pairs[:, 0] << 12 | pairs[:, 1]
        data = np.stack([word >> 16, word >> 8 & 255, word & 255], -1).astype(np.uint8).tobytes()
    else:
        data = values.astype("<u2").tobytes()
    tags = {256: values.shape[1], 257: values.shape[0], 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1,
            278: values.shape[0], 279: len(data)}  # fmt: skip
    entries = [b"".join(n.to_bytes(k, "little") for n, k in ((tag, 2), (4, 2), (1, 4), (value, 4))) for tag, value in
               sorted(tags.items())]  # fmt: skip
    directory = len(entries).to_bytes(2, "little") + b"".join(entries) + bytes(4)
    return b"II*\0" + (8 + len(data)).to_bytes(4, "little") + data + directory


def test_grey_values_of_12_and_16_bits():
    """12 bits are no dark 16 bits, and white is white where 0 is."""
    ramp = np.arange(256).reshape(16, 16)
    np.testing.assert_array_equal(decode(tiff_grey(ramp * 16 + 7, 12))[..., 0], ramp)
    np.testing.assert_array_equal(decode(tiff_grey(ramp * 257, 16))[..., 1], ramp)
    np.testing.assert_array_equal(decode(tiff_grey(ramp * 257, 16, photometric=0))[..., 1], 255 - ramp)
    clear = io.BytesIO()
    Image.fromarray((ramp * 257).astype(np.uint16)).save(clear, "PNG", transparency=1542)
    expected = np.where(ramp == 6, 255, ramp)
    np.testing.assert_array_equal(decode(clear.getvalue())[..., 2], expected)


def test_a_header_that_contradicts_the_pixels_is_an_error():
    file = encoded(smooth(), "PNG")
    head = read_head(file)._replace(height=24, width=16)
    with pytest.raises(InputError, match="16 x 24 pixels by its header, but 24 x 16 in fact"):
        decode(file, head=head)


def test_a_png_is_decoded_once(monkeypatch):
    """Pillow decodes a PNG to look for an orientation behind the pixels, even where the file has none."""
    file, loads = io.BytesIO(), []
    smooth().save(file, "PNG")
    monkeypatch.setattr(Image.Image, "getexif", lambda self: loads.append(self))
    assert read_head(file.getvalue())[:2] == decode(file.getvalue()).shape[:2] and not loads
