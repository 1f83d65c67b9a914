"""Batch normalisation: unbiased running variance, frozen mode, accuracy, dtypes, and the global batch."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.models import BatchNorm

ROOT = pathlib.Path(__file__).resolve().parents[2]


def apply(x, *, train, frozen_norm=False, stats=None, **kwargs):
    norm = BatchNorm(**kwargs)
    variables = norm.init(jax.random.key(0), x, train=True)
    if stats is not None:
        variables = {**variables, "batch_stats": stats}
    y, after = norm.apply(variables, x, train=train, frozen_norm=frozen_norm, mutable=["batch_stats"])
    return y, variables["batch_stats"], after["batch_stats"]


def test_running_variance_is_unbiased_and_the_output_uses_the_biased_one():
    x = np.random.default_rng(0).normal(2.0, 3.0, [3, 2, 2, 5]).astype(np.float32)
    y, _, after = apply(x, train=True)
    np.testing.assert_allclose(after["mean"], 0.1 * x.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(after["var"], 0.9 + 0.1 * x.var((0, 1, 2), ddof=1), rtol=1e-5)
    expected = (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-5)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_init_leaves_the_statistics_at_zero_and_one():
    variables = BatchNorm().init(jax.random.key(0), jnp.full([4, 3], 7.0), train=True)
    assert variables["batch_stats"]["mean"].tolist() == [0] * 3 and variables["batch_stats"]["var"].tolist() == [1] * 3


@pytest.mark.parametrize(("train", "frozen_norm"), [(True, True), (False, False), (False, True)])
def test_frozen_or_evaluating_it_uses_the_running_statistics_and_leaves_them(train, frozen_norm):
    x = np.random.default_rng(1).normal(size=[8, 3]).astype(np.float32)
    stats = {"mean": jnp.array([1.0, 2.0, 3.0]), "var": jnp.array([4.0, 0.25, 1.0])}
    y, before, after = apply(x, train=train, frozen_norm=frozen_norm, stats=stats)
    assert jax.tree.map(np.array_equal, before, after) == {"mean": True, "var": True}
    np.testing.assert_allclose(y, (x - [1, 2, 3]) / np.sqrt(np.array([4, 0.25, 1]) + 1e-5), rtol=1e-5, atol=1e-6)


def test_variance_survives_a_mean_of_ten_thousand_standard_deviations():
    x = np.random.default_rng(2).normal(1e4, 1.0, [512, 4]).astype(np.float32)
    _, _, after = jax.jit(lambda x: apply(x, train=True, momentum=0.0))(x)
    np.testing.assert_allclose(after["var"], x.astype(np.float64).var(0, ddof=1), rtol=1e-3)


def test_one_value_per_channel_leaves_finite_statistics():
    y, _, after = apply(jnp.array([[3.0, -2.0]]), train=True)
    assert np.isfinite(y).all() and np.isfinite(after["var"]).all()


def test_bfloat16_in_and_out_with_float32_statistics():
    x = (1000 + np.arange(256)[:, None] % 2 * 8).astype(jnp.bfloat16)  # exact in bfloat16; its sums would not be
    y, _, after = apply(x, train=True, dtype=jnp.bfloat16, momentum=0.0)
    assert y.dtype == jnp.bfloat16 and after["mean"].dtype == after["var"].dtype == jnp.float32
    np.testing.assert_allclose(after["mean"], [1004.0])
    np.testing.assert_allclose(after["var"], [16 * 256 / 255], rtol=1e-6)


def test_float64_stays_float64():
    with jax.enable_x64(True):
        y, _, after = apply(jnp.asarray([[1.0], [2.0]], jnp.float64), train=True, dtype=jnp.float64)
        assert y.dtype == after["mean"].dtype == after["var"].dtype == jnp.float64


GLOBAL_BATCH = """
import json, jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ltjax.models import BACKBONES, Network, ResLTHead
jax.config.update("jax_enable_x64", True)
assert jax.device_count() == 8
net = Network(BACKBONES["resnet8"](dtype="float64"), ResLTHead(5, dtype="float64"), (0.5,), (0.25,), "float64")
images = np.random.default_rng(0).integers(0, 256, [16, 8, 8, 1]).astype(np.uint8)
images[:8] //= 4  # the shards' own statistics differ
variables = net.init(jax.random.key(0), images)
step = jax.jit(lambda v, x: net.apply(v, x, train=True, mutable=["batch_stats"]))
results = []
for count in (1, 8):
    mesh = Mesh(np.array(jax.devices()[:count]), ["batch"])
    sharded = jax.device_put(images, NamedSharding(mesh, PartitionSpec("batch")))
    out = step(jax.device_put(variables, NamedSharding(mesh, PartitionSpec())), sharded)
    results.append(jax.device_get(out))
difference = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), *results)
print(json.dumps(max(jax.tree.leaves(difference))))
"""


def test_statistics_are_those_of_the_global_batch_on_eight_devices():
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    environment["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, "-c", GLOBAL_BATCH], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) < 1e-12
