"""Over 8 devices under jit a loss has the global value: in a process of its own, which can have 8 devices."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import sys
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from ltjax import metrics
from tests.losses import catalogue

assert jax.device_count() == 8
which, *axis_types = sys.argv[1:]
FIRST = [entry for entry in catalogue.FIRST if which == "all" or entry.name in catalogue.SOME]
where = jnp.arange(24) % 4 != 1  # another number of examples on each device
inputs = {id(entry): entry.inputs((24,)) for entry in FIRST}
counted = jax.random.normal(jax.random.key(0), (64, 5)), jnp.arange(64) % 5

def values(entries):
    # one program for all losses: value and gradient of each, and the counters
    def all_of(inputs, where, counted):
        found = [jax.value_and_grad(entry.scalar)(*given, where) for entry, given in zip(entries, inputs)]
        return found, metrics.update(metrics.create(5, calibration_bins=4), *counted)
    return jax.jit(all_of)

found, counters = values(FIRST)([inputs[id(entry)] for entry in FIRST], where, counted)
expected = {id(entry): value for entry, value in zip(FIRST, jax.device_get(found))}
counters = jax.device_get(counters)
for kind in [AxisType[name] for name in axis_types]:
    mesh = jax.make_mesh((8,), ("data",), axis_types=(kind,))
    with jax.set_mesh(mesh):
        # pairs of examples have no explicit sharding: for those there is jax.sharding.auto_axes
        entries = [one for one in FIRST if kind is AxisType.Auto or "leading" not in one.exceptions]
        rows = NamedSharding(mesh, P("data"))
        placed = []
        for entry in entries:
            x, y = inputs[id(entry)]
            outer = (None,) * entry.batch_axis
            placed.append((jax.device_put(x, NamedSharding(mesh, P(*outer, "data"))), jax.device_put(y, rows)))
        got, of_mesh = values(entries)(placed, *jax.device_put((where, counted), rows))
        for entry, value in zip(entries, got):
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6, err_msg=entry.name),
                         value, expected[id(entry)])
        jax.tree.map(np.testing.assert_array_equal, of_mesh, counters)
print("all equal")
"""


@pytest.mark.parametrize("which", ["some", pytest.param("all", marks=pytest.mark.slow)])
def test_sharded_values_and_gradients_are_the_global_ones(which):
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # compiled quickly rather than well
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, which, "Auto", "Explicit"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "all equal" in done.stdout
