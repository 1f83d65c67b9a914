"""Data that changes under a run: swapped, exchanged, added, deleted and inverted images, in every form of storage."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from etils import epath

from ltjax import models
from ltjax.data import build, data_from_arrays
from ltjax.data import digests as of_data
from ltjax.data.dataset import Source, array_source
from ltjax.data.datasets import cifar
from ltjax.data.digests import data_digests, difference, from_json, to_json
from ltjax.data.storage.image_files import ImageFiles
from ltjax.errors import InputError
from ltjax.training import loop, prepare
from ltjax.training.workdir import data_record
from tests.data.conftest import TRAIN, arrays, write_image
from tests.training import toy

IMAGE_SETTINGS = {"imbalance": 1.0, "augment": "none", "image_size": 16, "resize": 18}


def settings(**changes):
    from ltjax.settings import DataSettings

    return DataSettings(**(IMAGE_SETTINGS | changes))


@pytest.fixture
def photos(tmp_path):
    """A folder of roses and tulips, 5 and 3 for training, 2 each for testing; files have the same names and sizes."""
    for split, counts in {"train": (5, 3), "test": (2, 2)}.items():
        for label, (name, count) in enumerate(zip(("rose", "tulip"), counts, strict=True)):
            for i in range(count):
                write_image(tmp_path / split / name / f"{i}.jpg", 100 * label + 10 * i)
    return tmp_path


def changes(data_before, data_after, verify="sample"):
    stored = from_json(json.loads(json.dumps(to_json(data_digests(data_before, verify)))))
    return difference(stored, data_digests(data_after, verify), data_after)


def swap(one, two):
    spare = one.with_suffix(".spare")
    one.rename(spare)
    two.rename(one)
    spare.rename(two)


@pytest.mark.parametrize(
    "fault, says",
    [
        (lambda root: None, None),
        (
            lambda root: swap(root / "train/rose/1.jpg", root / "train/rose/4.jpg"),
            "the content of 2 train images, the first is record 1 (index 1, {root}/train/rose/1.jpg)",
        ),
        (lambda root: swap(root / "test/rose", root / "test/tulip"), "of 4 test images, the first is record 0"),
        (
            lambda root: write_image(root / "test/rose/9.jpg", 0),
            "test images (4 there, 5 here: class 'rose' has 2 there and 3 here)",
        ),
        (lambda root: (root / "test/tulip/1.jpg").unlink(), "test images (4 there, 3 here: class 'tulip' has 2 there"),
        (
            lambda root: (root / "test/tulip/1.jpg").rename(root / "test/tulip/7.jpg"),
            "the test index (names, labels or order), between record 3",
        ),
        (lambda root: (root / "train/rose/0.jpg").write_bytes(b"x" * 50), "the sizes of 1 train image, the first is"),
        (lambda root: write_image(root / "val/rose/0.jpg", 3), "validation images (none there, some here)"),
    ],
    ids=["nothing", "swapped", "exchanged", "added", "deleted", "renamed", "cut", "validation"],
)
def test_a_folder_that_changed_is_noticed(photos, fault, says):
    before = build(settings(name="folder", dir=str(photos)))
    stored = data_digests(before, "sample")
    fault(photos)
    after = build(settings(name="folder", dir=str(photos)))
    found = difference(stored, data_digests(after, "sample"), after)
    assert found is None if says is None else says.format(root=photos) in found


def test_images_held_out_for_testing_and_validation_are_compared(photos):
    shutil.rmtree(photos / "test")
    made = settings(name="folder", dir=str(photos / "train"), validation_fraction=0.3, validation_use="choose")
    before = data_digests(build(made), "sample")
    assert set(before) == {"train", "validation", "test"}
    held = build(made).validation
    write_image(photos / "train" / "rose" / held.where(0).rpartition("/")[2], 255)
    assert "the content of 1 validation image, the first is" in difference(
        before, data_digests(build(made), "sample"), build(made)
    )
    assert difference(before, data_digests(build(made), "none"), build(made)) is None


def test_data_in_a_bucket_is_compared_with_the_same_on_a_disk(photos, monkeypatch):
    before = build(settings(name="folder", dir=str(photos)))
    stored = data_digests(before, "sample")
    monkeypatch.setattr(ImageFiles, "size", lambda self, position: -1)  # as it is there
    after = build(settings(name="folder", dir=str(photos)))
    assert difference(stored, data_digests(after, "sample"), after) is None
    swap(photos / "test/rose", photos / "test/tulip")
    assert "the content of 4 test images" in difference(stored, data_digests(after, "sample"), after)


def test_inverted_pixels_of_a_cifar_file_are_noticed(tmp_path, monkeypatch):
    fields = arrays(10)
    monkeypatch.setitem(cifar.SPECS, "cifar10", dataclasses.replace(cifar.SPECS["cifar10"], train_size=TRAIN))
    made = settings(name="cifar10", dir=str(tmp_path / "c.npz"), imbalance=10.0)
    for field, says in {
        "train_images": "train images, in 256 of 256 parts, the first from record 0",
        "test_images": "test image",
    }.items():
        np.savez(tmp_path / "c.npz", **fields)
        before = build(made)
        np.savez(tmp_path / "c.npz", **(fields | {field: 255 - fields[field]}))
        assert says in changes(before, build(made)) and before.fingerprint == build(made).fingerprint


def test_lists_and_shards_are_compared_by_content(tmp_path):
    pytest.importorskip("array_record")
    from ltjax.commands.prepare import shards

    for split, count in {"train": 6, "test": 3}.items():
        names = [f"{split}/{'ab'[i % 2]}/{i}.jpg" for i in range(count)]
        for i, name in enumerate(names):
            write_image(tmp_path / name, 20 * i)
        (tmp_path / f"{split}.txt").write_text("".join(f"{name} {i % 2}\n" for i, name in enumerate(names)))
    made = [f"--list={tmp_path}/train.txt", f"--test-list={tmp_path}/test.txt", f"--root={tmp_path}"]
    assert shards.main([*made, f"--out={tmp_path}/shards", "--shards=1", "--workers=1"]) == 0
    lists = {"train_list": f"{tmp_path}/train.txt", "test_list": f"{tmp_path}/test.txt"}
    one = build(settings(name="list", dir=str(tmp_path), **lists))
    two = build(settings(name="shards", dir=f"{tmp_path}/shards"))
    assert changes(one, two) is None  # the same records, stored otherwise
    stored = data_digests(two, "sample")
    swap(tmp_path / "test/a/0.jpg", tmp_path / "test/b/1.jpg")
    assert shards.main([*made, f"--out={tmp_path}/again", "--shards=1", "--workers=1"]) == 0
    for after in (one, build(settings(name="shards", dir=f"{tmp_path}/again"))):
        assert "the content of 2 test images" in difference(stored, data_digests(after, "sample"), after)


def test_arrays_of_the_users_own_data_set_are_compared(monkeypatch):
    images, labels = np.zeros((600, 4, 4, 3), np.uint8), np.arange(600) % 2
    changed = images.copy()
    changed[402, 0, 0, 0] = 1
    one, two = (data_from_arrays("x", (each, labels), (images[:2], labels[:2])) for each in (images, changed))
    parts = "in 1 of 256 parts, the first from record 400 (index 400) to record 402 (index 402)"
    assert changes(one, two) == f"the content of train images, {parts}"
    monkeypatch.setattr(of_data, "IN_MEMORY", 1000)  # too many bytes: a sample of the images
    assert of_data.kinds_of(one.train, "sample") == ["index", "sample"]
    assert changes(one, two) is None and "from record 400" in changes(one, two, "full")


def test_images_of_a_function_are_compared_and_unreadable_ones_left_out():
    def broken(record):
        raise OSError("the disk is away")

    good = toy.build(None)
    other = dataclasses.replace(good, test=toy.source((7, 7, 7), 2))
    assert changes(good, other) == "the content of 21 test images, the first is record 0 (index 0)"
    unreadable = dataclasses.replace(good, test=Source(good.test.labels, good.test.index, broken))
    assert changes(good, unreadable) is None and changes(unreadable, good) is None


def test_subsets_keep_what_is_compared(photos):
    train = build(settings(name="folder", dir=str(photos))).train
    part = train.subset(np.array([6, 1]))
    assert [part.names[i] for i in (0, 1)] == ["tulip/1.jpg", "rose/1.jpg"]
    assert [part.size(i) for i in (0, 1)] == [len(train.encoded(6)), len(train.encoded(1))]
    assert array_source(np.zeros((1, 8, 8, 3), np.uint8), [0], [0]).subset(np.array([0])).names is None


# --------------------------------------------------------------------------------------------------------- in a run


@pytest.fixture
def toys(monkeypatch):
    monkeypatch.setattr(prepare, "build", toy.build)
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)


def exchanged(settings):
    """The toy with other test images."""
    return dataclasses.replace(toy.build(settings), test=toy.source((7, 7, 7), 2))


def test_a_run_compares_its_data_when_it_resumes(toys, tmp_path, monkeypatch, capsys):
    config = toy.config(epochs=1)
    results = loop.train(config, str(tmp_path))
    assert len(results["test_index_sha256"]) == 64 and set(results["images_sha256"]) == {"train", "test"}
    (tmp_path / "results.json").unlink()
    monkeypatch.setattr(prepare, "build", exchanged)
    with pytest.raises(InputError) as error:
        loop.train(config, str(tmp_path))
    assert "the data is not what the run began with: the content of 21 test images" in str(error.value)
    assert "restore the data" in str(error.value) and "\n" not in str(error.value)
    again = loop.train(toy.changed(config, data__verify="none"), str(tmp_path))  # images are not compared
    assert again["images_sha256"] == results["images_sha256"]  # those that the run was trained on
    # a workdir of an earlier version, or a damaged record: a note, and compared from then on
    for damaged in (None, "[]"):
        (tmp_path / "results.json").unlink()
        (tmp_path / "data.json").unlink() if damaged is None else (tmp_path / "data.json").write_text(damaged)
        capsys.readouterr()
        loop.train(config, str(tmp_path))
        assert "the workdir has no data.json that can be read" in capsys.readouterr().err
    (tmp_path / "results.json").unlink()
    monkeypatch.setattr(prepare, "build", toy.build)
    with pytest.raises(InputError, match="the content of 21 test images"):
        loop.train(config, str(tmp_path))


def test_what_was_recorded_before_any_checkpoint_binds_nobody(toys, tmp_path, monkeypatch):
    config = toy.config(epochs=1)
    monkeypatch.setattr(loop, "place", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        loop.train(config, str(tmp_path))
    assert (tmp_path / "data.json").exists()
    monkeypatch.undo()
    monkeypatch.setattr(prepare, "build", exchanged)
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)
    assert loop.train(config, str(tmp_path))["step"] == 5


def test_data_that_differs_on_another_machine_ends_the_run_in_all_processes(toys, tmp_path, monkeypatch):
    config = toy.config(epochs=1)
    loop.train(config, str(tmp_path))
    data = toy.build(config)
    monkeypatch.setattr(data_record, "everywhere", lambda there: False)
    words = "that of another process differs, whose machine may have a copy of its own"
    with pytest.raises(InputError, match=f"the data is not what the run began with: {words}; restore the data"):
        data_record.check_data_record(epath.Path(tmp_path), data, "sample", True, print, lambda: None)
    assert data_record.split_difference(epath.Path(tmp_path), data, "sample", "train") == words
    monkeypatch.setattr(data_record, "everywhere", lambda there: there)
    own = data_record.split_difference(epath.Path(tmp_path), exchanged(config), "sample", "test")
    assert own is not None and "21 test images" in own
