"""Runs on the user's images from the command line: few classes, small images, no more than a person would type."""

import contextlib
import csv
import io
import json

import jax
import numpy as np
import pytest

from ltjax.commands import compare, predict, tsne
from ltjax.commands.train import main
from ltjax.methods.configure import from_command_line as parse
from ltjax.training.finished_run import open_finished
from ltjax.training.loop import train
from tests.data.conftest import write_image

SMALL = [
    "--config.data.augment=none",
    "--config.data.image_size=16",
    "--config.data.resize=18",
    "--config.data.workers=0",
    "--config.epochs=1",
    "--config.batch_size=8",
    "--config.evaluation.batch_size=8",
    "--config.model.backbone=resnet8",
    "--config.optimizer.schedule.warmup_epochs=0",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three classes of 16, 8 and 4 pictures."""
    root = tmp_path_factory.mktemp("own")
    for name, count in {"a": 16, "b": 8, "c": 4}.items():
        for i in range(count):
            write_image(root / name / f"{i}.jpg", 8 * i)
    return root


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    """(the workdir of a finished run of two seeds, what it said)"""
    workdir, said = tmp_path_factory.mktemp("run"), io.StringIO()
    flags = [f"--workdir={workdir}", f"--config.data.dir={folder}", "--config.num_seeds=2", *SMALL]
    with contextlib.redirect_stderr(said):
        train(*parse(["--config=configs/folder_ce.py", *flags]))
    return workdir, said.getvalue()


def test_a_folder_trains_and_what_was_held_out_is_said(run):
    workdir, said = run
    results = json.loads((workdir / "results.json").read_text())
    assert (results["class_names"], results["class_counts"]) == (["a", "b", "c"], [13, 6, 3])
    assert "6 of 28 images are held out for testing" in said


@pytest.mark.slow
def test_a_run_is_compared_with_the_features_of_its_test_images(run, tmp_path, capsys, monkeypatch):
    seen = []
    monkeypatch.setattr(tsne, "embedded", lambda features: seen.append(features) or features[:, :2])
    assert compare.main([f"mine={run[0]}", "--tsne", f"--out={tmp_path}"]) == 0
    finished = open_finished(str(run[0]), {})
    test, first = finished.data.test, jax.tree.map(lambda a: a[0], finished.variables)
    order = np.argsort(test.labels, kind="stable")  # a, b, c: the most frequent class first
    expected = finished.stage.network.apply(first, test.images(order), train=False).features
    np.testing.assert_allclose(seen[0], expected, rtol=1e-4, atol=1e-5)
    assert "| mine |" in capsys.readouterr().out and (tmp_path / "features.png").exists()


# ---------------------------------------------------------------------------------------------------- ltjax.predict


def test_images_are_predicted_as_the_evaluation_sees_them(run, folder, tmp_path, capsys):
    finished = open_finished(str(run[0]), {})
    test = finished.data.test
    paths = [test.where(record) for record in range(len(test))]
    images = test.images(np.arange(len(test)))
    seeds = [jax.tree.map(lambda a, seed=seed: a[seed], finished.variables) for seed in range(2)]
    expected = np.mean([jax.nn.softmax(finished.stage.predict(variables, images)) for variables in seeds], 0)
    out = tmp_path / "predictions.csv"
    flags = ["--top=9", "--batch-size=4", f"--out={out}"]  # 6 pictures, 3 classes
    assert predict.main([f"--run={run[0]}", *paths, *flags]) == 0
    rows = list(csv.DictReader(out.open()))
    assert [row["path"] for row in rows] == paths and "6 images" in capsys.readouterr().out
    for row, shares in zip(rows, expected, strict=True):
        assert [row[f"class_{k}"] for k in (1, 2, 3)] == ["abc"[label] for label in np.argsort(-shares)]
        np.testing.assert_allclose([float(row[f"probability_{k}"]) for k in (1, 2, 3)], -np.sort(-shares), atol=2e-6)
    assert list(rows[0]) == ["path", *(f"{word}_{k}" for k in (1, 2, 3) for word in ("class", "probability"))]


def test_folders_are_looked_through_and_what_cannot_be_read_ends_it_or_is_named(run, tmp_path, capsys):
    shown = tmp_path / "shown"
    write_image(shown / "deep" / "grey.png", 50)
    write_image(shown / "x.JPG", 90)
    (shown / "notes.txt").write_text("no picture")
    write_image(shown / ".x.jpg", 90)
    write_image(shown / ".hidden" / "x.jpg", 90)  # not looked into, as in training
    (shown / "broken.jpg").write_bytes(b"no picture either")
    command, out = [f"--run={run[0]}", str(shown), "--top=1"], tmp_path / "out.csv"
    assert predict.main([*command, f"--out={out}"]) == 2
    error = capsys.readouterr().err.splitlines()
    assert (
        error[0].startswith("left out 2 files whose names") and f"error: {shown}/broken.jpg cannot be read" in error[-1]
    )
    assert [path.name for path in tmp_path.iterdir()] == ["shown"]  # nothing half written
    assert predict.main([*command, "--on-error=skip"]) == 0
    printed = capsys.readouterr()
    assert [line.split("\t")[0] for line in printed.out.splitlines()] == [f"{shown}/deep/grey.png", f"{shown}/x.JPG"]
    assert "left out" in printed.err and "left out 1 of 3 images" in printed.err


@pytest.mark.parametrize(
    "flags, says",
    [
        (["nowhere.jpg"], "'nowhere.jpg': no such file or folder"),
        (["EMPTY"], "contains no image (.jpg, "),
        (["EMPTY", "--top=0"], "--top: impossible value 0"),
        (["EMPTY", "--out=no/such/file.csv"], "create it"),
        (["FOLDER", "--run=no_run"], "has no config.json"),
    ],
)
def test_mistakes_of_predict_are_one_line(run, folder, tmp_path, capsys, flags, says):
    words = [flag.replace("EMPTY", str(tmp_path)).replace("FOLDER", str(folder)) for flag in flags]
    assert predict.main([f"--run={run[0]}", *words]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


# ------------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    "flags, says",
    [
        (["--config=configs/folder_ce.py:imbalance=50"], "config.data.imbalance: 50.0 is not possible for folder"),
        (
            ["--config=configs/inat_ce.py:imbalance=50", "--config.data.source=list"],
            "50.0 is not possible for inat2018",
        ),
        (["--config=configs/inat_ce.py", "--config.data.source=list"], "inat2018 is not in '"),
        (
            [
                "--config=configs/folder_ce.py",
                "--config.evaluation.shots=index",
                "--config.evaluation.index_boundaries=(1,5)",
            ],
            "is not possible: folder has 3 classes",
        ),
        (["--config=configs/list_reslt.py"], "config.data.train_list is missing"),
        (["--config=configs/list_ce.py", "--config.data.train_list=no.txt"], "no.txt: the list cannot be read"),
    ],
)
def test_mistakes_are_one_line(folder, tmp_path, capsys, flags, says):
    small = SMALL if "inat" not in flags[0] else ["--config.data.augment=none"]
    assert main([*flags, f"--workdir={tmp_path}/w", f"--config.data.dir={folder}", *small]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
