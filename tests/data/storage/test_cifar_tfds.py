"""CIFAR prepared by TFDS: a small set is prepared here by a builder with the same features, without TensorFlow."""

import io
import json
import sys

import numpy as np
import pytest
from PIL import Image

from ltjax.data import build
from ltjax.data.storage import cifar_tfds
from ltjax.errors import InputError
from tests.data.conftest import arrays

tfds = pytest.importorskip("tensorflow_datasets")


def make_builder(num_classes, folder, id_pattern="{split}_{position:05d}", **options):
    """A builder with the features of TFDS's cifar10 and cifar100; it yields encoded images, as TFDS requires."""
    fields = arrays(num_classes)

    def records(split):
        images, labels = fields[f"{split}_images"], fields[f"{split}_labels"]
        for position, (image, label) in enumerate(zip(images, labels, strict=True)):
            encoded = io.BytesIO()
            Image.fromarray(image).save(encoded, "PNG")
            encoded.seek(0)
            name = id_pattern.format(split=split, position=position)
            yield name, {"id": name, "image": encoded, "label": int(label)}

    class Builder(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("3.0.2")
        name = f"cifar{num_classes}"
        pkg_dir_path = None

        def _info(self):
            features = {
                "id": tfds.features.Text(),
                "image": tfds.features.Image(shape=(32, 32, 3)),
                "label": tfds.features.ClassLabel(num_classes=num_classes),
            }
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, manager):
            return {split: records(split) for split in ("train", "test")}

        def _generate_examples(self):
            raise AssertionError("the generators are given")

    return Builder(file_format="array_record", data_dir=folder, **options)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with the small cifar10 and cifar100."""
    folder = tmp_path_factory.mktemp("tfds")
    with tfds.core.registered.skip_registration():
        for num_classes in (10, 100):
            make_builder(num_classes, folder).download_and_prepare()
    return folder


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_equals_the_npz(settings, small_cifar, prepared, tmp_path, name):
    np.savez(tmp_path / "npz.npz", **arrays(int(name.removeprefix("cifar"))))
    wanted = build(settings(name=name, dir=tmp_path / "npz.npz", imbalance=5.0))
    for source in ("auto", "tfds"):
        data = build(settings(name=name, dir=prepared, source=source, imbalance=5.0))
        assert data.fingerprint == wanted.fingerprint
        for left, right in ((data.train, wanted.train), (data.test, wanted.test)):
            np.testing.assert_array_equal(left.labels, right.labels)
            np.testing.assert_array_equal(left.images(np.arange(len(left))), right.images(np.arange(len(right))))
    assert "tensorflow" not in sys.modules


def test_the_tfds_folder_is_found_by_tfds_data_dir(settings, small_cifar, prepared, monkeypatch):
    monkeypatch.delenv("LTJAX_DATA_DIR", raising=False)
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    assert build(settings()).train


def test_the_newest_version_is_taken(tmp_path, small_cifar):
    from ltjax.data.datasets import cifar

    for version in ("3.0.2", "3.0.10", "3.0.9", "incomplete.3.1.0", "readme"):
        (tmp_path / "cifar10" / version).mkdir(parents=True)
        (tmp_path / "cifar10" / version / "dataset_info.json").write_text("{}")
    (found,) = cifar_tfds.markers(tmp_path, cifar.SPECS["cifar10"])
    assert found.parent.name == "3.0.10"


def copy_of(prepared, tmp_path):
    import shutil

    shutil.copytree(prepared / "cifar10", tmp_path / "cifar10")
    return tmp_path / "cifar10" / "3.0.2"


def error_of(settings, folder, **changes):
    with pytest.raises(InputError) as error:
        build(settings(dir=folder, **changes))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_an_unprepared_set_gives_the_command_to_prepare_it(settings, tmp_path, small_cifar):
    message = error_of(settings, tmp_path, source="tfds")
    assert f"none of {tmp_path}/cifar10/*/dataset_info.json exists" in message
    assert message.endswith(f"python -m ltjax.data.prepare_tfds cifar10 --dir={tmp_path}")


def test_another_file_format_gives_the_command_to_prepare_it(settings, small_cifar, prepared, tmp_path):
    folder = copy_of(prepared, tmp_path)
    info = json.loads((folder / "dataset_info.json").read_text())
    (folder / "dataset_info.json").write_text(json.dumps(info | {"fileFormat": "tfrecord"}))
    message = error_of(settings, tmp_path)
    assert message.startswith(f"{folder}: prepared as tfrecord") and f"cifar10 --dir={tmp_path}" in message


@pytest.mark.parametrize("file", ["dataset_info.json", "features.json", "cifar10-train.array_record-00000-of-00001"])
def test_a_damaged_file_is_an_error_of_one_line(settings, small_cifar, prepared, tmp_path, file):
    folder = copy_of(prepared, tmp_path)
    (folder / file).write_bytes((folder / file).read_bytes()[:50])
    assert error_of(settings, tmp_path).startswith(f"{folder}: ")


@pytest.mark.parametrize("file", ["features.json", "cifar10-train.array_record-00000-of-00001"])
def test_a_missing_file_is_an_error_of_one_line(settings, small_cifar, prepared, tmp_path, file):
    folder = copy_of(prepared, tmp_path)
    (folder / file).unlink()
    assert error_of(settings, tmp_path).startswith(f"{folder}: ")


def test_another_number_of_records_is_an_error_of_one_line(settings, prepared):
    assert "1000 training records; cifar10 has 50000" in error_of(settings, prepared)


@pytest.mark.parametrize(
    ("pattern", "message"), [("{position}", "' of train;"), ("{split}_{position}x", "x' of train;")]
)
def test_an_id_without_the_original_position_is_named(settings, small_cifar, tmp_path, pattern, message):
    with tfds.core.registered.skip_registration():
        make_builder(10, tmp_path, id_pattern=pattern).download_and_prepare()
    found = error_of(settings, tmp_path)
    assert message in found and "it must be like 'train_00042'" in found


def test_without_tfds_the_error_names_what_to_install(settings, small_cifar, prepared, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    assert error_of(settings, prepared).endswith('pip install "ltjax[train]"')
