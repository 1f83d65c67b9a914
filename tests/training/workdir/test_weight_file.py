"""Weights from .npz, .safetensors, .pth and a model hub: the same arrays, and one line where they are none."""

import argparse
import collections
import importlib.util
import io
import os
import random
import sys
import zipfile

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save

from ltjax import models
from ltjax.errors import InputError
from ltjax.models.weights.torch_resnet import import_resnet
from ltjax.training.workdir.torch_file import read_torch_file
from ltjax.training.workdir.weight_file import read_weights
from tests.training.workdir.pth_files import Tensor, pth

LAYOUTS = ["zip", "old"]
WEIGHTS = {
    "conv1.weight": np.arange(54, dtype=np.float32).reshape(2, 3, 3, 3),
    "bn1.running_var": np.ones(2, np.float32),
    "fc.bias": np.array([0.5, 2.0]),
}


def tensors(arrays):
    return {name: Tensor(array) for name, array in arrays.items()}


def same(found, wanted=WEIGHTS):
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype, name
        np.testing.assert_array_equal(found[name], array)


def npz(arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


CONTENTS = {
    "npz": npz(WEIGHTS),
    "safetensors": save(WEIGHTS),
    "pth": pth(tensors(WEIGHTS)),
    "old.pth": pth(tensors(WEIGHTS), "old"),
}


@pytest.mark.parametrize("kind", CONTENTS)
def test_every_kind_of_file_has_the_same_arrays_whatever_its_name(tmp_path, kind):
    (tmp_path / "weights").write_bytes(CONTENTS[kind])
    same(read_weights(str(tmp_path / "weights")))


@pytest.mark.parametrize("length", [*range(0x200, 0x300, 8), int.from_bytes(b"PK", "little")])
def test_safetensors_of_every_length_of_header_are_read(tmp_path, length):
    """The file begins with that length: 0x80, as pickles begin, and PK, as zips do, are among them."""
    header = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'.ljust(length)
    values = np.array([1.5, -3], np.float32)
    (tmp_path / "w").write_bytes(len(header).to_bytes(8, "little") + header + values.tobytes())
    same(read_weights(str(tmp_path / "w")), {"a": values})


def test_wrappers_prefixes_are_removed_and_two_networks_refused(tmp_path):
    wrapped = {f"module.backbone.{name}": array for name, array in WEIGHTS.items()}
    (tmp_path / "w").write_bytes(save(wrapped))
    same(read_weights(str(tmp_path / "w")))
    (tmp_path / "w").write_bytes(save(wrapped | WEIGHTS))
    with pytest.raises(InputError, match="two networks in one file"):
        read_weights(str(tmp_path / "w"))


def test_bfloat16_is_widened_and_other_types_are_named(tmp_path):
    header = b'{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    values = np.array([1.5, -3], ml_dtypes.bfloat16)
    (tmp_path / "w").write_bytes(len(header).to_bytes(8, "little") + header + values.tobytes())
    same(read_weights(str(tmp_path / "w")), {"a": np.array([1.5, -3], np.float32)})
    header = header.replace(b'"BF16"', b'"BOOL"').replace(b"[2]", b"[4]")
    (tmp_path / "w").write_bytes(len(header).to_bytes(8, "little") + header + b"\1\0\1\0")
    with pytest.raises(InputError, match="'a' has the type BOOL, which is not read"):
        read_weights(str(tmp_path / "w"))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["state_dict", "model", "anything"])
