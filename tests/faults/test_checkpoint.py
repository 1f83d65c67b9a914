"""Checkpoints with flipped bits, cut files and damaged records: noticed, or without effect; never other weights."""

import errno
import json
import random
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from ltjax import models
from ltjax.errors import InputError
from ltjax.methods import METHODS
from ltjax.training import loop, prepare
from ltjax.training.finished_run import open_finished
from ltjax.training.step.state import TrainState
from ltjax.training.workdir import checkpoint
from ltjax.training.workdir.checkpoint import Checkpoints, Owner, abstract, checkpoints
from ltjax.training.workdir.checksums import Damaged, check_record, sealed
from tests.training import toy

FINGERPRINT = "f" * 41
FLIPS = 4  # bits of each file


def state(step):
    rng = np.random.default_rng(step)
    params = {"a": {"kernel": rng.standard_normal((30, 40)).astype(np.float32)}, "b": np.float32(step)}
    statistics = {"batch_stats": {"mean": rng.standard_normal(7).astype(jnp.bfloat16)}}
    made = TrainState(np.int32(step), np.uint32(3), params, statistics, ({}, {"a": np.ones(5)}), {})
    return jax.tree.map(jnp.asarray, made)


START = {"frozen": {"teacher": {"k": np.arange(12.0)}}, "tables": {}, "extras": {}, "format": np.int32(1)}


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """The checkpoints of steps 0, 3 and 6."""
    folder = epath.Path(tmp_path_factory.mktemp("three") / "train")
    with checkpoints(folder, keep=2) as saved:
        for step in (0, 3, 6):
            row = {"loss": 0.25, "learning_rate": 0.1, "of_a_class": float("nan")}
            meta = {"fingerprint": FINGERPRINT, "pending": [row], "elapsed": 1.5}
            saved.save(step, state(step), meta, start=START if step == 0 else None)
    return folder


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def restored(folder, keep=None):
    with checkpoints(epath.Path(folder), keep) as saved:
        return saved.restore(abstract(state(0), None), Owner(FINGERPRINT)), saved.damaged


def same(one, two):
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True))


def test_a_flipped_bit_anywhere_is_noticed_or_without_effect(three, tmp_path):
    rng, noticed = random.Random(17), 0
    copied = tmp_path / "train"
    shutil.copytree(three, copied)
    for file in files(copied / "6"):
        content = file.read_bytes()
        for _ in range(FLIPS if content else 0):
            flipped, place = bytearray(content), rng.randrange(len(content))
            flipped[place] ^= 1 << rng.randrange(8)
            file.write_bytes(flipped)
            found, damaged = restored(copied)
            assert found.step == (3 if 6 in damaged else 6), (file, place)
            same(found.state, state(found.step))
            assert found.meta["pending"][0]["loss"] == 0.25 and found.meta["elapsed"] == 1.5
            noticed += 6 in damaged
        file.write_bytes(content)
    assert noticed > 20


def test_a_flipped_bit_of_what_init_made_is_noticed(three, tmp_path):
    rng, noticed = random.Random(18), 0
    copied = tmp_path / "train"
    shutil.copytree(three, copied)
    for file in files(copied / "0" / "start"):
        content = file.read_bytes()
        flipped, place = bytearray(content), rng.randrange(len(content))
        flipped[place] ^= 1 << rng.randrange(8)
        file.write_bytes(flipped)
        with checkpoints(epath.Path(copied), keep=None) as saved:
            found = saved.restore_start()
        if found is not None:
            same(found, START)
        noticed += found is None
        file.write_bytes(content)
    assert noticed > 2


