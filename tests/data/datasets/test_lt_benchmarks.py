"""ImageNet-LT, Places-LT and iNaturalist 2018: their public lists in full, and small ones of the same layout."""

import time

import numpy as np
import pytest

from ltjax.class_counts import shot_groups
from ltjax.commands.prepare import shards as prepare
from ltjax.data import build
from ltjax.data.datasets import lt_benchmarks
from ltjax.data.datasets.lt_benchmarks import BenchmarkSpec
from ltjax.data.sampling.class_cycle import class_cycle
from ltjax.data.sampling.epoch_shuffle import instance_balanced
from ltjax.data.storage import image_files
from ltjax.errors import InputError
from tests.data.conftest import write_image
from tests.shared import shared_path


def error_of(settings):
    with pytest.raises(InputError) as error:
        build(settings)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def small(monkeypatch, tmp_path):
    """The folder of a Places-LT with three classes: its images and lists."""
    lists = {"train": "Places_LT_train", "test": "Places_LT_test", "validation": "Places_LT_val"}
    monkeypatch.setitem(
        lt_benchmarks.SPECS, "places_lt", BenchmarkSpec("places_lt", 3, lists, "places_lt", lt_benchmarks.ALL_SPLITS)
    )
    counts = {"Places_LT_train": 12, "Places_LT_test": 6, "Places_LT_val": 3}
    for stem, count in counts.items():
        folder = "val" if stem.endswith("test") else "train"
        names = [f"{folder}/place {i % 3}/{stem}_{i}.jpg" for i in range(count)]
        for i, name in enumerate(names):
            write_image(tmp_path / "root" / name, 10 * i)
        (tmp_path / f"root/{stem}.txt").write_text("".join(f"{name} {i % 3}\n" for i, name in enumerate(names)))
    return tmp_path / "root"


def test_lists_in_the_root_are_found_and_shards_made_of_them_are_equal(image_settings, small, tmp_path):
    data = build(image_settings(name="places_lt", dir=small))
    assert (data.name, len(data.train), len(data.test), len(data.validation)) == ("places_lt", 12, 6, 3)
    assert data.class_names == ("place 0", "place 1", "place 2") and data.split == "test"
    lists = [
        f"--{key}={small}/Places_LT_{split}.txt"
        for key, split in (("list", "train"), ("test-list", "test"), ("val-list", "val"))
    ]
    assert prepare.main([*lists, f"--root={small}", f"--out={tmp_path}/out", "--workers=1"]) == 0
    of_shards = build(image_settings(name="places_lt", dir=tmp_path / "out"))
    assert of_shards.fingerprint == data.fingerprint and of_shards.mean == data.mean
    np.testing.assert_array_equal(of_shards.validation.images(np.arange(3)), data.validation.images(np.arange(3)))


def test_the_environment_names_the_root_and_settings_the_lists(image_settings, small, monkeypatch):
    monkeypatch.setenv("LTJAX_DATA_DIR", str(small))
    (small / "Places_LT_train.txt").rename(small / "mine.txt")
    message = error_of(image_settings(name="places_lt"))
    assert message.startswith(f"config.data.dir: places_lt is not in '{small}' (none of {small}/manifest.json, ")
    assert (
        "put Places_LT_train.txt, Places_LT_test.txt, Places_LT_val.txt into" in message
        and "prepare_tfds places_lt" in message
    )
    assert len(build(image_settings(name="places_lt", train_list="mine.txt")).train) == 12
    (small / "Places_LT_val.txt").unlink()
    assert build(image_settings(name="places_lt", train_list="mine.txt")).validation is None
    (small / "Places_LT_test.txt").unlink()
    assert "the test list of places_lt does not exist" in error_of(
        image_settings(name="places_lt", train_list="mine.txt")
    )


