"""Images inside of larger files: Parquet, saved data sets (Arrow) and WebDataset, read by position."""

import json
import os
import pickle
import sys

import numpy as np
import pytest

from ltjax.data import build
from ltjax.data.storage import parquet_images, tar_cache
from ltjax.data.storage.webdataset import index_tar
from ltjax.errors import InputError

pytest.importorskip("pyarrow", reason='pip install "ltjax[parquet]"')
from tests.data.datasets.small_records import (
    LABELS,
    NAMES,
    images,
    png,
    samples,
    shades,
    table,
    write_arrow,
    write_parquet,
    write_tar,
)


@pytest.fixture
def error_of(image_settings):
    """The message for settings that are refused; one line."""

    def line(**settings):
        with pytest.raises(InputError) as error:
            build(image_settings(**settings))
        assert "\n" not in str(error.value)
        return str(error.value)

    return line


def both(split):
    return images(split, len(LABELS[split])), LABELS[split]


def hub(root):
    """Parquet files in the layout of the hub."""
    contents, labels = both("train")
    write_parquet(root / "data/train-00000-of-00002.parquet", contents[:4], labels[:4])
    write_parquet(root / "data/train-00001-of-00002.parquet", contents[4:], labels[4:])
    write_parquet(root / "data/test-00000-of-00001.parquet", *both("test"))
    return root


