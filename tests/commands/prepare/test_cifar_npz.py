"""python -m ltjax.data.convert: from arrays to the npz, and back through build()."""

import hashlib
import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

from ltjax.commands.prepare import cifar_npz as convert
from ltjax.data import build
from tests.data.conftest import TRAIN, arrays
from tests.shared import ROOT, shared_path


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The arrays of the small CIFAR-100 as files in a folder, which is made the current one."""
    monkeypatch.chdir(tmp_path)
    fields = arrays(100)
    for name, array in fields.items():
        np.save(tmp_path / f"{name}.npy", array)
    np.savez(tmp_path / "both.npz", pictures=fields["train_images"], numbers=fields["train_index"])
    return fields


USUAL = {
    "output": "cifar100.npz",
    "train-images": "train_images.npy",
    "train-index": "train_index.npy",
    "all-train-labels": "train_labels.npy",
    "test-images": "test_images.npy",
    "test-labels": "test_labels.npy",
}


def run(**changes):
    options = USUAL | {name.replace("_", "-"): value for name, value in changes.items()}
    return convert.main([f"--{name}={value}" for name, value in options.items() if value is not None])


def written(name="cifar100.npz"):
    with np.load(name) as archive:
        return dict(archive)


def left_over(tmp_path):
    return [path.name for path in tmp_path.iterdir() if "unfinished" in path.name]


def test_writes_the_fields_and_says_what_it_wrote(files, small_cifar_convert, tmp_path, capsys, settings):
    assert run() == 0
    for name, array in files.items():
        np.testing.assert_array_equal(written()[name], array)
    said = capsys.readouterr()
    checksum = hashlib.sha256((tmp_path / "cifar100.npz").read_bytes()).hexdigest()
    assert said.err == "" and f"sha256 {checksum}" in said.out
    assert "cifar100.npz: cifar100, 1000 of 1000 training images, 200 test images" in said.out
    assert f"training images by class: {' '.join(['10'] * 100)}" in said.out
    assert not left_over(tmp_path)
    data = build(settings(name="cifar100", dir=tmp_path, imbalance=5.0))
    assert data.class_counts.sum() == len(data.train)


def test_takes_fields_of_an_npz_and_parts_in_any_order(files, small_cifar_convert, capsys):
    part = np.random.RandomState(1).permutation(TRAIN)[:300]
    np.savez("part.npz", x=files["train_images"][part], i=part.astype(np.uint16), y=files["train_labels"][part])
    assert run(train_images="part.npz:x", train_index="part.npz:i", train_labels="part.npz:y") == 0
    np.testing.assert_array_equal(written()["train_index"], part)
    np.testing.assert_array_equal(written()["train_images"], files["train_images"][part])
    np.testing.assert_array_equal(written()["train_labels"], files["train_labels"])
    assert "300 of 1000 training images" in capsys.readouterr().out


def test_with_all_images_their_own_labels_are_enough(files, small_cifar_convert):
    order = np.random.RandomState(1).permutation(TRAIN)
    np.savez("shuffled.npz", x=files["train_images"][order], i=order, y=files["train_labels"][order])
    changes = {"train_images": "shuffled.npz:x", "train_labels": "shuffled.npz:y", "all_train_labels": None}
    assert run(train_index="shuffled.npz:i", **changes) == 0
    np.testing.assert_array_equal(written()["train_labels"], files["train_labels"])
    assert run(output="plain.npz", train_index=None, train_labels="train_labels.npy", all_train_labels=None) == 0
    np.testing.assert_array_equal(written("plain.npz")["train_index"], np.arange(TRAIN))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"output": "cifar100.zip"}, "--output: 'cifar100.zip' must end in .npz"),
        ({"output": None}, "the following arguments are required: --output; see python -m ltjax.data.convert --help"),
        ({"outputs": "x.npz"}, "unrecognized arguments: --outputs=x.npz"),
        ({"output": "both.npz"}, "--output: both.npz exists; choose another name or add --overwrite"),
        ({"output": "train_labels.npy/x.npz"}, "--output: train_labels.npy/x.npz cannot be written"),
        ({"train_images": "nowhere.npy"}, "nowhere.npy: cannot be read as .npz or .npy ([Errno 2] No such file"),
        ({"train_images": "both.npz"}, "both.npz: write both.npz:FIELD; its fields are pictures, numbers"),
        ({"train_images": "both.npz:picture"}, "both.npz:picture: write both.npz:FIELD; its fields are"),
        ({"train_images": "train_labels.npy"}, "train_labels.npy: int64 [1000]; images must be uint8"),
        ({"train_images": "test_images.npy"}, "test_images.npy: 200 images, but 1000 entries in train_index.npy"),
        (
            {"train_index": None, "train_images": "test_images.npy"},
            "test_images.npy: 200 of 1000 images; --train-index",
        ),
        ({"train_index": "train_labels.npy"}, "train_labels.npy: 0 occurs 10 times; each must occur once"),
        ({"all_train_labels": None}, "--train-labels or --all-train-labels: give one of them"),
        (
            {"all_train_labels": "test_labels.npy"},
            "test_labels.npy: 200 labels, 2 to 2 per class; these must be the labels",
        ),
        ({"train_labels": "test_labels.npy"}, "test_labels.npy: 200 labels for 1000 training images"),
        ({"train_labels": "wrong.npy"}, "wrong.npy: label "),
        ({"test_labels": "train_labels.npy"}, "test_images.npy: 200 images, but 1000 entries in train_labels.npy"),
        ({"test_labels": "few.npy"}, "few.npy: labels up to 2; not those of cifar10 or cifar100; see --name"),
        ({"test_labels": "few.npy", "name": "cifar10"}, "test_images.npy: 200 images, but 3 entries in few.npy"),
        ({"name": "cifar10"}, "test_labels.npy: label "),
        ({"name": "cifar20"}, "argument --name: invalid choice: 'cifar20'"),
        ({"test_images": "objects.npy"}, "objects.npy: cannot be read as .npz or .npy (Object arrays cannot be loaded"),
        ({"test_images": "text.npy"}, "text.npy: cannot be read as .npz or .npy"),
    ],
)
def test_wrong_input_is_one_line_and_writes_nothing(files, small_cifar_convert, tmp_path, capsys, changes, says):
    np.save("few.npy", [0, 1, 2])
    np.save("wrong.npy", np.roll(files["train_labels"], 1))
    np.save("objects.npy", np.array([{}, []], dtype=object), allow_pickle=True)
    (tmp_path / "text.npy").write_text("hello")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert run(**changes) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert said.err.startswith(f"error: {says}")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_part_needs_the_labels_of_the_whole_set(files, small_cifar_convert, capsys):
    np.savez("part.npz", x=files["train_images"][:5], i=np.arange(5), y=files["train_labels"][:5])
    changes = {"train_images": "part.npz:x", "train_index": "part.npz:i", "train_labels": "part.npz:y"}
    assert run(**changes, all_train_labels=None) == 2
    assert "--all-train-labels: needed, because part.npz:x has 5 of 1000 images" in capsys.readouterr().err


def test_an_interrupted_write_keeps_the_old_file(files, small_cifar_convert, tmp_path, monkeypatch):
    (tmp_path / "cifar100.npz").write_bytes(b"old")

    def interrupted(file, **fields):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(convert.np, "savez", interrupted)
    assert convert.main([*[f"--{name}={value}" for name, value in USUAL.items()], "--overwrite"]) == 130
    assert (tmp_path / "cifar100.npz").read_bytes() == b"old" and not left_over(tmp_path)
    monkeypatch.undo()


def test_overwrite_replaces(files, small_cifar_convert, tmp_path):
    (tmp_path / "cifar100.npz").write_bytes(b"old")
    assert convert.main([*[f"--{name}={value}" for name, value in USUAL.items()], "--overwrite"]) == 0
    np.testing.assert_array_equal(written()["test_labels"], files["test_labels"])


@pytest.fixture
def small_cifar_convert(small_cifar, monkeypatch):
    from ltjax.data.datasets import cifar

    monkeypatch.setattr(convert, "SPECS", cifar.SPECS)


def load_cifar():
    """The reader of the shared archives, which only this test uses."""
    spec = importlib.util.spec_from_file_location("load_cifar", shared_path("data/load_cifar.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_the_real_sets_come_out_bit_for_bit(tmp_path, settings, name):
    reader = load_cifar()
    for part in ("train_a", "test"):
        images, index, label, _ = reader.read_archive(shared_path(f"data/cifar/{name}_{part}.npz"))
        np.savez(tmp_path / f"{part}.npz", images=images, index=index, label=label)
    options = {
        "output": f"{name}.npz",
        "train-images": "train_a.npz:images",
        "train-index": "train_a.npz:index",
        "train-labels": "train_a.npz:label",
        "all-train-labels": shared_path(f"data/cifar/{name}_train_labels.npy"),
        "test-images": "test.npz:images",
        "test-labels": "test.npz:label",
    }
    command = [sys.executable, "-m", "ltjax.data.convert", *[f"--{key}={value}" for key, value in options.items()]]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    got = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (got.returncode, got.stderr) == (0, "")
    for imbalance in (10, 100, 200):
        data = build(settings(name=name, dir=tmp_path, imbalance=imbalance))
        images, labels = reader.load_long_tailed(name, imbalance)
        np.testing.assert_array_equal(data.train.labels, labels)
        np.testing.assert_array_equal(data.train.images(np.arange(len(labels))), images)
    images, labels = reader.load(name, "test")
    order = data.test.index
    np.testing.assert_array_equal(data.test.labels, labels[order])
    np.testing.assert_array_equal(data.test.images(np.arange(len(order))), images[order])
