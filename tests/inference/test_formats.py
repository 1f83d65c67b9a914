"""What an export holds is the network: safetensors, StableHLO and ONNX, loaded by others."""

import dataclasses
import importlib.util
import re

import jax
import numpy as np
import pytest
from etils import epath
from flax import traverse_util

from ltjax.commands.export_card import BLOCKS
from ltjax.errors import InputError
from ltjax.inference import formats
from ltjax.inference.formats import Export, needs, write_onnx, write_safetensors, write_stablehlo
from ltjax.inference.serving import Corrections, in_float32, linear_classifier, networks, program
from ltjax.models import BACKBONES, LinearHead, Network
from ltjax.models.weights.state_dict import state_dict_of
from ltjax.models.weights.torch_resnet import import_resnet, import_resnet_cifar
from tests.inference.exported import IMAGES, NETWORKS, alone, finished, random_variables

TOLERANCE = 1e-4
CORRECTIONS = Corrections(1.5, (0.5, -0.25, 0.0))


def here(name):
    return importlib.util.find_spec(name) is not None


with_torch = pytest.mark.skipif(not here("torchvision"), reason="needs torch and torchvision")
with_safetensors = pytest.mark.skipif(not here("safetensors"), reason="needs safetensors")
with_onnx = pytest.mark.skipif(not (here("jax2onnx") and here("onnxruntime")), reason="needs ltjax[export]: jax2onnx")


def expected(export):
    return np.asarray(jax.jit(program(export.finished, export.corrections))(IMAGES)[1])


@pytest.mark.parametrize("backbone", ["resnet10", "resnext50_32x4d", "resnet8"])
def test_names_and_layout_are_those_that_pytorch_weights_are_read_by(backbone):
    variables = random_variables(Network(BACKBONES[backbone](), LinearHead(3), (0.5,) * 3, (0.25,) * 3), 0)
    arrays = state_dict_of(variables)
    arrays["fc.weight"], arrays["fc.bias"] = arrays.pop("head.classifier.weight"), arrays.pop("head.classifier.bias")
    read = (import_resnet_cifar if backbone == "resnet8" else import_resnet)(arrays)
    jax.tree.map(np.testing.assert_array_equal, read, variables)


@pytest.mark.slow
@with_torch
def test_torchvision_has_the_same_names():
    from torchvision.models import resnet18

    variables = random_variables(Network(BACKBONES["resnet18"](), LinearHead(7), (0.5,) * 3, (0.25,) * 3), 0)
    there = {k: tuple(v.shape) for k, v in resnet18(num_classes=7).state_dict().items() if "num_batches" not in k}
    ours = {k: v.shape for k, v in state_dict_of(variables).items()}
    assert {name: shape for name, shape in ours.items() if not name.startswith("head.")} == {
        name: shape for name, shape in there.items() if not name.startswith("fc.")
    }


@with_torch
@pytest.mark.parametrize("name", [name for name in BACKBONES if re.match(r"resnex?t(10|18|34|50|1..)(_|$)", name)])
def test_the_card_names_a_class_of_torchvision_for_every_imagenet_backbone(name):
    import torch
    import torchvision
    from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

    with torch.device("meta"):
        if name in BLOCKS:
            scope = {"ResNet": ResNet, "BasicBlock": BasicBlock, "Bottleneck": Bottleneck}
            there = eval(f"ResNet({BLOCKS[name]}, num_classes=7)", scope)
        else:
            there = getattr(torchvision.models, name)(num_classes=7)
    if name in BLOCKS:
        backbone = BACKBONES[name]()
        network = Network(backbone, LinearHead(7), (0.5,) * 3, (0.25,) * 3)
        shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), IMAGES[:1], train=False))
        wanted = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes))
        assert wanted == sum(v.numel() for k, v in there.state_dict().items() if "num_batches" not in k)


