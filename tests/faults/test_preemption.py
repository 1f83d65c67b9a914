"""Several processes: a preemption notice to one of them saves all at the same step; one lock for all."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from etils import epath

from ltjax.training.workdir.lock import NAME, locked
from tests.shared import ROOT

pytestmark = pytest.mark.slow


def start(workdir, *words):
    """Two processes of one run."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    shared = os.environ | {"JAX_NUM_PROCESSES": "2", "JAX_COORDINATOR_ADDRESS": address, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "tests.faults.run_toy", str(workdir), *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
    return [subprocess.Popen(command, env=shared | {"JAX_PROCESS_ID": str(n)}, **pipes) for n in range(2)]


def ended(processes):
    """[(status, stdout, stderr)]"""
    try:
        outputs = [process.communicate(timeout=240) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *output) for process, output in zip(processes, outputs, strict=True)]


@pytest.mark.parametrize("told", [0, 1])
def test_a_notice_to_one_process_saves_all_at_the_same_step(tmp_path, told):
    words = ("epochs=60", "checkpoint__every_steps=1000", "log_every_steps=5")
    run, log = start(tmp_path, *words), tmp_path / "metrics.jsonl"
    while not (log.exists() and log.stat().st_size) and all(process.poll() is None for process in run):
        time.sleep(0.05)
    run[told].send_signal(signal.SIGTERM)
    for status, _, error in ended(run):
        assert status == 143, error
        assert "stopped by SIGTERM; the state is saved: run the same command to resume" in error
        assert "Traceback" not in error
    steps = sorted(int(name) for name in os.listdir(tmp_path / "checkpoints" / "train") if name.isdigit())
    assert len(steps) == 2 and steps[0] == 0 and 0 < steps[1] < 300
    assert not (tmp_path / NAME).exists()
    assert [status for status, _, _ in ended(start(tmp_path, *words))] == [0, 0]
    assert [resume["step"] for resume in json.loads((tmp_path / "results.json").read_text())["resumes"]] == steps[1:]


def test_all_processes_of_a_second_run_are_refused_with_one_line(tmp_path):
    with locked(epath.Path(tmp_path)):
        for status, _, error in ended(start(tmp_path)):
            assert status == 2
            lines = [line for line in error.splitlines() if "error" in line]
            assert len(lines) == 1 and f"is in use by process {os.getpid()} on " in lines[0], error
