"""Runs on one's own pictures, from the command line: few classes, small pictures, no more than a person would type."""

import json

import pytest

from ltjax.config import parse
from ltjax.main import main
from ltjax.training.loop import train
from tests.data.conftest import write_picture

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
            write_picture(root / name / f"{i}.jpg", 8 * i)
    return root


def test_a_folder_trains_and_what_was_held_out_is_said(folder, tmp_path, capsys):
    config, workdir = parse(
        ["--config=configs/folder_ce.py", f"--workdir={tmp_path}", f"--config.data.dir={folder}", *SMALL]
    )
    train(config, workdir)
    results = json.loads((tmp_path / "results.json").read_text())
    assert (results["class_names"], results["class_counts"]) == (["a", "b", "c"], [13, 6, 3])
    assert "6 of 28 images are held out for testing" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags, says",
    [
        (["--config=configs/folder_ce.py:imbalance=50"], "config.data.imbalance: 50.0 is not possible for folder"),
        (
            ["--config=configs/inat_ce.py:imbalance=50", "--config.data.source=list"],
            "50.0 is not possible for inat2018",
        ),
        (["--config=configs/inat_ce.py", "--config.data.source=list"], "no inat2018 in '"),
        (["--config=configs/folder_ce.py", "--config.evaluation.shots=index"], "not possible with the 3 classes of"),
        (["--config=configs/list_reslt.py"], "config.data.train_list is missing"),
        (["--config=configs/list_ce.py", "--config.data.train_list=no.txt"], "no.txt: the list cannot be read"),
    ],
)
def test_mistakes_are_one_line(folder, tmp_path, capsys, flags, says):
    small = SMALL if "inat" not in flags[0] else ["--config.data.augment=none"]
    assert main([*flags, f"--workdir={tmp_path}/w", f"--config.data.dir={folder}", *small]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
