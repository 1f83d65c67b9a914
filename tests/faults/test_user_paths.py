"""Paths as people type them, in every setting, flag and argument of every command that is a path."""

import json
import os

import numpy as np
import pytest

from ltjax import models
from ltjax.commands import compare, evaluate, predict, table, text_output, train
from ltjax.commands.check import command as check
from ltjax.commands.prepare import cifar_npz, shards, tfds
from ltjax.data import build
from ltjax.data.storage.find_dataset import data_root
from ltjax.data.storage.paths import write_atomically
from ltjax.errors import InputError
from ltjax.methods.configure import from_command_line
from ltjax.settings import DataSettings, command_line
from ltjax.settings.user_paths import expanded
from ltjax.training import loop, prepare
from ltjax.training.finished_run import open_finished, read_config
from ltjax.training.workdir.pretrained import check_pretrained
from tests.data.conftest import write_image
from tests.report.synthetic import results_of
from tests.training import toy

UNSET = "$LTJAX_NO_SUCH_VARIABLE/x"
MNIST = ["--config=configs/mnist5k_ce.py", "--workdir=run"]
LISTS = ["--config=configs/list_ce.py", "--workdir=run", "--config.data.dir=flowers"]
NPZ = ["--train-images=x.npy", "--test-images=x.npy", "--test-labels=x.npy"]

