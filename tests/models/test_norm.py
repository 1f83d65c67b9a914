"""Batch normalisation: unbiased running variance, frozen mode, accuracy, dtypes, and the global batch."""

import functools
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.errors import InputError
from ltjax.models import BatchNorm
from ltjax.models.norm import normalized, shifted_moments
from ltjax.models.resnet_cifar import ResNetCifar
from tests.shared import ROOT


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
import json, flax.linen as nn, jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ltjax.dryrun.collectives import collectives
from ltjax.models import BACKBONES, BatchNorm, Network, ResLTHead
from ltjax.models.norm import normalized
from ltjax.training.execution import mesh as meshes
jax.config.update("jax_enable_x64", True)
assert jax.device_count() == 8
net = Network(BACKBONES["resnet8"](dtype="float64"), ResLTHead(5, dtype="float64"), (0.5,), (0.25,), "float64")
images = np.random.default_rng(0).integers(0, 256, [16, 8, 8, 1]).astype(np.uint8)
images[:8] //= 4  # the shards' own statistics differ
variables = jax.jit(net.init)(jax.random.key(0), images)
step = jax.jit(lambda v, x: net.apply(v, x, train=True, mutable=["batch_stats"]))
results = []
for count in (1, 8):
    mesh = Mesh(np.array(jax.devices()[:count]), ["batch"])
    sharded = jax.device_put(images, NamedSharding(mesh, PartitionSpec("batch")))
    out = step(jax.device_put(variables, NamedSharding(mesh, PartitionSpec())), sharded)
    results.append(jax.device_get(out))
difference = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), *results)
found = {"network": max(jax.tree.leaves(difference))}
class Two(nn.Module):
    group: int
    @nn.compact
    def __call__(self, x):
        types = {"dtype": "float64", "param_dtype": "float64", "group": self.group}
        x = nn.relu(BatchNorm(**types)(x, True))
        return BatchNorm(**types)(x @ jnp.arange(6.0).reshape(2, 3), True)
x = np.random.default_rng(1).normal(size=[16, 3, 3, 2])
for group in (0, 2, 4):  # two images a device
    variables = jax.jit(Two(group).init)(jax.random.key(0), x)
    step = jax.jit(lambda v, x: Two(group).apply(v, x, mutable=["batch_stats"]))
    placed, rows = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ([], ["batch"]))
    eight = step(jax.device_put(variables, placed), jax.device_put(x, rows))
    difference = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), jax.device_get(eight), step(variables, x))
    forward = jax.jit(lambda v, x: step(v, x)[0], in_shardings=(placed, rows), out_shardings=rows)
    text = forward.lower(variables, x).compile().as_text()
    talk = [op for op in ("all-reduce(", "all-gather(", "all-to-all(", "collective-permute(") if op in text]
    found[group] = [max(jax.tree.leaves(difference)), talk]
def loss(x, fused):
    y, m, v = normalized(x, jnp.ones(2), jnp.zeros(2), (0, 1, 2), 1e-5, "float64", fused)
    return (y**3).sum() + (m * v).sum()
def gradient(x):
    return jax.grad(loss)(x, True)