def test_the_run_continues_from_the_last_good_step_and_keeps_the_damaged_one(three, tmp_path, caplog):
    shutil.copytree(three, tmp_path / "train")
    largest = max(files(tmp_path / "train" / "6" / "state"), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    found, _ = restored(tmp_path / "train", keep=2)
    assert found.step == 3
    assert "6 cannot be read and is skipped" in caplog.text and "the last good step, 3" in caplog.text
    assert all("\n" not in record.getMessage() for record in caplog.records)
    assert sorted(path.name for path in (tmp_path / "train").iterdir()) == ["0", "3", "6.damaged"]
    with checkpoints(epath.Path(tmp_path / "train"), keep=2) as saved:  # the run makes it again
        saved.save(6, state(6), {"fingerprint": FINGERPRINT, "pending": [], "elapsed": 2.0})
    assert restored(tmp_path / "train")[0].step == 6


def test_a_checkpoint_without_checksums_is_restored_with_a_note(three, tmp_path, caplog):
    shutil.copytree(three, tmp_path / "train")
    record = tmp_path / "train" / "6" / "meta" / "metadata"
    old = json.loads(record.read_text())
    record.write_text(json.dumps({key: old[key] for key in ("fingerprint", "pending", "elapsed")}))
    assert restored(tmp_path / "train")[0].step == 6
    assert "without checksums: it is not verified" in caplog.text


@pytest.mark.parametrize(
    "content", ["", "[]", "null", "{", "{}", '{"fingerprint": 3, "pending": [], "elapsed": 1}',
                '{"fingerprint": "x", "elapsed": 1}', '{"fingerprint": "x", "pending": [{"loss": 1}], "elapsed": 1}',
                '{"fingerprint": "x", "pending": {}, "elapsed": "soon"}', "\x00\xff"],
)  # fmt: skip
def test_a_damaged_record_is_one_line_and_the_step_before_is_taken(three, tmp_path, caplog, content):
    shutil.copytree(three, tmp_path / "train")
    (tmp_path / "train" / "6" / "meta" / "metadata").write_text(content, encoding="latin-1")
    found, damaged = restored(tmp_path / "train", keep=2)
    assert found.step == 3 and list(damaged) == [6]
    assert all("\n" not in record.getMessage() for record in caplog.records)


def test_a_record_names_what_is_wrong_with_it():
    good = sealed({"fingerprint": "f", "pending": [], "elapsed": 1, "state": {"x": "00"}})
    assert check_record(good) == good
    for changes, words in (
        ({"elapsed": 2}, "wrong checksum"),
        ({"pending": None}, "wrong types: pending"),
        ({"stat": {}}, "unknown entries: stat"),
    ):
        with pytest.raises(Damaged, match=words):
            check_record(good | changes)
    with pytest.raises(Damaged, match="lacks state"):
        check_record({key: value for key, value in good.items() if key != "state"})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "build", toy.build)
        patch.setitem(models.BACKBONES, "toy", toy.Backbone)
        patch.setitem(METHODS, "three", toy.three_stages)
        folder = tmp_path_factory.mktemp("run") / "run"
        loop.train(toy.config(evaluation__every_epochs=0), str(folder))
        yield folder


def test_a_finished_run_with_damaged_weights_is_refused_and_names_the_last_good_step(run, tmp_path, caplog):
    shutil.copytree(run, tmp_path / "run")
    largest = max(files(tmp_path / "run/checkpoints/train/10/state"), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 3] ^= 64
    largest.write_bytes(content)
    with pytest.raises(InputError, match=r"10 cannot be read .*last good step: step 9.*remove results.json") as error:
        open_finished(str(tmp_path / "run"), {})
    assert "\n" not in str(error.value) and not caplog.records
    before = json.loads((tmp_path / "run/results.json").read_text())
    (tmp_path / "run/results.json").unlink()
    after = loop.train(toy.config(evaluation__every_epochs=0), str(tmp_path / "run"))
    assert after["per_class"] == before["per_class"]
    assert after["train_loss_last_epoch"] == before["train_loss_last_epoch"]
    assert [note["step"] for note in after["resumes"]] == [9]