# every argument that is a path: (command, its arguments)
ARGUMENTS = {
    "train --config": (train, [f"--config={UNSET}.py", "--workdir=run"]),
    "train --workdir": (train, ["--config=configs/mnist5k_ce.py", f"--workdir={UNSET}"]),
    "train data.dir": (train, ["--config=configs/folder_ce.py", "--workdir=run", f"--config.data.dir={UNSET}"]),
    "train data.train_list": (train, [*LISTS, f"--config.data.train_list={UNSET}"]),
    "train data.test_list": (train, [*LISTS, "--config.data.train_list=l.txt", f"--config.data.test_list={UNSET}"]),
    "train data.val_list": (train, [*LISTS, "--config.data.train_list=l.txt", f"--config.data.val_list={UNSET}"]),
    "train data.class_names": (train, [*LISTS, "--config.data.train_list=l.txt", f"--config.data.class_names={UNSET}"]),
    "train data.name": (train, [*MNIST, f"--config.data.name={UNSET}.py:images"]),
    "train data.sampler": (train, [*MNIST, f"--config.data.sampler={UNSET}.py:sampler"]),
    "train model.backbone": (train, [*MNIST, f"--config.model.backbone={UNSET}.py:net"]),
    "train model.pretrained": (train, [*MNIST, f"--config.model.pretrained={UNSET}"]),
    "train init_from": (train, [*MNIST, f"--config.init_from={UNSET}"]),
    "train features.dir": (train, [*MNIST, f"--config.features.dir={UNSET}"]),
    "evaluate --run": (evaluate, [f"--run={UNSET}"]),
    "predict --run": (predict, [f"--run={UNSET}", "flowers"]),
    "predict --out": (predict, ["--run=run", "flowers", f"--out={UNSET}"]),
    "predict IMAGES": (predict, ["--run=run", UNSET]),
    "compare RUN": (compare, [UNSET]),
    "compare NAME=RUN": (compare, [f"mine={UNSET}"]),
    "compare --baseline": (compare, ["finished", f"--baseline={UNSET}"]),
    "compare --out": (compare, ["finished", f"--out={UNSET}"]),
    "table --root": (table, [f"--root={UNSET}", "--table=mnist5k", "--list"]),
    "check --folder": (check, [f"--folder={UNSET}"]),
    "check --list": (check, [f"--list={UNSET}", "--root=flowers"]),
    "check --test-list": (check, ["--list=l.txt", f"--test-list={UNSET}", "--root=flowers"]),
    "check --root": (check, ["--list=l.txt", f"--root={UNSET}"]),
    "check --run": (check, ["--folder=flowers", f"--run={UNSET}", "--out=c"]),
    "check --out": (check, ["--folder=flowers", f"--out={UNSET}"]),
    "prepare --folder": (shards, [f"--folder={UNSET}", "--out=s"]),
    "prepare --list": (shards, [f"--list={UNSET}", "--root=flowers", "--out=s"]),
    "prepare --root": (shards, ["--list=l.txt", f"--root={UNSET}", "--out=s"]),
    "prepare --class-names": (shards, ["--list=l.txt", "--root=flowers", f"--class-names={UNSET}", "--out=s"]),
    "prepare --out": (shards, ["--folder=flowers", f"--out={UNSET}"]),
    "convert --output": (cifar_npz, [f"--output={UNSET}.npz", *NPZ]),
    "convert --test-labels": (cifar_npz, ["--output=o.npz", *NPZ[:2], f"--test-labels={UNSET}.npy"]),
    "prepare_tfds --dir": (tfds, ["cifar10", f"--dir={UNSET}"]),
    "prepare_tfds --manual-dir": (tfds, ["cifar10", "--dir=t", f"--manual-dir={UNSET}"]),
}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home with a folder of flowers, a list of them and a finished run; the current folder."""
    for shade, name in enumerate(("rose/0", "rose/1", "tulip/0", "tulip/1")):
        write_image(tmp_path / f"flowers/{name}.jpg", 20 * shade, (300, 260))
    (tmp_path / "l.txt").write_text("rose/0.jpg 0\nrose/1.jpg 0\ntulip/0.jpg 1\n")
    (tmp_path / "names.txt").write_text("rose\ntulip\n")
    (tmp_path / "finished").mkdir()
    (tmp_path / "finished/results.json").write_text(json.dumps(results_of([3, 2])))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LTJAX_TEST_HOME", str(tmp_path))
    monkeypatch.delenv("LTJAX_NO_SUCH_VARIABLE", raising=False)
    monkeypatch.setattr(check, "_figure", lambda report: b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_a_variable_that_is_not_set_is_one_line(home, argument, capsys):
    command, arguments = ARGUMENTS[argument]
    assert command.main(arguments) == 2
    printed = capsys.readouterr()
    lines = [line for line in printed.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "the environment variable LTJAX_NO_SUCH_VARIABLE is not set" in lines[0], printed
    assert not [path for path in home.rglob("*") if "$" in path.name]


@pytest.mark.parametrize("typed", ["~", "$LTJAX_TEST_HOME", "${LTJAX_TEST_HOME}/", "~/flowers//.."])
def test_home_and_variables_are_replaced_in_every_path(home, monkeypatch, typed, capsys):
    elsewhere = home / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (home / "my.py").write_text("from ltjax.methods.configure import new_config\nget_config = new_config\n")
    assert os.path.samefile(command_line.find(f"{typed}/my.py"), home / "my.py")
    assert check.main([f"--folder={typed}/flowers", f"--out={typed}/audit", "--workers=1", "--files=all"]) == 0
    assert check.main([f"--list={typed}/l.txt", f"--root={typed}/flowers", f"--out={typed}/lists", "--workers=1"]) == 0
    assert shards.main([f"--folder={typed}/flowers", f"--out={typed}/shards", "--workers=1"]) == 0
    assert (home / "audit/check.json").exists() and (home / "shards/manifest.json").exists()
    paths = predict.find_images([f"{typed}/flowers/rose", f"{typed}/flowers/tulip/0.jpg"]).names
    assert len(paths) == 3 and all(map(os.path.exists, paths))
    assert os.path.samefile(os.path.dirname(predict.parse(["--run=r", "i", f"--out={typed}/p.csv"]).out), home)
    assert os.path.samefile(compare.find_runs(f"mine={typed}/finished")[0].folder, home / "finished")
    with pytest.raises(InputError, match=r"has no config\.json"):
        read_config(f"{typed}/finished")
    (home / "w.npz").write_bytes(b"x")
    settings, _ = from_command_line([*MNIST, f"--config.model.pretrained={typed}/w.npz"])
    with pytest.raises(InputError, match=r"not a readable \.npz, \.safetensors or \.pth file"):
        check_pretrained(settings)
    assert table.state_of(["--config=configs/mnist5k_ce.py", f"--workdir={typed}/finished"]).text == (
        "a run without its config.json"
    )
    assert os.path.samefile(text_output.writable(f"{typed}/numbers.json").parent, home)
    with pytest.raises(InputError, match=r"must end in \.npz"):
        cifar_npz.convert(cifar_npz._parser().parse_args([f"--output={typed}/x", *NPZ]))
    usual = {"imbalance": 1.0, "image_size": 16, "resize": 16, "test_fraction": 0.5}
    assert len(build(DataSettings(name="folder", dir=f"{typed}/flowers", **usual)).train) == 2
    lists = {"train_list": f"{typed}/l.txt", "class_names": f"{typed}/names.txt", "dir": f"{typed}/flowers"}
    assert build(DataSettings(name="list", **lists, **usual)).class_names == ("rose", "tulip")
    assert build(DataSettings(name="shards", dir=f"{typed}/shards", **usual)).class_names == ("rose", "tulip")
    assert not [path for path in elsewhere.rglob("*") if path.name.startswith(("~", "$"))]


def test_folder_and_list_sets_are_found_by_the_documented_variable(home, monkeypatch):
    usual = {"imbalance": 1.0, "image_size": 16, "resize": 16, "test_fraction": 0.5}
    monkeypatch.setenv("LTJAX_DATA_DIR", "~/flowers/")
    assert build(DataSettings(name="folder", **usual)).train.where(0) == f"{home}/flowers/rose/0.jpg"
    monkeypatch.setenv("LTJAX_DATA_DIR", f"{home}/flowers")
    assert build(DataSettings(name="list", train_list="l.txt", **usual)).class_names == ("rose", "tulip")
    assert str(data_root(DataSettings(name="cifar10"))) == f"{home}/flowers"
    monkeypatch.delenv("LTJAX_DATA_DIR")
    with pytest.raises(InputError, match=r"config\.data\.dir is missing: set it, or LTJAX_DATA_DIR, to the folder"):
        build(DataSettings(name="folder", **usual))


def test_the_stored_folder_is_found_after_a_change_of_the_current_folder(home, monkeypatch):
    arguments = ["--config=configs/folder_ce.py", "--workdir=run", "--config.features.dir=features"]
    settings, _ = from_command_line([*arguments, "--config.data.dir=flowers//"])
    assert settings.data.dir == f"{home}/flowers" and settings.features.dir == f"{home}/features"
    monkeypatch.chdir("/")
    assert build(settings.data).class_names == ("rose", "tulip")
    with pytest.raises(
        InputError, match=r"^l\.txt: the list cannot be read \(No such file.*\) \(looked for in /\); correct"
    ):
        build(DataSettings(name="list", dir=f"{home}/flowers", train_list="l.txt", imbalance=1.0))


@pytest.mark.parametrize("typed", ["{}/", "{}//", "{}/.", "{}/../flowers", "/{}"])
def test_slashes_at_the_end_and_doubled_ones_change_nothing(home, typed):
    usual = {"name": "folder", "imbalance": 1.0, "image_size": 16, "resize": 16, "test_fraction": 0.5}
    plain = build(DataSettings(dir=f"{home}/flowers", **usual))
    other = build(DataSettings(dir=typed.format(home / "flowers"), **usual))
    assert plain.fingerprint == other.fingerprint and "//" not in other.train.where(0)
    assert plain.class_names == other.class_names and len(plain.notes) == len(other.notes)


def test_a_name_that_has_a_dollar_or_a_tilde_is_a_name(home):
    write_image(home / "$sale/a$b.jpg", 0)
    write_image(home / "~x.jpg", 0)
    assert expanded(f"{home}/$sale/a$b.jpg") == f"{home}/$sale/a$b.jpg"
    assert expanded("5$ or 10$") == "5$ or 10$" and expanded("gs://bucket/$HOME/x") == f"gs://bucket/{home}/x"
    assert list(predict.find_images(["~x.jpg", "$sale"]).names) == ["~x.jpg", "$sale/a$b.jpg"]
    with pytest.raises(InputError, match=r"^~nobody-here/x: this machine has no user 'nobody-here'; write the path in"):
        expanded("~nobody-here/x")


def test_a_list_that_has_a_dollar_or_a_tilde_is_found_in_the_folder_of_the_images(home, monkeypatch):
    usual = {"imbalance": 1.0, "image_size": 16, "resize": 16, "test_fraction": 0.5}
    for name in ("$LTJAX_NO_SUCH_VARIABLE.txt", "~nobody-here.txt", "$LTJAX_TEST_HOME.txt"):
        (home / "flowers" / name).write_bytes((home / "l.txt").read_bytes())
        data = build(DataSettings(name="list", dir="flowers", train_list=name, **usual))
        assert data.class_names == ("rose", "tulip")


AWKWARD = {
    "spaces": "my photos  of 2024 ",
    "250 letters": "n" * 250,
    "not UTF-8": os.fsdecode(b"caf\xe9"),
    "combining": "rose\u0301",
    "quotes": 'it\'s "mine"',
    "equals and a colon": "a=b:c",
    "a dash": "-photos",
}


@pytest.mark.parametrize("kind", AWKWARD)
def test_awkward_names_of_folders_and_files_are_read_and_written(home, kind, capsys):
    name = AWKWARD[kind]
    root = home / name
    for shade, place in enumerate(("rose/0", f"rose/{name[:200]}", f"{name}/0", f"{name}/1")):
        write_image(root / f"{place}.jpg", 20 * shade, (300, 260))
    arguments = ["--config=configs/folder_ce.py", f"--workdir={home}/run", f"--config.data.dir={root}"]
    settings, _ = from_command_line(arguments)
    stored = json.loads(json.dumps(settings.to_dict()))["data"]["dir"]
    assert stored == str(root)
    data = build(settings.replaced({"data.image_size": 16, "data.resize": 16, "data.test_fraction": 0.5}).data)
    assert data.train.images(np.arange(2)).shape == (2, 16, 16, 3)
    assert check.main([f"--folder={root}", f"--out={home}/{name[:240]} audit", "--workers=1"]) == 0
    assert shards.main([f"--folder={root}", f"--out={home}/{name[:240]} shards", "--workers=1"]) == 0
    (root / "l.txt").write_bytes(os.fsencode(f"rose/{name[:200]}.jpg 0\nrose/0.jpg 0\n{name}/0.jpg 1\n"))
    assert check.main([f"--list={root}/l.txt", f"--root={root}", f"--out={home}/audit", "--workers=1"]) == 0
    assert len(predict.find_images([str(root)])) == 4
    write_atomically(home / "audit" / name, "text")
    assert (home / "audit" / name).read_text() == "text"


@pytest.fixture
def toys(monkeypatch):
    monkeypatch.setattr(prepare, "build", toy.build)
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)


def test_a_workdir_with_an_awkward_name_is_trained_in_and_read_again(home, toys):
    workdir = str(home / 'it\'s 50% "done" #1?*=:, ros\u00e9 {x} ~' / ("n" * 250))
    loop.train(toy.config(epochs=1), workdir)
    assert open_finished(f"{workdir}//", {}).results["epochs"] == 1


@pytest.mark.parametrize("name", ["run[1]", "back\\slash", os.fsdecode(b"caf\xe9")])
def test_a_workdir_whose_checkpoints_could_not_be_read_back_is_refused(home, toys, name):
    with pytest.raises(InputError, match=r"^--workdir=.*: checkpoints cannot be read from a path with .* in it; use"):
        loop.train(toy.config(), str(home / name))
    assert not (home / name).exists()
