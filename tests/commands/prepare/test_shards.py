"""Prepared shards: the same images as in the list and the folder; killed, damaged and mixed-up preparations."""

import json
import os
import pickle
import shutil

import numpy as np
import pytest

from ltjax.commands.prepare import shard_writer as shard_writing
from ltjax.commands.prepare import shards as prepare
from ltjax.data import build
from ltjax.data.storage.shards import unpack
from ltjax.errors import InputError
from tests.data.conftest import write_image

pytest.importorskip("array_record")


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A root with 23 training and 5 test images, their lists, and shards made of them."""
    here = tmp_path_factory.mktemp("shards")
    for split, count in (("train", 23), ("test", 5)):
        names = [f"{split}/c {i % 3}/{i}.jpg" for i in range(count)]
        for shade, name in enumerate(names):
            write_image(here / "root" / name, 10 * shade)
        (here / f"{split}.txt").write_text("".join(f"{name} {i % 3}\n" for i, name in enumerate(names)))
    assert run(here, here / "out") == 0
    return here


def run(here, out, *more, workers=1):
    lists = [f"--list={here}/train.txt", f"--test-list={here}/test.txt", f"--root={here}/root"]
    return prepare.main([*lists, f"--out={out}", "--shards=4", f"--workers={workers}", *more])


@pytest.fixture
def copy(here, tmp_path):
    shutil.copytree(here / "out", tmp_path / "out")
    return tmp_path / "out"


def said(settings, read=()):
    with pytest.raises(InputError) as error:
        build(settings).train.images(np.array(read))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_shards_are_the_list(image_settings, here, capsys):
    lists = {f"{split}_list": f"{here}/{split}.txt" for split in ("train", "test")}
    wanted = build(image_settings(name="list", dir=here / "root", **lists))
    data = build(image_settings(name="shards", dir=here / "out"))
    assert data.fingerprint == wanted.fingerprint and data.class_names == wanted.class_names
    for left, right in ((data.train, wanted.train), (data.test, wanted.test)):
        assert (left.labels == right.labels).all() and (left.index == right.index).all()
        assert [left.encoded(i) for i in range(len(left))] == [right.encoded(i) for i in range(len(right))]
    order = np.random.default_rng(0).permutation(23)
    np.testing.assert_array_equal(data.train.images(order), wanted.train.images(order))
    assert data.train.where(7) == f"{here}/out/train-00001-of-00004.array_record, record 2 of the shard"
    again = pickle.loads(pickle.dumps(data.train))
    assert again.encoded(22) == wanted.train.encoded(22)


def test_the_manifest_says_what_is_there(here):
    manifest = json.loads((here / "out/manifest.json").read_text())
    train = manifest["splits"]["train"]
    assert (train["records"], train["class_counts"], manifest["class_names"]) == (23, [8, 8, 7], ["c 0", "c 1", "c 2"])
    assert [shard["records"] for shard in train["shards"]] == [5, 6, 6, 6]
    files = {file["file"] for s in manifest["splits"].values() for file in (s["index"], *s["shards"])}
    assert set(os.listdir(here / "out")) == files | {"manifest.json"}
    from array_record.python import array_record_module

    reader = array_record_module.ArrayRecordReader(f"{here}/out/{train['shards'][3]['file']}")
    assert "group_size:1," in reader.writer_options_string()
    label, index, name, picture = unpack(reader.read([5])[0])
    assert (label, index, name) == (1, 22, "train/c 1/22.jpg") and picture == (here / "root" / name).read_bytes()


def test_processes_write_the_same_and_a_folder_does_too(image_settings, here, tmp_path):
    assert run(here, tmp_path / "two", workers=2) == 0
    manifests = [json.loads((out / "manifest.json").read_text()) for out in (here / "out", tmp_path / "two")]
    assert manifests[0] == manifests[1]
    assert prepare.main([f"--folder={here}/root", f"--out={tmp_path}/folder", "--workers=1"]) == 0
    data, wanted = (
        build(image_settings(name=n, dir=d)) for n, d in (("shards", tmp_path / "folder"), ("folder", here / "root"))
    )
    assert data.fingerprint == wanted.fingerprint and data.train.encoded(9) == wanted.train.encoded(9)


def test_a_stopped_preparation_continues_and_keeps_its_shards(here, tmp_path, monkeypatch, capsys, image_settings):
    out, read = tmp_path / "out", shard_writing.read_named

    def stops(split, record):
        if len(split.source) == 23 and record == 14:
            raise KeyboardInterrupt
        return read(split, record)

    monkeypatch.setattr(shard_writing, "read_named", stops)
    assert run(here, out) == 130
    assert "finished shards are kept: run the same command again" in capsys.readouterr().err
    assert f"{out}/manifest.json: cannot be read" in said(image_settings(name="shards", dir=out))
    monkeypatch.setattr(shard_writing, "read_named", read)
    first, second = (out / f"train-0000{k}-of-00004.array_record" for k in (0, 1))
    second.write_bytes(second.read_bytes()[:-50_000])  # torn while the machine went down
    times = first.stat().st_mtime_ns, second.stat().st_mtime_ns
    assert run(here, out) == 0
    assert first.stat().st_mtime_ns == times[0] and second.stat().st_mtime_ns != times[1]
    assert (out / "manifest.json").read_bytes() == (here / "out/manifest.json").read_bytes()
    assert sorted(os.listdir(out)) == sorted(os.listdir(here / "out"))
    assert run(here, out) == 0 and first.stat().st_mtime_ns == times[0]


def test_a_folder_of_other_shards_is_not_touched(here, copy, tmp_path, capsys):
    (tmp_path / "other.txt").write_text("train/c 0/0.jpg 0\ntrain/c 1/1.jpg 1\n")
    before = (copy / "manifest.json").read_bytes()
    others = [f"--list={tmp_path}/other.txt", f"--root={here}/root", f"--out={copy}", "--workers=1"]
    assert prepare.main(others) == 2
    says = f"--out: {copy} has shards of another data set; remove it or choose another --out"
    assert capsys.readouterr().err == f"error: {says}\n"
    assert run(here, copy, "--shards=5") == 2
    assert f"--shards: 5, but {copy} was started with 4, 4" in capsys.readouterr().err
    assert (copy / "manifest.json").read_bytes() == before
    with shard_writing.locked(str(copy)):
        assert run(here, copy) == 2
    assert "another preparation is writing" in capsys.readouterr().err


@pytest.mark.parametrize("workers", [1, 2])
def test_an_image_that_cannot_be_read_is_named_and_the_rest_kept(here, tmp_path, capsys, workers):
    shutil.copytree(here / "root", tmp_path / "root")
    (tmp_path / "root/train/c 2/20.jpg").write_bytes(b"")
    assert run(here, tmp_path / "out", f"--root={tmp_path}/root", workers=workers) == 2
    says = capsys.readouterr().err.splitlines()[-1]
    assert says == (
        f"error: record 20 (index 20, {tmp_path}/root/train/c 2/20.jpg (line 21 of {here}/train.txt)) cannot be "
        "read: the file is empty (0 bytes)"
    )
    assert (tmp_path / "out/train-00000-of-00004.array_record").exists()


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["--list=l.txt", "--out=o"], "--list needs --root"),
        (["--folder=f", "--out=o", "--root=r"], "--root: only allowed with --list"),
        (["--folder=f", "--out=o", "--workers=0"], "--workers: impossible value 0"),
        (["--folder=f", "--list=l", "--out=o"], "not allowed with argument"),
        (["--folder=/nowhere", "--out=o"], "'/nowhere' cannot be read"),
    ],
)
def test_impossible_arguments_are_one_line(arguments, says, capsys):
    assert prepare.main(arguments) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


SHARD = "train-00001-of-00004.array_record"


def test_missing_torn_and_foreign_files_are_one_line(image_settings, copy):
    settings = image_settings(name="shards", dir=copy)
    path = copy / SHARD
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert said(settings).startswith(
        f"{path}: has {len(whole) - 1} bytes, but the manifest says {len(whole)}; prepare it"
    )
    path.write_bytes(b"\0" * len(whole))
    assert said(settings, [6]).startswith(
        f"record 6 (index 6, {path}, record 1 of the shard) cannot be read: the shard"
    )
    other = (copy / "train-00002-of-00004.array_record").read_bytes()
    assert len(other) == len(whole)  # of as many pictures of one size: only the records tell
    path.write_bytes(other)
    assert "the record has label 0 and index 12, but the index file has 0 and 6; prepare it again" in said(
        settings, [6]
    )
    path.unlink()
    assert said(settings) == f"{path}: does not exist; prepare it again (python -m ltjax.data.prepare)"


def test_a_manifest_that_disagrees_is_one_line(image_settings, copy):
    settings, path = image_settings(name="shards", dir=copy), copy / "manifest.json"
    manifest = json.loads(path.read_text())

    def changed(change):
        other = json.loads(json.dumps(manifest))
        change(other)
        path.write_text(json.dumps(other))
        return said(settings)

    assert "its counts differ from" in changed(lambda m: m["splits"]["train"].update(class_counts=[8, 7, 8]))
    assert "its counts differ from" in changed(lambda m: m["splits"]["train"]["shards"].pop())
    assert "its hash differs from the manifest" in changed(lambda m: m["splits"]["train"]["index"].update(sha256="0"))
    assert "incomplete ('train')" in changed(lambda m: m["splits"].pop("train"))
    assert "not the manifest of" in changed(lambda m: m.pop("format"))
    path.write_text("{")
    assert "not valid JSON" in said(settings)
    assert "mount it, or copy it" in said(image_settings(name="shards", dir="gs://bucket/set"))


def test_readers_are_of_their_own_process(image_settings, here, monkeypatch):
    """A reader that came through a fork has lost its threads: the process that is told by its id opens its own."""
    data = build(image_settings(name="shards", dir=here / "out"))
    files = data.train.encoded
    wanted = [files(i) for i in (0, 20)]
    opened = dict(files._open)
    assert len(opened) == 2  # no more shards than were read from
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert [files(i) for i in (0, 20)] == wanted and len(files._open) == 4
    assert not any(files._open[-1, shard] is reader for (_, shard), reader in opened.items())
