"""Features on disk: whole or not there, never another's, and a killed process's work is not lost."""

import json
import multiprocessing
import os
import signal

import numpy as np
import pytest

from ltjax.training.features import files
from ltjax.training.features.files import Damaged, Layout, Writer, find, key_of, load

ROWS = np.arange(35, dtype=np.float32).reshape(7, 5)
LAYOUT = Layout(7, 5, np.dtype("float32"), 3)
IDENTITY = {"variables": "abc", "records": "def"}


def blocks(begin=0):
    return [ROWS[i : i + 3] for i in range(3 * begin, 7, 3)]


def write(place, identity=IDENTITY):
    writer = Writer(place, identity, LAYOUT)
    for rows in blocks(writer.begin):
        writer.add(rows)
    writer.publish()
    return place / key_of(identity)


def test_what_was_written_is_found_and_is_an_ordinary_file(tmp_path):
    assert find(tmp_path, IDENTITY) is None and find(tmp_path / "none", IDENTITY) is None
    folder = write(tmp_path / "deep" / "features")
    path = find(tmp_path / "deep" / "features", IDENTITY)
    assert path == folder / "features.npy" and find(tmp_path / "deep" / "features", {"variables": "x"}) is None
    np.testing.assert_array_equal(np.load(path), ROWS)
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]
    for most, kind in ((1e6, np.ndarray), (10, np.memmap)):
        loaded = load(path, most)
        assert type(loaded) is kind
        np.testing.assert_array_equal(loaded, ROWS)


@pytest.mark.parametrize(
    "damage, says",
    [
        (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json cannot be read"),
        (lambda folder: (folder / "manifest.json").unlink(), "manifest.json cannot be read"),
        (lambda folder: (folder / "features.npy").unlink(), "has 0 bytes instead of 268"),
        (lambda folder: os.truncate(folder / "features.npy", 200), "has 200 bytes instead of 268"),
        (lambda folder: flip(folder / "features.npy", 267), "rows from 6 on"),
        (lambda folder: flip(folder / "features.npy", 128 + 60 + 3), "rows from 3 on"),
        (lambda folder: flip(folder / "features.npy", 20), "rows from 0 on"),
        (
            lambda folder: rewrite(folder / "manifest.json", identity={"variables": "y"}),
            "features of another identity",
        ),
        (lambda folder: rewrite(folder / "manifest.json", crc32=[]), "instead of"),
    ],
)
def test_what_is_damaged_or_anothers_is_never_used(tmp_path, damage, says):
    damage(write(tmp_path))
    with pytest.raises(Damaged, match=says):
        find(tmp_path, IDENTITY)


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def rewrite(path, **fields):
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_unfinished_features_are_not_there_and_the_next_writer_goes_on(tmp_path):
    first = Writer(tmp_path, IDENTITY, LAYOUT)
    for rows in blocks()[:2]:
        first.add(rows)
    first.close()
    assert find(tmp_path, IDENTITY) is None
    second = Writer(tmp_path, IDENTITY, LAYOUT)
    assert second.begin == 2
    second.close()
    (unfinished,) = tmp_path.iterdir()
    flip(unfinished / "features.npy", 128 + 60)  # in the second block: it and what follows is made again
    assert Writer(tmp_path, IDENTITY, LAYOUT).begin == 1


@pytest.mark.parametrize("other", [LAYOUT._replace(block=4), LAYOUT._replace(size=4), LAYOUT._replace(rows=6)])
def test_what_was_begun_otherwise_is_begun_again(tmp_path, other):
    first = Writer(tmp_path, IDENTITY, LAYOUT)
    first.add(blocks()[0])
    first.close()
    assert Writer(tmp_path, IDENTITY, other).begin == 0


def test_two_at_once_do_not_meet_and_the_first_one_counts(tmp_path):
    first, second = Writer(tmp_path, IDENTITY, LAYOUT), Writer(tmp_path, IDENTITY, LAYOUT)
    assert first.folder != second.folder
    for rows in blocks():
        first.add(rows)
        second.add(rows)
    assert first.publish()
    written = find(tmp_path, IDENTITY).stat().st_ino
    assert not second.publish()
    assert find(tmp_path, IDENTITY).stat().st_ino == written
    assert [p.name for p in tmp_path.iterdir()] == [key_of(IDENTITY)]


def begin_and_wait(place, ready):
    writer = Writer(place, IDENTITY, LAYOUT)
    writer.add(blocks()[0])
    ready.set()
    signal.pause()


def test_the_work_of_a_process_that_is_killed_is_taken_over_but_not_that_of_one_that_lives(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=begin_and_wait, args=(tmp_path, ready))
    process.start()
    assert ready.wait(60)
    beside = Writer(tmp_path, IDENTITY, LAYOUT)
    assert beside.begin == 0 and beside.folder.name.endswith(".1.unfinished")
    process.kill()
    process.join()
    after = Writer(tmp_path, IDENTITY, LAYOUT)
    assert after.begin == 1 and after.folder.name.endswith(".0.unfinished")
    for rows in blocks(1):
        after.add(rows)
    after.publish()
    np.testing.assert_array_equal(np.load(find(tmp_path, IDENTITY)), ROWS)


def test_the_key_says_what_the_features_are_of():
    others = [{**IDENTITY, "variables": "z"}, {**IDENTITY, "records": "z"}, {**IDENTITY, "more": 1}]
    assert len({key_of(one) for one in [IDENTITY, *others]}) == 4
    assert key_of(dict(reversed(IDENTITY.items()))) == key_of(IDENTITY)


def test_a_folder_that_cannot_be_written_is_an_os_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        Writer(tmp_path / "file", IDENTITY, LAYOUT)
    assert files.AT_ONCE > 2
