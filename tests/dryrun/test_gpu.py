"""The real GPU compiler, without a GPU: what the flagship's program launches, and the command on a toy.

JAX's plugin for GPUs is not among the tests' packages. The tests take it where it is installed, or from the folder that
LTJAX_GPU_COMPILER names (`pip install --no-deps --target DIR jax-cuda12-plugin==V jax-cuda12-pjrt==V`, V the version of
jax); its compiler runs in a process of its own.
"""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

from tests.shared import ROOT

FOLDER = os.environ.get("LTJAX_GPU_COMPILER", "")
pytestmark = pytest.mark.skipif(
    not (FOLDER and (pathlib.Path(FOLDER) / "jax_cuda12_plugin").is_dir())
    and importlib.util.find_spec("jax_cuda12_plugin") is None,
    reason="jax-cuda12-plugin and jax-cuda12-pjrt are not installed, nor in a folder named by LTJAX_GPU_COMPILER",
)
# The train program of a config, with four steps a call: a longer call has the same loop.
TRAIN = """
import json, sys
from ltjax.dryrun import devices
numbers, topology, *arguments = sys.argv[1:]
devices.prepare(topology)
from ltjax.dryrun import plan as plans
from ltjax.dryrun.compiled import as_record, compile_program
from ltjax.dryrun.lowering import lower_train
from ltjax.methods.configure import from_command_line
target = devices.open_slice(topology)
config, _ = from_command_line([*arguments, "--config.steps_per_call=4", "--workdir=none"])
program = lower_train(plans.plan_for(config, target), 0)
json.dump(as_record(compile_program(program, target, config.dtype)), open(numbers, "w"))
"""
# A backbone of four blocks, for images of 32 pixels.
TRANSFORMER = """
import functools
from ltjax.models import VisionTransformer

small = functools.partial(VisionTransformer, patch=4, width=64, depth=4, heads=2, grid=8)
"""
# A config file for the command, and the toy's parts where the command finds them.
CONFIG = """
from tests.training import toy

def get_config(arg=None):
    return toy.recipe("one", batch_size=16, epochs=1, evaluation__batch_size=32)
"""
TOY = """
import sys
from ltjax.dryrun import __main__ as command, devices
config, numbers, topology, *options = sys.argv[1:]
devices.prepare(topology)  # before the toy starts JAX
from ltjax import models
from ltjax.dryrun import plan
from ltjax.methods import METHODS
from tests.training import toy
plan.find_data = toy.build
METHODS["one"] = lambda config, settings, data: toy.three_stages(config, settings, data)[:1]
models.BACKBONES["toy"] = toy.Backbone
sys.exit(command.main([f"--config={config}", f"--topology={topology}", f"--json={numbers}", *options]))
"""


def run(code, *arguments, **variables):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [FOLDER])])} | variables
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return done


# Depth of the flagship's network -> convolutions of a step (one a layer, and a gradient to kernel and input, but for
# the pixels), most kernels, FLOPs. The promised times are those of ResNet-32; ResNet-8 has the same kinds of kernels.
FLAGSHIPS = {8: (20, 130, 9.29e9), 32: (92, 400, 52.8e9)}


