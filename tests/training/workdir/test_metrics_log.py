"""What a run writes and shows while it trains."""

import io
import json
import sys

import numpy as np
import pytest
from etils import epath
from fsspec.implementations.memory import MemoryFileSystem

from ltjax.data.storage.paths import write_atomically
from ltjax.training.progress import Progress
from ltjax.training.workdir.metrics_log import MetricsLog, StageLines


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


def where(every=100, per_epoch=100, offset=0):
    return StageLines("train", offset, per_epoch, every)


def given(log, first, *losses):
    """One step a loss, from step `first` on."""
    for step, loss in enumerate(losses, first):
        log.add(step, {"learning_rate": np.float32([step]), "loss": np.float32([loss])})


def test_a_line_has_the_means_since_the_last_one_and_the_last_learning_rate(folder):
    log = MetricsLog(folder)
    log.rewind(0, [], where(every=3, per_epoch=6))
    given(log, 1, 4.0, 2.0, 3.0)
    assert log.write(2) is None and log.pending == [] and len(log.unread) == 3
    assert log.settle(2) is None and len(log.pending) == 2
    record = log.write(3, {"test/all": 0.25})
    log.close()
    expected = {"step": 3, "epoch": 0.5, "stage": "train", "loss": 3.0, "learning_rate": 3.0, "test/all": 0.25}
    assert record == expected and lines(folder) == [expected] and log.pending == []
    assert len(list((folder / "tensorboard").glob("events*"))) == 1
    assert list(record)[3] == "loss"


def test_many_steps_in_one_call_make_the_same_lines_as_one_by_one(tmp_path):
    losses = np.random.RandomState(0).rand(25).astype(np.float32)
    logs = [MetricsLog(epath.Path(tmp_path / name)) for name in ("one", "many")]
    for log in logs:
        log.workdir.mkdir()
        log.rewind(10, [], where(every=4, per_epoch=10, offset=10))
    for step in range(25):
        given(logs[0], 11 + step, losses[step])
        logs[0].write(10 + step)
    logs[0].settle(35)
    for begin, end in ((0, 10), (10, 20), (20, 25)):
        rates = np.arange(11 + begin, 11 + end, dtype=np.float32)
        logs[1].add(10 + end, {"learning_rate": rates, "loss": losses[begin:end]})
        logs[1].write(10 + begin)
    logs[1].settle(35)
    assert logs[0].lines == logs[1].lines
    assert [json.loads(line)["step"] for line in logs[0].lines] == [14, 18, 20, 22, 26, 30, 34]
    assert logs[0].pending == logs[1].pending == [{"learning_rate": 35.0, "loss": float(losses[24])}]


def test_several_seeds_are_a_mean_and_each_ones_own(tmp_path):
    log = MetricsLog(epath.Path(tmp_path), seeds=(5, 6))
    log.rewind(0, [], where(every=2))
    log.add(2, {"loss": np.array([[1.0, 2.0], [3.0, 6.0]]), "learning_rate": np.full((2, 2), 0.5)})
    record = log.write(2, {"test/all": [0.5, 0.25]})
    assert record["loss"] == 3.0 and record["learning_rate"] == 0.5 and record["test/all"] == 0.375
    assert record["per_seed"] == {"loss": [2.0, 4.0], "test/all": [0.5, 0.25]}
    assert log.mean_of_last("loss", 2) == [2.0, 4.0]
    assert log.amend(2, {"test/few": [0.0, 1.0]})["per_seed"] == record["per_seed"] | {"test/few": [0.0, 1.0]}
    log.add(3, {"loss": np.array([[1.0, np.inf]]), "learning_rate": np.full((1, 2), 0.5)})
    with pytest.raises(FloatingPointError, match=r"not finite at step 3 \(seed 6\)"):
        log.settle(3)


