"""Damaged files of a workdir: each is one line, and is made again from what is left."""

import builtins
import errno
import json
import os
import pathlib
import shutil

import pytest
from etils import epath

from ltjax import models
from ltjax.commands import train as command
from ltjax.commands.cli import guarded
from ltjax.errors import InputError
from ltjax.training import loop, prepare
from ltjax.training.open_stage import resumes
from ltjax.training.workdir.skipped import skipped_records
from tests.training import toy

BROKEN = {
    "empty": b"",
    "list": b"[]",
    "null": b"null",
    "cut": b'{"seed": 0, "da',
    "binary": b"\x80\x00\xff",
    "deep": b"[" * 9999,
}


@pytest.fixture(autouse=True, scope="module")
def toys():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "build", toy.build)
        patch.setitem(models.BACKBONES, "toy", toy.Backbone)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run and its results."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    return folder, loop.train(toy.config(), str(folder))


@pytest.fixture
def run(whole, tmp_path):
    """A copy of the finished run."""
    shutil.copytree(whole[0], tmp_path / "run")
    return tmp_path / "run"


def finished(folder, monkeypatch, capsys):
    """The command on a finished run: status, stdout, lines of stderr."""
    config = toy.config()
    monkeypatch.setattr("ltjax.methods.configure.from_command_line", lambda argv: (config, str(folder)))
    monkeypatch.setattr(command, "use_devices", lambda dtype: None)
    capsys.readouterr()
    status = guarded(command.run, [])
    captured = capsys.readouterr()
    return status, captured.out, captured.err.splitlines()


def test_damaged_results_are_made_again_from_the_last_checkpoint(whole, run, capsys):
    (run / "results.json").write_bytes(BROKEN["cut"])
    shutil.copy(run / "metrics.jsonl", run / "before")
    made = loop.train(toy.config(), str(run))
    error = capsys.readouterr().err
    assert f"{run}/results.json: is damaged; the last checkpoint is evaluated again" in error
    for name in ("accuracy", "per_class", "shots", "step", "train_loss_last_epoch", "parameter_count"):
        assert made[name] == whole[1][name], name
    assert json.loads((run / "results.json").read_text()) == made
    assert (run / "metrics.jsonl").read_text() == (run / "before").read_text()


def test_damaged_results_without_a_checkpoint_are_refused_and_not_trained_again(run):
    (run / "results.json").write_bytes(b"{}")
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(InputError, match=r"results\.json: is damaged, and there is no checkpoint to make it from"):
        loop.train(toy.config(), str(run))


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_a_finished_run_prints_its_result_whatever_became_of_its_config(whole, run, monkeypatch, capsys, content):
    (run / "config.json").write_bytes(content)
    monkeypatch.setattr(command, "report_or_line", lambda folder: None)
    status, out, errors = finished(run, monkeypatch, capsys)
    assert status == 0 and len(errors) == 1 and "config.json: is damaged" in errors[0]
    assert f"{100 * whole[1]['accuracy']['all']:.1f}" in out


def test_a_damaged_config_is_written_again_where_the_checkpoints_are_of_it(whole, run, monkeypatch, capsys):
    good = (run / "config.json").read_text()
    for name in ("config.json", "results.json"):
        (run / name).write_bytes(b"null")
    other = toy.config(optimizer__learning_rate=0.3)
    before = sorted(path.relative_to(run) for path in run.rglob("*"))
    with pytest.raises(InputError, match=r"trained with other settings \(checksum \w{8}, here \w{8}\)"):
        loop.train(other, str(run))
    assert (run / "config.json").read_bytes() == b"null"
    assert set(before) <= {path.relative_to(run) for path in run.rglob("*")}
    capsys.readouterr()
    assert loop.train(toy.config(), str(run))["per_class"] == whole[1]["per_class"]
    assert (run / "config.json").read_text() == good
    assert "config.json: is damaged" in capsys.readouterr().err


def test_a_finished_run_on_a_read_only_disk_prints_its_result(whole, run, monkeypatch, capsys):
    opened, made = builtins.open, os.mkdir

    def only_read(path, mode="r", *rest, **options):
        if str(run) in str(path) and set(mode) & set("wax+"):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return opened(path, mode, *rest, **options)

    def none_made(path, *rest, **options):
        if str(run) in str(path) and not os.path.exists(path):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return made(path, *rest, **options)

    shutil.rmtree(run / "report", ignore_errors=True)
    monkeypatch.setattr(builtins, "open", only_read)
    monkeypatch.setattr(pathlib.Path, "open", lambda path, mode="r", *rest, **options: only_read(path, mode))
    monkeypatch.setattr(os, "mkdir", none_made)
    status, out, errors = finished(run, monkeypatch, capsys)
    assert status == 0 and f"{100 * whole[1]['accuracy']['all']:.1f}" in out
    assert len(errors) == 1 and "the report cannot be written: " in errors[0] and "Read-only" in errors[0]


def test_a_report_without_damaged_arrays_names_them(run, monkeypatch, capsys):
    (run / "evaluation.npz").write_bytes((run / "evaluation.npz").read_bytes()[:100])
    (run / "config.json").write_bytes(b"null")
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b"\xff\n")
    status, _, errors = finished(run, monkeypatch, capsys)
    text = (run / "report" / "report.md").read_text()
    assert status == 0 and len(errors) == 1
    assert "evaluation.npz" in text and "remove results.json and run the training command again" in text
    assert "1 unreadable line(s)" in text


def test_of_damaged_lists_what_can_be_read_goes_on(tmp_path):
    folder, reports = epath.Path(tmp_path), []
    (tmp_path / "resumes.json").write_bytes(b'[{"stage": "first", "step": 3}, {"stage": "second"}, {"stage": "fir')
    assert resumes(folder, reports.append) == [{"stage": "first", "step": 3}]
    (tmp_path / "skipped.0.json").write_bytes(b'[{"index": 7, "reason": "{"}, \x00')
    (tmp_path / "skipped.1.json").write_bytes(b"null")
    assert skipped_records(folder, reports.append) == [{"index": 7, "reason": "{"}]
    assert len(reports) == 3 and all("is damaged; " in line for line in reports)


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_damaged_lists_are_never_an_error(tmp_path, content):
    for name in ("resumes.json", "skipped.0.json"):
        (tmp_path / name).write_bytes(content)
    folder = epath.Path(tmp_path)
    assert resumes(folder, lambda line: None) == [] == skipped_records(folder, lambda line: None)
