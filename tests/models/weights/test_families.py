"""Features and logits of ConvNeXt and EfficientNet-Lite are those of the networks that their weights come from."""

import contextvars
import functools
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from ltjax import models
from ltjax.errors import InputError
from ltjax.models.conv import PLAIN
from ltjax.models.convnext import Size
from ltjax.models.weights.families import family_of

CLASSES, SIDE = 7, 64
TINY = Size((1, 2, 2, 1), (8, 16, 24, 32))
needs_timm = pytest.mark.skipif(not importlib.util.find_spec("timm"), reason="timm is not installed")
needs_torchvision = pytest.mark.skipif(not importlib.util.find_spec("torchvision"), reason="torchvision is missing")


def randomised(source):
    """All parameters and statistics random, so that a swapped or forgotten one is noticed."""
    import torch

    torch.manual_seed(0)
    with torch.no_grad():
        for name, value in source.state_dict().items():
            if name.endswith(("gamma", "layer_scale", "running_var")) or (name.endswith("weight") and value.ndim == 1):
                value.copy_(torch.rand(value.shape) + 0.5)
            elif value.ndim > 1:
                value.copy_(torch.randn(value.shape) * (2 / value[0].numel()) ** 0.5)
            elif value.dtype.is_floating_point:
                value.copy_(0.1 * torch.randn(value.shape))
    return source.eval()


def compare(source, backbone, features, side=SIDE):
    """Our features and logits against those of ``source``, whose ``features`` takes images and gives [B, d]."""
    import torch

    source = randomised(source)
    pixels = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), np.uint8)
    images = torch.from_numpy(((pixels / 255 - 0.5) / 0.25).astype(np.float32)).permute(0, 3, 1, 2)
    state_dict = {name: value.numpy() for name, value in source.state_dict().items()}
    variables = family_of(state_dict).read(state_dict)
    network = models.Network(backbone, models.LinearHead(CLASSES), mean=(0.5,) * 3, std=(0.25,) * 3)
    ours = jax.eval_shape(lambda: network.init(jax.random.key(0), pixels))
    shapes = [
        {path: array.shape for path, array in traverse_util.flatten_dict(tree, sep="/").items()}
        for tree in (ours, variables)
    ]
    assert shapes[0] == shapes[1]
    with torch.no_grad():
        wanted, logits = features(images).numpy(), source(images).numpy()
    found = jax.jit(network.apply)(variables, pixels)
    assert np.std(wanted, 0).max() > 0.01 * np.abs(wanted).max() > 0  # the features are of these images
    np.testing.assert_allclose(found.features, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
    np.testing.assert_allclose(found.logits, logits, rtol=1e-4, atol=1e-4 * np.abs(logits).max())


@needs_timm
def test_convnext_of_timm():
    from timm.models.convnext import ConvNeXt

    source = ConvNeXt(num_classes=CLASSES, depths=TINY.blocks, dims=TINY.channels)
    compare(source, models.ConvNeXt(TINY), lambda x: source.forward_head(source.forward_features(x), pre_logits=True))


@needs_torchvision
def test_convnext_of_torchvision():
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    following = [*TINY.channels[1:], None]
    blocks = [CNBlockConfig(*one) for one in zip(TINY.channels, following, TINY.blocks, strict=True)]
    source = ConvNeXt(blocks, num_classes=CLASSES)
    compare(source, models.ConvNeXt(TINY), lambda x: source.classifier[:2](source.avgpool(source.features(x))), side=70)


@needs_timm
@pytest.mark.parametrize(
    ("name", "ours"),
    [("tf_efficientnet_lite0", "efficientnet_lite0"), ("efficientnet_lite0", "efficientnet_lite0_timm")],
)
def test_efficientnet_lite0_of_timm(name, ours):
    import timm

    source = timm.create_model(name, num_classes=CLASSES)
    compare(
        source, models.BACKBONES[ours](), lambda x: source.forward_head(source.forward_features(x), pre_logits=True)
    )


@pytest.mark.slow
@needs_timm
@pytest.mark.parametrize("size", ["tiny", "small", "base", "large"])
def test_every_size_of_convnext_of_timm(size):
    import timm

    source = timm.create_model(f"convnext_{size}", num_classes=CLASSES)
    compare(
        source,
        models.BACKBONES[f"convnext_{size}"](),
        lambda x: source.forward_head(source.forward_features(x), pre_logits=True),
    )


def test_a_state_dict_of_another_network_names_what_is_unknown():
    state_dict = {
        "conv_stem.weight": np.zeros([32, 3, 3, 3]),
        "blocks.1.0.se.conv_reduce.weight": np.zeros([4, 96, 1, 1]),
    }
    with pytest.raises(InputError, match=r"'blocks.1.0.se.conv_reduce.weight' is no array of a EfficientNet-Lite0"):
        family_of(state_dict).read(state_dict)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", [models.ConvNeXt(TINY), models.EfficientNetLite()])
def test_blocks_that_are_computed_again_have_the_same_gradients(backbone):
    images = jax.random.normal(jax.random.key(0), (2, 32, 32, 3))
    plainly = contextvars.copy_context()
    plainly.run(PLAIN.set, True)  # a depthwise convolution in its form for the CPU takes long to compile
    variables = plainly.run(jax.jit(functools.partial(backbone.init, train=False)), jax.random.key(1), images)

    def total(params, net):
        made, _ = net.apply({**variables, "params": params}, images, train=True, mutable=["batch_stats"])
        return jnp.sum(made**2)

    one, two = (
        plainly.run(jax.jit(jax.grad(total), static_argnums=1), variables["params"], backbone.clone(remat=again))
        for again in (False, True)
    )
    largest = max(float(jnp.abs(a).max()) for a in jax.tree.leaves(one))
    assert largest > 0
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * largest), one, two)