def saved(root):
    """A data set as save_to_disk leaves it."""
    contents, labels = both("train")
    write_arrow(root / "train", [table(contents[:4], labels[:4]), table(contents[4:], labels[4:])])
    write_arrow(root / "test", [table(*both("test"))])
    (root / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    (root / "train/cache-1.arrow").write_bytes(b"what map() left behind")
    return root


def tars(root):
    """Tar files with .cls members."""
    contents, labels = both("train")
    write_tar(root / "train-000000.tar", samples(contents[:4], labels[:4]))
    write_tar(root / "train-000001.tar", samples(contents[4:], labels[4:]))
    write_tar(root / "test-000000.tar", samples(*both("test")))
    (root / "names.txt").write_text("\n".join(NAMES))
    return root


FORMS = {"parquet": hub, "arrow": saved, "webdataset": tars}


@pytest.mark.parametrize("name", FORMS)
def test_labels_names_and_images_are_read_by_position(image_settings, tmp_path, name):
    FORMS[name](tmp_path)
    names = {"class_names": "names.txt"} if name == "webdataset" else {}
    data = build(image_settings(name=name, dir=tmp_path, **names))
    assert data.class_names == NAMES and data.split == "test" and data.notes == ()
    assert (data.train.labels.tolist(), data.test.labels.tolist()) == (LABELS["train"], LABELS["test"])
    assert shades(data.train) == list(range(10, 17)) and shades(data.test) == [100, 101, 102]
    again = pickle.loads(pickle.dumps(data.train))
    assert [again.encoded(i) for i in (6, 0, 5)] == [images("train", 7)[i] for i in (6, 0, 5)]
    assert build(image_settings(name=name, dir=tmp_path, **names)).fingerprint == data.fingerprint
    where = {
        "parquet": "data/train-00001-of-00002.parquet, row 1",
        "arrow": "train/data-00001-of-00002.arrow, row 1",
        "webdataset": "train-000001.tar: 001.png",
    }
    assert data.train.where(5) == f"{tmp_path}/{where[name]}"


@pytest.mark.parametrize("name", ["parquet", "arrow"])
def test_without_pyarrow_one_line_says_what_to_install(error_of, monkeypatch, tmp_path, name):
    FORMS[name](tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert error_of(name=name, dir=tmp_path).endswith('pip install "ltjax[parquet]"')


def test_a_large_row_group_is_read_in_batches(image_settings, monkeypatch, tmp_path):
    monkeypatch.setattr(parquet_images, "WHOLE", 0)
    monkeypatch.setattr(parquet_images, "BATCH", 2)
    write_parquet(tmp_path / "train.parquet", *both("train"), row_group_size=100)
    data = build(image_settings(name="parquet", dir=tmp_path, test_fraction=0.3))
    encoded = data.train.encoded.function
    assert [encoded(i) for i in (0, 1, 4, 3, 6, 0)] == [images("train", 7)[i] for i in (0, 1, 4, 3, 6, 0)]
    assert len(encoded._reading.images) == 2  # not the group


def test_row_groups_that_are_too_large_for_reading_by_position(image_settings, error_of, monkeypatch, tmp_path):
    hub(tmp_path)
    monkeypatch.setattr("ltjax.data.datasets.records.SLOW", 0)
    assert "which makes reading slow" in build(image_settings(name="parquet", dir=tmp_path)).notes[0]
    monkeypatch.setattr("ltjax.data.datasets.records.TOO_SLOW", 0)
    assert "make shards once: ltjax prepare --format=parquet" in error_of(name="parquet", dir=tmp_path)


def test_labels_of_other_types_and_columns_of_other_names(image_settings, error_of, tmp_path):
    one = table(images("train", 6), ["b", "a", "b", "a", "b", "a"], None)
    plain = one.column("image").combine_chunks().field("bytes")
    other = one.append_column("png", plain).append_column("kind", one.column("label").dictionary_encode())
    path = tmp_path / "flowers.parquet"
    parquet_images.import_pyarrow().parquet.write_table(other.drop_columns("label"), path)
    line = error_of(name="parquet", dir=path)
    assert "no column of labels (integers or text) that can be meant; set config.data.label_column" in line
    assert "several columns of images" not in line  # 'image' is the usual one
    data = build(image_settings(name="parquet", dir=path, image_column="png", label_column="kind", test_fraction=0.3))
    assert data.class_names == ("a", "b") and len(data.train) == 4
    assert "has no column 'pgn'" in (
        line := error_of(name="parquet", dir=path, image_column="pgn", label_column="kind")
    )
    assert "did you mean 'png'?" in line
    assert "not integers or text, one label an image" in error_of(name="parquet", dir=path, label_column="image")


def test_classes_without_training_images_gaps_and_missing_labels(image_settings, error_of, tmp_path):
    names = ("rose", "none", "tulip", "lily")
    write_parquet(tmp_path / "1/train.parquet", images("train", 4), [0, 2, 3, 0], names=names)
    write_parquet(tmp_path / "1/test.parquet", images("test", 2), [-1, -1], names=names)
    write_parquet(tmp_path / "1/validation.parquet", images("validation", 2), [3, 2], names=names)
    data = build(image_settings(name="parquet", dir=tmp_path / "1"))
    assert (data.class_names, data.test.labels.tolist()) == (("rose", "tulip", "lily"), [2, 1])
    assert data.notes[:3] == (
        "2 of 2 test images have no label; the test images are not used",
        "1 of 4 classes have no training image and are left out: 'none'",
        f"{tmp_path}/1: there are no test images with labels; the validation images are the test set",
    )
    write_parquet(tmp_path / "2/train.parquet", images("train", 4), [3, 7, 3, 7], names=None)
    data = build(image_settings(name="parquet", dir=tmp_path / "2", test_fraction=0.5))
    assert data.class_names == ("3", "7") and "the labels 3 to 7 of the training images are" in data.notes[0]
    for labels, said in (
        ([0, None, 1], "row 1 has no label (1 such images)"),
        ([0, 5, 1], "row 1 has label 5, but there are 3 class names"),
        ([1, 1, 1], "row 0 and all other images are of one class, 'tulip'"),
    ):
        write_parquet(tmp_path / "3/train.parquet", images("train", 3), labels)
        assert said in error_of(name="parquet", dir=tmp_path / "3")
    write_parquet(tmp_path / "3/train.parquet", images("train", 3), [0, 1, 1])
    write_parquet(tmp_path / "3/test.parquet", images("test", 1), [2])
    assert "row 0 has label 'lily', which no training image has" in error_of(name="parquet", dir=tmp_path / "3")
    write_parquet(tmp_path / "3/test.parquet", images("test", 1), [0], names=("x", "y"))
    assert "has other class names or columns than" in error_of(name="parquet", dir=tmp_path / "3")


@pytest.mark.parametrize("name", ["parquet", "arrow"])
def test_damaged_and_missing_files(error_of, tmp_path, name):
    root = FORMS[name](tmp_path)
    first = sorted(root.rglob("*train*0-of-00002.*" if name == "parquet" else "train/data-00000*"))[0]
    whole = first.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"x" * 100):
        first.write_bytes(content)
        assert str(first) in error_of(name=name, dir=root)
    first.unlink()
    line = error_of(name=name, dir=root)
    assert "is missing" in line or "are missing" in line or "no such file, though state.json names it" in line
    assert "does not exist" in error_of(name=name, dir=f"{root}/no")


def test_an_image_that_is_not_there_is_an_unreadable_record(image_settings, tmp_path):
    for name, write in (("parquet", write_parquet), ("arrow", lambda path, *rows: write_arrow(path, [table(*rows)]))):
        path = tmp_path / name
        write(path / "train.parquet" if name == "parquet" else path, [png(1), None, b"x", png(2)], [0, 1, 1, 0])
        data = build(image_settings(name=name, dir=path, test_fraction=0.4))
        source = data.train if 1 in data.train.index else data.test
        with pytest.raises(InputError, match=r"\(index 1, .*, row 1\) cannot be read: the row has no image"):
            source.images(np.flatnonzero(source.index == 1))


def test_a_saved_data_set_names_files_beside_it_only(error_of, tmp_path):
    saved(tmp_path)
    (tmp_path / "train/state.json").write_text(json.dumps({"_data_files": [{"filename": "../test/x.arrow"}]}))
    assert "'../test/x.arrow' is not a file beside it" in error_of(name="arrow", dir=tmp_path)
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["../train", "test"]}')
    assert "'../train' is not a file beside it" in error_of(name="arrow", dir=tmp_path)
    (tmp_path / "dataset_dict.json").write_text("{")
    assert "dataset_dict.json: cannot be read" in error_of(name="arrow", dir=tmp_path)


