"""config.fsdp: devices that share the state of training compute what each would compute with all of it."""

import functools
import json
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
from tests.training.execution.several_devices import environment, losses, started, stopped

STEPS = 3
# Eight devices, a vision transformer with AdamW: three steps on batches of the host, by the devices that share.
PROGRAM = """
import json, sys
import jax, jax.numpy as jnp, numpy as np
from ltjax import models
from ltjax.methods.common import classify
from ltjax.losses import cross_entropy
from ltjax.data.sampling.epoch_shuffle import instance_balanced
from ltjax.methods.stage import Stage, Start, Updates
from ltjax.models.tuning import Tuning
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

MOVING = ("head", *(f"backbone/block{n}/adaptformer" for n in (0, 1)))

def run(devices, remat, tuned=False):
    tuning = {"tuning": Tuning("adaptformer", 3)} if tuned else {"drop_path": 0.2}
    backbone = VisionTransformer(4, 32, 2, 2, grid=4, remat=remat, **tuning)
    network = Network(backbone, LinearHead(3), (0.5,) * 3, (0.25,) * 3)
    stage = Stage(
        "train", network, 1, StageOptimizer(name="adamw", learning_rate=1e-3, weight_decay=0.05),
        objective=classify("image", cross_entropy), streams={"image": None}, init=None, predict=None,
        updates=Updates(MOVING, norm="frozen", frozen_once=True) if tuned else Updates(),
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
    moments = jax.tree.leaves(state.opt_state, is_leaf=lambda x: isinstance(x, dict))
    moments = next(one for one in moments if isinstance(one, dict))
    moment = [] if tuned else [moments["backbone/block0/mlp/fc1/kernel"]]
    return {
        "losses": losses,
        "pieces": [list(x.sharding.shard_shape(x.shape)) for x in (before, kernel, *moment)],
        "moments": sorted(moments),
        "arguments": compiled.memory_analysis().argument_size_in_bytes,
        "gathers": compiled.as_text().count(" all-gather("),
        "weights": float(jnp.sum(jnp.abs(meshes.whole(kernel, mesh)))),
    }

print(json.dumps({name: run(*how) for name, how in json.loads(sys.argv[1]).items()}))
"""


