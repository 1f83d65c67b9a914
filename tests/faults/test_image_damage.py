"""Damaged images of every format: an image or one line, never another exception, in bounded memory and time."""

import contextlib
import io
import re
import subprocess
import sys
import textwrap
import tracemalloc
import zlib

import numpy as np
import pytest

from ltjax.data.augment import decode as decoding
from ltjax.data.augment.crops import draw_crop, evaluation_view, random_resized_crop
from ltjax.data.augment.decode import decode, describe, read_head
from ltjax.data.sampling.counter_rng import name_id
from ltjax.errors import InputError
from tests.faults.mutate import mutated
from tests.faults.test_image_orientation import KINDS, chunk, encoded, odd_files, smooth

DRAWS = {name: drawn[0] for name, drawn in draw_crop(3, name_id("image"), 0, np.arange(1)).items()}
READERS = (
    read_head,
    describe,
    decode,
    lambda file: decode(file, 4),
    lambda file: random_resized_crop(file, DRAWS, 16),
    lambda file: evaluation_view(file, 12, 16),
)


def whole_files():
    """Files of every format and of its modes, some compressed in several ways, some of several frames."""
    files = {}
    for kind in KINDS:
        for mode in ("1", "L", "P", "RGB", "RGBA", "CMYK", "I;16"):
            try:
                files[f"{kind} {mode}"] = encoded(smooth(mode=mode), kind, 6)
            except (OSError, ValueError, KeyError):
                continue  # the format has no such mode
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"):
        files[f"TIFF {compression}"] = encoded(smooth(), "TIFF", 6, compression=compression)
    plain, progressive = io.BytesIO(), io.BytesIO()
    smooth(40, 56).save(plain, "JPEG")
    smooth(40, 56).save(progressive, "JPEG", progressive=True)
    return files | odd_files() | {"JPEG plain": plain.getvalue(), "JPEG progressive": progressive.getvalue()}


def read_damaged(count, seed):
    """Reads damaged files with every reader; returns how many were refused."""
    refused = 0
    for name, content in mutated(whole_files(), count, seed):
        for read in READERS:
            try:
                read(content)
            except InputError as error:
                assert "\n" not in str(error) and len(str(error)) < 400, (name, str(error))
                refused += 1
    return refused


def test_damaged_images_are_refused_or_read():
    assert 300 < read_damaged(300, seed=0) < 300 * len(READERS)


def test_damaged_images_without_simplejpeg(monkeypatch):
    monkeypatch.setattr(decoding, "simplejpeg_module", lambda: None)
    assert read_damaged(100, seed=1) > 50


def png(width, height, chunks=b"", rows=b""):
    """A PNG of one bit a pixel."""
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size + b"\1\0\0\0\0")
    return head + chunks + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def one_component():
    """A JPEG that is not progressive, with a thousand scans of the first of its three components alone."""
    jpeg = encoded(smooth(), "JPEG")
    at = jpeg.index(b"\xff\xda")
    scan = b"\xff\xda\0\x08\1" + jpeg[at + 5 : at + 7] + jpeg[at + 11 : -2]
    return jpeg[:at] + scan * 1000 + jpeg[-2:]


def bombs():
    """Small files that claim much, or decompress to much; the message of each."""
    many = zlib.compress(bytes(20_000_000))
    exif = chunk(b"eXIf", b"II*\0\x08\0\0\0\0\0")  # Pillow decodes a PNG to look for such a thing behind the pixels
    jpeg, gif = encoded(smooth(mode="L"), "JPEG", progressive=True), bytearray(encoded(smooth(mode="P"), "GIF"))
    frame = gif.index(b",") + 5
    gif[frame : frame + 4] = b"\xff" * 4
    last = jpeg.rindex(b"\xff\xda")
    tiff = bytearray(encoded(smooth(), "TIFF"))
    directory = int.from_bytes(tiff[4:8], "little")
    tags = {}
    for place in range(directory + 2, directory + 2 + 12 * tiff[directory], 12):
        damaged = bytearray(tiff)
        damaged[place + 4 : place + 8] = b"\xff\xff\xff\x7f"
        tags[f"2^31 values of the TIFF tag {tiff[place] + 256 * tiff[place + 1]}"] = bytes(damaged), ""
    return tags | {
        "a compressed profile": (png(8, 8, chunk(b"zTXt", b"Raw profile type exif\0\0" + many)), "too large"),
        "a compressed text": (png(8, 8, chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + many)), "too large"),
        "a colour profile": (png(8, 8, chunk(b"iCCP", b"x\0\0" + many)), "too large"),
        "many texts": (png(8, 8, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**6))) * 70), "Too much memory"),
        "169 million pixels": (png(13_000, 13_000, exif, bytes(1626 * 13_000)), "13000 x 13000 pixels; at most"),
        "4 billion pixels": (png(65_535, 65_535), r"\(4294836225 pixels\) .*; at most 89,478,485 can be decoded"),
        "a frame of 4 billion pixels": (bytes(gif), r"\(4294836225 pixels\) .*; at most 89,478,485 can be decoded"),
        "a thousand scans": (jpeg[:-2] + jpeg[last:-2] * 1000 + jpeg[-2:], "more than 100 scans"),
        "scans behind one of three components": (one_component(), "more than 100 scans"),
    }


def test_what_lies_behind_a_jpeg_is_no_scan():
    """The film of a motion photo, an archive."""
    progressive = encoded(smooth(), "JPEG", progressive=True)
    filled = progressive.replace(b"\xff\xc2", b"\xff\xff\xc2", 1)
    for file in (progressive, filled):
        with_film = file + b"\xff\xda\0\x08" * 1000
        np.testing.assert_array_equal(decode(with_film), decode(file))


BOMBS = bombs()


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_takes_no_more_than_it_should(name):
    file, message = BOMBS[name]
    tracemalloc.start()
    try:
        for read in READERS:
            with contextlib.suppress(InputError) if not message else contextlib.nullcontext():
                read(file)
        assert not message
    except InputError as error:
        assert re.search(message, str(error)) and "\n" not in str(error)
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert most < 100e6


@pytest.mark.slow
def test_thousands_of_damaged_images():
    """In a process of its own, which a crash would end, with 3 GiB of memory."""
    program = """
        from tests.faults.mutate import limit_memory
        from tests.faults.test_image_damage import read_damaged
        limit_memory(3 * 2**30)
        print(read_damaged(4_000, seed=2))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 5_000
