"""The CIFAR ResNet against weights and outputs of the public PyTorch network, and its own properties."""

import contextlib
import functools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.errors import InputError
from ltjax.models import BACKBONES, LinearHead, Network, ResLTHead, ResNetCifar
from ltjax.models.resnet_cifar import pad_shortcut
from ltjax.models.weights.torch_resnet import import_resnet_cifar

# (rtol, atol) of the reference's README for float32; float64 agrees far better, its stored gradients are float32
TOLERANCE = {
    "float32": {"eval": (1e-4, 1e-4), "train": (1e-3, 1e-3), "after": (1e-4, 1e-5), "grad": (1e-2, 1e-4)},
    "float64": {"eval": (1e-9, 1e-9), "train": (1e-9, 1e-9), "after": (1e-6, 1e-6), "grad": (1e-5, 1e-6)},
}


def x64(dtype):
    return jax.enable_x64(True) if dtype == "float64" else contextlib.nullcontext()


def network(depth=32, num_classes=100, channels=3, head=LinearHead, dtype="float32", **kwargs):
    backbone = BACKBONES[f"resnet{depth}"](dtype=dtype)
    return Network(backbone, head(num_classes, dtype=dtype, **kwargs), (0.5,) * channels, (0.25,) * channels, dtype)


def imported(case, prefix, dtype):
    arrays = {key.removeprefix(prefix): value for key, value in case.items() if key.startswith(prefix)}
    return jax.tree.map(lambda a: jnp.asarray(a, dtype), import_resnet_cifar(arrays))


@functools.cache
def measured(dtype, reference):
    """Evaluation and training outputs, statistics after the training pass, loss and gradients on the reference."""
    case = reference("resnet32_cifar")["linear"]
    blocks = sum(re.fullmatch(r"param\.layer1\.\d+\.conv1\.weight", key) is not None for key in case)
    num_classes, channels = len(case["param.linear.bias"]), case["inputs"].shape[1]
    with x64(dtype):
        net, variables = network(6 * blocks + 2, num_classes, channels, dtype=dtype), imported(case, "param.", dtype)
        images = jnp.asarray(case["inputs"].transpose(0, 2, 3, 1), dtype)
        labels = case["labels"]

        def loss_fn(params):
            outputs, state = net.apply({**variables, "params": params}, images, train=True, mutable=["batch_stats"])
            picked = jnp.take_along_axis(jax.nn.log_softmax(outputs.logits), labels[:, None], axis=1)
            return -picked.mean(), (outputs, state["batch_stats"])

        evaluated = jax.jit(net.apply)(variables, images)
        (loss, (trained, after)), grads = jax.jit(jax.value_and_grad(loss_fn, has_aux=True))(variables["params"])
        return jax.device_get({"eval": evaluated, "train": trained, "after": after, "loss": loss, "grads": grads})


def assert_leaves_close(actual, expected, rtol, atol, relative_to_largest=False):
    """Every leaf of ``expected`` stands in ``actual`` and agrees; ``atol`` can be in units of its largest value."""
    actual = dict(jax.tree_util.tree_leaves_with_path(actual))
    leaves = jax.tree_util.tree_leaves_with_path(expected)
    assert leaves
    for path, value in leaves:
        scale = np.abs(value).max() if relative_to_largest else 1.0
        np.testing.assert_allclose(actual[path], value, rtol, atol * scale, err_msg=jax.tree_util.keystr(path))


@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.slow), "float64"])
@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("output", ["logits", pytest.param("features", marks=pytest.mark.slow)])
def test_outputs_agree_with_the_reference(dtype, mode, output, reference):
    expected = reference("resnet32_cifar")["linear"][f"{mode}_{output}"]
    value = getattr(measured(dtype, reference)[mode], output)
    assert value.dtype == dtype
    np.testing.assert_allclose(value, expected, *TOLERANCE[dtype][mode])


@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.slow), "float64"])
def test_batch_statistics_after_one_step_agree_with_the_reference(dtype, reference):
    case = reference("resnet32_cifar")["linear"]
    expected = imported(case, "after.", "float32")["batch_stats"]
    assert len(jax.tree.leaves(expected)) == 2 * sum("conv" in key and key.startswith("param.") for key in case)
    after = measured(dtype, reference)["after"]
    chex.assert_trees_all_equal_structs(after, expected)
    assert_leaves_close(after, expected, *TOLERANCE[dtype]["after"])


@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.slow), "float64"])
def test_loss_and_gradients_agree_with_the_reference(dtype, reference):
    case = reference("resnet32_cifar")["linear"]
    made = measured(dtype, reference)
    np.testing.assert_allclose(made["loss"], case["ce_loss"], rtol=2e-5)
    expected = imported(case, "ce_grad.", "float32")["params"]
    assert len(jax.tree.leaves(expected)) >= 4
    assert_leaves_close(made["grads"], expected, *TOLERANCE[dtype]["grad"], relative_to_largest=True)


@pytest.mark.parametrize(
    ("head", "num_classes", "count"),
    [(LinearHead, 10, 464_154), (LinearHead, 100, 470_004), (ResLTHead, 10, 464_538), (ResLTHead, 100, 470_388)],
)
def test_parameter_counts_are_the_published_ones(head, num_classes, count):
    net = network(head=head, num_classes=num_classes)
    shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), jnp.zeros([1, 32, 32, 3])))
    assert sum(p.size for p in jax.tree.leaves(shapes["params"])) == count
    assert set(shapes["params"]) == {"backbone", "head"}
    assert set(shapes["params"]["head"]["classifier"]) == {"kernel", "bias"}


