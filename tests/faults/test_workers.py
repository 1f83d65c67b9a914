"""Worker processes: quiet after Ctrl-C and SIGTERM, whoever gets the signal; and what to do without shared memory."""

import errno
import multiprocessing
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from multiprocessing import shared_memory

import numpy as np
import pytest

from ltjax.commands.worker_pool import run_jobs
from ltjax.data.dataset import array_source
from ltjax.data.loading import prefetch
from ltjax.errors import InputError
from tests.data.loading.test_host_batches import batches
from tests.shared import ROOT

COMMAND = """
import signal, sys
import numpy as np
from ltjax.data.loading.host_batches import train_batches
from ltjax.data.sampling.epoch_shuffle import instance_balanced
from ltjax.data.dataset import array_source
from ltjax.data.augment.registry import TRANSFORMS
from ltjax.data.loading.prefetch import Watch

def stop(number, frame):
    sys.exit(100 + number)

if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    source = array_source(np.zeros((64, 64, 64, 3), np.uint8), np.zeros(64), np.arange(64))
    sampler = instance_balanced()
    iterator = train_batches(
        source, {"image": sampler}, {"image": sampler.tables(source.labels, 1)}, seed=0, batch_size=8,
        steps_per_epoch=8, start=0, stop=10**6, transform=TRANSFORMS["none"], workers=1,
        watch=Watch(report=lambda line: None))  # a slow machine is no matter here
    if sys.argv[1] == "running":
        next(iterator)
    print("ready", flush=True)
    while True:
        next(iterator)
"""


@pytest.mark.parametrize(
    ("when", "number"),
    [
        ("running", signal.SIGINT),
        pytest.param("running", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("starting", signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_a_signal_to_all_processes_of_a_command_ends_it_quietly(tmp_path, when, number):
    """As a terminal sends Ctrl-C, and Slurm SIGTERM: no trace of a worker, no warning of leaked shared memory."""
    path = tmp_path / "reads.py"
    path.write_text(COMMAND)
    with subprocess.Popen(
        [sys.executable, path, when],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)
        os.killpg(process.pid, number)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (100 + number, "")


def many(workers=1):
    images = np.zeros((16, 8, 8, 3), np.uint8)
    return batches(array_source(images, np.zeros(16), np.arange(16)), stop=10**6, workers=workers)


def test_full_shared_memory_is_one_line_that_says_what_to_do():
    """A worker that writes to full shared memory is killed by SIGBUS; those that see no signal end by themselves."""
    before = set(multiprocessing.active_children())
    iterator = many()
    next(iterator)
    (worker,) = set(multiprocessing.active_children()) - before
    os.kill(worker.pid, signal.SIGINT)
    os.kill(worker.pid, signal.SIGTERM)
    next(iterator)
    os.kill(worker.pid, signal.SIGBUS)
    with pytest.raises(ChildProcessError, match=r"shared memory is full .*--shm-size.*config.data.workers") as error:
        for _ in range(100):
            next(iterator)
    assert "\n" not in str(error.value)


def test_without_shared_memory_nothing_is_started(monkeypatch):
    def refused(*arguments, **options):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(shared_memory, "SharedMemory", refused)
    monkeypatch.setattr(prefetch, "SHARED_MEMORY", "/nowhere")
    with pytest.raises(
        InputError, match=r"^config.data.workers: .*there is no /nowhere\); set it to 0, or .*--shm-size"
    ) as error:
        many(workers=2)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_shared_memory_that_fills_while_workers_start_is_an_input_error():
    class Full:
        def __next__(self):
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self):
            pass

    ready = queue.Queue()
    prefetch._read(Full(), ready, threading.Event(), copy=True)
    with pytest.raises(InputError, match=r"config.data.workers: .*No space left.*set it to 0"):
        raise ready.get()


def test_a_pool_of_workers_without_shared_memory_says_what_to_do(monkeypatch):
    def refused(*arguments):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(multiprocessing.get_context("spawn").__class__, "RawArray", refused)
    with pytest.raises(
        InputError, match=r"2 worker processes cannot share memory .*: use --workers=1, or .*--shm-size"
    ):
        list(run_jobs(print, None, [1, 2], workers=2, total=2, advice=""))


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="mounting needs root")
def test_a_container_with_little_shared_memory(tmp_path):
    path = tmp_path / "reads.py"
    path.write_text(COMMAND)
    for size in ("100k", "500k"):
        mount = f"mount -t tmpfs -o size={size} tmpfs /dev/shm && exec {sys.executable} {path} running"
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", mount],
            env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        if "unshare" in done.stderr or "mount" in done.stderr:
            pytest.skip("mounting is not allowed")
        assert "--shm-size" in done.stderr.splitlines()[-1] and "config.data.workers" in done.stderr.splitlines()[-1]
