"""BBN's networks: one branch as the plain network, both joined, and whose batch statistics move."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.errors import InputError
from ltjax.models import (
    BACKBONES,
    BBNNetwork,
    LargeTwoBranchBackbone,
    LinearHead,
    Network,
    ResNet,
    ResNetCifar,
    TwoBranchBackbone,
)
from tests.models.arrays import count, paths, random_variables, run, shapes

IMAGES = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype(np.float32)
BRANCHES = ("conventional", "rebalancing")
NET = BBNNetwork(TwoBranchBackbone(8), LinearHead(5), (0.5,) * 3, (0.25,) * 3)


@pytest.mark.parametrize(
    ("name", "plain", "block"),
    [
        ("bbn_resnet32", "resnet32", 2 * 9 * 64 * 64 + 4 * 64),
        ("bbn_resnet50", "resnet50", 2 * 2048 * 512 + 9 * 512 * 512 + 4 * 512 + 2 * 2048),
    ],
)
def test_it_is_the_plain_network_with_its_last_block_twice(name, plain, block):
    images = np.zeros((2, 64, 64, 3), np.float32)
    (output, variables), (one, plainly) = shapes(BACKBONES[name](), images), shapes(BACKBONES[plain](), images)
    assert output.shape == (*one.shape[:3], 2 * one.shape[3])
    assert count(variables["params"]) == count(plainly["params"]) + block
    last = max(path.split("/")[0] for path in paths(plainly["params"]) if "block" in path)
    for branch in BRANCHES:
        renamed = {key.replace(branch, last): v for key, v in paths(variables).items() if other(branch) not in key}
        assert renamed == paths(plainly)


def other(branch):
    return BRANCHES[1 - BRANCHES.index(branch)]


@pytest.mark.parametrize(
    ("plain", "two", "last"),
    [
        (ResNetCifar(14), TwoBranchBackbone(14), "stage3_block1"),
        pytest.param(ResNetCifar(8), TwoBranchBackbone(8), "stage3_block0", marks=pytest.mark.slow),
        (ResNet(10), LargeTwoBranchBackbone(10), "stage4_block0"),
    ],
)
def test_each_branch_is_the_plain_network_with_its_own_last_block(plain, two, last):
    variables = random_variables(two, IMAGES)
    both = run(two, variables, IMAGES)
    expected = []
    for branch in BRANCHES:
        single = {part: {name: leaf for name, leaf in tree.items()} for part, tree in variables.items()}
        for tree in single.values():
            tree[last] = tree[branch]
            for name in BRANCHES:
                del tree[name]
        expected.append(run(plain, single, IMAGES))
    assert np.abs(expected[0] - expected[1]).max() > 0.1
    np.testing.assert_allclose(both, np.concatenate(expected, -1), rtol=1e-4, atol=1e-5)


def test_only_the_branch_that_is_called_moves_its_statistics():
    variables = random_variables(NET, IMAGES)

    @jax.jit
    def passes(variables):
        train = {"train": True, "mutable": ["batch_stats"]}
        made = {branch: NET.apply(variables, IMAGES, branch=branch, **train) for branch in BRANCHES}
        return made | {
            "both": NET.apply(variables, IMAGES, **train),
            "frozen": NET.apply(variables, IMAGES, frozen_norm=True, **train),
        }

    made = jax.device_get(passes(variables))
    before = jax.device_get(variables["batch_stats"]["backbone"])
    for name, (_, after) in made.items():
        same = jax.tree.map(np.array_equal, after["batch_stats"]["backbone"], before)
        standing = {"both": (), "frozen": tuple(before)}.get(name) or ((other(name),) if name in BRANCHES else ())
        for part, leaves in same.items():
            assert set(jax.tree.leaves(leaves)) == {part in standing}, (name, part)
    both, *one = (made[name][0] for name in ("both", *BRANCHES))
    np.testing.assert_allclose(both.features, np.concatenate([o.features for o in one], -1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(both.logits, one[0].logits + one[1].logits, rtol=1e-4, atol=1e-4)
    classifier = jax.device_get(variables["params"]["head"]["classifier"])
    for outputs, kernel in zip(one, np.split(classifier["kernel"], 2), strict=True):
        share = outputs.features @ kernel + classifier["bias"] / 2
        np.testing.assert_allclose(outputs.logits, share, rtol=1e-4, atol=1e-4)


def test_without_a_branch_it_is_the_network_of_its_parts():
    variables = random_variables(NET, IMAGES)
    plain = Network(NET.backbone, NET.head, NET.mean, NET.std)
    assert paths(shapes(plain, IMAGES)[1]) == paths(variables)
    images = np.random.default_rng(1).integers(0, 256, (2, 8, 8, 3)).astype(np.uint8)
    outputs, expected = (run(net, variables, images) for net in (NET, plain))
    np.testing.assert_allclose(outputs.logits, expected.logits, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(outputs.features, expected.features, rtol=1e-4, atol=1e-5)


def test_the_large_form_has_the_same_interface():
    net = NET.clone(backbone=LargeTwoBranchBackbone(50))
    images = jnp.zeros([2, 64, 64, 3], jnp.uint8)
    outputs, variables = shapes(net, images)
    assert outputs.logits.shape == (2, 5) and outputs.features.shape == (2, 4096)
    assert variables["params"]["head"]["classifier"]["kernel"].shape == (4096, 5)
    one = jax.eval_shape(lambda v: net.apply(v, images, branch="rebalancing"), variables)
    assert one.logits.shape == (2, 5) and one.features.shape == (2, 2048)


@pytest.mark.parametrize(
    ("net", "options", "message"),
    [
        (NET, {"branch": "tail"}, "'tail'; allowed: conventional, rebalancing"),
        (NET.clone(backbone=TwoBranchBackbone(9)), {}, "9 is not 6n"),
    ],
)
def test_bad_settings_are_named_in_one_line(net, options, message):
    with pytest.raises(InputError, match=message) as caught:
        shapes(net, IMAGES, **options)
    assert "\n" not in str(caught.value)
