"""Runs of ltjax.main on forced devices of the CPU, in one process or in two."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np

from tests.shared import ROOT


def environment(devices, **more):
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    quickly = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # compiled quickly rather than well
    return os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"} | quickly | more


def losses(workdir):
    """[steps], or [steps, seeds]"""
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return np.array([line.get("per_seed", line)["loss"] for line in lines])


def started(command, devices):
    """() -> the process that was started, in a session of its own, with so many devices."""
    return lambda: subprocess.Popen(
        command, cwd=ROOT, env=environment(devices, PYTHON=sys.executable), text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def stopped(start, workdir, beyond):
    """Starts the run with ``start`` and stops it by SIGTERM after its first checkpoint beyond a step: the last step."""
    folder = workdir / "checkpoints" / "train"

    def last():
        return max((int(p.name) for p in folder.iterdir() if p.name.isdigit()), default=0) if folder.exists() else 0

    with start() as process:
        while last() <= beyond and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=300)
    assert "the state is saved" in output, output
    return last()


def launched(workdir, *arguments, devices=2, **more):
    """A run in two processes of so many devices each, started by launch/local.sh: (losses, results, one log)."""
    done = subprocess.run(
        [ROOT / "launch" / "local.sh", "--processes=2", *arguments, f"--workdir={workdir}"], cwd=ROOT,
        env=environment(devices, PYTHON=sys.executable, **more), capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((workdir / "results.json").read_text())
    assert "2 process(es)" in results["hardware"]
    return losses(workdir), results, done.stdout
