"""The real command, killed at random moments: it goes on, and ends where an uninterrupted run ends, bit for bit."""

import functools
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
    sys.executable, "-m", "ltjax.main", "--config=configs/mnist5k_reslt.py", "--config.checkpoint.every_steps=10",
    "--config.log_every_steps=3", "--config.evaluation.every_epochs=2", "--config.batch_size=32",
    "--config.data.validation_fraction=0.1", "--config.evaluation.batch_size=64",
]  # fmt: skip
pytest.importorskip("mlxtend")


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Starts the command in a workdir; what one start compiled the next ones read."""
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compiled")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # compiled quickly rather than well
    }
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}

    def begin(workdir, epochs=3, backbone="tests.training.toy:Backbone"):
        own = [f"--config.epochs={epochs}", f"--config.model.backbone={backbone}", f"--workdir={workdir}"]
        command = [*COMMAND, *own]
        return subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)

    return begin


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
    return uninterrupted(start, tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture(scope="module")
def long(start):
    """Starts a run that takes long enough for ten kills."""
    return functools.partial(start, epochs=4, backbone="resnet32")


@pytest.fixture(scope="module")
def long_whole(long, tmp_path_factory):
    return uninterrupted(long, tmp_path_factory.mktemp("long") / "run")


def uninterrupted(start, workdir):
    """The workdir of a run from its beginning to its end."""
    process = start(workdir)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return workdir


def unfinished(workdir):
    """The folders of checkpoints that are being written, or were when a kill came."""
    folder = pathlib.Path(workdir) / "checkpoints" / "train"
    return {path.stat().st_ino for path in folder.glob("*orbax-checkpoint-tmp*")} if folder.exists() else set()


def run_killed(start, workdir, kills, rng, moments, first=logged):
    """Starts the command until it has been killed so often, then lets it end; how often it was killed in training.

    Args:
      start, workdir: as in the tests.
      kills: how many.
      rng: chooses the moments.
      moments: "start": in the first seconds, whatever it does then; "training": up to 0.8 s after it has gone on,
        which at first is after ``first`` and later after a checkpoint; "saving": within 60 ms after the
        next checkpoint is begun.
      first: what has gone on before the first kill: lines ``logged``, or checkpoints ``saved``.
    """
    in_training = 0
    for number in range(kills):
        moment, gone_on, old = rng.choice(moments), saved if number else first, unfinished(workdir)
        before, process = gone_on(workdir), start(workdir)
        deadline = time.monotonic() + 280

        def wait(until, process=process, deadline=deadline):
            while not until() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.002)

        if moment != "start":
            wait(lambda gone_on=gone_on, before=before: gone_on(workdir) > before)
        if moment == "saving":
            wait(lambda old=old: unfinished(workdir) - old)
        time.sleep(rng.uniform(0, {"start": 6, "training": 0.8, "saving": 0.06}[moment]))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            in_training += moment != "start"
        output, _ = process.communicate(timeout=300)
        if process.returncode == 0:
            return in_training
        assert process.returncode == -signal.SIGKILL, output
    process = start(workdir)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return in_training


def assert_same_end(whole, workdir):
    one, two = final_arrays(whole), final_arrays(workdir)
    assert one[0] == two[0]
    assert one[1].keys() == two[1].keys()
    for key in one[1]:
        np.testing.assert_array_equal(one[1][key], two[1][key], err_msg=key)
    results = [json.loads((folder / "results.json").read_text()) for folder in (whole, workdir)]
    assert results[0]["per_class"] == results[1]["per_class"]
    assert results[0]["resumes"] == []
    texts = [(folder / "metrics.jsonl").read_text() for folder in (whole, workdir)]
    assert texts[0] == texts[1]
    assert not list((workdir / "checkpoints" / "train").glob("*.damaged"))
    return [note["step"] for note in results[1]["resumes"]]


@pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_kills_in_training_change_no_bit(start, whole, tmp_path, times):
    rng = random.Random(os.environ.get("LTJAX_KILL_SEED", "20"))
    kills = run_killed(start, tmp_path / "run", times, rng, ("training",), saved if times == 1 else logged)
    assert kills == times, "the run ended before it could be killed so often"
    resumed = assert_same_end(whole, tmp_path / "run")
    assert resumed and min(resumed) > 0 and resumed == sorted(resumed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_a_hundred_kills_at_any_moment_change_no_bit(long, long_whole, tmp_path, seed):
    """Ten for each seed: while it starts, in training, and while a checkpoint is written."""
    kills = run_killed(long, tmp_path / "run", 10, random.Random(seed), ("start", "training", "saving", "saving"))
    assert kills >= 4, f"the run ended before it could be killed so often: {kills}"
    resumed = assert_same_end(long_whole, tmp_path / "run")
    assert min(resumed) > 0 and resumed == sorted(resumed)


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
