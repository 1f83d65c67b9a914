"""Paths in list files: two spellings of one image, paths that leave the folder of the images, and long ones."""

import dataclasses
import json
import os

import numpy as np
import pytest

from ltjax.commands.check import command as check
from ltjax.commands.prepare import shards as prepare
from ltjax.data import build
from ltjax.data.datasets.assemble import several_classes
from ltjax.data.datasets.prepared_shards import read_shards
from ltjax.data.storage.image_files import STYLES
from ltjax.data.storage.list_file import read_list
from ltjax.data.storage.packed_names import PackedNames
from ltjax.errors import InputError
from ltjax.settings import DataSettings
from tests.data.conftest import write_image

TRAIN = "rose/0.jpg 0\nrose/1.jpg 0\ntulip/0.jpg 1\ntulip/1.jpg 1\n"


@pytest.fixture
def flowers(tmp_path):
    """``flowers(train, test)``: the settings of these lists, of images under tmp_path/data; one is beside it."""
    for shade, name in enumerate(("data/rose/0", "data/rose/1", "data/tulip/0", "data/tulip/1", "data/lily/0", "out")):
        write_image(tmp_path / f"{name}.jpg", 20 * shade)

    def make(train=TRAIN, test="lily/0.jpg 0\n", **changes):
        (tmp_path / "train.txt").write_text(train)
        (tmp_path / "test.txt").write_text(test)
        lists = {"train_list": f"{tmp_path}/train.txt", "test_list": f"{tmp_path}/test.txt"}
        usual = {"name": "list", "dir": f"{tmp_path}/data", "imbalance": 1.0, "image_size": 16, "resize": 16}
        return DataSettings(**(usual | lists | changes))

    return make


def error_of(settings):
    with pytest.raises(InputError) as error:
        build(settings)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "other", ["./rose/0.jpg", "rose//0.jpg", "rose/./0.jpg", "tulip/../rose/0.jpg", "{root}/rose/0.jpg", '"rose/0.jpg"']
)
def test_two_spellings_of_a_path_are_one_image(flowers, tmp_path, other):
    other = other.format(root=tmp_path / "data")
    data = build(flowers(f"{TRAIN}{other} 0\n"))
    assert data.class_counts.tolist() == [2, 2]
    assert "1 lines repeat an earlier line and are ignored (the first: line 5 repeats line 1)" in data.notes[0]
    message = error_of(flowers(f"{TRAIN}{other} 1\n"))
    assert "line 5: '" in message and "' has label 1 here and 0 in line 1" in message
    alone = build(flowers(TRAIN.replace("rose/0.jpg", other)))
    assert alone.class_names == ("rose", "tulip") and alone.train.images(np.arange(4)).shape == (4, 16, 16, 3)


@pytest.mark.parametrize("other", ["./rose/1.jpg", "rose//1.jpg", "lily/../rose/1.jpg", "{root}/rose/1.jpg"])
def test_a_test_image_in_another_spelling_is_found_to_be_a_training_image(flowers, tmp_path, other):
    data = build(flowers(test=f"lily/0.jpg 1\n{other.format(root=tmp_path / 'data')} 0\n"))
    assert len(data.notes) == 1 and data.notes[0].endswith("is also a training image (line 2; 1 such images)")


def test_the_fingerprint_of_a_list_is_that_of_its_names_as_written(flowers):
    """A run with such a list, begun before names were normalised, resumes."""
    plain, dotted = build(flowers()), build(flowers("./" + TRAIN))
    assert plain.fingerprint != dotted.fingerprint and dotted.notes == plain.notes


@pytest.mark.parametrize(
    "other", ["../out.jpg", "rose/../../out.jpg", "{root}/../out.jpg", "{root}/rose/../../out.jpg"]
)
def test_a_path_that_leaves_the_folder_is_refused_unless_a_setting_allows_it(flowers, tmp_path, other):
    other = other.format(root=tmp_path / "data")
    message = error_of(flowers(f"{TRAIN}{other} 0\n"))
    assert message.startswith(f"{tmp_path}/train.txt, line 5: '{other}' is outside of config.data.dir")
    assert "1 such lines" in message and message.endswith("or set config.data.allow_outside=True")
    assert "test.txt, line 1" in error_of(flowers(test=f"{other} 0\n"))
    data = build(flowers(f"{TRAIN}{other} 0\n", allow_outside=True))
    assert data.class_counts.tolist() == [3, 2] and data.train.read(4).max() == 100


