"""The step on eight forced devices talks of gradients, batch statistics and means alone, and each reads its share."""

import json
import os
import subprocess
import sys

import pytest

from tests.shared import ROOT

IMAGES = 16  # a batch: two a device
SCRIPT = """
import dataclasses, json, sys
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_disable_most_optimizations", True)
from ltjax import models
from ltjax.data.loading.host_batches import train_batches
from ltjax.data.loading.device_batches import Resident, read_all
from ltjax.data.augment.registry import TRANSFORMS
from ltjax.methods import METHODS
from ltjax.methods.stage import Start
from ltjax.training.execution import mesh as meshes
from ltjax.dryrun.collectives import collectives
from ltjax.training.execution.programs import Execution, data_seed, resident_draw, streamed_step
from ltjax.training.step.state import create_state
from tests.training.step import test_micro_batches as methods
from tests.training import toy

assert jax.device_count() == 8
models.BACKBONES.update({"toy": methods.asynchronous_toy.Backbone})
mesh, data, found = meshes.data_mesh(), toy.build(None), {}
for name, (number, changes, parts) in json.loads(sys.argv[1]).items():
    config = methods.config_of(name.partition(" ")[0], changes | {"dtype": "float32", "batch_size": 16})
    stage = METHODS[config.method](config, data)[number]
    fresh = jax.eval_shape(lambda: stage.network.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1), jnp.uint8)))
    state = jax.eval_shape(lambda variables: create_state(stage, Start(variables), 0), fresh)
    row = jax.ShapeDtypeStruct((16,), jnp.int32)
    one = {"image": jax.ShapeDtypeStruct((16, 8, 8, 1), jnp.uint8), "label": row, "index": row}
    step = streamed_step(stage, Execution(5, 16, mesh, micro_batches=parts))
    text = step.lower(state, {"teacher": fresh}, dict.fromkeys(stage.streams, one)).compile().as_text()
    size = sum(leaf.size * 4 for leaf in jax.tree.leaves(state.params))
    found[name] = [size, [(one.kind, one.bytes, one.shapes) for one in collectives(text)]]

stage = toy.stage(toy.config())
cut = TRANSFORMS["pad_crop"]
draw = resident_draw(stage, Execution(2, 16, mesh, stage_index=1, transform=cut))
tables = {name: sampler.tables(data.train.labels, 3) for name, sampler in stage.streams.items()}
state = dataclasses.replace(create_state(stage, stage.init(jax.random.key(0), None, None), 5), step=jnp.int32(3))
batch = jax.jit(draw)(state, tables, Resident(*map(jnp.asarray, read_all(data.train))))["image"]
for device in range(8):
    (own,) = train_batches(
        data.train, stage.streams, tables, seed=data_seed(5, 1), batch_size=16, steps_per_epoch=2, start=3, stop=4,
        transform=cut, shard=(device, 8),
    )
    for key, array in batch.items():
        (held,) = [one.data for one in array.addressable_shards if one.device == mesh.devices[device]]
        np.testing.assert_array_equal(held, own["image"][key])
print(json.dumps(found))
"""
ALL_INGREDIENTS = """
import jax, numpy as np
jax.config.update("jax_disable_most_optimizations", True)
jax.config.update("jax_enable_x64", True)
from ltjax import models
from ltjax.methods import METHODS
from ltjax.training.execution import mesh as meshes
from ltjax.training.execution.programs import Execution, streamed_step
from ltjax.training.step.state import create_state
from tests.training import test_optimizer_ingredients as ingredients, toy

assert jax.device_count() == 8
data = toy.build(None)
batch = {
    "image": np.stack([data.train.read(i) for i in range(16)]),
    "label": np.asarray(data.train.labels[:16], np.int32),
    "index": np.arange(16, dtype=np.int32),
}
models.BACKBONES["toy"] = ingredients.Dropping
(stage,) = METHODS["ce"](toy.config(dtype="float64", **ingredients.ALL), data)
ends = []
for devices in (jax.devices(), jax.devices()[:1]):
    mesh = jax.sharding.Mesh(np.asarray(devices), (meshes.AXIS,))
    state = create_state(stage, stage.init(jax.random.key(0), None, None), 0)
    state = meshes.put_replicated(jax.device_get(state), mesh)
    for _ in range(2):
        state, _ = streamed_step(stage, Execution(2, 16, mesh))(state, {}, meshes.put_split({"image": batch}, mesh))
    ends.append(jax.device_get(state))
jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), *ends)
"""
# method -> number of the stage, settings, micro-batches
CASES = {
    "ce": (0, {}, 1),
    "reslt in two parts": (0, {}, 2),
    "asynchronous": (1, {"asynchronous.split": 1}, 1),
    "auxiliary": (0, {"auxiliary.images_per_class": 8}, 1),
}


def on_eight_devices(script, *arguments):
    """What the script prints."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=600,
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def found():
    """What the step of each case says to other devices; that each draws its share is checked on the way."""
    return json.loads(on_eight_devices(SCRIPT, json.dumps(CASES)).splitlines()[-1])


@pytest.mark.slow
def test_with_all_ingredients_eight_devices_make_the_step_of_one():
    on_eight_devices(ALL_INGREDIENTS)


@pytest.mark.parametrize("name", [name for name in CASES if name != "asynchronous"])
def test_a_step_reduces_and_moves_no_image(found, name):
    """Two streams in one pass and the parts of a batch, too, are made of what each device has."""
    size, talk = found[name]
    assert {kind for kind, *_ in talk} == {"all-reduce"}, talk
    passes = 1 if name == "ce" else 2  # each pass through the network, and each part of a batch, has its own gradients
    assert sum(volume for _, volume, _ in talk) < passes * (size + 1500)  # and statistics, scalars


def test_graph_matching_gathers_features_and_nothing_else(found):
    size, talk = found["asynchronous"]
    gathered = {shape for kind, _, shapes in talk if kind == "all-gather" for shape in shapes}
    assert {kind for kind, *_ in talk} == {"all-reduce", "all-gather"}
    assert gathered == {f"f32[4,{IMAGES}]", f"f32[{IMAGES}]"}, (
        gathered
    )  # features and their lengths: no images, no logits
    assert sum(volume for _, volume, _ in talk) < size + 3000
