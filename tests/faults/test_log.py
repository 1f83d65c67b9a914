"""What a run only reports: TensorBoard events and the metrics log, damaged or on a disk that takes nothing."""

import builtins
import errno
import json
import os
import pathlib
import struct
from types import SimpleNamespace

import numpy as np
import pytest
from etils import epath
from tensorboardX.proto.event_pb2 import Event

from ltjax.data.storage.paths import write_atomically
from ltjax.training.workdir import events, metrics_log
from ltjax.training.workdir.events import Events
from ltjax.training.workdir.metrics_log import MetricsLog
from tests.training.workdir.test_metrics_log import given, lines, where


def fails(monkeypatch, name, reason=errno.ENOSPC):
    """Opening files of this name for writing fails; returns a function that mends it."""
    whole = {"builtins": builtins.open, "pathlib": pathlib.Path.open}

    def opened(original):
        def open_one(path, mode="r", *rest, **options):
            if mode[0] in "wa" and name in str(path) and failing:
                raise OSError(reason, os.strerror(reason), str(path))
            return original(path, mode, *rest, **options)

        return open_one

    failing = [True]
    monkeypatch.setattr(builtins, "open", opened(whole["builtins"]))
    monkeypatch.setattr(pathlib.Path, "open", opened(whole["pathlib"]))
    return failing.clear


def written(folder):
    """The events in the files of the folder, in order."""
    found = []
    for path in sorted((folder / "tensorboard").iterdir()):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            found.append(Event.FromString(content[12 : 12 + length]))
            content = content[16 + length :]
    return found


def test_events_have_the_numbers_and_where_the_run_began_again(tmp_path):
    one = Events(epath.Path(tmp_path), 5, pytest.fail)
    one.scalar("loss/a", 0.5, 7)
    assert not list((tmp_path / "tensorboard").iterdir())  # nothing is written in between
    one.flush()
    one.scalar("loss/a", 0.25, 8)
    one.flush()
    version, start, *scalars = written(tmp_path)
    assert version.file_version == "brain.Event:2" and start.step == 5 and start.session_log.status == 1
    assert [(e.step, e.summary.value[0].tag, e.summary.value[0].simple_value) for e in scalars] == [
        (7, "loss/a", 0.5),
        (8, "loss/a", 0.25),
    ]


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE])
def test_events_that_cannot_be_written_are_one_line_and_never_a_wait(tmp_path, monkeypatch, reason):
    reports = []
    one = Events(epath.Path(tmp_path), 1, reports.append)
    fails(monkeypatch, "tfevents", reason)
    monkeypatch.setattr(events, "FLUSH", 0.0)
    for step in range(2000):
        one.scalar("loss", 0.5, step)
    one.flush()
    assert len(reports) == 1
    assert f"tensorboard: cannot be written ({os.strerror(reason)}); the run goes on without" in reports[0]


def test_a_folder_for_events_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "tensorboard").write_text("a file")
    reports = []
    one = Events(epath.Path(tmp_path), 1, reports.append)
    one.scalar("loss", 0.5, 1)
    one.flush()
    assert len(reports) == 1 and "the run goes on without TensorBoard events" in reports[0]


def test_damaged_lines_of_the_log_are_reported_and_cost_nothing_else(tmp_path):
    good = [json.dumps({"step": step, "epoch": 1.0, "stage": "train", "loss": 1.0}) for step in (1, 2, 3, 4)]
    torn = good[0] + '\n{"step": 2, "lo\n\0\0\0\n[]\nnull\n' + good[2] + "\n" + good[1] + "\n" + good[3] + '\n{"step'
    (tmp_path / "metrics.jsonl").write_bytes(torn.encode() + b"\xff\xfe")
    reports = []
    log = MetricsLog(epath.Path(tmp_path), report=reports.append)
    assert [json.loads(line)["step"] for line in log.lines] == [1, 3, 4]
    assert reports == [f"{tmp_path / 'metrics.jsonl'}: line 2 and 4 more cannot be read; the log goes on without"]
    assert log.has(1, 3, 4) and not log.has(2)
    log.rewind(4, [], where())
    assert [record["step"] for record in lines(tmp_path)] == [1, 3, 4]


def test_a_log_that_cannot_be_written_for_a_while_loses_no_line(tmp_path, monkeypatch):
    reports = []
    log = MetricsLog(epath.Path(tmp_path), report=reports.append)
    log.rewind(0, [], where(every=1))
    given(log, 1, 1.0)
    log.write(1)
    mend = fails(monkeypatch, "metrics.jsonl")
    given(log, 2, 2.0, 3.0)
    log.settle(3)
    log.sync()
    assert [record["step"] for record in lines(tmp_path)] == [1] and len(reports) == 1
    mend()
    log.settle(3)
    assert [record["step"] for record in lines(tmp_path)] == [1, 2, 3] and len(reports) == 1
    assert log.amend(3, {"test/all": 0.5})["loss"] == 3.0


def test_the_evaluation_of_a_lost_last_line_gets_a_line_of_its_own(tmp_path):
    log = MetricsLog(epath.Path(tmp_path))
    log.rewind(0, [], where(every=1, per_epoch=2))
    given(log, 1, 1.0)
    log.write(1)
    assert log.amend(4, {"test/all": 0.5}) == {"step": 4, "epoch": 2.0, "stage": "train", "test/all": 0.5}
    assert [record["step"] for record in lines(tmp_path)] == [1, 4]


def test_what_is_written_atomically_survives_a_power_cut_and_leaves_nothing_when_it_fails(tmp_path, monkeypatch):
    synced, sync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (synced.append(os.path.isdir(f"/proc/self/fd/{file}")), sync(file)))
    write_atomically(tmp_path / "one", "text")
    assert synced == [False, True]  # the file, then its name in the folder

    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "one", np.zeros(9).tobytes())
    assert os.listdir(tmp_path) == ["one"] and (tmp_path / "one").read_text() == "text"


def test_lines_are_on_the_disk_before_a_checkpoint_counts_on_them(tmp_path, monkeypatch):
    log = MetricsLog(epath.Path(tmp_path))
    log.rewind(0, [], where(every=1))
    given(log, 1, 1.0)
    synced = []
    monkeypatch.setattr(metrics_log.os, "fsync", lambda file: synced.append(os.readlink(f"/proc/self/fd/{file}")))
    log.settle(1)
    assert synced == [str(tmp_path / "metrics.jsonl")]


def test_errors_of_a_buckets_client_are_lines_too(tmp_path, monkeypatch):
    """They are no OSErrors, and have no strerror."""
    reports = []

    def fails(*given, **options):
        raise Exception("503,\n backend error")

    log = MetricsLog(epath.Path(tmp_path), report=reports.append)
    monkeypatch.setattr(metrics_log, "write_atomically", fails)
    log.rewind(0, [], where(every=1))
    assert reports == [f"{tmp_path}/metrics.jsonl: cannot be written (503, backend error); tried again at every save"]
    events = log.events
    events.appends, events.path = False, SimpleNamespace(write_bytes=fails)
    events.flush()
    assert "(Exception: 503, backend error); the run goes on without TensorBoard events" in reports[1]
    monkeypatch.undo()
    given(log, 1, 1.0)
    log.settle(1)
    assert [record["step"] for record in lines(tmp_path)] == [1]
