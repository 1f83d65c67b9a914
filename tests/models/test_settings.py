"""Settings that every family of backbones has: final_relu, zero_init, remat."""

import collections
import functools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.models import (
    BACKBONES,
    BatchNorm,
    ConvTopHead,
    ExpertBackbone,
    ExpertsHead,
    LargeExpertBackbone,
    LargeTwoBranchBackbone,
    ResLTHead,
    ResNet,
    ResNetCifar,
    TwoBranchBackbone,
    resnet,
    resnet_cifar,
)
from ltjax.models.norm import ZeroScaleNorm
from tests.models.arrays import random_variables, shapes

IMAGES = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
# network -> how many blocks it has, how many of them are the last of their path
FAMILIES = [
    (ResNetCifar(14), 6, 1),
    (ExpertBackbone(8, experts=2), 1 + 2 * 2, 2),
    (TwoBranchBackbone(8), 2 + 2, 2),
    (ResNet(18), 8, 1),
    (LargeExpertBackbone(10, experts=2), 2 + 2 * 2, 2),
    (LargeTwoBranchBackbone(10), 3 + 2, 2),
]
BLOCKS = (resnet_cifar.BasicBlock, resnet.BasicBlock, resnet.Bottleneck)


@pytest.mark.parametrize(("net", "blocks", "last"), FAMILIES)
def test_the_settings_reach_every_block_and_final_relu_the_last_ones(net, blocks, last):
    seen = collections.Counter()

    def note(call, args, kwargs, context):
        module = context.module
        if isinstance(module, BLOCKS) and context.method_name == "__call__":
            seen["blocks"] += 1
            seen["without a last ReLU"] += not module.final_relu
        seen["zero scales"] += isinstance(module, ZeroScaleNorm)
        return call(*args, **kwargs)

    with nn.intercept_methods(note):
        changed = shapes(net.clone(final_relu=False, zero_init=True, remat=True), IMAGES)
    assert seen == {"blocks": blocks, "without a last ReLU": last, "zero scales": blocks}
    assert jax.tree.map(jnp.shape, changed) == jax.tree.map(jnp.shape, shapes(net, IMAGES))
    seen.clear()
    with nn.intercept_methods(note):
        shapes(net, IMAGES)
    assert seen == {"blocks": blocks, "without a last ReLU": 0, "zero scales": 0}


def test_every_backbone_of_the_table_takes_the_settings():
    for make in BACKBONES.values():
        made = make(dtype=jnp.bfloat16, param_dtype=jnp.float32, remat=True, drop_path=0.1)
        if hasattr(made, "zero_init"):
            made.clone(final_relu=False, zero_init=True, norm_group=2)


HEADS = [  # with batch normalisation of their own, and the rank of their map
    (ResLTHead(3), 4),
    (ResLTHead(3, form="conv"), 4),
    (ConvTopHead(3), 4),
    (ConvTopHead(3, form="separate"), 4),
    (ExpertsHead(3, 2, head="reslt"), 5),
]


@pytest.mark.parametrize("net", [*(net for net, _, _ in FAMILIES), ResNet(50), *(head for head, _ in HEADS)])
def test_every_batch_normalisation_has_the_group(net):
    ranks = dict(HEADS)
    images = np.zeros((2, 2, 2, 2, 8)[-ranks[net] :]) if net in ranks else IMAGES
    groups = []

    def note(call, args, kwargs, context):
        if isinstance(context.module, BatchNorm) and context.method_name == "__call__":
            groups.append(context.module.group)
        return call(*args, **kwargs)

    with nn.intercept_methods(note):
        shapes(net.clone(norm_group=2), images)
    assert len(groups) >= 1 and set(groups) == {2}


@pytest.mark.parametrize("net", [ResNetCifar(8), ResNet(10)])
def test_without_the_last_relu_features_have_both_signs(net):
    variables = random_variables(net, IMAGES)
    signed = net.clone(final_relu=False)
    with_relu, without = jax.jit(lambda v: [n.apply(v, IMAGES, train=False) for n in (net, signed)])(variables)
    assert (without < 0).any() and (with_relu >= 0).all()
    np.testing.assert_allclose(with_relu, np.maximum(without, 0), rtol=1e-4, atol=1e-5)


def test_zero_init_starts_a_cifar_block_as_its_shortcut():
    x = np.random.default_rng(1).normal(size=(2, 4, 4, 8)).astype(np.float32)
    block = resnet_cifar.BasicBlock(8, 1, jnp.float32, jnp.float32, zero_init=True)
    y, variables = jax.jit(functools.partial(block.init_with_output, train=True))(jax.random.key(0), x)
    assert {name: leaves["scale"].max() for name, leaves in variables["params"].items() if "norm" in name} == {
        "norm1": 1,
        "norm2": 0,
    }
    np.testing.assert_array_equal(y, np.maximum(x, 0))


@pytest.mark.slow
def test_remat_changes_neither_values_nor_gradients_and_computes_blocks_again():
    plain = ResNetCifar(8)
    variables = random_variables(plain, IMAGES)

    def loss(params, net):
        feature_map, after = net.apply({**variables, "params": params}, IMAGES, train=True, mutable=["batch_stats"])
        return jnp.sum(jnp.sin(feature_map)), after

    both = [
        jax.value_and_grad(functools.partial(loss, net=net), has_aux=True) for net in (plain, plain.clone(remat=True))
    ]
    results = [jax.device_get(jax.jit(one)(variables["params"])) for one in both]
    chex.assert_trees_all_close(*results, rtol=1e-4, atol=1e-4)
    again = [str(jax.make_jaxpr(one)(variables["params"])).count("remat") for one in both]
    assert again[0] == 0 and again[1] >= 3
