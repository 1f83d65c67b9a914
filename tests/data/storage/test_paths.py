"""Data in buckets, and the error when a bucket's client is missing."""

import importlib.util
import io
import sys

import numpy as np
import pytest
from PIL import Image

from ltjax.commands.prepare import cifar_npz as convert
from ltjax.data import build
from ltjax.data.storage.paths import open_path
from ltjax.errors import InputError


@pytest.fixture
def bucket(monkeypatch):
    """``s3://bucket``, in memory: etils opens paths in buckets through fsspec."""
    memory = pytest.importorskip("fsspec.implementations.memory")
    etils_backend = pytest.importorskip("etils.epath.backend")

    class Store(memory.MemoryFileSystem):
        store, pseudo_dirs = {}, [""]

        @classmethod
        def _strip_protocol(cls, path):
            return "/" + path.removeprefix("s3://").strip("/")

    monkeypatch.setattr(etils_backend._FileSystemSpecBackend, "_get_filesystem", lambda self, name: Store())
    return "s3://bucket"


def test_the_npz_is_written_to_and_read_from_a_bucket(settings, small_cifar, monkeypatch, tmp_path, fields, bucket):
    from ltjax.data.datasets import cifar

    monkeypatch.setattr(convert, "SPECS", cifar.SPECS)
    np.savez(tmp_path / "all.npz", **fields)
    options = ["train-images", "train-index", "train-labels", "test-images", "test-labels"]
    arguments = [f"--{option}={tmp_path}/all.npz:{option.replace('-', '_')}" for option in options]
    assert convert.main([f"--output={bucket}/sets/cifar10.npz", *arguments]) == 0
    wanted = build(settings(dir=tmp_path / "all.npz"))
    for place in (f"{bucket}/sets", f"{bucket}/sets/cifar10.npz"):
        data = build(settings(dir=place))
        assert data.fingerprint == wanted.fingerprint
        np.testing.assert_array_equal(data.train.images(np.arange(9)), wanted.train.images(np.arange(9)))
    with pytest.raises(InputError, match=r"none of s3://bucket/elsewhere/cifar10\.npz"):
        build(settings(dir=f"{bucket}/elsewhere"))


def test_lists_and_their_images_are_read_from_a_bucket(image_settings, bucket):
    root = open_path(f"{bucket}/places")
    pixel = io.BytesIO()
    Image.new("RGB", (20, 20), (7, 7, 7)).save(pixel, "PNG")
    for i in range(4):
        (root / "a b").mkdir(parents=True, exist_ok=True)
        (root / f"a b/{i}.png").write_bytes(pixel.getvalue())
    (root / "train.txt").write_text("".join(f"a b/{i}.png {i % 2}\n" for i in range(4)))
    settings = {"name": "list", "dir": f"{bucket}/places", "train_list": "train.txt", "test_fraction": 0.5}
    data = build(image_settings(**settings))
    assert data.train.images(np.array([0, 1])).max() == 7 and data.train.where(0).startswith(f"{bucket}/places/a b/")
    (root / "a b/3.png").unlink()
    with pytest.raises(InputError, match=r"^s3://bucket/places/a b/3.png \(line 4 of .*missing \(1 of 4 checked files"):
        build(image_settings(**settings))


@pytest.mark.skipif(importlib.util.find_spec("gcsfs") is not None, reason="gcsfs is installed")
@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is not None, reason="tensorflow is installed")
def test_a_bucket_without_its_client_is_an_error_of_one_line(settings):
    with pytest.raises(InputError, match=r"^gs://nobody/data: .*gcsfs") as error:
        build(settings(dir="gs://nobody/data"))
    assert "\n" not in str(error.value)


def test_without_etils_local_paths_work_and_buckets_name_what_to_install(
    settings, monkeypatch, tmp_path, small_cifar, fields
):
    np.savez(tmp_path / "cifar10.npz", **fields)
    monkeypatch.setitem(sys.modules, "etils", None)
    assert build(settings(dir=tmp_path)).name == "cifar10"
    with pytest.raises(InputError, match=r'^gs://nobody: .* pip install "ltjax\[train\]"$'):
        open_path("gs://nobody")


def test_a_folder_without_permission_is_an_error_of_one_line(settings, small_cifar, monkeypatch, tmp_path):
    def forbidden(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(type(open_path(tmp_path)), "exists", forbidden)
    with pytest.raises(InputError, match=rf"^config\.data\.dir: '{tmp_path}' cannot be read \(Permission denied\)"):
        build(settings(dir=tmp_path))
