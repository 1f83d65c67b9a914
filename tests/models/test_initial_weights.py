"""How weights start, by the family of the backbone: the numbers of the authors' public code, from statistics of arrays.

CIFAR (the LDAM-DRW network): kaiming normal with fan-in for convolutions and linear weights, linear biases uniform
within 1/sqrt(inputs). ImageNet (the networks of decoupling and ResLT): convolutions N(0, sqrt(2 / (k * k * out))),
linear layers as PyTorch makes them, weight and bias uniform within 1/sqrt(inputs).
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from ltjax.data import Data, Source
from ltjax.data.dataset import fingerprint
from ltjax.methods import METHODS
from ltjax.models.resnet import BasicBlock, Bottleneck
from ltjax.models.resnet_cifar import ResNetCifar
from tests import recipes


def arrays(module, *shape, **options):
    """Path -> parameter, of a head or a block for one feature map."""
    params = module.init(jax.random.key(5), jnp.zeros(shape), train=False, **options)["params"]
    return {path: np.asarray(array) for path, array in traverse_util.flatten_dict(params, sep="/").items()}


def assert_normal(array, deviation):
    """Of this deviation, and not cut off or bounded as a uniform or truncated normal distribution is."""
    assert np.std(array) == pytest.approx(deviation, rel=0.05)
    assert np.abs(np.mean(array)) < 5 * deviation / np.sqrt(array.size)
    assert np.abs(array).max() > 2.6 * deviation


def assert_uniform(array, bound):
    assert 0.9 * bound < np.abs(array).max() <= bound
    if array.size > 1000:
        assert np.std(array) == pytest.approx(bound / np.sqrt(3), rel=0.05)


def data(classes=40, side=32):
    labels = np.arange(classes, dtype=np.int32)
    source = Source(labels, labels, read=lambda i: None)
    grey, counts = (0.5,) * 3, np.ones(classes, int)
    return Data("", source, source, "test", classes, counts, (side, side, 3), grey, grey, None, fingerprint(source))


def head_of(dataset, family, words="", stage=0):
    config = recipes.resolved(dataset, family, words)
    if config.method == "reslt":  # the published ones are of 1,000 and 8,142 classes
        config = config.replaced({"reslt.boundaries": ()})
    return METHODS[config.method](config, data())[stage].network.head


# recipes whose heads have linear layers: data set, family, words -> stage
HEADS = {
    ("imagenet", "ce", ""): 0,
    ("imagenet", "decoupling", "crt"): 1,
    ("imagenet", "decoupling", "mlp,mlp_layers=3,mlp_hidden=300"): 1,
    ("imagenet", "baselines", "proxy"): 0,
    ("imagenet", "auxiliary", ""): 0,
    ("imagenet", "baselines", "bbn"): 0,
    ("imagenet", "reslt", ""): 0,
    ("imagenet", "reslt", "variant=grouped_conv"): 0,
    ("imagenet", "reslt", "variant=separate_conv"): 0,
    ("places", "auxiliary", "rrs_only"): 0,
    ("inat", "reslt", ""): 0,
    ("folder", "ce", ""): 0,
    ("cifar100", "ce", ""): 0,
    ("cifar100", "decoupling", "mlp,mlp_hidden=300"): 1,
    ("cifar100", "auxiliary", ""): 0,
    ("cifar100", "reslt", "variant=grouped_conv"): 0,
    ("cifar10", "baselines", "bbn"): 0,
    ("mnist5k", "reslt", ""): 0,
}


@pytest.mark.parametrize(("recipe", "stage"), HEADS.items(), ids=[" ".join(key) for key in HEADS])
def test_heads_start_as_those_of_the_authors(recipe, stage):
    large = recipe[0] in ("imagenet", "places", "inat", "folder")
    found = arrays(head_of(*recipe, stage=stage), 1, 1, 1, 256)
    kernels = {path: array for path, array in found.items() if path.endswith("kernel")}
    assert kernels
    for path, kernel in kernels.items():
        if kernel.ndim == 4:  # a 1x1 convolution of the head
            assert_normal(kernel, np.sqrt(2 / kernel.shape[-1 if large else -2]))
            continue
        bound = kernel.shape[0] ** -0.5
        if large:
            assert_uniform(kernel, bound)
        else:
            assert_normal(kernel, np.sqrt(2) * bound)
        assert_uniform(found[path.replace("kernel", "bias")], bound)


def test_experts_heads_have_the_family_of_the_backbone():
    for dataset, words in (("imagenet", "experts=3"), ("cifar100", "experts=3")):
        head = head_of(dataset, "reslt", words)
        kernel = arrays(head, 3, 1, 1, 1, 256)["expert0/classifier/kernel"]
        if dataset == "imagenet":
            assert_uniform(kernel, 1 / 16)
        else:
            assert_normal(kernel, np.sqrt(2) / 16)


@pytest.mark.parametrize(("kind", "groups", "width"), [(BasicBlock, 1, 64), (Bottleneck, 1, 64), (Bottleneck, 32, 4)])
def test_convolutions_of_the_imagenet_family_keep_the_variance_of_the_gradients(kind, groups, width):
    block = kind(128, 2, groups, width, zero_init=False, dtype=jnp.float32, param_dtype=jnp.float32)
    for path, kernel in arrays(block, 1, 4, 4, 64).items():
        if path.endswith("kernel"):
            side, out = kernel.shape[0], kernel.shape[-1]
            assert_normal(kernel, np.sqrt(2 / (side * side * out)))


def test_convolutions_of_the_cifar_family_keep_the_variance_of_the_activations():
    kernels = {path: a for path, a in arrays(ResNetCifar(8), 1, 8, 8, 3).items() if path.endswith("kernel")}
    assert len(kernels) == 7
    for kernel in kernels.values():
        assert np.std(kernel) == pytest.approx(np.sqrt(2 / (9 * kernel.shape[-2])), rel=0.1)
