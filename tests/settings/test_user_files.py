"""A method, a data set and a backbone in the user's own config file."""

import json
import subprocess
import sys

import pytest

from ltjax.commands import evaluate
from ltjax.data import build
from ltjax.data.augment.registry import TRANSFORMS
from ltjax.data.loading.host_batches import train_batches
from ltjax.errors import InputError
from ltjax.settings import DataSettings, user_code
from ltjax.settings.command_line import load
from tests.shared import ROOT

CONFIG = '''
import dataclasses

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from ltjax.data import Data, Source
from ltjax.losses import cross_entropy
from ltjax.methods.ce import cross_entropy_method
from ltjax.methods.configure import new_config, with_words
from ltjax.methods.method import Method
from ltjax.settings import Block, setting
from ltjax.settings.user_code import address


@dataclasses.dataclass(frozen=True, kw_only=True)
class MySettings(Block):
    """config.mine."""

    sharpness: float = setting(2.0, "a factor that nothing uses")


def stages(config, settings, data):
    assert settings.sharpness in (2.0, 3.0)
    return cross_entropy_method(config, Block(), data)


MINE = Method(stages, MySettings, "mine")


def my_data(settings):
    labels = np.repeat(np.arange(3, dtype=np.int32), (24, 12, 6))
    images = np.random.RandomState(0).randint(0, 256, (42, 8, 8, 1)).astype(np.uint8)
    train = Source(labels, np.arange(42), lambda i: images[i])
    return Data("mine", train, train, "test", 3, np.bincount(labels), (8, 8, 1), (0.5,), (0.25,), None, "0" * 64)


class MyBackbone(nn.Module):
    dtype: jnp.dtype = jnp.float32
    param_dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, train=False, frozen_norm=False):
        return nn.relu(nn.Conv(4, (3, 3), dtype=self.dtype, param_dtype=self.param_dtype)(x))


def get_config(arg=None):
    config = new_config(METHOD)
    config.update(epochs=2, batch_size=8)
    config.optimizer.schedule.name = "constant"
    DATA
    return with_words(config, arg)
'''
USER_DATA = "config.data.name = address(my_data); config.model.backbone = address(MyBackbone)"


