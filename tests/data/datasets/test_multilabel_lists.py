"""Data sets of images with several labels, from lists on the disk."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from ltjax.data import build
from ltjax.data.dataset import fingerprint
from ltjax.errors import InputError
from ltjax.settings import DataSettings

# image -> classes: class 2 is the rarest, and occurs beside class 0
GIVEN = ("dir", "train_list", "test_list", "image_size", "resize")
TRAIN = {"a": "0 1", "b": "0", "c": "0 2", "d": "1", "e": "2 0", "f": "", "g": "0", "h": "1 0", "i": "0", "j": "0"}


@pytest.fixture
def folder(tmp_path):
    for name in [*TRAIN, "t", "u"]:
        Image.new("RGB", (20, 24), (ord(name), 0, 0)).save(tmp_path / f"{name}.png")
    write(tmp_path, "train", TRAIN)
    write(tmp_path, "test", {"t": "0 2", "u": "1"})
    return tmp_path


def write(folder, name, lines):
    (folder / f"{name}.txt").write_text("".join(f"{image}.png {labels}\n" for image, labels in lines.items()))


def settings(folder, **changes):
    lists = {"train_list": "train.txt", "test_list": "test.txt"}
    usual = {"name": "multilabel_list", "dir": str(folder), "imbalance": 1.0, "image_size": 16, "resize": 18}
    return DataSettings(**(usual | lists | changes))


def test_counts_are_of_labels_and_the_label_of_an_image_is_its_rarest(folder):
    data = build(settings(folder))
    assert data.class_counts.tolist() == [8, 3, 2]
    assert data.train.labels.tolist() == [1, 0, 2, 1, 2, 0, 0, 1, 0, 0]
    assert data.train.label_sets.multi_hot(3).sum() == 13
    assert data.test.label_sets[0].tolist() == [0, 2] and data.test.labels.tolist() == [2, 1]
    assert data.train.images(np.array([3])).shape == (1, 16, 16, 3)
    assert any("1 of 10 images have no label" in note for note in data.notes)


def test_what_is_held_out_is_of_every_class_that_has_two_images(folder):
    data = build(settings(folder, test_list="", test_fraction=0.3))
    assert data.test.class_counts(3).all() and data.class_counts.all()
    assert data.class_counts.tolist() == data.train.label_sets.counts(3).tolist()
    assert sorted([*data.train.index, *data.test.index]) == list(range(10))


def test_a_label_that_is_not_the_rarest_changes_the_fingerprint(folder):
    before = build(settings(folder)).train
    write(folder, "train", TRAIN | {"c": "2"})
    after = build(settings(folder)).train
    assert before.labels.tolist() == after.labels.tolist() and fingerprint(before) != fingerprint(after)
    assert fingerprint(before) == fingerprint(dataclasses.replace(before))


@pytest.mark.parametrize(
    "lists, message",
    [
        ({"train": {"a": "0", "b": "2"}}, "class 1 has no image (1 of 3 classes)"),
        ({"train": {"a": "0", "b": "0"}}, "at least two classes"),
        ({"test": {"t": "0 3"}}, "line 1: 't.png' has label 3; labels must be 0 to 2"),
        ({"train": {"a": "0 1", "zz": "0 2"}}, "zz.png"),
    ],
)
def test_what_a_run_cannot_use_is_refused_in_one_line(folder, lists, message):
    for name, lines in lists.items():
        write(folder, name, lines)
    with pytest.raises(InputError) as error:
        build(settings(folder))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_check_counts_labels_and_images_apart(folder, tmp_path_factory, capsys, monkeypatch):
    from ltjax.commands.check import command

    monkeypatch.setattr(command, "_figure", lambda report: b"")
    flags = [f"--config.data.{key}={value}" for key, value in settings(folder).to_dict().items() if key in GIVEN]
    out = tmp_path_factory.mktemp("out")
    status = command.main(["--config=configs/list_multilabel.py", *flags, f"--out={out}", "--workers=1", "--files=all"])
    printed = capsys.readouterr().out
    assert status == 0, printed
    assert "train: 10 images, 3 classes, 8 (0) to 2 (2) a class, imbalance 4.0" in printed
    assert "labels of an image, train: 1.30 on average (1 with 0, 5 with 1, 4 with 2)" in printed
