"""A full disk, and a process that may not open more files: one line, and what was saved stays."""

import contextlib
import errno
import logging
import os

import pytest
from etils import epath

from ltjax import models
from ltjax.commands.cli import guarded, one_line
from ltjax.training import loop, prepare
from ltjax.training.workdir.checkpoint import checkpoints
from tests.faults.test_log import fails
from tests.training import toy


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(prepare, "build", toy.build)
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)


def test_a_full_disk_is_one_line_and_the_run_goes_on_where_it_was(tmp_path, monkeypatch, capfd):
    mend = fails(monkeypatch, "checkpoints/train/6")
    status = guarded(lambda argv: loop.train(toy.config(), str(tmp_path)) and 0, [])
    lines = [line for line in capfd.readouterr().err.splitlines() if not line.startswith(("step ", "data: "))]
    assert status == 1 and len(lines) == 1, lines
    assert lines[0].startswith(f"error: {tmp_path}/checkpoints/train: the checkpoint could not be written; the disk is")
    assert "run the same command to resume" in lines[0]
    assert {"0", "3"} <= set(os.listdir(tmp_path / "checkpoints" / "train"))
    mend()
    assert [resume["step"] for resume in loop.train(toy.config(), str(tmp_path))["resumes"]] == [3]


@pytest.mark.parametrize("name", ["absl", "asyncio", "concurrent.futures"])
@pytest.mark.parametrize("fails", [True, False])
def test_traces_of_other_threads_do_not_drown_the_line(tmp_path, name, fails):
    """They log an error that is raised as well, also late: seen with tensorstore on a disk that is really full.

    Otherwise the loggers are as before, for a program that trains and does other work, too.
    """
    logger = logging.getLogger(name)
    before = logger.level
    try:
        logger.setLevel(logging.ERROR)
        with checkpoints(epath.Path(tmp_path), keep=2) as saved:
            assert logger.level == logging.CRITICAL
            with contextlib.suppress(OSError), saved._written():
                if fails:
                    raise OSError(errno.ENOSPC, "No space left on device")
        assert logger.level == (logging.CRITICAL if fails else logging.ERROR)
    finally:
        logger.setLevel(before)


def test_too_many_open_files_says_what_to_do():
    line = one_line(OSError(errno.EMFILE, os.strerror(errno.EMFILE), "/psm_1"))
    assert line == "/psm_1: Too many open files; raise the limit of this shell (ulimit -n 1024), or use fewer workers"
