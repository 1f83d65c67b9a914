"""The pool of the commands: the same results with any number of workers; a dead worker is an error and no hang."""

import os
import signal

import pytest

from ltjax.commands.worker_pool import run_jobs
from ltjax.errors import InputError


def add(shared, job, advance):
    advance(job)
    return shared + job


def die(shared, job, advance):
    if job == shared:
        os.kill(os.getpid(), signal.SIGKILL)
    return job


def fail(shared, job, advance):
    raise InputError(f"job {job} of {shared}")


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_is_done_with_the_shared_object(workers, capsys):
    done = dict(run_jobs(add, 100, [1, 2, 3, 4], workers=workers, total=10, advice=""))
    assert done == {1: 101, 2: 102, 3: 103, 4: 104}
    assert "10/10" in capsys.readouterr().err


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_a_job_is_the_callers(workers):
    with pytest.raises(InputError, match=r"job [12] of data"):
        dict(run_jobs(fail, "data", [1, 2], workers=workers, total=2, advice=""))


def test_a_worker_that_is_killed_is_an_error_with_advice():
    with pytest.raises(InputError, match="a worker process died, perhaps for lack of memory; use fewer"):
        dict(run_jobs(die, 2, [1, 2, 3], workers=2, total=3, advice="use fewer"))


def test_without_jobs_nothing_is_printed(capsys):
    assert list(run_jobs(add, 0, [], workers=2, total=0, advice="")) == []
    assert capsys.readouterr().err == ""
