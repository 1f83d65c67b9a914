"""Data sets prepared by TFDS, by name: small ones are prepared here, without TensorFlow."""

import io
import json
import pickle
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from ltjax.commands.check import command as check
from ltjax.data import build
from ltjax.data.datasets import tfds_images
from ltjax.errors import InputError

tfds = pytest.importorskip("tensorflow_datasets")


def shade(size, value):
    encoded = io.BytesIO()
    Image.new("RGB", size, (value, 0, 255 - value)).save(encoded, "JPEG", quality=95)
    encoded.seek(0)
    return encoded


def make(folder, splits, name="flowers", classes=3, version="1.2.0", features=None):
    """Prepares ``splits`` {split: labels} of images of different sizes."""

    def records(labels):
        for i, label in enumerate(labels):
            yield i, {"photo": shade((20 + i, 24), 10 * i), "label": int(label)}

    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version(version)
        pkg_dir_path = None

        def _info(self):
            usual = {
                "photo": tfds.features.Image(shape=(None, None, 3)),
                "label": tfds.features.ClassLabel(names=[f"flower {i}" for i in range(classes)]),
            }
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features or usual))

        def _split_generators(self, manager):
            return {split: records(labels) for split, labels in splits.items()}

        def _generate_examples(self):
            raise AssertionError("the generators are given")

    Builder.name = name
    Builder(file_format="array_record", data_dir=folder).download_and_prepare()
    return folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    return make(folder, {"train": [0, 0, 1, 2, 0, 1], "validation": [0, 1, 2], "test": [2, 1]})


def error_of(settings):
    with pytest.raises(InputError) as error:
        build(settings)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_data_set_by_name(image_settings, prepared, tmp_path):
    data = build(image_settings(name="tfds", tfds="flowers", dir=prepared))
    assert data.class_counts.tolist() == [3, 2, 1] and data.class_names == ("flower 0", "flower 1", "flower 2")
    assert (len(data.test), len(data.validation)) == (2, 3)
    (tmp_path / "names.txt").write_text("rose\nlily\ntulip\n")
    names = str(tmp_path / "names.txt")
    assert build(image_settings(name="tfds", tfds="flowers", dir=prepared, class_names=names)).class_names[2] == "tulip"
    assert data.train.images(np.arange(6)).shape == (6, 16, 16, 3)
    with Image.open(io.BytesIO(data.train.encoded(3))) as image:
        assert image.format == "JPEG" and image.size[1] == 24
    again = pickle.loads(pickle.dumps(data.train))
    np.testing.assert_array_equal(again.read(5), data.train.read(5))
    assert data.train.where(3) == f"{prepared}/flowers/1.2.0: train[3]"
    assert build(image_settings(name="tfds", tfds="flowers:1.2.0", dir=prepared)).fingerprint == data.fingerprint
    assert "tensorflow" not in sys.modules


def test_labels_are_read_once_and_kept_beside_the_data(image_settings, prepared, tmp_path, monkeypatch):
    shutil.copytree(prepared / "flowers", tmp_path / "flowers")
    settings = image_settings(name="tfds", tfds="flowers", dir=tmp_path)
    wanted = build(settings)
    kept = tmp_path / "flowers/1.2.0/ltjax_train_label.npy"
    assert np.load(kept).tolist() == wanted.train.labels.tolist()
    with monkeypatch.context() as patch:
        patch.setattr(tfds_images, "read_features", lambda *_: 1 / 0)
        assert build(settings).fingerprint == wanted.fingerprint
    for content in (b"", b"torn", kept.read_bytes()[:-1]):
        kept.write_bytes(content)
        assert build(settings).fingerprint == wanted.fingerprint


def test_without_test_labels_the_validation_images_are_the_test_set(image_settings, tmp_path):
    make(tmp_path, {"train": [0, 1, 2], "validation": [0, 1]})
    make(tmp_path, {"train": [0, 1, 2], "validation": [0, 1], "test": [-1, -1, -1]}, name="hidden")
    for name in ("flowers", "hidden"):
        data = build(image_settings(name="tfds", tfds=name, dir=tmp_path))
        assert sorted(data.test.labels) == [0, 1] and data.validation is None
        assert any("evaluated on validation" in note for note in data.notes)