def test_classes_get_the_names_of_a_file_in_every_form(image_settings, small, tmp_path):
    (small / "names.txt").write_text("a park\na pier\na pond\n")
    named = {"name": "places_lt", "class_names": "names.txt"}
    assert build(image_settings(dir=small, **named)).class_names == ("a park", "a pier", "a pond")
    out = tmp_path / "out"
    lists = [f"--list={small}/Places_LT_train.txt", f"--test-list={small}/Places_LT_test.txt"]
    assert prepare.main([*lists, f"--root={small}", f"--out={out}", "--workers=1"]) == 0
    (out / "names.txt").write_text("a park\na pier\n")
    for name in ("places_lt", "shards"):
        message = error_of(image_settings(dir=out, **named | {"name": name}))
        assert message.startswith("config.data.class_names: names.txt has 2 names, and ") and " 3 classes; " in message
    (out / "names.txt").write_text("a park\na pier\na pond\n")
    data = build(image_settings(dir=out, **named))
    assert data.class_names == ("a park", "a pier", "a pond")
    assert data.fingerprint == build(image_settings(dir=small, name="places_lt")).fingerprint


def test_another_number_of_classes_is_an_error_of_one_line(image_settings, small):
    train = small / "Places_LT_train.txt"
    train.write_text(train.read_text() + "train/place 0/Places_LT_train_1.jpg 3\n")
    settings = image_settings(name="places_lt", dir=small)
    assert f"{train}, line 13" in error_of(settings) and "labels must be 0 to 2" in error_of(settings)
    train.write_text("train/place 0/Places_LT_train_0.jpg 0\n")
    assert "class 1 has no image (2 of 3 classes)" in error_of(settings)
    assert "config.data.source: unknown value 'npz'" in error_of(
        image_settings(name="places_lt", dir=small, source="npz")
    )


def test_an_imbalance_is_an_error(image_settings, small):
    message = error_of(image_settings(name="places_lt", dir=small, imbalance=50.0))
    assert message.startswith("config.data.imbalance: 50.0 is not possible for places_lt, which is already long-tailed")


@pytest.fixture
def no_files_checked(monkeypatch):
    monkeypatch.setattr(image_files, "missing_files", lambda found, positions: positions[:0])


def test_places_lt_in_full(image_settings, no_files_checked):
    """Reading, validation and sampling of its 62,500 lines; no image is opened."""
    root = shared_path("data/lists/Places_LT_train.txt.xz").parent
    data = build(image_settings(name="places_lt", dir=root, image_size=224, resize=256))
    assert (len(data.train), len(data.test), len(data.validation)) == (62_500, 36_500, 7_300)
    assert (data.class_counts.max(), data.class_counts.min()) == (4980, 5) and not data.notes
    assert [int(group.sum()) for group in shot_groups(data.class_counts).values()] == [131, 163, 71]
    assert data.class_names[0] == "airfield" and len(data.class_names) == 365
    assert data.train.where(0) == f"{root}/train/airfield/00004851.jpg (line 1 of {root}/Places_LT_train.txt.xz)"
    for sampler in (instance_balanced(), class_cycle(images_per_visit=4)):
        records = sampler.draw(sampler.tables(data.train.labels, 365), 0, 0, 0, np.arange(4 * 365))
        if sampler.name != "instance_balanced":
            assert (np.bincount(data.train.labels[records], minlength=365) == 4).all()
    kept = build(image_settings(name="places_lt", dir=root, validation_fraction=0.1))
    assert kept.split == "validation" and (np.bincount(kept.test.labels, minlength=365) >= 1).all()


def test_a_set_of_inaturalists_size_is_built_in_seconds(image_settings, no_files_checked, tmp_path):
    rng, weights = np.random.default_rng(0), (2 / 1000) ** (np.arange(8142) / 8141)
    counts = 2 + rng.multinomial(437_513 - 2 * 8142, weights / weights.sum())
    labels = rng.permutation(np.repeat(np.arange(8142), counts))
    for stem, listed in (("train", labels), ("val", np.repeat(np.arange(8142), 3))):
        line = "train_val2018/Plantae/{0}/{1}{2:032x}.jpg {0}\n"
        lines = [line.format(label, stem, i) for i, label in enumerate(listed.tolist())]
        (tmp_path / f"iNaturalist18_{stem}.txt").write_text("".join(lines))
    began = time.process_time()
    data = build(image_settings(name="inat2018", dir=tmp_path))
    assert time.process_time() - began < 8
    assert (len(data.train), data.num_classes, len(data.test)) == (437_513, 8142, 3 * 8142) and data.mean[0] == 0.466
    assert data.class_counts.tolist() == counts.tolist()
