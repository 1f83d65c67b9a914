"""Two runs in one workdir: the second is refused, and no dead run keeps a workdir."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import time

import pytest
from etils import epath

from ltjax import models
from ltjax.commands.cli import guarded
from ltjax.errors import InputError
from ltjax.training import loop, prepare
from ltjax.training.workdir import lock as locks
from ltjax.training.workdir.lock import NAME, Lock, locked
from tests.training import toy
from tests.training.workdir.test_metrics_log import Bucket

# Takes the lock as a run does, without JAX, and keeps it.
HOLDER = """
import fcntl, os, sys, time
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(file, fcntl.LOCK_EX)
os.pwrite(file, sys.argv[2].replace("PID", str(os.getpid())).replace("BORN", open(f"/proc/{os.getpid()}/stat").read()
    .rpartition(")")[2].split()[19]).encode(), 0)
print("held", flush=True)
time.sleep(600)
"""
ELSEWHERE = {"host": "node7", "pid": 1, "since": "2026-01-01 00:00:00 UTC", "boot": "another", "token": "other"}


@pytest.fixture
def toys(monkeypatch):
    monkeypatch.setattr(prepare, "build", toy.build)
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)


@pytest.fixture
def shared(monkeypatch):
    """A shared file system without flock, on which leases are short."""

    def refused(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    monkeypatch.setattr(locks, "LEASE", 0.3)
    monkeypatch.setattr(locks, "BEAT", 0.02)
    monkeypatch.setattr(locks, "SETTLE", 0.05)


@pytest.fixture
def folder(tmp_path):
    return epath.Path(tmp_path)


@pytest.fixture
def bucket(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, "gcs", Bucket)
    path = epath.Path("gs://bucket") / tmp_path.name
    path.mkdir(parents=True, exist_ok=True)
    return path


def leave(folder, content):
    text = json.dumps(content) if isinstance(content, dict) else content
    (folder / NAME).write_bytes(text if isinstance(text, bytes) else text.encode())


def content_of(folder):
    return json.loads((folder / NAME).read_text())


def never(line):
    pytest.fail(f"waited: {line}")


def test_the_second_run_is_one_line_that_names_the_first_and_status_2(tmp_path, toys, capsys):
    with locked(epath.Path(tmp_path)):
        capsys.readouterr()
        assert guarded(lambda argv: loop.train(toy.config(), str(tmp_path)), []) == 2
        error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"process {os.getpid()} on " in error and "use another --workdir" in error
    assert sorted(os.listdir(tmp_path)) == []  # nothing written, and the lock is gone with its holder


def test_a_finished_run_needs_no_lock(tmp_path, toys, monkeypatch):
    results = loop.train(toy.config(epochs=1), str(tmp_path))
    assert not (tmp_path / NAME).exists()
    monkeypatch.setattr(loop, "locked", lambda folder: pytest.fail("locked"))
    with locked(epath.Path(tmp_path)):
        assert loop.train(toy.config(epochs=1), str(tmp_path)) == results


def test_a_killed_runs_lock_is_taken_over_at_once(folder):
    """Also where its worker still has it for a moment, and whatever the ages of the file say."""
    mine = json.dumps({key: value for key, value in locks._me().items() if key not in ("pid", "born")})
    text = mine[:-1] + ', "pid": PID, "born": "BORN"}'
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, folder / NAME, text], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"is in use by process {holder.pid} on "):
            Lock(folder, never).take()
    finally:
        holder.kill()
        holder.wait()
    os.utime(folder / NAME, (4e9, 4e9))  # a clock that was ahead
    with locked(folder, never):
        assert content_of(folder)["pid"] == os.getpid()


def test_workers_of_a_killed_run_are_waited_for(folder, monkeypatch):
    leave(folder, locks._me() | {"pid": 2**22 - 1})
    worker, pauses = os.open(folder / NAME, os.O_RDWR), []
    fcntl.flock(worker, fcntl.LOCK_EX)

    def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == 3:
            os.close(worker)

    monkeypatch.setattr(time, "sleep", pause)
    with locked(folder, never):
        assert len(pauses) == 3


@pytest.mark.parametrize("left", [b"", b"\0" * 512, b"{", b"null", b"[1]", b"\xff\xfe", ELSEWHERE])
def test_on_a_local_disk_what_the_file_holds_decides_nothing(folder, left):
    assert locks.on_local_disk(folder)
    leave(folder, left)
    with locked(folder, never) as lock:
        lock.confirm()
        assert content_of(folder)["pid"] == os.getpid()
    assert not (folder / NAME).exists()


@pytest.mark.parametrize("left", [b"", b"{", b"null", ELSEWHERE])
def test_elsewhere_a_lease_that_nobody_renews_is_taken_over_after_its_time(folder, shared, left):
    leave(folder, left)
    reports, began = [], time.monotonic()
    with locked(folder, reports.append) as lock:
        lock.confirm()
        assert time.monotonic() - began >= 0.3
        assert content_of(folder)["pid"] == os.getpid()
    assert len(reports) == 1 and "waiting up to 0 s for signs of life of " in reports[0]


@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_a_lease_that_is_renewed_is_respected(request, place, shared, monkeypatch):
    folder = request.getfixturevalue(place)
    monkeypatch.setattr(locks, "LEASE", 60.0)  # it ends with the first renewal
    with locked(folder) as lock:
        lock.confirm()
        renewals = content_of(folder)["renewals"]
        monkeypatch.setattr(locks, "_boot", lambda: "of another machine")
        with pytest.raises(InputError, match=f"is in use by process {os.getpid()} on"):
            Lock(folder, lambda line: None).take()
        assert content_of(folder)["renewals"] > renewals
    assert not (folder / NAME).exists()


def test_without_flock_the_same_machine_knows_its_dead_by_number_and_birth(folder, shared, monkeypatch):
    leave(folder, locks._me())
    with pytest.raises(InputError, match="is in use by process"):
        Lock(folder, never).take()
    for left in ({"born": "1"}, {"pid": 2**22 - 1}):  # the number is another process's now; there is none
        leave(folder, locks._me() | left)
        with locked(folder, never):
            pass


@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_a_run_whose_lease_was_taken_over_stops_and_saves_nothing(request, place, shared):
    folder = request.getfixturevalue(place)
    with locked(folder) as lock:
        leave(folder, ELSEWHERE)
        with pytest.raises(InputError, match="was taken over by process 1 on node7, since 2026-01-01"):
            lock.check()
    assert content_of(folder) == ELSEWHERE  # the other run's, still there


def test_a_run_that_lost_its_workdir_ends_before_it_saves(tmp_path, toys, monkeypatch):
    add = loop.MetricsLog.add

    def losing(self, step, metrics):
        add(self, step, metrics)
        if step == 2:
            leave(tmp_path, ELSEWHERE)
            (one,) = [one for one in LOCKS if one.folder == epath.Path(tmp_path)]
            one._renew()

    LOCKS = []
    take = Lock.take
    monkeypatch.setattr(Lock, "take", lambda self: (LOCKS.append(self), take(self)))
    monkeypatch.setattr(loop.MetricsLog, "add", losing)
    with pytest.raises(InputError, match="was taken over by process 1 on node7"):
        loop.train(toy.config(), str(tmp_path))
    assert os.listdir(tmp_path / "checkpoints" / "train") == ["0"]


def test_two_that_begin_at_the_same_moment_are_one_in_the_end(bucket, shared):
    with locked(bucket) as first:
        (bucket / NAME).unlink()  # as the second saw it
        second = Lock(bucket, never)
        second.take()
        with pytest.raises(InputError, match="was taken over by"):
            first.confirm()
        second.confirm()
        second.release()


def test_a_lock_that_somebody_removed_is_made_again(folder):
    with locked(folder) as lock:
        (folder / NAME).unlink()
        lock._renew()
        assert content_of(folder)["pid"] == os.getpid()
        with pytest.raises(InputError, match="is in use"):
            Lock(folder, never).take()
    assert not (folder / NAME).exists()


@pytest.mark.parametrize("reason", [errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written_is_one_line(folder, monkeypatch, reason):
    def refused(*_):
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(InputError, match=rf"--workdir={folder}: cannot be written \({os.strerror(reason)}\)"):
        Lock(folder).take()


@pytest.mark.slow
def test_two_commands_at_once(tmp_path):
    command = [sys.executable, "-m", "ltjax.main", "--config=configs/mnist5k_ce.py:epochs=1"]
    command += [f"--workdir={tmp_path / 'run'}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    one, two = (subprocess.Popen([*command, f"--config.seed={seed}"], **pipes) for seed in (0, 1))
    outputs = [process.communicate(timeout=300)[0] for process in (one, two)]
    statuses = [one.returncode, two.returncode]
    assert sorted(statuses) == [0, 2], outputs
    refused = outputs[statuses.index(2)]
    assert refused.count("\n") == 1 and "is in use by process" in refused
    seed = statuses.index(0)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["seed"] == seed
    assert json.loads((tmp_path / "run" / "results.json").read_text())["seeds"] == [seed]


class CloudError(Exception):
    """An error of a bucket's client: no OSError, and without strerror."""