plain = jax.jit(lambda x: jax.grad(loss)(x, False))(x)
eight = jax.jit(meshes.within(gradient, mesh), in_shardings=rows, out_shardings=rows).lower(x).compile()
kinds = [one.kind for one in collectives(eight.as_text())]
found["fused"] = [float(np.abs(a - plain).max()) for a in (jax.jit(gradient)(x), eight(x))], kinds
print(json.dumps(found))
"""


def test_statistics_are_those_of_the_global_batch_or_of_its_groups_on_eight_devices():
    """Groups that lie within a device need nothing from another one in the forward pass.

    What a GPU gets on a mesh sends the moments once, forward, and the two sums once, backward.
    """
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    environment["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    environment["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # compiled quickly rather than well
    done = subprocess.run(
        [sys.executable, "-c", GLOBAL_BATCH], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("network") < 1e-12
    differences, kinds = found.pop("fused")
    assert max(differences) < 1e-12 and kinds == ["all-gather", "all-reduce"], (differences, kinds)
    assert all(difference < 1e-12 for difference, _ in found.values()), found
    assert found["2"][1] == [] and found["0"][1] == ["all-reduce("], found


@pytest.mark.parametrize("group", [2, 4])
def test_groups_have_their_own_statistics_and_the_running_ones_move_to_their_mean(group):
    x = np.random.default_rng(3).normal(2.0, 3.0, [8, 3, 2, 5])
    with jax.enable_x64(True):
        types = {"dtype": jnp.float64, "param_dtype": jnp.float64}
        y, _, after = apply(x, train=True, group=group, **types)
        each = [apply(part, train=True, **types) for part in np.split(x, 8 // group)]
        np.testing.assert_allclose(y, np.concatenate([one[0] for one in each]), rtol=1e-12)
        for name in ("mean", "var"):
            np.testing.assert_allclose(after[name], np.mean([one[2][name] for one in each], 0), rtol=1e-12)
        for train, frozen_norm in ((True, True), (False, False)):
            plain, grouped = (apply(x, train=train, frozen_norm=frozen_norm, group=g)[0] for g in (0, group))
            np.testing.assert_array_equal(plain, grouped)


def test_a_group_of_the_whole_batch_is_no_group_and_a_broken_one_is_an_error():
    x = np.random.default_rng(4).normal(size=[6, 3]).astype(np.float32)
    np.testing.assert_array_equal(apply(x, train=True, group=6)[0], apply(x, train=True)[0])
    with pytest.raises(InputError, match="a batch of 6 images is not made of groups of 4"):
        apply(x, train=True, group=4)
    assert apply(x[:1], train=False, group=4)[0].shape == (1, 3)  # evaluation takes any number


def differentiated_step_by_step(x, scale, bias, axes, epsilon, dtype):
    """The layer as its definition says, and every operation differentiated by itself."""
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean = wide.mean(axes, keepdims=True)
    var = jnp.square(wide - mean).mean(axes, keepdims=True)
    return ((wide - mean) / jnp.sqrt(var + epsilon) * scale + bias).astype(dtype), mean, var


def values_and_gradients(function, dtype, axes, shape=(4, 3, 2, 5), mean=2.0):
    """Outputs, and the gradients by x, scale and bias of a function of all three outputs."""
    rng = np.random.default_rng(5)
    stored = jnp.promote_types(dtype, jnp.float32)
    x = jnp.asarray(rng.normal(mean, 1.0, shape), dtype)
    scale, bias = (jnp.asarray(rng.normal(1.0, 0.5, shape[-1]), stored) for _ in range(2))
    outputs, back = jax.vjp(lambda *three: function(*three, axes, 1e-5, dtype), x, scale, bias)
    return outputs, back(tuple(jnp.asarray(rng.normal(size=o.shape), o.dtype) for o in outputs))


FUSED = pytest.mark.parametrize("fused", [None, True])  # of this platform, and of a GPU


@FUSED
@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 2)])  # of the batch, and of groups
def test_closed_form_is_the_derivative_of_every_operation(axes, fused):
    with jax.enable_x64(True):
        expected = values_and_gradients(differentiated_step_by_step, jnp.float64, axes)
        found = values_and_gradients(lambda *args: normalized(*args, fused), jnp.float64, axes)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10), found, expected)


@FUSED
@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 2)])
def test_forward_mode_is_that_of_every_operation(axes, fused):
    rng = np.random.default_rng(10)
    with jax.enable_x64(True):
        primals, tangents = (
            tuple(jnp.asarray(rng.normal(1.0, 1.0, shape)) for shape in ([4, 3, 2, 5], [5], [5])) for _ in range(2)
        )
        found, expected = (
            jax.jvp(lambda *three, f=function: f(*three, axes, 1e-5, jnp.float64), primals, tangents)
            for function in (lambda *args: normalized(*args, fused), differentiated_step_by_step)
        )
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10), found, expected)


@FUSED
@pytest.mark.parametrize(("dtype", "mean", "tolerance"), [("float32", 2.0, 2e-5), ("bfloat16", 0.0, 2e-2)])
def test_closed_form_in_low_precision(dtype, mean, tolerance, fused):
    shape, axes = (16, 4, 4, 3), (0, 1, 2)
    expected = values_and_gradients(differentiated_step_by_step, dtype, axes, shape, mean)
    found = values_and_gradients(lambda *args: normalized(*args, fused), dtype, axes, shape, mean)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), found) == jax.tree.map(lambda a: (a.shape, a.dtype), expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        one, other = (np.asarray(a, np.float64) for a in (one, other))
        assert np.abs(one - other).max() < tolerance * max(np.abs(other).max(), 1)


@pytest.mark.parametrize(("fused", "tolerance"), [(None, 1e-2), (True, 2e-3)])
def test_a_mean_of_ten_thousand_leaves_values_and_gradients_right(fused, tolerance):
    """In float32, whose steps there are 0.001, beside float64 on the same (rounded) input; the shift helps the mean."""
    x = np.random.default_rng(6).normal(1e4, 1.0, [512, 4]).astype(np.float32)
    weights = np.random.default_rng(7).normal(size=x.shape)

    def both(function, dtype):
        def loss(x, scale, bias):
            y, mean, var = function(x, scale, bias, (0,), 1e-5, dtype)
            return (y * jnp.asarray(weights, dtype)).sum(), (y, mean, var)

        gradients, outputs = jax.grad(loss, (0, 1, 2), has_aux=True)(
            jnp.asarray(x, dtype), jnp.ones(4, dtype), jnp.zeros(4, dtype)
        )
        return jax.device_get(jax.tree.leaves((outputs, gradients)))

    with jax.enable_x64(True):
        expected = both(differentiated_step_by_step, jnp.float64)
    for one, other in zip(both(lambda *args: normalized(*args, fused), jnp.float32), expected, strict=True):
        assert np.abs(one - other).max() < tolerance * max(np.abs(other).max(), 1)


def test_shifted_moments_are_exact_where_the_first_value_is_near_and_lose_little_where_it_is_far():
    x = np.random.default_rng(8).normal(-1e4, 1.0, [512, 2]).astype(np.float32)
    expected = x.astype(np.float64).var(0)
    np.testing.assert_allclose(shifted_moments(jnp.asarray(x), (0,))[1][0], expected, rtol=1e-5)
    x[0] += 10  # ten standard deviations
    np.testing.assert_allclose(shifted_moments(jnp.asarray(x), (0,))[1][0], x.astype(np.float64).var(0), rtol=1e-3)
    constant = jnp.full([8, 2], 1e4 / 3)
    assert shifted_moments(constant, (0,))[1].tolist() == [[0.0, 0.0]]


@FUSED
def test_one_value_per_channel_has_variance_zero_and_no_gradient(fused):
    x = jnp.array([[3.0, -2.0]])
    y, back = jax.vjp(lambda x: normalized(x, jnp.ones(2), jnp.ones(2), (0,), 1e-5, jnp.float32, fused)[0], x)
    assert y.tolist() == [[1.0, 1.0]] and back(jnp.ones_like(y))[0].tolist() == [[0.0, 0.0]]


@FUSED
def test_second_derivatives_are_those_of_every_operation(fused):
    with jax.enable_x64(True):
        x = jnp.asarray(np.random.default_rng(9).normal(size=[4, 3]))

        def product(function, by):
            def loss(x):
                y, _, var = function(x, 1 + x[0], jnp.zeros(3), (0,), 1e-5, jnp.float64)
                return (y**3).sum() + var.sum()

            def slope(x):
                return (jax.grad(loss)(x) * jnp.cos(x)).sum()

            if by == "hessian":
                return jax.jacfwd(jax.jacfwd(loss))(x)
            return jax.grad(slope)(x) if by == "reverse" else jax.jvp(jax.grad(loss), (x,), (jnp.cos(x),))[1]

        for by in ("reverse", "forward", "hessian"):
            found, expected = (
                jax.jit(product, static_argnums=(0, 1))(function, by)
                for function in (lambda *args: normalized(*args, fused), differentiated_step_by_step)
            )
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_a_gpu_gets_one_reduction_a_pass_and_others_two():
    """Lowered for platforms that are not here."""

    def loss(x):
        return jnp.square(normalized(x, jnp.ones(3), jnp.zeros(3), (0,), 1e-5, jnp.bfloat16)[0]).sum()

    traced = jax.jit(jax.grad(loss)).trace(jnp.zeros([8, 3], jnp.bfloat16))
    sums = {
        platform: traced.lower(lowering_platforms=(platform,)).as_text().count("stablehlo.reduce(")
        for platform in ("cpu", "cuda", "tpu")
    }
    assert sums["cpu"] == sums["tpu"] == sums["cuda"] + 2, sums


def test_under_vmap_every_row_has_its_own_statistics():
    """The seeds of one program on a TPU; also what a GPU gets."""
    rng = np.random.default_rng(11)
    with jax.enable_x64(True):
        x, scale = jnp.asarray(rng.normal(size=[2, 4, 3])), jnp.asarray(rng.normal(size=[2, 3]))

        def slope(x, scale):
            def loss(x, scale):
                y, mean, var = normalized(x, scale, jnp.zeros(3), (0,), 1e-5, jnp.float64, True)
                return (y**3).sum() + (mean * var).sum()

            return jax.grad(loss, (0, 1))(x, scale)

        found, alone = jax.vmap(slope)(x, scale), [slope(*one) for one in zip(x, scale, strict=True)]
        jax.tree.map(lambda a, *b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12), found, *alone)


def test_a_block_that_is_computed_again_has_its_moments_still():
    """A pass over the map, or a message to other devices, each; nothing else of a block is kept."""
    x = jnp.zeros([2, 8, 8, 3])

    def sums(remat):
        net = ResNetCifar(8, remat=remat)
        shapes = jax.eval_shape(functools.partial(net.init, train=True), jax.random.key(0), x)
        params, rest = shapes["params"], {name: one for name, one in shapes.items() if name != "params"}

        def loss(params, rest):
            return net.apply({"params": params, **rest}, x, train=True, mutable=["batch_stats"])[0].sum()

        text = jax.jit(jax.grad(loss)).lower(params, rest).as_text()
        return text.count("stablehlo.reduce("), text.count("stablehlo.convolution(")

    (plain, convolutions), (again, more) = sums(False), sums(True)
    assert again == plain and more > convolutions
