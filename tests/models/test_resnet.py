"""The ImageNet ResNets against outputs of the public PyTorch networks, and their own properties."""

import functools
import re

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from ltjax.errors import InputError
from ltjax.models import BACKBONES, LinearHead, Network, ResNet
from ltjax.models.resnet import BasicBlock, Bottleneck, ZeroScaleNorm
from ltjax.models.weights.torch_resnet import import_resnet, import_resnet_cifar
from tests.models.arrays import random_variables
from tests.reference.networks import derived

NAMES = [f"resnet{depth}" for depth in (10, 18, 34, 50, 101, 152)] + [f"resnext{d}_32x4d" for d in (50, 101, 152)]
REFERENCES = ["resnet10", "resnet18", "resnet50", "resnext50_32x4d"]
LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}


def network(name, num_classes=100, **options):
    return Network(BACKBONES[name](**options), LinearHead(num_classes), (0.5,) * 3, (0.25,) * 3)


def shapes_of(net):
    return jax.eval_shape(lambda: net.init(jax.random.key(0), jnp.zeros([1, 64, 64, 3])))


@functools.cache
def with_1000_classes(name):
    return shapes_of(network(name, 1000))


def with_classes(name, num_classes):
    """The shapes of the network's variables; the backbone is traced once."""
    of_1000 = with_1000_classes(name)
    params = of_1000["params"] | {"head": jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((*leaf.shape[:-1], num_classes), leaf.dtype), of_1000["params"]["head"]
    )}  # fmt: skip
    return of_1000 | {"params": params}


def torch_name(path):
    """The usual PyTorch name of the array at this path of our variables."""
    _, part, *middle, leaf = path
    if part == "head":
        return f"fc.{LEAVES[leaf]}"
    words = []
    for key in middle:
        if block := re.fullmatch(r"stage(\d)_block(\d+)", key):
            words.append(f"layer{block[1]}.{block[2]}")
        elif key.startswith("shortcut"):
            words.append(f"downsample.{int(key == 'shortcut_norm')}")
        else:
            number = key[-1] if key[-1].isdigit() else "1"
            words.append(("conv" if key.startswith("conv") else "bn") + number)
    return ".".join([*words, LEAVES[leaf]])


def torch_shape(shape):
    return (shape[3], shape[2], *shape[:2]) if len(shape) == 4 else shape[::-1]


@functools.cache
def state_dict(name, num_classes, seed):
    flat = traverse_util.flatten_dict(with_classes(name, num_classes))
    shapes = {torch_name(path): torch_shape(leaf.shape) for path, leaf in flat.items()}
    assert len(shapes) == len(flat)
    return {key: derived(key, shape, seed) for key, shape in shapes.items()}


def weights_of(name, case):
    return state_dict(name, int(case["num_classes"]), int(case["seed"]))


@functools.cache
def measured(name, reference):
    """Evaluation outputs, logits in training, and the batch statistics after that pass."""
    case = reference("resnet_large")[name]
    net, variables = network(name, int(case["num_classes"])), import_resnet(weights_of(name, case))
    images = case["inputs"].transpose(0, 2, 3, 1)

    @jax.jit
    def both(variables, images):
        trained, after = net.apply(variables, images, train=True, mutable=["batch_stats"])
        return net.apply(variables, images), trained.logits, after["batch_stats"]

    return jax.device_get(both(variables, images))


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if "1" in n else ()) for n in NAMES])
def test_parameter_counts_are_the_published_ones(name, reference):
    counts = reference("param_counts")[name]
    params = with_1000_classes(name)["params"]
    assert sum(p.size for p in jax.tree.leaves(params)) == counts["with_1000_classes"]
    assert sum(p.size for p in jax.tree.leaves(params["backbone"])) == counts["backbone_only"]
    assert params["head"]["classifier"]["kernel"].shape == (counts["feature_dim"], 1000)


@pytest.mark.parametrize("name", REFERENCES)
def test_the_weights_are_the_references(name, reference):
    case = reference("resnet_large")[name]
    weights = weights_of(name, case)
    total = sum(np.abs(a.astype(np.float64)).sum() for a in weights.values())
    np.testing.assert_allclose(total, case["checksum"], rtol=1e-5)
    chex.assert_trees_all_equal_shapes(import_resnet(weights), with_classes(name, int(case["num_classes"])))


# Both kinds of blocks, the second one in groups; the others have more of the same blocks, or the same without groups.
COMPUTED = [pytest.param(name, marks=() if name == "resnet10" else pytest.mark.slow) for name in REFERENCES]


@pytest.mark.parametrize("name", COMPUTED)
def test_outputs_agree_with_the_reference(name, reference):
    expected = reference("resnet_large")[name]
    evaluated, trained, _ = measured(name, reference)
    for actual, key, tolerance in [
        (evaluated.logits, "eval_logits", 1e-3),
        (evaluated.features, "eval_features", 1e-3),
        (trained, "train_logits", 1e-2),
    ]:
        assert actual.dtype == np.float32
        atol = tolerance * np.abs(expected[key]).max()
        np.testing.assert_allclose(actual, expected[key], tolerance, atol, err_msg=key)


@pytest.mark.parametrize("name", COMPUTED)
def test_batch_statistics_after_a_training_pass_agree_with_the_reference(name, reference):
    case = reference("resnet_large")[name]
    arrays = {key.removeprefix("after."): a for key, a in case.items() if key.startswith("after.")}
    expected = traverse_util.flatten_dict(import_resnet(arrays)["batch_stats"])
    actual = traverse_util.flatten_dict(measured(name, reference)[2])
    assert len(expected) == 4
    for path, value in expected.items():
        np.testing.assert_allclose(actual[path], value, rtol=1e-3, atol=1e-4, err_msg="/".join(path))


