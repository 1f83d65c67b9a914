"""The command line: what is accepted, and the one line for every mistake."""

import importlib.util
import re
import subprocess
import sys

import pytest

from ltjax.errors import InputError
from ltjax.methods import configure
from ltjax.settings.identity import difference
from tests.shared import ROOT

FILES = sorted((ROOT / "configs").glob("*.py"))
MNIST = "--config=configs/mnist5k_reslt.py"


def parse(*arguments):
    return configure.from_command_line([*arguments, "--workdir=w"])[0]


@pytest.mark.parametrize("path", FILES, ids=[f.stem for f in FILES])
def test_every_config_file_builds_with_and_without_an_argument(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config()
    assert module.get_config(None) == config
    assert path.stem.endswith(f"_{config.family}")
    assert f"--config=configs/{path.name}" in module.__doc__
    assert parse(f"--config=configs/{path.name}:imbalance=50").data.imbalance == 50


def test_settings_are_overridden_and_keep_their_type():
    config = parse(
        MNIST,
        "--config.optimizer.learning_rate=0.05",
        "--config.epochs=3",
        "--config.optimizer.schedule.milestones=(1,2)",
        "--config.optimizer.nesterov=false",
    )
    assert config.optimizer.learning_rate == 0.05
    assert config.epochs == 3
    assert tuple(config.optimizer.schedule.milestones) == (1, 2)
    assert config.optimizer.nesterov is False


def test_overrides_may_stand_before_the_config_and_be_written_with_a_space():
    assert parse("--config.epochs=3", "--config", "configs/mnist5k_ce.py").epochs == 3


def test_arguments_of_a_config():
    short = parse("--config=configs/cifar100_reslt.py:short,imbalance=50")
    assert short.epochs == 10 and short.data.imbalance == 50
    assert short.optimizer.schedule.name == "cosine" and short.optimizer.nesterov
    assert (short.optimizer.learning_rate, short.optimizer.weight_decay, short.batch_size) == (0.1, 5e-4, 128)


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("configs/folder_decouplin.py", "(did you mean 'folder_decoupling'?)"),
        ("folder_crt", "(did you mean 'folder_decoupling.py:crt'?)"),
        ("configs/places_balanced_softmax.py", "(did you mean 'places_baselines.py:balanced_softmax'?)"),
        ("flowers_reslt", "(for images of your own: 'folder_reslt', with list files 'list_reslt')"),
        ("configs/mnist_ce.py", "(did you mean 'mnist5k_ce'?)"),
        ("cifar100", "(did you mean 'cifar100_ce'?)"),
    ],
)
def test_a_config_file_that_is_not_there_leads_to_the_right_one(path, hint):
    with pytest.raises(InputError, match=re.escape(f"--config: no file '{path}' {hint}; give the path")) as error:
        parse(f"--config={path}")
    named = str(error.value).rpartition(": ")[2].split(", ")
    dataset = path.removeprefix("configs/").partition("_")[0]
    assert all(name.startswith(f"{dataset}_") for name in named) or len(named) == len(FILES)


@pytest.mark.parametrize("stem", ["folder_ce", "list_reslt", "places_ce", "imagenet_reslt", "inat_ce"])
def test_one_word_moves_crop_resize_and_augmentation(stem):
    recipe = parse(f"--config=configs/{stem}.py").data
    for side, resize in ((224, 256), (64, 73), (160, 183), (320, 366)):
        data = parse(f"--config=configs/{stem}.py:image_size={side}").data
        assert (data.image_size, data.resize) == (side, resize)
        assert data.augment == recipe.augment.replace("224", str(side))


def test_the_image_size_comes_after_the_words_that_choose_the_augmentation():
    data = parse("--config=configs/imagenet_reslt.py:image_size=96,strong").data
    assert (data.image_size, data.resize, data.augment) == (96, 110, "crop96_flip_autoaugment")


@pytest.mark.parametrize("words", ["image_size=64", "image_size=0", "image_size=large", "image_size"])
def test_an_image_size_is_a_number_and_only_for_image_files(words):
    with pytest.raises(InputError, match="keep their size" if words == "image_size=64" else "impossible value"):
        parse(f"--config=configs/cifar100_ce.py:{words}")


@pytest.mark.parametrize(
    "arguments, alpha",
    [
        (["--config=configs/cifar100_reslt.py"], 0.995),
        (["--config=configs/cifar100_reslt.py", "--config.data.imbalance=10"], 0.72),
        (["--config=configs/cifar10_reslt.py", "--config.data.imbalance=50"], 0.998),
        (["--config=configs/cifar10_reslt.py", "--config.reslt.alpha=0.5"], 0.5),
    ],
)
def test_alpha_is_the_published_one_unless_given(arguments, alpha):
    assert parse(*arguments).method_settings.alpha == alpha


