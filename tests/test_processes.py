"""Worker processes ignore Ctrl-C and do not outlive their parent."""

import pathlib
import signal
import subprocess
import sys
import time

import pytest

from ltjax.processes import without_interrupts
from tests.shared import ROOT

PARENT = """
import multiprocessing, sys, time
from tests.test_processes import wait_for_work
if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=wait_for_work)
    child.start()
    print(child.pid, flush=True)
    time.sleep(60)
"""

# Dies with shared memory that nobody has removed, as a killed run does.
LEAVES = """
import os
from ltjax.processes import tidy_up_quietly
tidy_up_quietly()
from multiprocessing import shared_memory
print(shared_memory.SharedMemory(create=True, size=10).name, flush=True)
os._exit(0)
"""


def wait_for_work():
    from ltjax.processes import end_with_parent

    end_with_parent()
    time.sleep(60)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_sigint_is_ignored_inside_and_as_before_after():
    before = signal.getsignal(signal.SIGINT)
    with without_interrupts():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGINT) is before


def test_a_worker_ends_when_its_parent_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    with subprocess.Popen([sys.executable, str(script)], cwd=ROOT, env=environment, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        time.sleep(2)
        assert alive(pid)
        parent.kill()
    end = time.monotonic() + 30
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.1)
    assert not alive(pid)


@pytest.mark.parametrize("options", [[], ["-W", "default"]], ids=["", "warnings"])
def test_shared_memory_of_a_killed_process_is_removed_without_a_warning(options):
    """Also where the user asked for all warnings; "leaked shared_memory objects" is nothing to do anything about."""
    done = subprocess.run(
        [sys.executable, *options, "-c", LEAVES], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not pathlib.Path("/dev/shm", done.stdout.strip()).exists()