def test_initial_values_have_the_published_distributions():
    net = ResNet(10)
    params = jax.jit(functools.partial(net.init, train=False))(jax.random.key(3), jnp.zeros([1, 8, 8, 3]))["params"]
    for kernel, fan_out in [(params["conv"]["kernel"], 49 * 64), (params["stage3_block0"]["conv1"]["kernel"], 9 * 256)]:
        expected = np.sqrt(2 / fan_out)
        np.testing.assert_allclose(np.asarray(kernel).std(), expected, rtol=0.03)
        assert np.abs(kernel).max() > 3 * expected  # not truncated
    assert all((np.asarray(block["norm2"]["scale"]) == 1).all() for key, block in params.items() if "block" in key)


@pytest.mark.parametrize(("kind", "last", "channels"), [(BasicBlock, "norm2", 8), (Bottleneck, "norm3", 32)])
def test_zero_init_starts_a_block_as_the_identity(kind, last, channels):
    x = jax.random.normal(jax.random.key(1), [2, 4, 4, channels])
    for zero_init in (False, True):
        block = kind(8, 1, 1, 64, zero_init, jnp.float32, jnp.float32)
        y, variables = jax.jit(functools.partial(block.init_with_output, train=False))(jax.random.key(0), x)
        for name, leaves in variables["params"].items():
            if name.startswith("norm"):
                assert (leaves["scale"] == (0 if zero_init and name == last else 1)).all()
        assert jnp.array_equal(y, jax.nn.relu(x)) == zero_init


def test_zero_init_reaches_every_block():
    for name, blocks in [("resnet10", 4), ("resnext50_32x4d", 16)]:
        made = []

        def note(call, args, kwargs, context, made=made):
            made.append((type(context.module), context.module.name))
            return call(*args, **kwargs)

        with nn.intercept_methods(note):
            shapes_of(network(name, zero_init=True))
        assert sum(kind is ZeroScaleNorm for kind, _ in made) == blocks
        assert {norm for kind, norm in made if kind is ZeroScaleNorm} == {"norm2" if name == "resnet10" else "norm3"}


def test_remat_changes_neither_variables_nor_outputs():
    plain, again = network("resnet10", 10), network("resnet10", 10, remat=True)
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
    variables = random_variables(plain, images)
    chex.assert_trees_all_equal_shapes_and_dtypes(variables, shapes_of(again))

    def apply(params, net=again):
        return net.apply({**variables, "params": params}, images, train=True, mutable=["batch_stats"])

    trained, expected = (
        jax.device_get(jax.jit(functools.partial(apply, net=net))(variables["params"])) for net in (again, plain)
    )
    np.testing.assert_allclose(trained[0].logits, expected[0].logits, rtol=1e-3, atol=1e-3)
    chex.assert_trees_all_close(trained[1]["batch_stats"], expected[1]["batch_stats"], rtol=1e-3, atol=1e-4)
    gradient = jax.make_jaxpr(jax.grad(lambda params: apply(params)[0].logits.sum()))(variables["params"])
    assert (
        sum("remat" in str(equation.primitive) for equation in gradient.eqns) == 4
    )  # one a block, in the backward pass


def test_bfloat16_compute_keeps_float32_variables_and_outputs():
    net = Network(ResNet(10, dtype=jnp.bfloat16), LinearHead(4, dtype=jnp.bfloat16), (0.5,) * 3, (0.25,) * 3)
    images = jnp.zeros([2, 32, 32, 3], jnp.bfloat16)
    outputs, variables = jax.eval_shape(lambda: net.init_with_output(jax.random.key(0), images, train=True))
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    assert outputs.logits.dtype == outputs.features.dtype == jnp.float32
    feature_map = jax.eval_shape(
        lambda: ResNet(10, dtype=jnp.bfloat16).init_with_output(jax.random.key(0), images, train=True)[0]
    )
    assert feature_map.dtype == jnp.bfloat16


@pytest.mark.parametrize(("size", "channels"), [(64, 3), (50, 1)])
def test_any_image_size_works(size, channels):
    images = jnp.zeros([2, size, size, channels])
    shape = jax.eval_shape(lambda: ResNet(18).init_with_output(jax.random.key(0), images, train=False)[0]).shape
    assert shape == (2, 2, 2, 512)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ResNet(32).init(jax.random.key(0), jnp.zeros([1, 8, 8, 3]), train=False), "32 has no table"),
        (lambda: ResNet(18, groups=32).init(jax.random.key(0), jnp.zeros([1, 8, 8, 3]), train=False), "depth 18"),
        (lambda: import_resnet({"layer1.0.downsample.2.weight": np.zeros([4])}), "downsample.2"),
        (lambda: import_resnet({"layer1.0.downsample.0.bias": np.zeros([4])}), "downsample.0.bias"),
        (lambda: import_resnet_cifar({"BNX.weight": np.zeros([4])}), "BNX"),
    ],
)
def test_bad_input_is_named_in_one_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_import_puts_the_branch_norms_of_reslt_into_the_head():
    variables = import_resnet_cifar({"BNM.weight": np.full(4, 2.0), "BNT.running_var": np.full(4, 3.0)})
    assert variables["params"]["head"]["norm1"]["scale"][0] == 2
    assert variables["batch_stats"]["head"]["norm2"]["var"][0] == 3