def run(cases):
    done = subprocess.run(
        [sys.executable, "-c", f"STEPS = {STEPS}\n{PROGRAM}", json.dumps(cases)],
        cwd=ROOT, env=environment(8, PYTHONPATH=str(ROOT)), capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def runs():
    return run({"each": (1, False), "four": (4, True)})


def test_losses_and_weights_are_those_of_devices_with_all_of_it(runs):
    assert len(set(runs["each"]["losses"])) == STEPS
    np.testing.assert_allclose(runs["four"]["losses"], runs["each"]["losses"], rtol=1e-5)
    np.testing.assert_allclose(runs["four"]["weights"], runs["each"]["weights"], rtol=1e-5)


def test_parameters_and_the_state_of_the_optimizer_are_split_and_stay_so(runs):
    assert runs["each"]["pieces"] == [[32, 128]] * 3
    assert runs["four"]["pieces"] == [[32, 32]] * 3
    assert runs["each"]["gathers"] == 0 < runs["four"]["gathers"]
    assert runs["four"]["arguments"] < 0.4 * runs["each"]["arguments"]


@pytest.mark.slow
def test_all_devices_may_share_one_network():
    each, shared = run({"each": (1, False), "eight": (8, False)}).values()
    np.testing.assert_allclose(shared["losses"], each["losses"], rtol=1e-5)
    np.testing.assert_allclose(shared["weights"], each["weights"], rtol=1e-5)
    assert shared["pieces"] == [[32, 16]] * 3 and shared["gathers"] > 0
    assert shared["arguments"] < 0.3 * each["arguments"]


@pytest.mark.slow
def test_what_tuning_freezes_is_split_too_and_has_no_moments():
    each, shared = run({"each": (1, True, True), "eight": (8, True, True)}).values()
    assert len(set(each["losses"])) == STEPS
    np.testing.assert_allclose(shared["losses"], each["losses"], rtol=1e-5)
    assert each["pieces"] == [[32, 128]] * 2 and shared["pieces"] == [[32, 16]] * 2
    np.testing.assert_allclose(shared["weights"], each["weights"], rtol=1e-6)
    assert not any("/mlp/" in path for path in shared["moments"]) and any("adaptformer" in p for p in shared["moments"])
    assert shared["arguments"] < 0.4 * each["arguments"] and shared["gathers"] > 0


def test_an_array_is_split_along_its_longest_side_that_divides():
    assert split_spec((4096, 1024), 8) == PartitionSpec("fsdp")
    assert split_spec((1001, 1024), 8) == PartitionSpec(None, "fsdp")
    assert split_spec((1001, 1023), 8) == split_spec((64,), 8) == split_spec((4096, 1024), 1) == PartitionSpec()


def test_a_number_of_devices_that_does_not_fit_is_named():
    with pytest.raises(InputError, match=r"config\.fsdp: 3 does not divide the number of devices, 1; use 1$"):
        meshes.shared_by(meshes.data_mesh(), 3)
    with pytest.raises(InputError, match=r"config\.fsdp: 2 devices share one network, but config\.num_seeds is 2"):
        toy.config(fsdp=2, num_seeds=2)


RUN = [
    "--config=configs/mnist5k_ce.py", "--config.epochs=1", "--config.data.imbalance=200", "--config.batch_size=32",
    "--config.log_every_steps=1", "--config.checkpoint.every_steps=2", "--config.dtype=float64",
    "--config.data.augment=none", "--config.model.backbone=tests/training/execution/tiny_vit.py:tiny_vit",
    "--config.model.remat=True",
]  # fmt: skip
ADAPTERS = ["--config.tuning.name=adaptformer", "--config.tuning.size=4"]


def command(workdir, fsdp, *arguments):
    return [sys.executable, "-m", "ltjax.main", *RUN, f"--config.fsdp={fsdp}", *arguments, f"--workdir={workdir}"]


def trained(workdir, fsdp, *arguments, devices=4):
    """(losses, results) of a run in one process."""
    done = subprocess.run(
        command(workdir, fsdp, *arguments), cwd=ROOT, env=environment(devices), capture_output=True, text=True,
        timeout=600,
    )  # fmt: skip
    assert done.returncode == 0 and not re.search("error", done.stderr), done.stderr
    return losses(workdir), json.loads((workdir / "results.json").read_text())


@pytest.fixture(scope="module")
def unshared(tmp_path_factory):
    """arguments -> what ``trained`` gives of them where each device has all of the state."""
    pytest.importorskip("mlxtend")

    @functools.cache
    def run(*arguments):
        return trained(tmp_path_factory.mktemp("unshared") / "run", 1, *arguments)

    return run


def assert_same(found, expected):
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-8)
    assert found[1]["per_class"] == expected[1]["per_class"]


@pytest.mark.slow
def test_a_run_with_shared_state_has_the_losses_and_results_of_one_without(unshared, tmp_path):
    """Checkpoints and evaluation too; another number of devices takes the finished run over."""
    assert_same(trained(tmp_path / "run", 2), unshared())
    assert_same(trained(tmp_path / "run", 4), unshared())


@pytest.mark.slow
def test_a_tuned_run_goes_on_with_fewer_processes_and_devices_that_share(unshared, tmp_path):
    """Two processes with fsdp=4, so that each has a half of every array; then one with 2; then 1 to the end."""
    workdir, steps = tmp_path / "run", [0]
    both = [str(ROOT / "launch" / "local.sh"), "--processes=2", *RUN, "--config.fsdp=4", *ADAPTERS]
    steps.append(stopped(started([*both, f"--workdir={workdir}"], 2), workdir, steps[-1]))
    steps.append(stopped(started(command(workdir, 2, *ADAPTERS), 4), workdir, steps[-1]))
    found = trained(workdir, 1, *ADAPTERS)
    assert_same(found, unshared(*ADAPTERS))
    assert [note["step"] for note in found[1]["resumes"]] == steps[1:] == sorted(set(steps[1:]))
