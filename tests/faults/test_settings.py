"""Impossible settings, and command lines that nobody means: one line each, before anything is trained."""

import random

import pytest

from ltjax.commands.cli import one_line
from ltjax.errors import InputError
from ltjax.methods import configure
from ltjax.settings.command_line import load
from ltjax.settings.schema import flat
from ltjax.training.prepare import prepare, stage_notes
from tests.training import toy

CE, BASELINES = "--config=configs/mnist5k_ce.py", "--config=configs/mnist5k_baselines.py"


def parse(*arguments):
    return configure.from_command_line([*arguments, "--workdir=w"])[0]


def refusal(*arguments):
    with pytest.raises(InputError) as error:
        parse(*arguments)
    assert "\n" not in one_line(error.value)
    return str(error.value)


# arguments -> words of the line
REFUSED = {
    "classes in words": ("--config.watch_classes=abc", ["config.watch_classes", "class numbers"]),
    "a class below 0": ("--config.watch_classes=(-1,)", ["config.watch_classes"]),
    "a class twice": ("--config.watch_classes=(1,1)", ["config.watch_classes", "different"]),
    "too many epochs": ("--config.epochs=1000000000", ["config.epochs", "from 1 to 1000000"]),
    "too many seeds": ("--config.num_seeds=2147483648", ["config.num_seeds", "from 1 to 1024"]),
    "evaluation's batch": ("--config.evaluation.batch_size=2147483648", ["config.evaluation.batch_size", "65536"]),
    "width": ("--config.model.width=4294967296", ["config.model.width", "from 1 to 64"]),
    "no width": ("--config.model.width=0", ["config.model.width"]),
    "workers": ("--config.data.workers=1000000", ["config.data.workers", "1024"]),
    "a wait for ever": ("--config.data.timeout=1e308", ["config.data.timeout"]),
    "beyond int32": ("--config.checkpoint.every_steps=99999999999", ["config.checkpoint.every_steps", "< 2**31"]),
    "a late milestone": ("--config.optimizer.schedule.milestones=(99999999999999999999,)", ["milestones"]),
    "beyond float32": ("--config.optimizer.learning_rate=1e39", ["config.optimizer.learning_rate", "float32"]),
    "an integer beyond floats": (f"--config.optimizer.learning_rate={10**400}", ["learning_rate"]),
    "infinity": ("--config.optimizer.weight_decay=inf", ["config.optimizer.weight_decay", "inf"]),
    "not a number": ("--config.optimizer.momentum=nan", ["config.optimizer.momentum", "nan"]),
    "family": ("--config.family=x", ["config.family", "cannot be set"]),
    "recipe": ("--config.recipe=x", ["config.recipe", "cannot be set"]),
    "a dot at the end": ("--config.data.dir.=x", ["config.data.dir.", "did you mean 'config.data.dir'"]),
    "a dot at the start": ("--config..data.dir=x", ["unknown key"]),
    "an element": ("--config.data.dir[0]=x", ["--config.data.dir=..."]),
    "no key": ("--config.", ["config.: unknown key"]),
    "a broken key": ('--config.da"ta.dir=x', ["unknown key"]),
    "a second config": ("--config=configs/mnist5k_reslt.py", ["--config is given 2 times"]),
    "a second workdir": ("--workdir=v", ["--workdir is given several times"]),
    "no for a number": ("--noconfig.epochs", ["--config.epochs=VALUE"]),
    "a flag of absl": ("--flagfile=flags.txt", ["--flagfile: unknown flag"]),
    "another method": ("--config.method=bbn", ["config.method=bbn", "start from a config file"]),
}


@pytest.mark.parametrize("argument, words", REFUSED.values(), ids=REFUSED)
def test_impossible_settings_are_one_line(argument, words):
    line = refusal(CE, argument)
    for word in words:
        assert word in line


def test_a_method_with_other_settings_in_the_block_of_the_same_name():
    line = refusal(BASELINES, "--config.method=bbn")
    assert "config.method=bbn has other settings" in line and "start from a config file" in line


def test_minus_zero_is_zero():
    assert str(parse(CE, "--config.optimizer.weight_decay=-0.0").optimizer.weight_decay) == "0.0"


def test_of_a_repeated_setting_the_last_counts_and_is_reported():
    config = parse(CE, "--config.seed=3", "--config.seed=4")
    assert config.seed == 4 and "config.seed is given 2 times (3, 4); the last counts" in config.notes