def test_an_absolute_path_that_means_one_under_the_folder_stays_under_it(flowers, tmp_path):
    """Published lists begin their paths with a slash."""
    data = build(flowers("".join(f"/{line}\n" for line in TRAIN.splitlines())))
    assert data.train.where(0).startswith(f"{tmp_path}/data/rose/0.jpg (line 1 of")
    assert "data/etc/hosts.jpg (line 1 of" in error_of(flowers("/etc/hosts.jpg 0\nrose/0.jpg 1\n"))


def test_a_link_inside_the_folder_may_lead_out_of_it(flowers, tmp_path):
    os.symlink(tmp_path / "out.jpg", tmp_path / "data/rose/link.jpg")
    assert build(flowers(f"{TRAIN}rose/link.jpg 0\n")).class_counts.tolist() == [3, 2]


def test_an_absolute_path_is_under_the_folder_through_any_link(flowers, tmp_path):
    os.symlink(tmp_path / "data", tmp_path / "link")
    os.symlink(tmp_path / "data/rose", tmp_path / "roses")
    for folder, spelling in (("link", "data"), ("data", "link"), ("link", "link")):
        train = "".join(f"{tmp_path}/{spelling}/{line}\n" for line in TRAIN.splitlines())
        data = build(flowers(f"{TRAIN}{train}{tmp_path}/roses/0.jpg 0\n", dir=f"{tmp_path}/{folder}"))
        assert data.class_counts.tolist() == [2, 2] and data.train.images(np.arange(4)).shape == (4, 16, 16, 3)
        assert "5 lines repeat an earlier line" in data.notes[0]
        assert "line 5: " in error_of(flowers(f"{TRAIN}{tmp_path}/out.jpg 0\n", dir=f"{tmp_path}/{folder}"))


def test_names_are_packed_in_the_encoding_of_the_file_system(monkeypatch):
    names = ["ros\u00e9/1.jpg", "tulip/\u00fc.jpg"]
    assert PackedNames.of(names).text == "".join(names).encode("utf-8")
    monkeypatch.setattr(os, "fsencode", lambda name: name.encode("iso-8859-1", "surrogateescape"))
    monkeypatch.setattr(os, "fsdecode", lambda name: name.decode("iso-8859-1", "surrogateescape"))
    packed = PackedNames.of(names)
    assert packed.text == "".join(names).encode("iso-8859-1")
    assert list(packed) == names == [packed[0], packed[1]]
    assert packed.replaced({1: "caf\u00e9.jpg"})[1] == "caf\u00e9.jpg"


def test_no_layout_of_places_makes_a_path_that_leaves_the_folder():
    for name in ("train/..-..-..-etc/passwd", "val/x/../../../etc", "a/../../x", "/train/..-x/y"):
        for style, change in STYLES.items():
            if style != "as written":
                assert "../" in name or "../" not in change(name), (style, name)


def test_audit_and_preparation_refuse_alike_and_allow_alike(flowers, tmp_path, capsys):
    flowers(f"{TRAIN}../out.jpg 0\n")
    lists = [f"--list={tmp_path}/train.txt", f"--test-list={tmp_path}/test.txt", f"--root={tmp_path}/data"]
    assert check.main([*lists, f"--out={tmp_path}/c", "--workers=1"]) == 1
    assert "line 5: '../out.jpg' is outside of --root" in capsys.readouterr().out
    assert prepare.main([*lists, f"--out={tmp_path}/s", "--workers=1"]) == 2
    message = capsys.readouterr().err
    assert "is outside of --root" in message and "or add --allow-outside" in message
    assert prepare.main([*lists, f"--out={tmp_path}/s", "--workers=1", "--allow-outside"]) == 0


