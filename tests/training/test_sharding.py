"""The same config on one device, on eight forced devices and in two processes: the same losses.

The images lie on the devices; in two processes also: each host reads and makes its own share.
"""

import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[2]
FILE = "--config=configs/mnist5k_reslt.py"
CONFIG = [
    "--config.epochs=1", "--config.log_every_steps=1", "--config.batch_size=32",
    "--config.data.imbalance=200", "--config.optimizer.schedule.warmup_epochs=1",
    "--config.data.validation_fraction=0.05", "--config.evaluation.batch_size=48",  # few images to evaluate on
]  # fmt: skip
pytest.importorskip("mlxtend")


def command(workdir, *arguments):
    """``arguments`` may begin with another config file."""
    file = [] if arguments and arguments[0].startswith("--config=") else [FILE]
    own, *rest = [*file, *arguments]
    return [sys.executable, "-m", "ltjax.main", own, *CONFIG, *rest, f"--workdir={workdir}"]


def environment(devices, **more):
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    return os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"} | more


def losses(workdir):
    """[steps], or [steps, seeds]"""
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return np.array([line.get("per_seed", line)["loss"] for line in lines])


def train(workdir, devices, *arguments):
    done = subprocess.run(
        command(workdir, *arguments), cwd=ROOT, env=environment(devices), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((workdir / "results.json").read_text())
    assert results["hardware"].startswith(f"{devices} x")
    return losses(workdir), results


def two_processes(workdir, *arguments):
    """The outputs (stdout, stderr) of both, of two devices each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        subprocess.Popen(
            command(workdir, *arguments),
            cwd=ROOT,
            env=environment(
                2,
                JAX_COORDINATOR_ADDRESS=f"127.0.0.1:{port}",
                JAX_NUM_PROCESSES="2",
                JAX_PROCESS_ID=str(i),
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    return outputs


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    return train(tmp_path_factory.mktemp("one") / "run", 1, "--config.dtype=float64")


def test_eight_devices_in_float64_are_one_device(one_device, tmp_path):
    eight, results = train(tmp_path / "run", 8, "--config.dtype=float64")
    assert len(eight) >= 20
    np.testing.assert_allclose(eight[:20], one_device[0][:20], rtol=1e-9)
    assert results["per_class"] == one_device[1]["per_class"]


@pytest.mark.slow
def test_two_seeds_on_eight_devices_in_float32_start_like_one_on_one_device(tmp_path):
    one, _ = train(tmp_path / "one", 1)
    eight, _ = train(tmp_path / "eight", 8, "--config.num_seeds=2")
    np.testing.assert_allclose(eight[0, 0], one[0], rtol=1e-5)
    assert abs(eight[0, 1] / one[0] - 1) > 1e-3


@pytest.mark.parametrize("on_device", [pytest.param("yes", marks=pytest.mark.slow), "no"])
def test_two_processes_are_one_device_and_the_first_writes_the_texts(one_device, tmp_path, on_device):
    outputs = two_processes(tmp_path / "run", "--config.dtype=float64", f"--config.data.on_device={on_device}")
    np.testing.assert_allclose(losses(tmp_path / "run")[:20], one_device[0][:20], rtol=1e-9)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert "2 process(es)" in results["hardware"] and results["per_class"] == one_device[1]["per_class"]
    assert "many" in outputs[0][0] and "report:" in outputs[0][0]
    assert "report:" not in outputs[1][0] and "step" not in outputs[1][1]


FEATURES = [
    "--config=configs/mnist5k_decoupling.py:crt,cached", "--config.second_stage_epochs=1", "--config.dtype=float64",
    "--config.evaluation.every_epochs=0",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("how", [["--config.data.on_device=yes"], ["--config.features.memory_mb=0"]])
def test_two_processes_make_the_features_of_one_and_train_alike_on_them(tmp_path, how):
    one, _ = train(tmp_path / "one", 1, *FEATURES)
    outputs = two_processes(tmp_path / "two", *FEATURES, *how)
    np.testing.assert_allclose(losses(tmp_path / "two"), one, rtol=1e-9)
    files = [np.load(next((tmp_path / name / "features").glob("*/features.npy"))) for name in ("one", "two")]
    np.testing.assert_allclose(files[1], files[0], rtol=1e-9, atol=1e-12)
    assert len(files[0]) > 600 and outputs[0][1].count(" x 64 ") == 1 and "features" not in outputs[1][1]