def test_files_of_several_data_sets_are_refused(error_of, tmp_path):
    hub(tmp_path / "one")
    hub(tmp_path / "two")
    line = error_of(name="parquet", dir=tmp_path)
    assert "'one/data/train' and 'two/data/train' are two series of train images, of several data sets" in line
    (tmp_path / "one/data/train-00001-of-00002.parquet").unlink()
    line = error_of(name="parquet", dir=tmp_path / "one")
    assert "of the 2 files data/train-*-of-00002 1 are missing, the first is number 00001" in line


# WebDataset


def test_the_index_is_built_once(image_settings, monkeypatch, tmp_path):
    settings = image_settings(name="webdataset", dir=tars(tmp_path))
    data = build(settings)
    assert (tmp_path / tar_cache.FILE).exists()
    read = []
    monkeypatch.setattr(tar_cache, "index_tar", lambda *args: read.append(args[0]) or index_tar(*args))
    assert build(settings).fingerprint == data.fingerprint and not read
    write_tar(tmp_path / "train-000001.tar", samples(images("test", 3), [2, 1, 1]))
    changed = build(settings)
    assert [os.path.basename(path) for path in read] == ["train-000001.tar"]
    assert changed.train.labels.tolist() == [0, 1, 0, 2, 2, 1, 1] and shades(changed.train)[4:] == [100, 101, 102]
    (tmp_path / tar_cache.FILE).write_bytes(b"damaged")
    assert build(settings).fingerprint == changed.fingerprint and len(read) == 4


