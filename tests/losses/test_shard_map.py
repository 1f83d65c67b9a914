"""Under shard_map every device has a part of the batch: with axis_name a loss and its gradients are the whole one's."""

import inspect
import os
import subprocess
import sys

import pytest

from ltjax import losses

SCRIPT = """
import sys
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, PartitionSpec as P
from ltjax import losses

mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
masks = np.array([[True] * 5, [False, True, True, True, True], [False, False, False, True, True]])
keys = jax.random.split(jax.random.key(1), 3)
features, old = jax.random.normal(keys[0], (24, 6)), jax.random.normal(keys[1], (24, 6))
weights = {"w": jax.random.normal(keys[2], (6, 15)), "proxies": jax.random.normal(keys[2], (5, 6))}
labels, where, counts = jnp.arange(24) * 7 % 5, jnp.arange(24) % 4 != 1, [50, 20, 10, 5, 1]

def three(weights, x):
    return jnp.moveaxis((x @ weights["w"]).reshape(-1, 3, 5), 1, 0)

def of_graph(weights, x, z, y, m, total=jnp.sum, **name):
    return total(losses.graph_matching_loss(z, x @ weights["w"][:, :6], where=m, **name)) / 24

def of_paco(weights, x, z, y, m, **name):
    made = losses.paco_loss(x @ weights["w"][:, :5], y, x, z, y, class_counts=counts, alpha=0.5, where=m, **name)
    return jnp.sum(made) / 24

CASES = {
    "lifted": lambda p, x, z, y, m, **n: losses.lifted_structure_loss(x @ p["w"], y, where=m, **n),
    "range": lambda p, x, z, y, m, **n: losses.range_loss(x @ p["w"], y, margin=90.0, where=m, **n),
    "triplet": lambda p, x, z, y, m, **n: losses.triplet_loss(x @ p["w"], y, where=m, **n),
    "proxy": lambda p, x, z, y, m, **n: losses.proxy_loss(x, y, p["proxies"], where=m, **n),
    "balanced contrastive": lambda p, x, z, y, m, **n: losses.balanced_contrastive_loss(
        x, y, p["proxies"], where=m, **n),
    "paco": lambda p, x, z, y, m, **n: of_paco(p, x, z, y, m, **n) if not n else jax.lax.psum(
        of_paco(p, x, z, y, m, **n), "data"),
    "weighted": lambda p, x, z, y, m, **n: losses.weighted_mean(
        losses.cross_entropy(x @ p["w"][:, :5], y), jnp.asarray(counts)[y], m, **n),
    "reslt": lambda p, x, z, y, m, **n: losses.reslt_loss(
        three(p, x), y, branch_masks=masks, alpha=0.9, where=m, **n).total,
    "reslt as printed": lambda p, x, z, y, m, **n: losses.reslt_loss(
        three(p, x), y, branch_masks=masks, alpha=0.9, divisor="subset_means", where=m, **n).total,
    "ride": lambda p, x, z, y, m, **n: losses.ride_loss(
        three(p, x), y, class_counts=counts, reweight=True, where=m, **n).total,
    "lade": lambda p, x, z, y, m, **n: losses.lade_regularizer(
        x @ p["w"][:, :5], y, class_counts=counts, where=m, **n),
    "graph": lambda p, x, z, y, m, **n: of_graph(p, x, z, y, m, **n) if not n else jax.lax.psum(
        of_graph(p, x, z, y, m, **n), "data"),
    "graph in blocks": lambda p, x, z, y, m, **n: jax.lax.psum(of_graph(p, x, z, y, m, block_size=2, **n), "data")
        if n else of_graph(p, x, z, y, m, block_size=2),
}
if sys.argv[1] == "some":
    some = ("weighted", "triplet", "balanced contrastive", "reslt", "graph in blocks")
    CASES = {case: CASES[case] for case in some}

def all_of(p, x, z, y, m, **name):
    return {case: jax.value_and_grad(lambda p, x: loss(p, x, z, y, m, **name), argnums=(0, 1))(p, x)
            for case, loss in CASES.items()}

part = P("data")
mapped = jax.shard_map(
    lambda *a: all_of(*a, axis_name="data"), mesh=mesh, in_specs=(P(), part, part, part, part),
    out_specs=dict.fromkeys(CASES, (P(), (P(), part))))
expected, got = (jax.jit(f)(weights, features, old, labels, where) for f in (all_of, mapped))
for case, (value, gradients) in expected.items():
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6, err_msg=case),
                 got[case], (value, gradients))
    assert abs(float(value)) > 1e-3 and max(float(jnp.abs(g).max()) for g in jax.tree.leaves(gradients)) > 1e-3

def unchecked(p, x, z, y, m):  # as documented: each device has 4 times the gradient of its part
    got = {case: jax.grad(CASES[case], (0, 1))(p, x, z, y, m, axis_name="data") for case in ("weighted", "triplet")}
    return {case: (jax.lax.pmean(of_p, "data"), of_x / 4) for case, (of_p, of_x) in got.items()}

unchecked = jax.shard_map(
    unchecked, mesh=mesh, in_specs=(P(), part, part, part, part),
    out_specs={"weighted": (P(), part), "triplet": (P(), part)}, check_vma=False)
for case, gradients in jax.jit(unchecked)(weights, features, old, labels, where).items():
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6, err_msg=case),
                 gradients, expected[case][1])
print("all equal")
"""


@pytest.mark.parametrize("which", ["some", pytest.param("all", marks=pytest.mark.slow)])
def test_with_the_name_of_the_axis_values_and_gradients_are_those_of_the_whole_batch(which):
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # compiled quickly rather than well
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, which], env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "all equal" in done.stdout


WHOLE = {
    "balanced_contrastive_loss", "graph_matching_loss", "lade_regularizer", "lifted_structure_loss", "paco_loss",
    "proxy_loss", "range_loss", "reslt_loss", "ride_loss", "triplet_loss", "weighted_mean",
}  # fmt: skip


@pytest.mark.parametrize("name", losses.__all__)
def test_the_losses_of_a_whole_batch_take_the_name_of_its_axis(name):
    function = getattr(losses, name)
    takes = inspect.isfunction(function) and "axis_name" in inspect.signature(function).parameters
    assert takes == (name in WHOLE)
