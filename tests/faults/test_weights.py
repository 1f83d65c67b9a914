"""Weights that a run starts from: of another network, not finite, or no weights at all. Refused before it trains."""

import io
import pickle
import zipfile

import jax
import numpy as np
import pytest

from ltjax import models
from ltjax.errors import InputError
from ltjax.methods import METHODS
from ltjax.models import ExpertBackbone, ExpertsHead, LinearHead, Network, ResNetCifar
from ltjax.training import loop, prepare
from ltjax.training.init_from import _fitting as fitting
from ltjax.training.workdir.checkpoint import Checkpoints
from ltjax.training.workdir.pretrained import with_pretrained
from tests.training import toy
from tests.training.test_init_from import torch_names


def variables(depth):
    network = Network(ResNetCifar(depth), LinearHead(3), mean=(0.5,), std=(0.25,))
    shapes = jax.eval_shape(
        lambda: network.init(jax.random.key(0), np.zeros((1, 32, 32, 1), np.uint8), train=False)
    )  # fmt: skip
    return jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)


@pytest.fixture(scope="module")
def shallow():
    return variables(8)


@pytest.fixture(scope="module")
def deep():
    return variables(14)


def error_of(shallow, path):
    with pytest.raises(InputError) as raised:
        with_pretrained(shallow, str(path))
    message = str(raised.value)
    assert message.startswith(f"config.model.pretrained={path}: ") and "\n" not in message and len(message) < 700
    return message


def deeper(names):
    """Of a ResNet-14, by the names of a ResNet-8: each stage has a second block like its first."""
    more = {name.replace(".0.", ".1.", 1): value for name, value in names.items() if name.startswith("layer")}
    for name in [name for name in more if name.endswith("conv1.weight")]:
        more[name] = np.zeros((len(more[name]), len(more[name]), 3, 3), np.float32)
    return names | more


def test_a_deeper_network_is_refused_with_the_blocks_left_over(shallow, deep, tmp_path):
    np.savez(tmp_path / "deep.npz", **deeper(torch_names()))
    with_pretrained(deep, str(tmp_path / "deep.npz"))
    message = error_of(shallow, tmp_path / "deep.npz")
    blocks = "backbone/stage1_block1, backbone/stage2_block1, backbone/stage3_block1"
    assert f"left over, without a place here: 30 arrays in {blocks}" in message
    np.savez(tmp_path / "shallow.npz", **torch_names())
    assert f"30 arrays in {blocks} are missing there" in error_of(deep, tmp_path / "shallow.npz")


def test_experts_start_from_the_stages_of_one_network(tmp_path):
    """Each gets a copy of the stages that it has for itself, if they have its channels."""
    np.savez(tmp_path / "w.npz", **torch_names())

    def network(**fields):
        made = Network(ExpertBackbone(8, experts=2, **fields), ExpertsHead(3, 2), mean=(0.5,), std=(0.25,))
        return jax.eval_shape(lambda: made.init(jax.random.key(0), np.zeros((1, 32, 32, 1), np.uint8), train=False))

    zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), network(reduce=False))
    backbone = with_pretrained(zeros, str(tmp_path / "w.npz"))["params"]["backbone"]
    np.testing.assert_array_equal(
        backbone["expert1"]["stage3_block0"]["conv1"]["kernel"],
        torch_names()["layer3.0.conv1.weight"].transpose(2, 3, 1, 0),
    )
    jax.tree.map(np.testing.assert_array_equal, backbone["expert0"], backbone["expert1"])
    assert np.any(backbone["stage1_block0"]["conv1"]["kernel"])
    error = error_of(network(reduce=True), tmp_path / "w.npz")
    assert "backbone/expert0/stage3_block0/norm1/mean is [64] there and [48] here" in error


