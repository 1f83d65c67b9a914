"""What a run writes and shows while it trains."""

import io
import json
import sys

import numpy as np
import pytest
from etils import epath
from fsspec.implementations.memory import MemoryFileSystem

from ltjax.training.logging import MetricsLog, Progress, write_atomically


class Bucket(MemoryFileSystem):
    """A bucket in memory, for paths that begin with gs://."""

    protocol = ("gcs", "gs")
    store, pseudo_dirs = {}, [""]

    def __init__(self, finalize_on_close=True, **options):
        super().__init__(**options)

    @classmethod
    def _strip_protocol(cls, path):
        return "/" + path.removeprefix("gs://").removeprefix("gcs://").strip("/")


@pytest.fixture(params=["local", "gs"])
def folder(request, tmp_path, monkeypatch):
    """A local folder, and one in a bucket."""
    if request.param == "local":
        return epath.Path(tmp_path)
    monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, "gcs", Bucket)
    path = epath.Path("gs://bucket") / tmp_path.name
    path.mkdir(parents=True, exist_ok=True)
    return path


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_line_has_the_means_since_the_last_one_and_the_last_learning_rate(folder):
    log = MetricsLog(folder)
    log.rewind(0, [])
    for step, loss in enumerate([4.0, 2.0, 3.0], 1):
        log.add({"learning_rate": np.float32(step), "loss": np.float32(loss)})
    record = log.flush(3, 0.5, "train", {"test/all": 0.25})
    log.close()
    expected = {"step": 3, "epoch": 0.5, "stage": "train", "loss": 3.0, "learning_rate": 3.0, "test/all": 0.25}
    assert record == expected and lines(folder) == [expected]
    assert len(list((folder / "tensorboard").glob("events*"))) == 1
    assert list(record)[3] == "loss"


def test_rewinding_cuts_off_later_lines_and_amending_adds_to_the_last(folder):
    first = MetricsLog(folder)
    first.rewind(0, [])
    for step in (1, 2, 3):
        first.add({"loss": float(step), "learning_rate": 0.1})
        first.flush(step, step / 2, "train")
    first.close()
    log = MetricsLog(folder)
    log.rewind(2, [{"loss": 9.0, "learning_rate": 0.1}])
    assert [r["step"] for r in lines(folder)] == [1, 2]
    log.add({"loss": 11.0, "learning_rate": 0.1})
    assert log.flush(4, 2.0, "train")["loss"] == 10.0
    log.amend({"test/all": 0.5})
    log.close()
    assert [r["step"] for r in lines(folder)] == [1, 2, 4] and lines(folder)[-1]["test/all"] == 0.5


def test_the_mean_of_the_last_epoch_weighs_lines_by_their_steps(tmp_path):
    log = MetricsLog(epath.Path(tmp_path))
    log.rewind(0, [])
    for step, loss in enumerate([100.0, 1.0, 2.0, 6.0], 1):
        log.add({"loss": loss, "learning_rate": 0.1})
        if step in (1, 3, 4):
            log.flush(step, step / 3, "train")
    assert log.mean_of_last("loss", 3) == pytest.approx(3.0)
    assert MetricsLog(epath.Path(tmp_path / "nothing")).mean_of_last("loss", 3) is None


def test_a_loss_that_is_not_finite_names_its_steps(tmp_path):
    log = MetricsLog(epath.Path(tmp_path))
    log.rewind(0, [])
    for loss in (1.0, float("nan")):
        log.add({"loss": loss, "learning_rate": 0.1})
    with pytest.raises(FloatingPointError, match="between steps 6 and 7"):
        log.flush(7, 1.0, "train")


def test_texts_are_replaced_whole(folder):
    write_atomically(folder / "results.json", "one")
    write_atomically(folder / "results.json", "two")
    assert (folder / "results.json").read_text() == "two"
    assert [p.name for p in folder.iterdir()] == ["results.json"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_a_live_line_on_a_terminal_and_plain_lines_elsewhere():
    record = {"step": 20, "epoch": 0.5, "loss": 1.25, "test/all": 0.5}
    for stream, live in ((Terminal(), True), (io.StringIO(), False)):
        progress = Progress(40, 64, stream)
        progress.step(10)
        progress.show(record)
        progress.show(record)
        progress.end()
        text = stream.getvalue()
        for word in ("step 20/40", "epoch 0.50", "loss 1.2500", "test/all 50.0%", "images/s", "left"):
            assert word in text
        assert text.count("\n") == (1 if live else 2)
        assert ("\r" in text) == live
