"""Over 8 devices under jit every loss has the global value: in a process of its own, which can have 8 devices."""

import os
import subprocess
import sys

SCRIPT = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from ltjax import metrics
from tests.losses.catalogue import FIRST

assert jax.device_count() == 8

for kind in (AxisType.Auto, AxisType.Explicit):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(kind,))
    with jax.set_mesh(mesh):
        for entry in FIRST:
            if kind is AxisType.Explicit and "leading" in entry.exceptions:
                continue  # pairs of examples have no explicit sharding: for those there is jax.sharding.auto_axes
            x, y = entry.inputs((24,))
            where = jnp.arange(24) % 4 != 1  # another number of examples on each device
            value = jax.jit(jax.value_and_grad(entry.scalar))
            expected = value(np.asarray(x), np.asarray(y), np.asarray(where))
            outer = (None,) * entry.batch_axis
            sharded = [
                jax.device_put(x, NamedSharding(mesh, P(*outer, "data"))),
                jax.device_put(y, NamedSharding(mesh, P("data"))),
                jax.device_put(where, NamedSharding(mesh, P("data"))),
            ]
            got = value(*sharded)
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), got, expected)
        counters = metrics.create(5, calibration_bins=4)
        logits = jax.random.normal(jax.random.key(0), (64, 5))
        labels = jnp.arange(64) % 5
        expected = metrics.update(counters, np.asarray(logits), np.asarray(labels))
        got = jax.jit(metrics.update)(counters, *(
            jax.device_put(a, NamedSharding(mesh, P("data"))) for a in (logits, labels)))
        jax.tree.map(np.testing.assert_array_equal, got, expected)
print("all equal")
"""


def test_sharded_values_and_gradients_are_the_global_ones():
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # compiled quickly rather than well
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "all equal" in done.stdout