def test_what_only_some_seeds_saw_is_the_mean_over_these(tmp_path):
    log = MetricsLog(epath.Path(tmp_path), seeds=(5, 6))
    log.rewind(0, [], where(every=2))
    seen = np.array([[np.nan, 2.0], [np.nan, 4.0]])  # the class was in batches of the second seed alone
    log.add(
        2,
        {
            "loss": np.ones((2, 2)),
            "learning_rate": np.ones((2, 2)),
            "class_loss/9": seen,
            "class_loss/8": seen * np.nan,
        },
    )
    record = log.write(2)
    assert record["class_loss/9"] == 3.0 and record["per_seed"]["class_loss/9"] == [None, 3.0]
    assert "class_loss/8" not in record and "class_loss/8" not in record["per_seed"]
    assert lines(tmp_path)[-1] == record


def test_rewinding_cuts_off_later_lines_and_amending_adds_to_the_last(folder):
    first = MetricsLog(folder)
    first.rewind(0, [], where(every=1))
    given(first, 1, 1.0, 2.0, 3.0)
    first.write(3)
    first.close()
    log = MetricsLog(folder)
    log.rewind(3, [{"loss": 9.0, "learning_rate": 0.1}], where(every=2))
    assert [r["step"] for r in lines(folder)] == [1, 2, 3]
    log.rewind(2, [], where(every=2))
    assert [r["step"] for r in lines(folder)] == [1, 2]
    log.rewind(3, [{"loss": 9.0, "learning_rate": 0.1}], where(every=2))
    given(log, 4, 11.0)
    assert log.write(4)["loss"] == 10.0
    log.amend(4, {"test/all": 0.5})
    log.close()
    assert [r["step"] for r in lines(folder)] == [1, 2, 4] and lines(folder)[-1]["test/all"] == 0.5


def test_the_mean_of_the_last_epoch_weighs_lines_by_their_steps(tmp_path):
    log = MetricsLog(epath.Path(tmp_path))
    log.rewind(0, [], where(every=3))
    given(log, 1, 50.0, 150.0, 100.0)
    log.write(3)
    log.rewind(3, [], where(every=2))
    given(log, 4, 1.0, 3.0, 6.0)
    log.write(6)
    assert log.mean_of_last("loss", 3) == pytest.approx([10 / 3])
    assert MetricsLog(epath.Path(tmp_path / "nothing")).mean_of_last("loss", 3) is None


def test_a_loss_that_is_not_finite_names_its_step(tmp_path):
    log = MetricsLog(epath.Path(tmp_path))
    log.rewind(5, [], where())
    given(log, 6, 1.0, float("nan"), 1.0)
    with pytest.raises(FloatingPointError, match="not finite at step 7; try a smaller"):
        log.settle(8)


def test_texts_are_replaced_whole(folder):
    write_atomically(folder / "results.json", "one")
    write_atomically(folder / "results.json", "two")
    assert (folder / "results.json").read_text() == "two"
    assert [p.name for p in folder.iterdir()] == ["results.json"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_run_without_steps_shows_its_stage_and_result():
    stream = io.StringIO()
    Progress(0, 64, stream).show({"step": 0, "epoch": 0.0, "stage": "tau", "test/all": 0.5})
    assert stream.getvalue() == "stage tau  test/all 50.0%\n"


def test_progress_is_a_live_line_on_a_terminal_and_plain_lines_elsewhere():
    record = {"step": 20, "epoch": 0.5, "loss": 1.25, "test/all": 0.5}
    for stream, live in ((Terminal(), True), (io.StringIO(), False)):
        progress = Progress(40, 64, stream)
        with progress.compiling(10):
            pass
        progress.show(record)
        assert "host" not in stream.getvalue()
        with progress.host(1):
            pass
        progress.show(record)
        progress.show(record)
        progress.end()
        text = stream.getvalue()
        for word in (
            "step 20/40",
            "epoch 0.50",
            "loss 1.2500",
            "test/all 50.0%",
            "images/s",
            "host",
            "ms a step",
            "left",
        ):
            assert word in text
        assert text.count("\n") == (1 if live else 3)
        assert ("\r" in text) == live