def test_a_state_dict_is_found_beside_what_else_a_training_script_saves(layout, name):
    momentum = {0: {"momentum_buffer": Tensor(np.zeros(5, np.float32))}}
    saved = {
        "epoch": 90,
        "args": argparse.Namespace(lr=0.1, sizes={1, 2}),
        "best": np.float64(76.1),
        name: tensors(WEIGHTS),
        "optimizer": {"state": momentum, "param_groups": [{"lr": 0.1, "params": [0]}]},
    }
    same(read_torch_file(pth(saved, layout)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_views_of_one_storage_have_their_own_values(layout):
    base = np.arange(12, dtype=np.float32)
    square = base.reshape(3, 4)
    views = {"part": base[2:5], "every": base[::3], "turned": square.T, "none": base[:0], "one": base[7:8].reshape(())}
    same(read_torch_file(pth({name: Tensor(view, base) for name, view in views.items()}, layout)), views)


class Attack:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_that_a_file_names_is_called(tmp_path, layout):
    target = tmp_path / "made"
    same(read_torch_file(pth({"state_dict": tensors(WEIGHTS), "x": Attack(str(target))}, layout)))
    with pytest.raises(InputError, match="holds a whole model, which is code"):
        read_torch_file(pth(Attack(str(target)), layout))
    assert not target.exists()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_damaged_file_is_one_line_or_without_effect(layout):
    content = pth({"state_dict": tensors(WEIGHTS), "args": argparse.Namespace(a=1)}, layout)
    draw, refused = random.Random(0), 0
    for _ in range(300):
        damaged = bytearray(content)
        damaged[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        try:
            read_torch_file(bytes(damaged[: draw.choice([len(content), draw.randrange(len(content))])]))
        except InputError as error:
            assert "\n" not in str(error) and len(str(error)) < 300
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_tensor_larger_than_its_storage_is_refused(layout):
    small = np.zeros(4, np.float32)
    for shape, strides in (((4, 4), (0, 4)), ((5,), (4,))):
        view = np.lib.stride_tricks.as_strided(small, shape, strides)
        with pytest.raises(InputError, match="larger than what is stored of it"):
            read_torch_file(pth({"a": Tensor(view, small)}, layout))


@pytest.mark.parametrize("damage", ["deflated", "keys"])
def test_other_damage_is_one_line(damage):
    content = pth(tensors(WEIGHTS), "zip" if damage == "deflated" else "old")
    if damage == "keys":  # of two storages with one name
        content = content.replace(b"X\x01\x00\x00\x001", b"X\x01\x00\x00\x000")
    else:
        packed = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(content)) as given, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
            for name in given.namelist():
                file.writestr(name, given.read(name))
        content = bytearray(packed.getvalue())
        begin = content.index(b"data.pkl") + len("data.pkl")
        content[begin : begin + 4] = b"\xff" * 4
    with pytest.raises(InputError, match="not a readable PyTorch file"):
        read_torch_file(bytes(content))


def test_the_names_of_python_2_are_bytes_and_its_dicts_lists_of_pairs():
    pairs = [[name.encode(), Tensor(array)] for name, array in WEIGHTS.items()]
    same(read_torch_file(pth({b"state_dict": Python2(pairs)}, "old")))


class Python2:
    """An OrderedDict as Python 2 pickles it."""

    def __init__(self, pairs):
        self.pairs = pairs

    def __reduce__(self):
        return collections.OrderedDict, (self.pairs,)


HELD = {
    "nothing": ({}, "it holds nothing"),
    "a number": (3, "it holds one value of the type int"),
    "words": ({"a": 1}, "it holds 'a'"),
}


@pytest.mark.parametrize("kind", HELD)
def test_a_file_without_tensors_says_what_it_holds(kind):
    with pytest.raises(InputError, match=HELD[kind][1]):
        read_torch_file(pth(HELD[kind][0]))


class Hub:
    """Stands for huggingface_hub: files of repositories, in a folder."""

    class errors:
        class EntryNotFoundError(Exception):
            pass

        class LocalEntryNotFoundError(EntryNotFoundError):
            pass

    def __init__(self, folder):
        self.folder = folder

    def hf_hub_download(self, repo, name, revision):
        path = self.folder / repo / (revision or "main") / name
        if repo == "off/line":
            raise self.errors.LocalEntryNotFoundError("no connection, and no cached file")
        if not (self.folder / repo).exists():
            raise ConnectionError("401 Client Error:\nRepository Not Found")
        if not path.exists():
            raise self.errors.EntryNotFoundError
        return str(path)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", Hub(tmp_path))
    for path, content in {
        "timm/resnet18/main/model.safetensors": CONTENTS["safetensors"],
        "timm/resnet18/v1/pytorch_model.bin": CONTENTS["old.pth"],
        "a/b/main/weights/last.npz": CONTENTS["npz"],
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)


NAMES = ["hf://timm/resnet18", "hf://timm/resnet18@v1", "hf://a/b/weights/last.npz"]


@pytest.mark.parametrize("name", NAMES)
def test_a_hub_s_file_is_found_by_the_name_of_its_repository(hub, name):
    same(read_weights(name))


@pytest.mark.parametrize(
    ("name", "words"),
    {
        "hf://timm": "is not of the form hf://OWNER/NAME",
        "hf://off/line": r"cannot be downloaded \(LocalEntryNotFoundError: no connection",
        "hf://a/b": "has no model.safetensors and no pytorch_model.bin; name the file: hf://a/b/FILE",
        "hf://a/c": r"cannot be downloaded \(ConnectionError: 401 Client Error: Repository Not Found\)",
    }.items(),
)
def test_what_a_hub_does_not_have_is_one_line(hub, name, words):
    with pytest.raises(InputError, match=words):
        read_weights(name)


def test_without_the_hub_s_library_a_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r'pip install "ltjax\[hub\]"'):
        read_weights("hf://timm/resnet18")


@pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="PyTorch is not installed")
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 4])
def test_files_of_pytorch_itself_are_read(tmp_path, zipped, protocol):
    import torch

    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    state = network.state_dict() | {"part": torch.arange(10.0)[2:5], "half": torch.ones(2, dtype=torch.bfloat16)}
    torch.save(
        {"epoch": 1, "model": state}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped,
        pickle_protocol=protocol,
    )  # fmt: skip
    found = read_weights(str(tmp_path / "w.pth"))
    assert found.keys() == state.keys()
    for name, value in state.items():
        np.testing.assert_array_equal(found[name], value.float().numpy() if name == "half" else value.numpy())


@pytest.mark.skipif(not importlib.util.find_spec("timm"), reason="timm is not installed")
@pytest.mark.parametrize(
    ("name", "network"),
    {
        "resnet18": models.ResNet(18),
        "resnet50": models.ResNet(50),
        "resnext50_32x4d": models.ResNet(50, groups=32, group_width=4),
    }.items(),
)
def test_logits_are_those_of_the_network_that_the_weights_come_from(tmp_path, name, network):
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    source = timm.create_model(name, num_classes=7).train()
    pixels = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)
    images = torch.from_numpy(((pixels / 255 - 0.5) / 0.25).astype(np.float32)).permute(0, 3, 1, 2)
    source(images)  # batch statistics that are not those of the start
    source.eval()
    wanted = source(images).detach().numpy()
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    torch.save(torch.nn.DataParallel(source).state_dict(), tmp_path / "w.pth")
    whole = models.Network(network, models.LinearHead(7), mean=(0.5,) * 3, std=(0.25,) * 3)
    for file in ("w.safetensors", "w.pth"):
        variables = import_resnet(read_weights(str(tmp_path / file)))
        found = whole.apply(variables, pixels, train=False)
        np.testing.assert_allclose(found.logits, wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())
