"""Only the listed image formats are opened: a .jpg that holds PostScript starts no program."""

import ast
import io
import pathlib

import numpy as np
import pytest
from PIL import Image

import ltjax
from ltjax.commands.predict import find_images
from ltjax.data import image_formats
from ltjax.data.augment.crops import evaluation_view
from ltjax.data.augment.decode import decode, describe, read_head
from ltjax.data.storage.image_folder import read_class_folders
from ltjax.errors import InputError

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\nshowpage\n"
READERS = (read_head, describe, decode, lambda file: evaluation_view(file, 8, 8))


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("head", [b"", b"\xc5\xd0\xd3\xc6" + bytes(26)])
def test_postscript_starts_no_program(tmp_path, monkeypatch, read, head):
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\necho >{tmp_path}/started\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(InputError, match="PostScript, which is not read; convert it to PNG or JPEG"):
        read(head + POSTSCRIPT)
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("kind", ["ICO", "TGA", "PCX", "SGI", "IM", "DDS", "QOI", "ICNS", "EPS"])
def test_other_formats_are_not_opened(kind):
    file = io.BytesIO()
    Image.init()
    if kind not in Image.SAVE:  # QOI, in Pillow 11
        return
    Image.new("RGB", (32, 32)).save(file, kind)
    for read in READERS:
        with pytest.raises(InputError, match=r"not an image|which is not read") as error:
            read(file.getvalue())
        assert "\n" not in str(error.value)


def test_pillow_is_always_given_the_formats():
    """Without them it tries all that it knows, some of which start other programs."""
    opened = []
    for path in sorted(pathlib.Path(ltjax.__file__).parent.rglob("*.py")):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)) if "Image.open" in text or "imread" in text else ():
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Image.open", "PIL.Image.open", "plt.imread"):
                opened.append((path.name, any(keyword.arg == "formats" for keyword in node.keywords)))
    assert ("decode.py", True) in opened and all(given for _, given in opened)


def test_the_endings_and_the_formats_are_one_list():
    assert set(image_formats.readable()) <= set(image_formats.FORMATS)
    assert set(image_formats.endings()) == {
        ending for name in image_formats.readable() for ending in image_formats.FORMATS[name]
    }
    assert not set(image_formats.endings()) & set(image_formats.CONVERT)
    Image.init()
    for name in image_formats.readable():
        assert name in Image.OPEN
        assert {Image.EXTENSION[ending] for ending in image_formats.FORMATS[name]} <= {name, "MPO"}


def heic():
    return b"\0\0\0\x18ftypheic" + bytes(60)


def test_a_heic_file_without_its_plugin(monkeypatch):
    monkeypatch.setattr(image_formats, "readable", lambda: ("JPEG", "PNG"))
    with pytest.raises(InputError, match=r"^HEIF, which this installation does not read: pip install pillow-heif"):
        decode(heic())
    assert image_formats.advice(".HEIC") == "pip install pillow-heif, or convert to JPEG"
    assert ".heic" not in image_formats.endings()


def test_an_avif_file_is_read():
    if "AVIF" not in image_formats.readable():
        assert "pillow>=11.3" in image_formats.advice(".avif")
        return
    file = io.BytesIO()
    Image.new("RGB", (12, 8), (200, 100, 50)).save(file, "AVIF")
    assert np.abs(decode(file.getvalue()).astype(int) - (200, 100, 50)).max() < 4
    assert ".avif" in image_formats.endings() and not image_formats.advice(".avif")


@pytest.fixture
def photos(tmp_path):
    """Class folders as people have them: photographs of a phone and of a camera, and a drawing."""
    for name in ("rose/1.jpg", "rose/2.HEIC", "rose/3.heic", "rose/4.CR2", "tulip/1.jpg", "tulip/2.svg", "tulip/a.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


UNREAD = (
    "1 x *.CR2 (camera raw: export as JPEG), 1 x *.HEIC (pip install pillow-heif, or convert to JPEG), "
    "1 x *.heic (pip install pillow-heif, or convert to JPEG), 1 x *.svg (drawing: export as PNG)"
)


def test_images_that_are_not_read_are_named_with_what_to_do(photos, monkeypatch):
    monkeypatch.setattr(image_formats, "readable", lambda: ("JPEG", "PNG"))
    tree = read_class_folders(str(photos))
    assert len(tree.names) == 2
    assert tree.notes()[1] == f"{photos}: has images that are not read: {UNREAD}"
    assert find_images([str(photos)]).left_out == f"5 files whose names are not those of images that are read: {UNREAD}"
    (photos / "tulip/1.jpg").unlink()
    with pytest.raises(InputError, match=r"tulip: a class folder without an image \(not read: .*svg \(drawing: export"):
        read_class_folders(str(photos))
    (photos / "rose/1.jpg").unlink()
    with pytest.raises(InputError, match=r"contains no image \(.*\); not read: 1 x \*.CR2"):
        find_images([str(photos)])
    with pytest.raises(InputError, match=r"without an image, like all others \(not read: 1 x \*.CR2"):
        read_class_folders(str(photos))


def test_heic_images_are_read_where_the_plugin_is(photos, monkeypatch):
    monkeypatch.setattr(image_formats, "readable", lambda: ("JPEG", "HEIF"))
    assert len(read_class_folders(str(photos)).names) == 4
