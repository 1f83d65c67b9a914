"""Signals while a run trains: together, twice, from a terminal with worker processes."""

import os
import signal
import subprocess
import sys

import pytest

from ltjax.errors import InputError
from ltjax.training import interrupt as interrupts
from ltjax.training.interrupt import Interrupt

TWICE = """
import os, signal, time
from ltjax.training import interrupt as interrupts
with interrupts.Interrupt() as interrupt:
    os.kill(os.getpid(), signal.SIGTERM)
    interrupts.time.monotonic = lambda: 1e9
    os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.mark.parametrize("signals", [(signal.SIGTERM, signal.SIGINT), (signal.SIGINT,) * 3])
def test_signals_that_come_together_are_one(signals):
    with Interrupt() as interrupt:
        for signum in signals:
            os.kill(os.getpid(), signum)
        assert interrupt.agreed() == signals[0]


def test_a_later_signal_ends_the_process_at_once_with_one_line():
    ended = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, text=True, timeout=100)
    assert ended.returncode == -signal.SIGINT
    assert ended.stderr.strip() == "ended at once by SIGINT: run the same command to resume from the last save"


@pytest.mark.parametrize("jump", [-1e6, 1e6])
def test_a_clock_that_jumps_changes_nothing(monkeypatch, jump):
    """The wall clock is not asked."""
    monkeypatch.setattr(interrupts.time, "time", lambda: jump)
    test_signals_that_come_together_are_one((signal.SIGTERM, signal.SIGINT))


def test_a_workdir_that_was_taken_over_is_no_reason_to_save():
    with pytest.raises(InputError, match="taken over by x"):
        Interrupt(lambda: "taken over by x").agreed()
