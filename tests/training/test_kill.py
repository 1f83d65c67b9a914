"""The real command, killed at random moments: it goes on, and ends where an uninterrupted run ends, bit for bit."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.shared import ROOT

COMMAND = [
    sys.executable, "-m", "ltjax.main", "--config=configs/mnist5k_reslt.py", "--config.epochs=4",
    "--config.checkpoint.every_steps=5", "--config.log_every_steps=3", "--config.evaluation.every_epochs=2",
    "--config.batch_size=32", "--config.data.validation_fraction=0.1", "--config.evaluation.batch_size=64",
]  # fmt: skip
SOME, MANY = 2, pytest.param(6, marks=pytest.mark.slow)  # kills
pytest.importorskip("mlxtend")


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Starts the command in a workdir; what one start compiled the next ones read."""
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compiled")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return lambda workdir: subprocess.Popen([*COMMAND, f"--workdir={workdir}"], cwd=ROOT, env=environment, **pipes)


def logged(workdir):
    path = pathlib.Path(workdir) / "metrics.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


def saved(workdir):
    """The last step that has a whole checkpoint; 0 without one."""
    folder = pathlib.Path(workdir) / "checkpoints" / "train"
    return max((int(p.name) for p in folder.iterdir() if p.name.isdigit()), default=0) if folder.exists() else 0


def final_arrays(workdir):
    """The bytes of the last step's parameters, by path."""
    import orbax.checkpoint as ocp

    folder = pathlib.Path(workdir) / "checkpoints" / "train"
    step = max(int(p.name) for p in folder.iterdir() if p.name.isdigit())
    restored = ocp.StandardCheckpointer().restore(folder / str(step) / "state")
    import jax

    return step, {jax.tree_util.keystr(p): np.asarray(v) for p, v in jax.tree_util.tree_leaves_with_path(restored)}


@pytest.fixture(scope="module")
def whole(start, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole") / "run"
    process = start(workdir)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return workdir


@pytest.mark.parametrize("most", [SOME, MANY])
def test_kills_at_random_moments_change_no_bit(start, whole, tmp_path, most):
    workdir, rng, kills = tmp_path / "run", random.Random(os.environ.get("LTJAX_KILL_SEED", "20")), 0
    for _ in range(40):
        # Somewhere between "it has begun to train", the first time even before it has saved anything, and "some steps
        # and checkpoints later".
        gone_on = saved if kills else logged
        before, process = gone_on(workdir), start(workdir)
        if kills < most:
            deadline = time.monotonic() + 280
            while gone_on(workdir) <= before and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            time.sleep(rng.uniform(0, 0.8))
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                kills += 1
        output, _ = process.communicate(timeout=300)
        if process.returncode == 0:
            break
    assert process.returncode == 0, output
    assert kills >= min(most, 5), f"the run ended before it could be killed so often: {kills}"
    one, two = final_arrays(whole), final_arrays(workdir)
    assert one[0] == two[0]
    assert one[1].keys() == two[1].keys()
    for key in one[1]:
        np.testing.assert_array_equal(one[1][key], two[1][key], err_msg=key)
    results = [json.loads((folder / "results.json").read_text()) for folder in (whole, workdir)]
    assert results[0]["per_class"] == results[1]["per_class"]
    assert results[0]["resumes"] == []
    resumed = [note["step"] for note in results[1]["resumes"]]
    assert len(resumed) >= kills - 1 and min(resumed) > 0 and resumed == sorted(resumed)
    texts = [(folder / "metrics.jsonl").read_text() for folder in (whole, workdir)]
    assert texts[0] == texts[1]


def test_a_finished_run_prints_its_result_again_at_once(start, whole):
    page = whole / "report" / "report.md"
    pictures = {path.name for path in page.parent.glob("*.png")}
    assert pictures == {"training.png", "accuracy_per_class.png", "confusion.png", "weight_norms.png"}
    page.unlink()  # as a kill between the results and their report leaves it
    process = start(whole)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and page.exists()
    assert "many" in output and "step " not in output


@pytest.mark.parametrize(
    "signum, status", [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)]
)
def test_a_signal_ends_the_command_with_its_status_and_one_line(start, signum, status, tmp_path):
    process = start(tmp_path / "run")
    while logged(tmp_path / "run") < 1 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signum)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == status, output
    assert "the state is saved: run the same command to resume" in output and "Traceback" not in output
    results = tmp_path / "run" / "checkpoints" / "train"
    assert max(int(p.name) for p in results.iterdir() if p.name.isdigit()) > 0