def test_a_finished_run_needs_nothing_of_its_first_checkpoint(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run/checkpoints/train/0")
    same(open_finished(str(tmp_path / "run"), {}).variables, open_finished(str(run), {}).variables)


UNREADABLE = {
    "io": OSError(errno.EIO, "Input/output error"),
    "stale": OSError(errno.ESTALE, "Stale file handle"),
    "timeout": TimeoutError(),
    "tensorstore": ValueError('RESOURCE_EXHAUSTED: Error opening "zarr" driver: Too many open files'),
    "cloud": type("HttpError", (Exception,), {"__module__": "gcsfs.retry"})("503, backend error"),
}


@pytest.mark.parametrize("error", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_storage_that_fails_for_a_while_costs_no_checkpoint(three, tmp_path, monkeypatch, error):
    shutil.copytree(three, tmp_path / "train")
    before = sorted(str(path) for path in files(tmp_path))

    def fails(self, step):
        raise error

    monkeypatch.setattr(Checkpoints, "record", fails)
    with checkpoints(epath.Path(tmp_path / "train"), keep=2) as saved:
        with pytest.raises(OSError, match=r"train/6: cannot be read now .*nothing was changed") as raised:
            saved.restore(abstract(state(0), None), Owner(FINGERPRINT))
        with pytest.raises(OSError, match="train/0: cannot be read now"):
            saved.restore_start()
    assert "\n" not in str(raised.value) and sorted(str(path) for path in files(tmp_path)) == before


def test_too_little_memory_to_restore_is_no_damage(three, tmp_path, monkeypatch):
    shutil.copytree(three, tmp_path / "train")
    full = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 12 bytes")

    def fails(arrays):
        raise full

    monkeypatch.setattr(checkpoint, "host_arrays", fails)
    with checkpoints(epath.Path(tmp_path / "train"), keep=2) as saved, pytest.raises(jax.errors.JaxRuntimeError):
        saved.restore(abstract(state(0), None), Owner(FINGERPRINT))
    assert sorted(path.name for path in (tmp_path / "train").iterdir()) == ["0", "3", "6"]


def test_an_error_of_another_process_is_raised_here_too(three, tmp_path, monkeypatch):
    shutil.copytree(three, tmp_path / "train")
    monkeypatch.setattr(checkpoint, "highest", lambda number: 2)
    with (
        checkpoints(epath.Path(tmp_path / "train"), keep=2) as saved,
        pytest.raises(OSError, match=r"6: cannot be read now \(in another process\)"),
    ):
        saved.restore(abstract(state(0), None), Owner(FINGERPRINT))
    assert sorted(path.name for path in (tmp_path / "train").iterdir()) == ["0", "3", "6"]


def test_where_no_step_at_all_can_be_read_nothing_is_set_aside(three, tmp_path):
    shutil.copytree(three, tmp_path / "train")
    for record in (tmp_path / "train").glob("*/meta/metadata"):
        record.write_text("")
    with pytest.raises(InputError, match=r"none of its 3 checkpoints can be read .*or remove it to train") as error:
        restored(tmp_path / "train", keep=2)
    assert "\n" not in str(error.value)
    assert sorted(path.name for path in (tmp_path / "train").iterdir()) == ["0", "3", "6"]


def test_a_checkpoint_of_another_dtype_is_verified_in_its_own(tmp_path):
    """As a float32 run reads it whose config.init_from is a run in float64."""
    folder, meta = epath.Path(tmp_path / "train"), {"fingerprint": FINGERPRINT, "pending": [], "elapsed": 0.0}
    with jax.enable_x64(True), checkpoints(folder, keep=2) as saved:
        wide = jax.tree.map(lambda x: x.astype(np.float64) if x.dtype == np.float32 else x, state(2))
        wide = wide.replace(params=jax.tree.map(lambda x: x / 3, wide.params))
        saved.save(2, wide, meta)
    found, damaged = restored(folder)
    assert not damaged and found.step == 2
    same(found.state, jax.tree.map(lambda x: np.asarray(x).astype(np.float32) if x.dtype == np.float64 else x, wide))
    assert found.state.params["a"]["kernel"].dtype == np.float32
    largest = max(files(tmp_path / "train/2/state"), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    assert restored(folder)[0] is None


@pytest.fixture
def toys(monkeypatch):
    monkeypatch.setattr(prepare, "build", toy.build)
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)
    monkeypatch.setitem(METHODS, "three", toy.three_stages)


def log_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_passed_stage_whose_last_step_is_damaged_is_trained_to_its_end_again(toys, tmp_path, caplog):
    config = toy.config("three", evaluation__every_epochs=0)
    before = loop.train(config, str(tmp_path / "run"))
    lines, weights = log_of(tmp_path / "run"), open_finished(str(tmp_path / "run"), {}, stage_name="first").variables
    (tmp_path / "run/results.json").unlink()
    (tmp_path / "run/checkpoints/first/10/meta/metadata").write_text("")
    after = loop.train(config, str(tmp_path / "run"))
    assert "10 cannot be read and is skipped" in caplog.text
    assert {note["stage"]: note["step"] for note in after["resumes"]}["first"] == 9
    assert after["per_class"] == before["per_class"] and log_of(tmp_path / "run") == lines
    assert after["train_loss_last_epoch"] == before["train_loss_last_epoch"]
    same(open_finished(str(tmp_path / "run"), {}, stage_name="first").variables, weights)


@pytest.mark.parametrize("content", ["{}", '{"accuracy": {}}', "[]"])
def test_results_that_are_damaged_are_one_line_to_evaluate(run, tmp_path, content):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run/results.json").write_text(content)
    with pytest.raises(InputError, match=r"results.json: is damaged; run the training command again"):
        open_finished(str(tmp_path / "run"), {})