@pytest.fixture(scope="module", params=[8, pytest.param(32, marks=pytest.mark.slow)])
def flagship(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("flagship") / "numbers.json"
    backbone = f"--config.model.backbone=resnet{request.param}"
    run(TRAIN, path, "h200:1", "--config=configs/cifar100_ce.py", "--config.dtype=bfloat16", backbone)
    return json.loads(path.read_text()), *FLAGSHIPS[request.param]


def is_one_graph(kernels):
    assert kernels["one_graph"] and not kernels["host_loop"] and not kernels["outside"]
    assert kernels["inner_loops"] == kernels["waiting_loops"] == 0


def test_a_call_of_the_flagship_is_one_graph(flagship):
    is_one_graph(flagship[0]["kernels"])


@pytest.mark.slow
def test_a_rate_that_changes_with_every_step_leaves_the_loop_in_the_graph(tmp_path):
    """It is a kernel's result that others read; copied to the results of its step, it would take the loop out."""
    run(TRAIN, tmp_path / "numbers.json", "b200:1", "--config=configs/mnist5k_reslt.py")
    is_one_graph(json.loads((tmp_path / "numbers.json").read_text())["kernels"])


def test_a_step_of_the_flagship_has_few_kernels(flagship):
    compiled, convolutions, most, _ = flagship
    kernels = compiled["kernels"]
    assert kernels["kernels"]["convolutions"] == convolutions
    assert kernels["total"] == sum(kernels["kernels"].values()) <= most


def test_the_flagships_numbers_are_plausible(flagship):
    compiled, convolutions, _, flops = flagship
    assert compiled["flops"] == compiled["traced_matrix_flops"] == pytest.approx(flops, rel=0.02)
    assert 2**26 < compiled["memory_bytes"]["together"] < 2**30
    kernels = compiled["kernels"]
    low, high = kernels["serial_seconds"]
    assert 6e-6 < low / convolutions < high / convolutions < 40e-6 and kernels["host_seconds"] == [0, 0]
    assert low / 3 < kernels["longest_seconds"][0] < low
    assert 1e8 < kernels["bytes"] < 1e10


@pytest.mark.slow
def test_remat_does_not_keep_what_it_computes_again(tmp_path):
    """XLA drops the barriers between blocks, so that only the order of the kernels lets arrays share memory."""
    (tmp_path / "small.py").write_text(TRANSFORMER)
    network = ["--config=configs/cifar100_ce.py", f"--config.model.backbone={tmp_path / 'small.py'}:small"]
    numbers = []
    for remat in (False, True):
        path = tmp_path / f"{remat}.json"
        run(TRAIN, path, "h200:1", *network, "--config.dtype=bfloat16", f"--config.model.remat={remat}")
        numbers.append(json.loads(path.read_text()))
        is_one_graph(numbers[-1]["kernels"])
    plain, again = numbers
    assert again["memory_bytes"]["temporaries"] < 0.5 * plain["memory_bytes"]["temporaries"]
    assert again["traced_matrix_flops"] > 1.2 * plain["traced_matrix_flops"]  # it does compute again


@pytest.mark.slow
def test_the_command_compiles_for_eight_gpus(tmp_path):
    (tmp_path / "toy_config.py").write_text(CONFIG)
    done = run(TOY, tmp_path / "toy_config.py", tmp_path / "numbers.json", "h100:8", "--no-largest")
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert (numbers["chips"], numbers["hosts"], numbers["chip"]) == (8, 1, "NVIDIA H100")
    assert numbers["memory_bytes_of_a_chip"] == 60e9  # JAX takes three quarters
    assert numbers["compiler"].startswith("XLA:GPU") and numbers["fits"]
    train = numbers["programs"][0]
    assert ("all-reduce", 8) in {(c["kind"], c["devices"]) for c in train["collectives"]}
    assert train["kernels"]["kernels"]["collectives"] > 0
    rows = ("kernels per step", "CUDA graphs", "loops run by the host", "modelled: longest path, ms")
    for line in (*rows, "a collective 20 us"):
        assert line in done.stdout, line
    assert "compiling the train step" in done.stderr


@pytest.mark.slow
def test_the_search_for_the_largest_batch_compiles_until_one_does_not_fit(tmp_path):
    (tmp_path / "toy_config.py").write_text(CONFIG)
    share = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.00000125"}  # 100 kB
    done = run(TOY, tmp_path / "toy_config.py", tmp_path / "numbers.json", "h100:1", **share)
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    tries, limit = numbers["tries"], numbers["memory_bytes_of_a_chip"]
    assert len(tries) > 1 and all(one["fits"] == (0 < one["needed"] <= limit) for one in tries)
    assert {one["fits"] for one in tries} == {True, False}
    assert numbers["largest_batch"] == max(one["images"] for one in tries if one["fits"])
    assert f"largest compiled batch that fits for train: {numbers['largest_batch']}" in done.stdout
