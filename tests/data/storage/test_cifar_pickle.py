"""The official Python batches, written here in the same layout, and what the reader does not accept in them."""

import os
import pickle
import struct

import numpy as np
import pytest

from ltjax.data import build
from ltjax.data.storage import cifar_pickle
from ltjax.errors import InputError
from tests.data.conftest import TRAIN, arrays


def flat(images):
    """The batches hold [N, 3072], channels first."""
    return images.transpose(0, 3, 1, 2).reshape(len(images), -1).copy()


def write(path, content):
    path.write_bytes(pickle.dumps(content, protocol=2))


def write_cifar10(folder, fields):
    folder.mkdir(parents=True, exist_ok=True)
    for number, rows in enumerate(np.split(np.arange(TRAIN), 5), start=1):
        labels = fields["train_labels"][rows].tolist()
        write(folder / f"data_batch_{number}", {b"data": flat(fields["train_images"][rows]), b"labels": labels})
    labels = fields["test_labels"].tolist()
    write(folder / "test_batch", {b"data": flat(fields["test_images"]), b"labels": labels, b"batch_label": b"x"})
    write(folder / "batches.meta", {b"label_names": [b"airplane"]})


def write_cifar100(folder, fields):
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("train", "test"):
        labels = fields[f"{name}_labels"].tolist()
        content = {b"data": flat(fields[f"{name}_images"]), b"fine_labels": labels, b"coarse_labels": [0] * len(labels)}
        write(folder / name, content)
    write(folder / "meta", {b"fine_label_names": [b"apple"]})


def assert_same(one, two):
    assert one.fingerprint == two.fingerprint
    for left, right in ((one.train, two.train), (one.test, two.test)):
        np.testing.assert_array_equal(left.labels, right.labels)
        np.testing.assert_array_equal(left.index, right.index)
        np.testing.assert_array_equal(left.images(np.arange(len(left))), right.images(np.arange(len(right))))


@pytest.mark.parametrize(
    ("name", "writer", "folder"),
    [("cifar10", write_cifar10, "cifar-10-batches-py"), ("cifar100", write_cifar100, "cifar-100-python")],
)
def test_equals_the_npz_from_the_folder_and_its_parent(settings, small_cifar, tmp_path, name, writer, folder):
    fields = arrays(int(name.removeprefix("cifar")))
    writer(tmp_path / folder, fields)
    np.savez(tmp_path / "npz.npz", **fields)
    wanted = build(settings(name=name, dir=tmp_path / "npz.npz", imbalance=5.0))
    for place in (tmp_path, tmp_path / folder):
        assert_same(build(settings(name=name, dir=place, imbalance=5.0)), wanted)
        assert_same(build(settings(name=name, dir=place, source="python", imbalance=5.0)), wanted)


def python2_pickle(data, labels):
    """A pickle as Python 2 wrote it: plain byte strings, and numpy's modules under their old names."""

    def text(value):
        return b"U" + bytes([len(value)]) + value

    shape = b"".join(b"J" + struct.pack("<i", n) for n in data.shape) + b"\x86"
    dtype = (
        b"cnumpy\ndtype\n("
        + text(b"u1")
        + b"K\x00K\x01tR(K\x03"
        + text(b"|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85" + text(b"b") + b"tR"
    state = b"(K\x01" + shape + dtype + b"\x89T" + struct.pack("<i", data.nbytes) + data.tobytes() + b"tb"
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + state + text(b"labels") + numbers + b"u."


def test_a_python_2_pickle_is_read(tmp_path, fields):
    data, labels = flat(fields["test_images"]), fields["test_labels"]
    (tmp_path / "batch").write_bytes(python2_pickle(data, labels))
    images, read = cifar_pickle._batch(tmp_path / "batch", b"labels")
    np.testing.assert_array_equal(images, fields["test_images"])
    np.testing.assert_array_equal(read, labels)


class Runs:
    def __init__(self, program):
        self.program = program

    def __reduce__(self):
        return os.system, (self.program,)


def test_images_are_contiguous_in_memory(settings, small_cifar, tmp_path, fields):
    """The files have the channels first; strided images would slow every batch down."""
    write_cifar10(tmp_path, fields)
    data = build(settings(dir=tmp_path))
    assert data.train.read.images.flags.c_contiguous and data.test.read.images.flags.c_contiguous


def test_a_batch_cannot_run_a_program(settings, small_cifar, tmp_path, fields):
    write_cifar10(tmp_path, fields)
    write(tmp_path / "data_batch_3", {b"data": Runs(f"touch {tmp_path}/ran"), b"labels": []})
    with pytest.raises(InputError, match=f"^{tmp_path}/data_batch_3: not a Python batch .* asks for posix.system"):
        build(settings(dir=tmp_path))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["eval", "getattr", "exec", "__import__"])
def test_dangerous_builtins_are_rejected(tmp_path, name):
    (tmp_path / "batch").write_bytes(b"\x80\x02cbuiltins\n" + name.encode() + b"\n.")
    with pytest.raises(InputError, match=f"asks for builtins.{name}"):
        cifar_pickle._batch(tmp_path / "batch", b"labels")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a Python batch of CIFAR (it is truncated)"),
        (b"<html>404</html>", "not a Python batch of CIFAR"),
        (pickle.dumps([1, 2]), "no 'data' or no 'labels' in it"),
        (pickle.dumps({b"data": np.zeros((2, 3072), np.uint8)}), "no 'data' or no 'labels' in it"),
        (pickle.dumps({b"data": np.zeros((2, 100), np.uint8), b"labels": [0, 1]}), "data is uint8 [2, 100]"),
        (pickle.dumps({b"data": np.zeros((2, 3072)), b"labels": [0, 1]}), "data is float64 [2, 3072]"),
        (None, "cannot be read (No such file or directory)"),
    ],
)
def test_a_damaged_batch_is_named(settings, small_cifar, tmp_path, fields, content, message):
    write_cifar10(tmp_path, fields)
    path = tmp_path / "data_batch_2"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as error:
        build(settings(dir=tmp_path))
    assert str(error.value).startswith(f"{path}: ") and message in str(error.value) and "\n" not in str(error.value)


def test_a_truncated_batch_is_named(settings, small_cifar, tmp_path, fields):
    write_cifar10(tmp_path, fields)
    path = tmp_path / "data_batch_5"
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(InputError, match=f"^{path}: not a Python batch"):
        build(settings(dir=tmp_path))


def test_wrong_labels_name_the_file(settings, small_cifar, tmp_path, fields):
    write_cifar10(tmp_path, fields)
    write(tmp_path / "test_batch", {b"data": flat(fields["test_images"]), b"labels": [10] * 200})
    with pytest.raises(InputError, match=f"^{tmp_path}/test_batch: labels: label 10 at position 0"):
        build(settings(dir=tmp_path))
    write(tmp_path / "test_batch", {b"data": flat(fields["test_images"]), b"labels": [1] * 199})
    with pytest.raises(InputError, match=f"^{tmp_path}/test_batch: data: 200 images, but 199 entries in"):
        build(settings(dir=tmp_path))
    assert build(settings(dir=tmp_path, validation_fraction=0.1)).split == "validation"