def command(module, *arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=cwd, capture_output=True, text=True,
        env={**__import__("os").environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
    )  # fmt: skip


def test_a_config_file_with_a_method_data_and_a_backbone_trains_and_is_evaluated(tmp_path, capsys):
    file = tmp_path / "my_config.py"
    file.write_text(CONFIG.replace("METHOD", "MINE").replace("    DATA", "    " + USER_DATA))
    arguments = ["--config=my_config.py", "--workdir=run", "--config.mine.sharpness=3"]
    done = command("ltjax.main", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    stored = json.loads((tmp_path / "run" / "config.json").read_text())
    assert stored["method"] == f"{file}:MINE" and stored["mine"] == {"sharpness": 3.0}
    assert (stored["data"]["name"], stored["model"]["backbone"]) == (f"{file}:my_data", f"{file}:MyBackbone")
    evaluation = [f"--run={tmp_path / 'run'}"]  # by another process, in another folder
    assert evaluate.main(evaluation) == 0 and "equal to results.json" in capsys.readouterr().out
    file.rename(tmp_path / "moved.py")
    assert evaluate.main(evaluation) == 2
    assert capsys.readouterr().err == f"error: config.method={file}:MINE: no file '{file}'; correct the path\n"


def test_a_method_in_another_file_is_named_on_the_command_line(tmp_path):
    """Together with a config file of ltjax."""
    from ltjax.methods import configure

    file = tmp_path / "mine.py"
    file.write_text("def stages(config, settings, data):\n    return []\n\nNUMBER = 3\n")
    parse = lambda name: configure.from_command_line(  # noqa: E731
        ["--config=configs/mnist5k_ce.py", f"--config.method={name}", "--workdir=w"]
    )[0]
    assert parse(f"{file}:stages").method == f"{file}:stages"
    for name, message in {
        f"{file}:stage": "mine.py defines no 'stage'; it defines: stages, NUMBER .*did you mean 'stages'",
        f"{file}:NUMBER": "'NUMBER' is of type int; name a function or class",
        f"{file}": "mine.py: add the name of a function or class in the file, as in .*mine.py:NAME",
        "no.such.module:stages": "No module named 'no'",
        "mine.py:stages": "no file",
    }.items():
        with pytest.raises(InputError, match=message) as error:
            parse(name)
        assert "\n" not in str(error.value)


def test_a_method_with_the_stages_of_another_file_has_the_address_of_its_own(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from ltjax.methods.ce import cross_entropy_method\nfrom ltjax.methods.method import Method\n"
        "from ltjax.settings import Block\n\nMINE = Method(cross_entropy_method, Block)\n"
    )
    assert user_code.address(user_code.load_file(str(file), "--config").MINE) == f"{file}:MINE"


READER = """
import dataclasses

import numpy as np

from ltjax.data import Data, Source
from ltjax.data.dataset import fingerprint
from ltjax.data.sampling import epoch_shuffle

LEVEL = 7


@dataclasses.dataclass(frozen=True)
class Reader:
    def __call__(self, record):
        return np.full((8, 8, 1), LEVEL + record, np.uint8)


def my_data(settings):
    labels = np.array([0, 0, 0, 1], np.int32)
    source = Source(labels, np.arange(4), Reader())
    return Data("mine", source, source, "test", 2, np.array([3, 1]), (8, 8, 1), (0.5,), (0.25,), None, "0" * 64)


def my_sampler():
    shuffled = epoch_shuffle.instance_balanced()

    def last_first(tables, *position):
        return 3 - shuffled.draw(tables, *position)

    return dataclasses.replace(shuffled, draw=last_first)
"""


@pytest.mark.slow
def test_a_data_set_and_a_sampler_in_a_file_reach_the_data_loading_processes(tmp_path):
    file = tmp_path / "my_data.py"
    file.write_text(READER)
    data = build(DataSettings(name=f"{file}:my_data", imbalance=1.0))
    sampler = user_code.lookup({}, f"{file}:my_sampler", "config.data.sampler")()
    epoch = {
        workers: train_batches(
            data.train, {"image": sampler}, {"image": sampler.tables(data.train.labels, 2)}, seed=0, batch_size=4,
            steps_per_epoch=1, start=0, stop=1, transform=TRANSFORMS["none"], workers=workers,
        )
        for workers in (0, 1)
    }  # fmt: skip
    (here,), (there,) = (list(batches) for batches in epoch.values())
    assert here["image"]["index"].tolist() == there["image"]["index"].tolist()
    assert (there["image"]["image"][:, 0, 0, 0] - 7).tolist() == there["image"]["index"].tolist()


def test_a_file_that_fails_is_one_line(tmp_path):
    file = tmp_path / "broken.py"
    file.write_text("x = 1\ny = x / 0\n")
    with pytest.raises(InputError, match=rf"config.data.name: {file} fails with ZeroDivisionError: .* \(line 2\)"):
        user_code.load_file(str(file), "config.data.name")


@pytest.mark.parametrize(
    "body, message",
    {
        "a fault": ("return 1 / 0", r"get_config of {file} fails with ZeroDivisionError: division by zero \(line 2\)"),
        "a dict": ("return {{}}", "get_config of {file} returns an object of type dict; return the ConfigDict"),
        "nothing": ("pass", "get_config of {file} returns None; return the ConfigDict"),
    }.values(),
)
def test_a_config_file_that_returns_no_config_is_one_line(body, message, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(f"def get_config(arg=None):\n    {body.format()}\n")
    with pytest.raises(InputError, match=message.format(file=file)) as error:
        load(str(file))
    assert "\n" not in str(error.value)


def test_what_is_no_backbone_is_one_line(tmp_path):
    from ltjax.errors import InputError
    from ltjax.methods.common import build_backbone
    from tests.training import toy

    file = tmp_path / "mine.py"
    file.write_text("def number():\n    return 3\n\n\ndef three(dtype, param_dtype):\n    return 3\n")
    for name, message in {
        "number": "it takes no dtype and no param_dtype; name a Flax module",
        "three": "it returns an object of type int, not a Flax module",
    }.items():
        with pytest.raises(InputError, match=message):
            build_backbone(toy.config(model__backbone=f"{file}:{name}"))