@with_safetensors
def test_weights_for_grey_images_are_none_of_torchvision(tmp_path):
    run = in_float32(finished("torchvision"))
    grey = run._replace(model=dataclasses.replace(run.model, image_shape=(16, 16, 1)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(formats, "linear_classifier", lambda *_: (np.zeros((3, 512)), np.zeros(3)))
        assert write_safetensors(Export(run, Corrections()), epath.Path(tmp_path))["torchvision"]
        assert not write_safetensors(Export(grey, Corrections()), epath.Path(tmp_path))["torchvision"]


def test_every_array_of_every_network_has_a_name_of_its_own():
    for name in NETWORKS:
        variables = finished(name).variables
        assert len(state_dict_of(variables)) == len(traverse_util.flatten_dict(variables))
    names = state_dict_of(finished("ride").variables)
    assert {"expert0.layer2.0.bn1.running_mean", "conv1.weight", "head.expert2.classifier.weight"} <= names.keys()


@pytest.mark.parametrize(("name", "linear"), [("cifar", True), ("reslt", True), ("cosine", False), ("ride", False)])
def test_a_head_that_is_linear_becomes_one_layer_with_its_corrections(name, linear):
    run = in_float32(finished(name))
    found = linear_classifier(run, run.variables, CORRECTIONS)
    assert (found is not None) == linear
    if found is not None:
        features = run.stage.network.apply(run.variables, IMAGES, train=False).features
        logits = CORRECTIONS(run.stage.predict(run.variables, IMAGES))
        np.testing.assert_allclose(features @ found[0].T + found[1], logits, rtol=1e-4, atol=1e-4)


def test_a_bfloat16_run_is_exported_in_float32():
    run = finished("cifar", dtype="bfloat16")
    assert in_float32(run).stage.network.dtype == np.float32
    logits = program(in_float32(run), Corrections())(IMAGES)[0]
    np.testing.assert_allclose(logits, run.stage.predict(run.variables, IMAGES), atol=0.1)


def test_several_seeds_are_one_program_of_their_mean_and_a_file_each(tmp_path):
    export = Export(in_float32(finished("cifar", num_seeds=2)), CORRECTIONS)
    each = [jax.nn.softmax(export.finished.stage.predict(v, IMAGES)) for v in networks(export.finished)]
    wanted = jax.nn.softmax(CORRECTIONS(np.log(np.mean(each, 0))))
    np.testing.assert_allclose(expected(export), wanted, atol=1e-5)
    if here("safetensors"):
        about = write_safetensors(export, epath.Path(tmp_path))
        assert about["files"] == ["model-seed0.safetensors", "model-seed1.safetensors"] and not about["corrected"]


LOAD_STABLEHLO = """
import numpy, pathlib, jax
model = jax.export.deserialize(bytearray(pathlib.Path("model.stablehlo").read_bytes()))
assert model.platforms == ("cpu", "cuda", "tpu"), model.platforms
for count in (5, 2):
    images = numpy.load("images.npy")[:count]
    found = model.call(images)["probabilities"]
    numpy.testing.assert_allclose(found, numpy.load("expected.npy")[:count], atol=1e-4)
"""


def exported(name, folder, write, **options):
    export = Export(in_float32(finished(name)), CORRECTIONS, **options)
    np.save(folder / "images.npy", IMAGES)
    np.save(folder / "expected.npy", expected(export))
    return write(export, epath.Path(folder))


def check_stablehlo(name, folder):
    exported(name, folder, write_stablehlo)
    alone(LOAD_STABLEHLO, folder)


def test_stablehlo_runs_without_ltjax_for_any_number_of_images(tmp_path):
    check_stablehlo("reslt", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_stablehlo_of_every_kind_of_network_runs_without_ltjax(name, tmp_path):
    check_stablehlo(name, tmp_path)


def test_a_program_of_normalised_images_leaves_them_as_they_are(tmp_path):
    export = Export(in_float32(finished("cifar")), Corrections(), normalise=False)
    write_stablehlo(export, epath.Path(tmp_path))
    model = jax.export.deserialize(bytearray((tmp_path / "model.stablehlo").read_bytes()))
    mean, std = np.float32(export.finished.model.mean), np.float32(export.finished.model.std)
    given = ((IMAGES / np.float32(255)) - mean) / std
    np.testing.assert_allclose(model.call(given)["probabilities"], expected(export), atol=1e-5)


LOAD_TORCH = """
import numpy, torch
from safetensors.torch import load_file
from torchvision.models.resnet import BasicBlock, ResNet
model = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=3)
model.load_state_dict(load_file("model.safetensors"))
model.eval()
mean, std = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.25, 0.2, 0.3])
x = (torch.from_numpy(numpy.load("images.npy")) / 255 - mean) / std
found = model(x.permute(0, 3, 1, 2)).softmax(1).detach().numpy()
numpy.testing.assert_allclose(found, numpy.load("expected.npy"), atol=1e-4)
"""


@with_safetensors
@with_torch
def test_pytorch_loads_the_weights_strictly_and_without_ltjax(tmp_path):
    about = exported("torchvision", tmp_path, write_safetensors)
    assert about["torchvision"] and about["corrected"] and about["classifier"] == "fc"
    alone(LOAD_TORCH, tmp_path)


LOAD_ARRAYS = """
import numpy
from safetensors.numpy import load_file
arrays = load_file("model.safetensors")
def conv(x, w, stride):
    x = numpy.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = numpy.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3))[:, :, ::stride, ::stride]
    return numpy.einsum("bchwij,ocij->bohw", windows, w, optimize=True)
def norm(x, name):
    leaves = ("weight", "bias", "running_mean", "running_var")
    scale, shift, mean, var = (arrays[f"{name}.{leaf}"][:, None, None] for leaf in leaves)
    return (x - mean) / numpy.sqrt(var + 1e-5) * scale + shift
def stage(x, prefix, number, channels):
    name, stride = f"{prefix}layer{number}.0", 1 if number == 1 else 2
    y = numpy.maximum(norm(conv(x, arrays[f"{name}.conv1.weight"], stride), f"{name}.bn1"), 0)
    y = norm(conv(y, arrays[f"{name}.conv2.weight"], 1), f"{name}.bn2")
    more = (y.shape[1] - x.shape[1]) // 2
    return numpy.maximum(y + numpy.pad(x[:, :, ::stride, ::stride], ((0, 0), (more, more), (0, 0), (0, 0))), 0)
x = (numpy.load("images.npy") / numpy.float32(255) - numpy.float32([0.5, 0.4, 0.3])) / numpy.float32([0.25, 0.2, 0.3])
x = numpy.maximum(norm(conv(x.transpose(0, 3, 1, 2), arrays["conv1.weight"], 1), "bn1"), 0)
x = stage(x, "", 1, 16)
def cosine(x, w):
    return (x / numpy.linalg.norm(x, axis=1, keepdims=True)) @ (w / numpy.linalg.norm(w, axis=1, keepdims=True)).T
def pooled(x, prefix=""):
    return stage(stage(x, prefix, 2, 32), prefix, 3, 64).mean((2, 3))
if "fc.weight" in arrays:
    logits = pooled(x) @ arrays["fc.weight"].T + arrays["fc.bias"]
elif "head.classifier.weight" in arrays:
    logits = SCALE * cosine(pooled(x), arrays["head.classifier.weight"])
else:
    each = [SCALE * cosine(pooled(x, f"expert{e}."), arrays[f"head.expert{e}.classifier.weight"]) for e in range(3)]
    logits = sum(each) / 3
if "fc.weight" not in arrays:
    logits = logits / 1.5 + numpy.float32([0.5, -0.25, 0.0])
odds = numpy.exp(logits - logits.max(1, keepdims=True))
numpy.testing.assert_allclose(odds / odds.sum(1, keepdims=True), numpy.load("expected.npy"), atol=1e-4)
"""


@pytest.mark.slow
@with_safetensors
@pytest.mark.parametrize(("name", "scale"), [("cifar", 1), ("reslt", 1), ("cosine", 1), ("ride", 30)])
def test_the_documented_names_are_enough_to_compute_the_network_without_ltjax(name, scale, tmp_path):
    exported(name, tmp_path, write_safetensors)
    alone(LOAD_ARRAYS.replace("SCALE", str(scale)), tmp_path)


LOAD_ONNX = """
import numpy, onnxruntime
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
(given,) = session.get_inputs()
assert given.name == "images" and [one.name for one in session.get_outputs()] == ["logits", "probabilities"]
assert not isinstance(given.shape[0], int) and list(given.shape[1:]) == [16, 16, 3] and given.type == "tensor(uint8)"
for count in (5, 2):
    images = numpy.load("images.npy")[:count]
    found = session.run(["probabilities"], {"images": images})[0]
    numpy.testing.assert_allclose(found, numpy.load("expected.npy")[:count], atol=1e-4)
"""


@pytest.mark.slow
@with_onnx
@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_of_every_kind_of_network_runs_without_ltjax(name, tmp_path):
    exported(name, tmp_path, write_onnx)
    alone(LOAD_ONNX, tmp_path)


def test_a_missing_package_is_one_line_that_names_the_extra(monkeypatch):
    monkeypatch.setitem(formats.PACKAGES, "onnx", (("no_such_package",), "export"))
    with pytest.raises(InputError, match=r"--format=onnx: no_such_package is not installed; .*'ltjax\[export\]'"):
        needs("onnx")
