"""Our TFDS builders, from small archives of the official layouts that are made here: no network, no TensorFlow."""

import functools
import hashlib
import http.server
import io
import sys
import tarfile
import threading

import numpy as np
import pytest
from PIL import Image

from ltjax.commands.prepare import tfds as prepare_tfds
from ltjax.commands.prepare.builders import NAMES, builder_class
from ltjax.data import build
from ltjax.data.datasets import lt_benchmarks
from tests.data.conftest import TEST, TRAIN, arrays

tfds = pytest.importorskip("tensorflow_datasets")


def write_tar(path, files, mode="w"):
    """An archive of {name: bytes}, in this order; an archive is given as such a dictionary."""
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def inner_tar(files):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def shade(value):
    encoded = io.BytesIO()
    Image.new("RGB", (30, 20), (value, value, value)).save(encoded, "JPEG")
    return encoded.getvalue()


def known(monkeypatch, name, paths):
    """The checksums of ``paths`` {URL: file} take the place of the published ones."""
    infos = {
        url: tfds.download.checksums.UrlInfo(
            path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest(), path.name
        )
        for url, path in paths.items()
    }
    monkeypatch.setattr(builder_class(name), "url_infos", infos)


# CIFAR


def cifar_archive(folder, name):
    """The binary archive of the small CIFAR of the other tests."""
    classes = int(name.removeprefix("cifar"))
    fields, parts = arrays(classes), {}
    for split in ("train", "test"):
        labels, images = fields[f"{split}_labels"], fields[f"{split}_images"]
        columns = [labels[:, None]] if classes == 10 else [labels[:, None] // 5, labels[:, None]]
        parts[split] = np.concatenate([*columns, images.transpose(0, 3, 1, 2).reshape(-1, 3072)], 1).astype(np.uint8)
    if classes == 10:
        files = {f"data_batch_{k + 1}.bin": parts["train"][200 * k : 200 * k + 200] for k in (4, 0, 1, 2, 3)}
        files |= {"test_batch.bin": parts["test"], "readme.html": np.zeros(3, np.uint8)}
    else:
        files = {"train.bin": parts["train"], "test.bin": parts["test"]}
    top = {10: "cifar-10-batches-bin", 100: "cifar-100-binary"}[classes]
    path = folder / f"cifar-{classes}-binary.tar.gz"
    return write_tar(path, {f"{top}/{file}": rows.tobytes() for file, rows in files.items()}, "w:gz")


@pytest.fixture
def small(monkeypatch, small_cifar):
    for name in ("cifar10", "cifar100"):
        monkeypatch.setattr(builder_class(name), "SIZES", {"train": TRAIN, "test": TEST})


def check_cifar(settings, tmp_path, name):
    """What has been prepared is the small CIFAR of the other tests, image for image."""
    np.savez(tmp_path / "wanted.npz", **arrays(int(name.removeprefix("cifar"))))
    data = build(settings(name=name, dir=tmp_path / "tfds", source="tfds", imbalance=5.0))
    wanted = build(settings(name=name, dir=tmp_path / "wanted.npz", imbalance=5.0))
    assert data.fingerprint == wanted.fingerprint
    np.testing.assert_array_equal(data.train.images(np.arange(99)), wanted.train.images(np.arange(99)))
    np.testing.assert_array_equal(data.test.images(np.arange(TEST)), wanted.test.images(np.arange(TEST)))
    assert "tensorflow" not in sys.modules


def test_cifar_from_an_archive_that_is_there(settings, small, tmp_path, monkeypatch, capsys):
    (tmp_path / "given").mkdir()
    archive = cifar_archive(tmp_path / "given", "cifar10")
    (url,) = builder_class("cifar10").ARCHIVE.values()
    known(monkeypatch, "cifar10", {url: archive})
    assert prepare_tfds.main(["cifar10", f"--dir={tmp_path}/tfds", f"--manual-dir={tmp_path}/given"]) == 0
    assert f"train {TRAIN}, test {TEST} images" in capsys.readouterr().out
    check_cifar(settings, tmp_path, "cifar10")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def served(tmp_path):
    """A folder and its address on this machine."""
    (tmp_path / "served").mkdir()
    handler = functools.partial(Quiet, directory=str(tmp_path / "served"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield tmp_path / "served", f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_cifar_is_downloaded_and_compared_with_its_checksum(settings, small, served, tmp_path, monkeypatch, capsys):
    folder, address = served
    archive = cifar_archive(folder, "cifar100")
    url = f"{address}/{archive.name}"
    monkeypatch.setattr(builder_class("cifar100"), "ARCHIVE", {archive.name: url})
    known(monkeypatch, "cifar100", {url: archive})
    whole = archive.read_bytes()
    archive.write_bytes(whole[:-1] + b"x")
    assert prepare_tfds.main(["cifar100", f"--dir={tmp_path}/tfds"]) == 2
    says = capsys.readouterr().err.splitlines()[-1]
    assert says.startswith(f"error: cifar100 could not be prepared in {tmp_path}/tfds: NonMatchingChecksumError")
    archive.unlink()
    assert prepare_tfds.main(["cifar100", f"--dir={tmp_path}/tfds"]) == 2
    assert "404" in capsys.readouterr().err.splitlines()[-1]
    archive.write_bytes(whole)
    assert prepare_tfds.main(["cifar100", f"--dir={tmp_path}/tfds"]) == 0
    check_cifar(settings, tmp_path, "cifar100")
    archive.unlink()  # there already: nothing is asked for
    assert prepare_tfds.main(["cifar100", f"--dir={tmp_path}/tfds"]) == 0


def test_archives_that_cannot_be_it_are_one_line(small, tmp_path, monkeypatch, capsys):
    def said():
        assert prepare_tfds.main(["cifar10", f"--dir={tmp_path}/tfds", f"--manual-dir={tmp_path}"]) == 2
        return capsys.readouterr().err.splitlines()[-1]

    archive = cifar_archive(tmp_path, "cifar10")
    (url,) = builder_class("cifar10").ARCHIVE.values()
    assert "is not the published cifar-10-binary.tar.gz (sha256 c4a38c50" in said()
    whole = archive.read_bytes()
    for content, says in (
        (whole[: len(whole) // 2], f"error: {archive}: cannot be read"),
        (
            write_tar(tmp_path / "x", {"data_batch_1.bin": b"x" * 3073}, "w:gz").read_bytes(),
            "data_batch_2.bin is incomplete",
        ),
    ):
        archive.write_bytes(content)
        known(monkeypatch, "cifar10", {url: archive})
        assert says in said()
    assert prepare_tfds.main(["cifar10", f"--manual-dir={tmp_path}/no"]) == 2
    assert "is not a folder" in capsys.readouterr().err
    assert prepare_tfds.main(["mnist"]) == 2


# ImageNet-LT and Places-LT


@pytest.fixture
def imagenet(tmp_path, monkeypatch):
    """ImageNet's archives with two classes of ten images, and lists of some of them."""
    given = tmp_path / "given"
    given.mkdir()
    train = {
        w: {f"{w}_{i}.JPEG": shade(20 * k + i) for i in range(10)} for k, w in enumerate(("n01440764", "n01443537"))
    }
    write_tar(given / "ILSVRC2012_img_train.tar", {f"{w}.tar": inner_tar(files) for w, files in train.items()})
    write_tar(given / "ILSVRC2012_img_val.tar", {f"ILSVRC2012_val_{i:08}.JPEG": shade(100 + i) for i in range(6)})
    rows = [(f"train/{w}/{file}", k) for k, (w, files) in enumerate(train.items()) for file in files]
    lists = {
        "train": rows[:7] + rows[10:12],
        "val": [rows[8], rows[18]],
        "test": [(f"val/n01440764/ILSVRC2012_val_{i:08}.JPEG", i % 2) for i in (5, 0, 3)],
    }
    for split, own in lists.items():
        (given / f"ImageNet_LT_{split}.txt").write_text("".join(f"{name} {label}\n" for name, label in own))
    of = builder_class("imagenet_lt")
    monkeypatch.setattr(of, "CLASSES", 2)
    sizes = {"train": 9, "validation": 2, "test": 3}
    monkeypatch.setattr(of, "SPLITS", {split: (*of.SPLITS[split][:2], size) for split, size in sizes.items()})
    known(monkeypatch, "imagenet_lt", {url: given / name for name, url in of.LISTS.items()})
    spec = lt_benchmarks.SPECS["imagenet_lt"]
    changed = lt_benchmarks.BenchmarkSpec(spec.name, 2, spec.lists, spec.tfds, spec.tfds_splits)
    monkeypatch.setitem(lt_benchmarks.SPECS, "imagenet_lt", changed)
    return given


def test_imagenet_lt_from_its_archives(image_settings, imagenet, tmp_path):
    assert prepare_tfds.main(["imagenet_lt", f"--dir={tmp_path}/tfds", f"--manual-dir={imagenet}"]) == 0
    data = build(image_settings(name="imagenet_lt", dir=tmp_path / "tfds"))
    assert data.class_counts.tolist() == [7, 2] and sorted(data.validation.labels) == [0, 1]
    seen = sorted(data.train.images(np.arange(9))[:, 0, 0, 0].tolist())
    assert seen == [*range(7), 20, 21]
    assert sorted(data.test.images(np.arange(3))[:, 0, 0, 0].tolist()) == [100, 103, 105]
    originals = {shade(20 * k + i) for k in range(2) for i in range(10)}
    assert all(data.train.encoded(i) in originals for i in range(9))


def test_imagenet_lt_says_what_is_missing(imagenet, tmp_path, capsys):
    def said(*more):
        assert prepare_tfds.main(["imagenet_lt", f"--dir={tmp_path}/tfds", *more]) == 2
        return capsys.readouterr().err.splitlines()[-1]

    given = f"--manual-dir={imagenet}"
    assert "--manual-dir: not given: ILSVRC2012_img_train.tar is missing; put these files there: " in said()
    write_tar(imagenet / "ILSVRC2012_img_val.tar", {"ILSVRC2012_val_00000005.JPEG": shade(1)})
    says = said(given)
    assert (
        f"{imagenet}/ILSVRC2012_img_val.tar: 2 listed images are not in it ({imagenet}/ImageNet_LT_test.txt, line 2"
        in says
    )
    (imagenet / "ImageNet_LT_train.txt").write_text("x 0\n")
    assert "is not the published ImageNet_LT_train.txt" in said(given)
    (imagenet / "ILSVRC2012_img_train.tar").unlink()
    assert f"{imagenet}: ILSVRC2012_img_train.tar is missing" in said(given)


def test_places_lt_from_its_archives(image_settings, tmp_path, monkeypatch):
    given = tmp_path / "given"
    given.mkdir()
    train = {
        f"data_256/{p}/{i:08}.jpg": shade(10 * k + i)
        for k, p in enumerate(("a/airfield", "c/church/outdoor"))
        for i in range(5)
    }
    write_tar(given / "train_256_places365standard.tar", train)
    write_tar(given / "val_256.tar", {f"val_256/Places365_val_{i:08}.jpg": shade(100 + i) for i in range(4)})
    lists = {
        "train": [f"train/airfield/{i:08}.jpg 0" for i in (0, 1, 2)] + ["train/church-outdoor/00000003.jpg 1"],
        "val": ["train/airfield/00000004.jpg 0"],
        "test": ["val/church-outdoor/Places365_val_00000002.jpg 1"],
    }
    for split, lines in lists.items():
        (given / f"Places_LT_{split}.txt").write_text("\n".join(lines))
    of = builder_class("places_lt")
    monkeypatch.setattr(of, "CLASSES", 2)
    sizes = {"train": 4, "validation": 1, "test": 1}
    monkeypatch.setattr(of, "SPLITS", {split: (*of.SPLITS[split][:2], size) for split, size in sizes.items()})
    known(monkeypatch, "places_lt", {url: given / name for name, url in (of.LISTS | of.ARCHIVES).items()})
    assert prepare_tfds.main(["places_lt", f"--dir={tmp_path}/tfds", f"--manual-dir={given}"]) == 0
    data = build(image_settings(name="tfds", tfds="places_lt", dir=tmp_path / "tfds"))
    assert sorted(data.train.images(np.arange(4))[:, 0, 0, 0].tolist()) == [0, 1, 2, 13]
    assert data.class_counts.tolist() == [3, 1] and data.test.images(np.array([0]))[0, 0, 0, 0] == 102


@pytest.mark.parametrize("name", NAMES)
def test_every_download_has_a_checksum(name):
    of = builder_class(name)
    urls = {url for table in ("ARCHIVE", "ARCHIVES", "LISTS") for url in getattr(of, table, {}).values()}
    infos = builder_class(name).url_infos
    assert set(infos) == urls and all(len(info.checksum) == 64 for info in infos.values())