def test_labels_are_cls_txt_or_a_field_of_json(image_settings, error_of, tmp_path):
    contents = images("train", 4)
    usual = {"name": "webdataset", "test_fraction": 0.5}
    write_tar(tmp_path / "txt/a.tar", samples(contents, ["rose", "tulip", "rose", "tulip"], "txt"))
    assert build(image_settings(dir=tmp_path / "txt", **usual)).class_names == ("rose", "tulip")
    fields = [json.dumps({"label": i % 2, "species": name}) for i, name in enumerate(("b", "a", "b", "a"))]
    write_tar(tmp_path / "json/a.tar", samples(contents, fields, "json"))
    assert build(image_settings(dir=tmp_path / "json", **usual)).class_names == ("0", "1")
    data = build(image_settings(dir=tmp_path / "json", label_column="species", **usual))
    assert data.class_names == ("a", "b")
    line = error_of(dir=tmp_path / "json", label_column="kind", **usual)
    assert "'000.json' has no field 'kind'; set config.data.label_column" in line
    for content, said in (
        (b"\xff\xfe1", "is no label"),
        (b"[1", "is no label"),
        (b'{"label": [1, 2]}', "has the label [1"),
    ):
        write_tar(tmp_path / "bad/a.tar", [("0.png", contents[0]), ("0.json", content)])
        assert said in error_of(dir=tmp_path / "bad", **usual)
    write_tar(tmp_path / "bad/a.tar", [("0.png", contents[0]), ("1.png", contents[0]), ("1.cls", b"1")])
    assert "a.tar: 0.png has no label (1 such images)" in error_of(dir=tmp_path / "bad", **usual)


def test_samples_of_tar_files(image_settings, error_of, tmp_path):
    one, two = images("train", 2)
    members = [
        ("../up/a.left.png", one),
        ("../up/a.right.png", two),
        ("../up/a.cls", b"0"),
        ("b.cls", b"1"),
        ("._c.png", b"x"),
    ]
    members += [("b/right.d.png", two), ("c.left.png", two), ("c.right.png", one), ("c.cls", b"1")]
    write_tar(tmp_path / "a.tar", members)
    usual = {"name": "webdataset", "dir": tmp_path, "test_fraction": 0.5}
    assert "has 2 images (../up/a.left.png, ../up/a.right.png); set config.data.image_column" in error_of(**usual)
    index = index_tar(str(tmp_path / "a.tar"), "left.png")
    assert (index.names, index.labels.tolist()) == (["../up/a.left.png", "c.left.png"], ["0", "1"])
    assert "skipped 2 files of samples without an image (1 x *.cls, 1 x *.d.png)" in index.notes[0]
    write_tar(tmp_path / "a.tar", [("a.png", one), ("a.png", one)])
    assert "has 'a.png' twice" in error_of(**usual)
    write_tar(tmp_path / "a.tar", [("a.cls", b"1")])
    assert "has no sample with an image" in error_of(**usual)


def test_a_tar_that_is_cut_off_compressed_or_damaged(image_settings, error_of, tmp_path):
    import gzip

    path = write_tar(tmp_path / "a.tar", samples(images("train", 4), [0, 1, 0, 1]))
    usual = {"name": "webdataset", "dir": tmp_path, "test_fraction": 0.5}
    whole, step = path.read_bytes(), 512
    end = max(i for i in range(0, len(whole), step) if any(whole[i : i + step])) + step
    for cut in (100, 700, step, end - step):
        path.write_bytes(whole[:cut])
        assert "a.tar: " in (line := error_of(**usual)) and "; get it again" in line, cut
    path.write_bytes(whole[:end])
    assert "has no end mark; if it was cut off, images are missing" in build(image_settings(**usual)).notes[0]
    path.write_bytes(whole[:end] + b"x" * step)
    assert f"is damaged at byte {end:,}" in error_of(**usual)
    path.write_bytes(whole[: end + step] + whole)
    assert "another tar perhaps" in error_of(**usual)
    path.write_bytes(gzip.compress(whole))
    assert "is compressed, and cannot be read by position; decompress it" in error_of(**usual)
    path.write_bytes(b"")
    assert "the file is empty (0 bytes)" in error_of(**usual)
    path.write_bytes(whole)
    data = build(image_settings(**usual))
    path.write_bytes(whole[:step])
    with pytest.raises(InputError, match=r"a\.tar: 00\d\.png\) cannot be read: the tar file ends after"):
        data.test.images(np.array([0]))