def test_init_from_lists_every_difference(shallow, deep):
    assert fitting(shallow, shallow, "config.init_from=x") is shallow
    with pytest.raises(InputError, match=r"config.init_from=x: has another network: left over.*stage3_block1"):
        fitting(shallow, deep, "config.init_from=x")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused_and_listed(shallow, tmp_path, bad):
    names = {name: np.full_like(value, bad) for name, value in torch_names().items()}
    np.savez(tmp_path / "w.npz", **names)
    message = error_of(shallow, tmp_path / "w.npz")
    assert "NaN or infinity in " in message and f"and {len(names) - 5} more" in message


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def archive(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


WHOLE = npz(**torch_names())
HUGE = npy(np.zeros(1)).replace(b"(1,), ", b"(10000000000000,), ").replace(b" " * 14 + b"\n", b"\n")
WRONG = {
    "empty": (b"", "it is empty"),
    "text": (b"weights", "it is of another kind"),
    "pickle": (pickle.dumps({"conv1.weight": [1.0]}), "pickled file"),
    "npy": (npy(np.zeros(3)), r"an .npy file of one array"),
    "safetensors": (b"\x40\0\0\0\0\0\0\0" + b'{"conv1.weight":{}}', "a readable .safetensors file: cut short"),
    "pth": (archive(**{"archive/data.pkl": b"", "archive/data/0": b"0"}), "a readable PyTorch file: it is truncated"),
    "zip": (archive(**{"readme.txt": "hello"}), "it also holds readme.txt"),
    "empty zip": (archive(), "it holds no array"),
    "half": (WHOLE[: len(WHOLE) // 2], "cut short or damaged"),
    "flipped": (WHOLE[:3000] + bytes([WHOLE[3000] ^ 4]) + WHOLE[3001:], "cut short or damaged"),
    "no array": (archive(**{"conv1.weight.npy": b"none"}), "cut short or damaged|Python objects"),
    "huge": (archive(**{"conv1.weight.npy": HUGE}), "cut short or damaged"),
    "objects": (npz(**{"conv1.weight": np.array([{}, 1], object)}), "Python objects instead of numbers"),
    "words": (npz(**{"conv1.weight": np.array(["a"])}), r"not all of it is numbers: conv1.weight \(<U1\)"),
    "flat": (npz(**{"conv1.weight": np.zeros(3, np.float32)}), "the convolution backbone/conv is"),
    "others": (npz(**{"encoder.layer.0": np.zeros(3, np.float32)}), "'layer.0' is no array of a"),
    "many others": (npz(**{f"layer.{i}": np.zeros(3) for i in range(9)}), "and 4 more are no arrays of a"),
    "head alone": (npz(**{"fc.weight": np.zeros((3, 64), np.float32)}), "are missing there"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_file_that_holds_no_weights_is_one_right_line(shallow, tmp_path, kind):
    content, words = WRONG[kind]
    (tmp_path / "w.npz").write_bytes(content)
    message = error_of(shallow, tmp_path / "w.npz")
    assert [word for word in words.split("|") if word.replace("\\", "") in message], message


def test_a_folder_and_no_file_are_one_line(shallow, tmp_path):
    assert "is a folder" in error_of(shallow, tmp_path)
    assert "no such file" in error_of(shallow, tmp_path / "none.npz")


@pytest.fixture
def toys(monkeypatch):
    monkeypatch.setattr(prepare, "build", toy.build)
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)
    monkeypatch.setitem(METHODS, "first", lambda config, own, data: [toy.stage(config)])


def test_they_are_refused_before_the_run_writes_or_trains(toys, tmp_path, monkeypatch):
    (tmp_path / "half.npz").write_bytes(WRONG["half"][0])
    (tmp_path / "other.npz").write_bytes(WHOLE)
    trained = []
    monkeypatch.setattr(loop, "_run_stages", lambda *arguments: trained.append(arguments))
    for name, words in (("half", "cut short"), ("other", "has another backbone")):
        with pytest.raises(InputError, match=words):
            loop.train(
                toy.config("first", model__pretrained=str(tmp_path / f"{name}.npz")), str(tmp_path / "run")
            )  # fmt: skip
        assert not trained and not (tmp_path / "run" / "config.json").exists()


def test_a_first_stage_whose_checkpoint_is_damaged_is_taken_again_from_the_run_it_came_from(toys, tmp_path, caplog):
    config = toy.config("first", evaluation__every_epochs=0)
    loop.train(config, str(tmp_path / "source"))
    taking = config.replaced({"init_from": str(tmp_path / "source")})
    first = loop.train(taking, str(tmp_path / "run"))
    (tmp_path / "run" / "results.json").unlink()
    for file in (tmp_path / "run/checkpoints/first/0/state").rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:10])
    assert loop.train(taking, str(tmp_path / "run"))["per_class"] == first["per_class"]
    assert "0 cannot be read" in caplog.text


def test_a_run_that_resumes_opens_no_other_run_and_reads_its_own_state_once(toys, tmp_path, monkeypatch):
    config = toy.config(evaluation__every_epochs=0, epochs=1)
    loop.train(config, str(tmp_path / "source"))
    taking, reads = config.replaced({"init_from": str(tmp_path / "source")}), []
    first = loop.train(taking, str(tmp_path / "run"))
    (tmp_path / "run" / "results.json").unlink()
    read = Checkpoints._read
    monkeypatch.setattr(Checkpoints, "_read", lambda self, *given: (reads.append(self.folder), read(self, *given))[1])
    assert loop.train(taking, str(tmp_path / "run"))["per_class"] == first["per_class"]
    assert len(reads) == 1
    monkeypatch.setattr(loop, "_run_stages", lambda *given: {})
    monkeypatch.setattr(loop, "shape_of_state", lambda *given: pytest.fail("traced the network for nothing"))
    loop.train(config, str(tmp_path / "other"))