@pytest.fixture
def of_toy(monkeypatch):
    """The toy's settings, with its data set and its network by name."""
    from ltjax.data import DATASETS
    from ltjax.models import BACKBONES

    monkeypatch.setitem(DATASETS, "toy", toy.build)
    monkeypatch.setitem(BACKBONES, "toy", toy.Backbone)
    return lambda method="ce", **changes: configure.resolve(toy.recipe(method, **changes))


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"watch_classes": (0, 3)}, ["config.watch_classes", "no class 3", "0 to 2"]),
        ({"gradients__frequent_classes": 3}, ["config.gradients.frequent_classes", "at most 2"]),
        ({"epochs": 1_000_000, "batch_size": 1}, ["steps", "at most"]),
    ],
)
def test_numbers_that_the_data_set_does_not_have(of_toy, monkeypatch, changes, words):
    monkeypatch.setattr("ltjax.training.prepare.LARGEST", 10_000_000)
    with pytest.raises(InputError) as error:
        prepare(of_toy(**changes))
    for word in words:
        assert word in str(error.value)


def test_a_memory_larger_than_the_classes_is_reported(of_toy):
    two = {"second_stage": True, "asynchronous__split": 2, "model__backbone": "resnet32"}
    config = of_toy("asynchronous", **two, asynchronous__bank_size=2**31 - 1)
    (note,) = stage_notes(prepare(config).stages)
    assert "2 of 2 frequent classes have fewer images" in note and "the smallest has 12" in note
    fits = of_toy("asynchronous", **two, asynchronous__bank_size=12)
    assert stage_notes(prepare(fits).stages) == []


FILES = ("mnist5k_reslt", "mnist5k_ce", "cifar100_decoupling", "mnist5k_asynchronous", "mnist5k_auxiliary", "folder_ce")
VALUES = (
    "", "0", "-1", "1", "3", "1e9", "2147483648", "4294967296", "1e400", "9" * 5000, "0x" + "f" * 5000, "nan", "inf",
    "-0.0", "true", "None", "()", "(1,2)", "(99,)", "abc", "(abc,)", "[1]", "{}", "x" * 300, "\u0663", "\uff11.5", "\0",
    "\n", "\u00e9", "./x.py:f", "a:b", "(1,2", "((1,2),)", "(nan,)", "(True,)", "(1.5,2)", "1 2", "__import__('os')",
    "10**400", "5e-324", "1e308", "$HOME", "{x}", "%s",
)  # fmt: skip
FORMS = (
    *["--config.{key}={value}"] * 12, "--config.{key}.={value}", "--config.{key}[0]={value}", "--config.{key}",
    "--noconfig.{key}", "--config.no{key}", "--config.={value}", "--config..{key}={value}", "--config.{key}.x={value}",
    "--config.{block}={value}", "-config.{key}={value}", "--config.{key}=={value}", "config.{key}={value}",
    "--config={value}", "--workdir={value}", "--{key}={value}", "--config[{key}]={value}", "--flagfile={value}", "--",
    "-", "--config.__class__={value}", "--config.get={value}", "--config", "--workdir", "--undefok=config.{key}",
)  # fmt: skip


def mutated(rng, keys):
    """A command line, and one to three arguments that nobody means."""
    name = rng.choice(FILES)
    arguments = [f"--config=configs/{name}.py{rng.choice(('', ':epochs=2', ':short', ':width=2', ':x', ':epochs='))}"]
    for _ in range(rng.randint(1, 3)):
        key = rng.choice(keys[name])
        made = list(rng.choice(FORMS).format(key=key, value=rng.choice(VALUES), block=key.partition(".")[0]))
        if rng.random() < 0.1:
            made[rng.randrange(len(made))] = rng.choice("[].=-_,:\u00e9'\"\\ 0\n")
        arguments.append("".join(made))
    if rng.random() < 0.2:
        rng.shuffle(arguments)
    return [*arguments, "--workdir=w"]


def fuzz(seed, count, capsys):
    rng, keys = random.Random(seed), {name: list(flat(load(f"configs/{name}.py").to_dict())) for name in FILES}
    for _ in range(count):
        arguments = mutated(rng, keys)
        try:
            configure.from_command_line(arguments)
        except InputError as error:
            assert len(one_line(error)) < 4000 and "\n" not in one_line(error)
        except Exception as error:
            raise AssertionError(f"{type(error).__name__} from {arguments}") from error
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")


def test_any_command_line_is_read_or_refused_in_one_line(capsys):
    fuzz(0, 250, capsys)


@pytest.mark.slow
def test_thousands_of_command_lines(capsys):
    fuzz(1, 5000, capsys)