def test_errors_of_a_buckets_client_end_neither_the_heartbeat_nor_the_run(bucket, shared, monkeypatch):
    with locked(bucket) as lock:
        with monkeypatch.context() as patch:

            def fails(self):
                raise CloudError("503, backend error")

            patch.setattr(Lock, "_read", fails)
            lock.check()
        renewals = content_of(bucket)["renewals"]
        lock.check()
        assert content_of(bucket)["renewals"] > renewals


def test_a_bucket_that_cannot_be_read_at_the_start_is_one_line(bucket, monkeypatch):
    def fails(self):
        raise CloudError("403,\n forbidden")

    monkeypatch.setattr(Lock, "_write", fails)
    with pytest.raises(InputError, match=r"cannot be written \(403, forbidden\); use another --workdir"):
        Lock(bucket).take()


@pytest.fixture
def held_on_nfs(folder, monkeypatch):
    """A file server that keeps a flock, whoever asks for it."""

    def held(*_):
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(fcntl, "flock", held)
    monkeypatch.setattr(locks, "on_local_disk", lambda folder: False)
    for name, seconds in (("LEASE", 0.2), ("BEAT", 0.02), ("SETTLE", 0.02)):
        monkeypatch.setattr(locks, name, seconds)
    return folder


def test_a_flock_of_a_machine_that_is_gone_is_taken_over_after_the_lease(held_on_nfs):
    leave(held_on_nfs, ELSEWHERE)
    reports = []
    with locked(held_on_nfs, reports.append) as lock:
        lock.confirm()
        assert content_of(held_on_nfs)["pid"] == os.getpid() and not lock._certain
    assert len(reports) == 1 and "for signs of life of process 1 on node7" in reports[0]


def test_a_flock_of_a_living_machine_is_respected(held_on_nfs, monkeypatch):
    leave(held_on_nfs, ELSEWHERE)
    monkeypatch.setattr(time, "sleep", lambda seconds: leave(held_on_nfs, ELSEWHERE | {"renewals": 2}))
    with pytest.raises(InputError, match="is in use by process 1 on node7"):
        Lock(held_on_nfs, lambda line: None).take()
    leave(held_on_nfs, locks._me())  # of this machine: no need to watch
    with pytest.raises(InputError, match=f"is in use by process {os.getpid()} on"):
        Lock(held_on_nfs, never).take()


def test_a_lock_that_the_first_process_lost_ends_all_of_them(folder, monkeypatch):
    """The others have no lock, and would wait in their next exchange for the first one."""
    other = Lock(folder)
    monkeypatch.setattr(locks, "of_first", lambda text: "was taken over by process 1 on node7")
    for meets in (other.check, other.confirm):
        with pytest.raises(InputError, match="was taken over by process 1 on node7"):
            meets()