@pytest.mark.parametrize(
    "line, how",
    [
        ("rose/0.jpg,0", "without a comma or a header; a CSV file with a header is read with format=csv"),
        ("filename,label", "without a comma or a header; a CSV file with a header is read with format=csv"),
        ("0 rose/0.jpg", "write the path first, then the label"),
        ("rose/0.jpg", "correct or remove it"),
    ],
)
def test_a_line_in_another_format_is_named_with_what_to_write(flowers, line, how):
    message = error_of(flowers(f"{line}\n{TRAIN}"))
    assert f"line 1: '{line}' is not 'relative/path label'" in message and message.endswith(how)


def test_backslashes_of_windows_are_named(flowers):
    assert "or write / in place of \\ in the list" in error_of(flowers(TRAIN.replace("/", "\\")))


def test_messages_quote_at_most_200_characters_of_a_path_or_a_line(flowers, tmp_path):
    long = "x" * 5000
    for train in (
        f"{long}\n",
        f"{long} 0\n{long} 1\n",
        f"rose/{long}.jpg 0\n{TRAIN}",
        f"../{long} 0\n",
        f"{long} -1\n",
    ):
        message = error_of(flowers(train))
        assert "xxx...xxx" in message and message.count("x") < 420, message
    folder = "/".join(["y" * 250] * 12)
    for settings in (flowers(dir=f"{tmp_path}/{folder}"), flowers(name="folder", dir=f"{tmp_path}/{folder}")):
        assert error_of(settings).count("y") < 200


def test_lists_of_one_class_are_refused(flowers, tmp_path):
    message = error_of(flowers(TRAIN.replace(" 1", " 0")))
    assert message == (
        f"{tmp_path}/train.txt: all 4 images have label 0; a run needs at least two classes: number the classes from 0"
    )


def test_many_awkward_names_are_read_alike_in_any_line_ends(tmp_path):
    names = ["my rose/1 .jpg", '"a b/2.jpg', "caf\udce9/3.jpg", "ro\u0308se/4.jpg", "$HOME/5.jpg", "~/6.jpg", "n" * 250]
    for end in ("\n", "\r\n", "\r"):
        text = "\ufeff" + end.join(f"{name}\t{label}" for label, name in enumerate(names))
        (tmp_path / "list.txt").write_bytes(text.encode("utf-8", "surrogateescape"))
        listing = read_list(tmp_path / "list.txt")
        assert list(listing.names) == names == list(listing.files) and listing.labels.tolist() == list(range(7))


def test_shards_of_one_class_and_a_manifest_that_names_files_elsewhere_are_refused(flowers, tmp_path):
    flowers()
    lists = [f"--list={tmp_path}/train.txt", f"--root={tmp_path}/data", f"--out={tmp_path}/shards", "--workers=1"]
    assert prepare.main(lists) == 0
    settings = DataSettings(name="shards", dir=f"{tmp_path}/shards", imbalance=1.0, image_size=16, resize=16)
    assert build(settings).class_names == ("rose", "tulip")
    splits = read_shards(settings.dir, settings)
    with pytest.raises(InputError, match=r"shards: a single class, 'rose'; a run needs at least two"):
        several_classes(dataclasses.replace(splits, class_names=("rose",)))
    manifest = tmp_path / "shards/manifest.json"
    content = json.loads(manifest.read_text())
    content["splits"]["train"]["shards"][0]["file"] = "../train.txt"
    manifest.write_text(json.dumps(content))
    assert "manifest.json: '../train.txt' is not a file beside it; " in error_of(settings)


def test_a_list_whose_folder_is_one_level_too_high_or_too_low_says_which_is_meant(flowers, tmp_path):
    assert f"missing (4 of 4 checked files are); use --config.data.dir={tmp_path}/data, or" in error_of(
        flowers(dir=str(tmp_path))
    )
    assert f"; use --config.data.dir={tmp_path}/data, or" in error_of(flowers(dir=f"{tmp_path}/data/rose"))
    message = error_of(flowers("no/0.jpg 0\nno/1.jpg 1\n"))
    assert "; set config.data.dir to the folder that contains 'no/0.jpg', or correct the line" in message
