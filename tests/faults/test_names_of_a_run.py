"""A run whose folders, files and classes have such names: trained, reported, predicted with, compared."""

import csv
import json
import os

import pytest

from ltjax import escape
from ltjax.commands import compare, predict
from ltjax.commands.train import main as train
from tests.commands.test_train_on_user_images import SMALL
from tests.data.conftest import write_image
from tests.faults.nasty import BYTES, ESCAPE
from tests.faults.test_names import CONTROL

NAMES = sorted([BYTES, ESCAPE, "two\nlines", "=cmd|'calc'!A1", "$x_1$", "\u73ab\u7470", "x" * 250, "e\u0301", "\u00e9"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three images of each class."""
    root = tmp_path_factory.mktemp("names") / f"data {BYTES}"
    for name in NAMES:
        for i in range(3):
            write_image(root / name / f"{BYTES} {i}.jpg", 8 * i)
    return root


@pytest.fixture(scope="module")
def workdir(folder, tmp_path_factory):
    """Of a finished run."""
    root = tmp_path_factory.mktemp("run")
    assert train(["--config=configs/folder_ce.py", f"--workdir={root}", f"--config.data.dir={folder}", *SMALL]) == 0
    return root


def test_it_is_reported_and_its_json_has_the_exact_names(folder, workdir):
    assert json.loads((workdir / "results.json").read_bytes())["class_names"] == NAMES
    assert json.loads((workdir / "config.json").read_bytes())["data"]["dir"] == str(folder)
    report = (workdir / "report" / "report.md").read_bytes().decode()
    assert not CONTROL.search(report) and r"| caf\\xe9 (" in report
    assert (workdir / "report" / "confusion.png").exists()


def test_predictions_are_printed_and_written(folder, workdir, tmp_path, capsys):
    (folder / "two\nlines" / f"broken {BYTES}.jpg").write_bytes(b"no image")
    command = [f"--run={workdir}", str(folder), "--on-error=skip", "--top=1"]
    assert predict.main(command) == 0
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 3 * len(NAMES)
    assert not CONTROL.search(printed.out.replace("\t", "") + printed.err)
    out = tmp_path / f"{BYTES}.csv"
    assert predict.main([*command, f"--out={out}"]) == 0
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    paths = [os.fsencode(escape.from_csv_cell(row["path"])) for row in rows]
    assert len(paths) == 3 * len(NAMES) and all(map(os.path.exists, paths))
    assert {escape.from_csv_cell(row["class_1"]) for row in rows} <= set(NAMES)


def test_it_is_compared(workdir, tmp_path, capsys):
    out = tmp_path / BYTES
    assert compare.main([f"_a|{ESCAPE}\n<b>$x_1$={workdir}", f"--out={out}"]) == 0
    text = capsys.readouterr().out + (out / "comparison.md").read_text() + (out / "table.tex").read_text()
    assert not CONTROL.search(text) and "<b>" not in text and (out / "accuracy_by_class.png").exists()


def test_a_workdir_that_orbax_cannot_write_to_is_refused_before_training(folder, tmp_path, capsys):
    flags = [f"--workdir={tmp_path}/{BYTES}", f"--config.data.dir={folder}", *SMALL]
    assert train(["--config=configs/folder_ce.py", *flags]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert r"caf\xe9: checkpoints cannot be read from a path with \xe9 in it; use another --workdir" in error
    (tmp_path / BYTES).mkdir()
    (tmp_path / BYTES / "config.json").write_text("{}")  # a run that was moved there
    assert predict.main([f"--run={tmp_path}/{BYTES}", str(folder)]) == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith("use another --run")