# arguments -> words that the one line must have
MISTAKES = {
    "no config": ([], ["--config is missing"]),
    "no workdir": ([MNIST], ["--workdir is missing"]),
    "no such file": (
        ["--config=configs/mnist5k_reslr.py"],
        ["mnist5k_reslr.py", "did you mean 'mnist5k_reslt'"],
    ),
    "unknown key": (
        [MNIST, "--config.batch_sise=3"],
        ["config.batch_sise", "did you mean 'config.batch_size'", "allowed"],
    ),
    "unknown nested key": (
        [MNIST, "--config.optimizer.lerning_rate=3"],
        ["config.optimizer.lerning_rate", "did you mean 'config.optimizer.learning_rate'", "config.optimizer.momentum"],
    ),
    "another method's key": (
        ["--config=configs/mnist5k_ce.py", "--config.reslt.alpha=0.5"],
        ["config.reslt.alpha", "unknown key"],
    ),
    "wrong type": ([MNIST, "--config.batch_size=many"], ["config.batch_size", "'many'", "int"]),
    "float for int": ([MNIST, "--config.epochs=0.5"], ["config.epochs", "0.5", "int"]),
    "text for bool": ([MNIST, "--config.optimizer.nesterov=perhaps"], ["config.optimizer.nesterov", "perhaps", "bool"]),
    "a value for a group": (
        [MNIST, "--config.optimizer=1"],
        ["config.optimizer is a group of settings", "such as --config.optimizer."],
    ),
    "impossible": ([MNIST, "--config.epochs=-1", "--workdir=w"], ["config.epochs", "-1", "from 1"]),
    "nan": ([MNIST, "--config.optimizer.learning_rate=nan", "--workdir=w"], ["config.optimizer.learning_rate", "nan"]),
    "imbalance": ([MNIST, "--config.data.imbalance=0.5", "--workdir=w"], ["config.data.imbalance", "0.5", ">= 1"]),
    "seeds": ([MNIST, "--config.num_seeds=0", "--workdir=w"], ["config.num_seeds", "from 1"]),
    "seeds beyond 32 bits": (
        [MNIST, "--config.seed=4294967295", "--config.num_seeds=2", "--workdir=w"],
        ["config.num_seeds", "4294967296, which must be below 2**32"],
    ),
    "steps a call without the data": (
        [MNIST, "--config.steps_per_call=9", "--config.data.on_device=no", "--workdir=w"],
        ["config.steps_per_call", "on_device=no"],
    ),
    "where the data lies": ([MNIST, "--config.data.on_device=maybe", "--workdir=w"], ["maybe", "auto, yes, no"]),
    "dtype": ([MNIST, "--config.dtype=float8", "--workdir=w"], ["config.dtype", "float8", "bfloat16"]),
    "unknown flag": ([MNIST, "--wokdir=w"], ["--wokdir", "did you mean '--workdir'"]),
    "stray word": ([MNIST, "--workdir=w", "config.epochs=3"], ["unexpected argument 'config.epochs=3'"]),
    "argument": (["--config=configs/cifar100_ce.py:shrt", "--workdir=w"], ["shrt", "did you mean 'short'"]),
    "argument's value": (["--config=configs/cifar100_ce.py:imbalance=many", "--workdir=w"], ["many", "imbalance"]),
}


@pytest.mark.parametrize("arguments, words", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_that_says_what_to_do(arguments, words):
    with pytest.raises(InputError) as error:
        configure.from_command_line(arguments)
    text = str(error.value)
    assert "\n" not in text
    for word in words:
        assert word in text, text


@pytest.mark.parametrize(
    "setting, words",
    [
        ("method=reslr", ["config.method", "'reslr'", "did you mean 'reslt'", "ce"]),
        ("data.name=mnist5", ["config.data.name", "did you mean 'mnist5k'"]),
        ("model.backbone=resnet33", ["config.model.backbone", "did you mean 'resnet3"]),
        ("data.augment=flipp", ["config.data.augment"]),
        ("data.sampler=class_balance", ["config.data.sampler", "did you mean 'class_balanced'"]),
        ("optimizer.schedule.name=cosin", ["config.optimizer.schedule.name", "did you mean 'cosine'"]),
        ("reslt.alpha=1.5", ["config.reslt.alpha", "1.5", "[0, 1]"]),
        ("reslt.head=batchnorm", ["config.reslt.head", "conv"]),
        ("reslt.boundaries=(3,)", ["config.reslt.boundaries"]),
        ("batch_size=100000", ["config.batch_size", "100000", "images"]),
    ],
)
def test_unknown_and_impossible_names_end_the_command_with_status_2(setting, words, tmp_path, capsys):
    from ltjax.commands.train import main

    workdir = tmp_path / "run"
    assert main([MNIST, f"--config.{setting}", f"--workdir={workdir}"]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and captured.out == ""
    for word in words:
        assert word in captured.err
    assert not workdir.exists() or not any(workdir.iterdir()), "the mistake left a run behind"


def test_the_command_itself_has_no_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "ltjax.main", MNIST, "--config.epoch=3"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: config.epoch"), done.stderr


def test_the_difference_between_two_configs_names_the_settings():
    one, two = parse(MNIST), parse(MNIST, "--config.seed=3", "--config.data.dir=elsewhere")
    assert difference(one, one.to_dict()) is None
    assert difference(two, one.to_dict()) == "config.seed is 0 there and 3 here"


def test_main_stays_short():
    assert len((ROOT / "ltjax" / "main.py").read_text().splitlines()) < 100