def test_every_backbone_has_the_number_of_layers_in_its_name():
    for depth in (8, 14, 20, 32, 44, 56):
        init = functools.partial(BACKBONES[f"resnet{depth}"]().init, train=False)
        shapes = jax.eval_shape(init, jax.random.key(0), jnp.zeros([1, 8, 8, 3]))
        kernels = [p for p in jax.tree.leaves(shapes["params"]) if len(p.shape) == 4]
        assert len(kernels) == depth - 1  # the linear layer is the remaining one


def test_initial_values_have_the_published_distributions():
    params = jax.jit(network(8).init)(jax.random.key(3), jnp.zeros([1, 8, 8, 3]))["params"]
    kernel = np.asarray(params["backbone"]["stage3_block0"]["conv2"]["kernel"])
    expected = np.sqrt(2 / (9 * 64))
    np.testing.assert_allclose(kernel.std(), expected, rtol=0.02)
    # a truncated normal would stop at 2 standard deviations of the untruncated one (2.27 of its own)
    assert np.abs(kernel).max() > 3 * expected
    classifier = params["head"]["classifier"]
    np.testing.assert_allclose(np.asarray(classifier["kernel"]).std(), np.sqrt(2 / 64), rtol=0.04)
    bias = np.asarray(classifier["bias"])
    assert np.abs(bias).max() <= 1 / 8 and bias.min() < -0.1 and bias.max() > 0.1
    norm = params["backbone"]["norm"]
    assert (np.asarray(norm["scale"]) == 1).all() and (np.asarray(norm["bias"]) == 0).all()


@pytest.mark.parametrize(("size", "channels"), [(28, 1), (32, 3), (17, 3)])
@pytest.mark.parametrize("width", [1, 2])
def test_any_image_size_works(size, channels, width):
    net = ResNetCifar(depth=8, width=width)
    shape = jax.eval_shape(
        lambda: net.init_with_output(jax.random.key(0), jnp.zeros([2, size, size, channels]), train=False)[0]
    ).shape
    assert shape == (2, -(-size // 4), -(-size // 4), 64 * width)


def test_shortcut_keeps_every_second_pixel_and_pads_both_sides():
    x = np.arange(2 * 5 * 5 * 4, dtype=np.float32).reshape(2, 5, 5, 4)
    y = np.asarray(pad_shortcut(jnp.asarray(x), features=8, stride=2))
    np.testing.assert_array_equal(y[..., 2:6], x[:, ::2, ::2])
    assert not y[..., :2].any() and not y[..., 6:].any()


@pytest.mark.slow
def test_bfloat16_compute_keeps_float32_variables_and_outputs():
    net = network(depth=8, num_classes=4, dtype=jnp.bfloat16, head=ResLTHead)
    images = jax.random.normal(jax.random.key(1), [4, 8, 8, 3])
    variables = jax.jit(net.init)(jax.random.key(0), images)
    chex.assert_trees_all_equal_dtypes(variables, jax.tree.map(lambda v: np.zeros(v.shape, np.float32), variables))
    train = {"train": True, "mutable": ["batch_stats"]}
    outputs, after = jax.jit(functools.partial(net.apply, **train))(variables, images)
    assert outputs.logits.dtype == outputs.features.dtype == jnp.float32
    chex.assert_trees_all_equal_dtypes(after["batch_stats"], variables["batch_stats"])
    feature_map = jax.eval_shape(lambda: net.bind(variables).backbone(images, train=False))
    assert feature_map.dtype == jnp.bfloat16
    full = network(depth=8, num_classes=4, head=ResLTHead)
    exact, _ = jax.jit(functools.partial(full.apply, **train))(variables, images)
    difference = np.abs(outputs.logits - exact.logits).max()
    assert 0 < difference < 0.1  # it did compute in bfloat16, and nearly the same


def test_uint8_images_are_scaled_and_normalised_and_float_images_are_not():
    net = Network(BACKBONES["resnet8"](), LinearHead(3), mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.125))
    images = np.random.default_rng(0).integers(0, 256, [2, 8, 8, 3]).astype(np.uint8)
    variables = jax.jit(net.init)(jax.random.key(0), images)
    by_hand = ((images / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.25, 0.125]).astype(np.float32)
    np.testing.assert_allclose(
        net.apply(variables, images).logits, net.apply(variables, by_hand).logits, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ResNetCifar(depth=18).init(jax.random.key(0), jnp.zeros([1, 8, 8, 3]), train=False), "18 is not 6n"),
        (lambda: ResNetCifar(8, width=0).init(jax.random.key(0), jnp.zeros([1, 8, 8, 3]), train=False), "width"),
        (lambda: network(8).init(jax.random.key(0), jnp.zeros([1, 8, 8, 1], jnp.uint8)), "1 channels"),
        (lambda: network(8).init(jax.random.key(0), jnp.zeros([1, 8, 8, 3], jnp.int32)), "int32"),
        (lambda: import_resnet_cifar({"layer1.0.downsample.0.weight": np.zeros([4, 4, 1, 1])}), "downsample"),
        (lambda: import_resnet_cifar({"bn1.scale": np.zeros([4])}), "bn1.scale"),
    ],
)
def test_bad_input_is_named_in_one_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_import_ignores_what_other_tools_add_to_the_names():
    weight = np.arange(2 * 3 * 9, dtype=np.float32).reshape(2, 3, 3, 3)
    arrays = {"module.conv1.weight": weight, "module.bn1.num_batches_tracked": np.int64(3)}
    variables = import_resnet_cifar(arrays)
    assert variables["batch_stats"] == {}
    kernel = variables["params"]["backbone"]["conv"]["kernel"]
    assert kernel.shape == (3, 3, 3, 2) and kernel[0, 2, 1, 1] == weight[1, 1, 0, 2]