def test_an_impossible_data_set_is_an_error_of_one_line(image_settings, prepared, tmp_path):
    assert error_of(image_settings(name="tfds", tfds="")).startswith("config.data.tfds: '' is not possible")
    message = error_of(image_settings(name="tfds", tfds="i_naturalist2018", dir=tmp_path))
    assert message.startswith(
        f"config.data.tfds: {tmp_path}/i_naturalist2018/*/dataset_info.json does not exist; to prepare it: "
    )
    assert (
        f"tfds.builder('i_naturalist2018', data_dir='{tmp_path}', file_format='array_record').download_and_pre"
        in message
    )
    assert f"{tmp_path}/flowers/9.9.9/dataset_info.json does not exist" in error_of(
        image_settings(name="tfds", tfds="flowers:9.9.9", dir=tmp_path)
    )
    assert f"python -m ltjax.data.prepare_tfds imagenet_lt --dir={tmp_path}" in error_of(
        image_settings(name="tfds", tfds="imagenet_lt", dir=tmp_path)
    )
    make(tmp_path, {"train": [0, 0, 1], "test": [0]})
    assert "class 2 has no image in train (1 of 3 classes)" in error_of(
        image_settings(name="tfds", tfds="flowers", dir=tmp_path)
    )
    make(tmp_path, {"train": [0, 1, -1, 2], "test": [0]}, name="negative")
    assert "has label -1; labels must be 0 to 2 (1 such labels)" in error_of(
        image_settings(name="tfds", tfds="negative", dir=tmp_path)
    )


def test_a_damaged_data_set_is_an_error_of_one_line(image_settings, prepared, tmp_path):
    shutil.copytree(prepared / "flowers", tmp_path / "flowers", ignore=shutil.ignore_patterns("*.npy"))
    folder, settings = tmp_path / "flowers/1.2.0", image_settings(name="tfds", tfds="flowers", dir=tmp_path)
    shard = folder / "flowers-train.array_record-00000-of-00001"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:50])
    assert error_of(settings).startswith(f"{folder}: train: TFDS cannot read it")
    shard.write_bytes(whole)
    build(settings)
    shard.unlink()
    data = build(settings)  # its labels are kept
    with pytest.raises(InputError, match=r"^record 1 \(index 1, .*/flowers/1.2.0: train\[1\]\) cannot be read: .*TFDS"):
        data.train.images(np.array([1]))
    info = json.loads((folder / "dataset_info.json").read_text())
    (folder / "dataset_info.json").write_text(json.dumps(info | {"fileFormat": "tfrecord"}))
    assert error_of(settings).startswith(f"{folder}: prepared as tfrecord, which cannot be read by position")
    (folder / "dataset_info.json").write_text("{")
    assert error_of(settings).startswith(f"{folder}: TFDS cannot read it")


def test_places_lt_by_name(image_settings, tmp_path):
    make(tmp_path, {"train": np.arange(365), "validation": np.arange(365), "test": [3, 1]}, "places_lt", 365)
    data = build(image_settings(name="places_lt", dir=tmp_path))
    assert (data.name, len(data.train), len(data.validation), len(data.test)) == ("places_lt", 365, 365, 2)


def test_the_check_command_finds_shared_images_and_writes_nothing_beside_the_data(prepared, tmp_path, capsys):
    folder = tmp_path / "sets"
    shutil.copytree(prepared, folder, ignore=shutil.ignore_patterns("*.npy"))
    before = sorted(folder.rglob("*"))
    arguments = ["--config.data.name=tfds", "--config.data.tfds=flowers", f"--config.data.dir={folder}", "--workers=1"]
    assert check.main(["--config=configs/folder_ce.py", *arguments, f"--out={tmp_path}/out"]) == 1
    report = json.loads((tmp_path / "out" / "check.json").read_text())
    assert report["counts"] == {"train": [3, 2, 1], "test": [0, 1, 1], "validation": [1, 1, 1]}
    assert [(one["kind"], len(one["items"])) for one in report["findings"]] == [("small", 11), ("leak", 5)]
    assert sorted(folder.rglob("*")) == before
