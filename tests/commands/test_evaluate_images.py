"""evaluate --images: labelled new pictures, with the workdir alone."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from ltjax import models
from ltjax.commands.evaluate import main
from ltjax.errors import InputError
from ltjax.inference.labelled import labelled_images
from ltjax.inference.model import load
from ltjax.training import loop, prepare
from ltjax.training.workdir.model_record import read_model_record
from tests.data.conftest import write_image
from tests.training import toy

NAMES = ("rose", "tulip", "tall lily")
PICTURES = {"rose": (10, 60, 90), "tall lily": (200, 130)}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A workdir whose data are gone and whose classes have names."""
    root = tmp_path_factory.mktemp("images")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(models.BACKBONES, "toy", toy.Backbone)
        patch.setattr(prepare, "build", toy.build)
        loop.train(toy.config(epochs=1, optimizer__learning_rate=0.003), str(root / "there"))

        def gone(settings):
            raise InputError("config.data.dir: '/gone' does not exist")

        patch.setattr(prepare, "build", gone)
        shutil.move(root / "there", root / "run")
        model = json.loads((root / "run" / "model.json").read_text()) | {"class_names": NAMES}
        (root / "run" / "model.json").write_text(json.dumps(model))
        yield root / "run"


@pytest.fixture
def pictures(tmp_path):
    for name, shades in PICTURES.items():
        for shade in shades:
            write_image(tmp_path / "new" / name / f"{shade}.png", shade, kind="PNG")
    return tmp_path / "new"


def hits(run, pictures):
    """Of each class the share of right answers, by the model itself."""
    model = load(run)
    return [
        float(np.mean([model(model.preprocess(p)[None]).logits.argmax() == label for p in sorted(path.iterdir())]))
        if (path := pictures / name).exists()
        else None
        for label, name in enumerate(NAMES)
    ]


def test_a_folder_of_new_pictures_is_evaluated_by_class(run, pictures, tmp_path, capsys):
    assert main([f"--run={run}", f"--images={pictures}", f"--out={tmp_path}/out.json"]) == 0
    printed = capsys.readouterr().out
    assert "on 5 pictures of " in printed and ", of 2 classes" in printed and "results.json" not in printed
    record = json.loads((tmp_path / "out.json").read_text())
    assert record["per_class"] == pytest.approx(hits(run, pictures)) and record["per_class"][1] is None
    assert record["split"] == "new" and record["test_size"] == 5 and record["accuracy"].keys() >= {"many", "few"}
    of_run = json.loads((run / "results.json").read_text())  # its test images are others
    assert record["test_index_sha256"] != of_run["test_index_sha256"] and "images_sha256" not in record


@pytest.mark.parametrize("form", ["rose/{} 0\n", "rose/{},rose\n", "rose/{}\trose\n"])
def test_a_list_gives_classes_by_number_or_by_name(run, pictures, form):
    listing = pictures / "list.txt"
    listing.write_text("".join(form.format(f"{shade}.png") for shade in PICTURES["rose"]))
    images = labelled_images(str(listing), read_model_record(run))
    assert images.labels.tolist() == [0, 0, 0] and [int(images.read(i)[0, 0, 0]) for i in range(3)] == [10, 60, 90]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda root: write_image(root / "tullip" / "a.png", 9, kind="PNG"), "(did you mean 'tulip'?)"),
        (
            lambda root: (root / "l.txt").write_text("rose/10.png,daisy\n"),
            "'daisy' is none of the 3 classes of the run",
        ),
        (lambda root: (root / "l.txt").write_text("rose/10.png 3\n"), "has label 3; labels must be 0 to 2"),
        (lambda root: (root / "l.txt").write_text("rose/11.png 0\n"), "missing"),
        (lambda root: shutil.rmtree(root), "no such folder or list file"),
        (lambda root: [shutil.rmtree(path) for path in root.iterdir()], "new"),
        (lambda root: (root / "rose" / "10.png").write_bytes(b"no picture"), "10.png"),
    ],
)
def test_what_does_not_fit_is_one_line(run, pictures, capsys, change, words):
    change(pictures)
    listing = pictures / "l.txt"
    assert main([f"--run={run}", f"--images={listing if listing.exists() else pictures}"]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


@pytest.mark.parametrize("flag", ["--fit-temperature", "--data-dir=x"])
def test_flags_that_do_not_go_together_are_one_line(run, capsys, flag):
    assert main([f"--run={run}", "--images=x", flag]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --images and ") and error.count("\n") == 1


@pytest.mark.parametrize(
    ("names", "words", "labels"),
    [
        (("1", "10", "2"), "{},2", 2),  # a name
        (("1", "10", "2"), "{}\t10", 1),  # no number of three classes
        (("1", "10", "2"), "{} 2", 2),  # a number
        (("0", "1", "2"), "{}\t1", 1),  # both, the same
        (("rose", "tulip", "tall lily"), "{}\t1", 1),  # a number
        (("1", "10", "2"), "{}\t0", 0),  # a number: no class has this name
    ],
)
def test_classes_whose_names_are_numbers(run, pictures, names, words, labels):
    folder = pictures / "rose, red"
    (pictures / "rose").rename(folder)
    (pictures / "list.txt").write_text(words.format("rose, red/60.png") + "\n")
    record = dataclasses.replace(read_model_record(run), class_names=names)
    images = labelled_images(str(pictures / "list.txt"), record)
    assert images.labels.tolist() == [labels] and int(images.read(0)[0, 0, 0]) == 60


def test_names_that_are_the_numbers_of_other_classes_are_refused(run, pictures):
    (pictures / "list.txt").write_text("rose/10.png\t1\nrose/60.png\t2\n")
    record = dataclasses.replace(read_model_record(run), class_names=("1", "10", "2"))
    with pytest.raises(InputError, match=r"class '1' has the number 0; write 'path,name' for names, or 'path number'"):
        labelled_images(str(pictures / "list.txt"), record)
