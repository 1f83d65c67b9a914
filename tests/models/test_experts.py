"""RIDE's backbones: sizes by the formula, one expert as the plain network, what is shared and what is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.errors import InputError
from ltjax.models import BACKBONES, ExpertBackbone, ExpertsHead, LargeExpertBackbone, Network, ResNet, ResNetCifar
from tests.models.arrays import count, paths, random_variables, shapes

IMAGES = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype(np.float32)


def basic(size_in, size):
    """Numbers in a CIFAR block: two 3x3 convolutions, two norms."""
    return 9 * size_in * size + 9 * size * size + 4 * size


def bottleneck(size_in, size, groups=1, width=64):
    """Numbers in a bottleneck that changes the shape if it is the first of its stage."""
    inner, out = size * width // 64 * groups, 4 * size
    numbers = size_in * inner + 9 * inner * inner // groups + inner * out + 4 * inner + 2 * out
    return numbers + (size_in * out + 2 * out if size_in != out else 0)


def stage(block, size_in, size_out, blocks, *arguments):
    """Numbers in a stage: one block from the channels before, the rest at its own."""
    size = arguments[0]
    return block(size_in, *arguments) + (blocks - 1) * block(size_out, *arguments) + 0 * size


@pytest.mark.parametrize(("reduce", "two", "three"), [(True, 24, 48), (False, 32, 64)])
def test_parameter_counts_of_the_cifar_experts(reduce, two, three):
    common = 27 * 16 + 32 + 5 * basic(16, 16)
    expert = stage(basic, 16, two, 5, two) + stage(basic, two, three, 5, three)
    for experts in (2, 3):
        output, variables = shapes(BACKBONES["ride_resnet32"](experts=experts, reduce=reduce), IMAGES)
        assert count(variables["params"]) == common + experts * expert
        assert output.shape == (experts, 2, 4, 4, three)


@pytest.mark.parametrize(("name", "groups", "width"), [("ride_resnet50", 1, 64), ("ride_resnext50_32x4d", 32, 4)])
@pytest.mark.parametrize(("reduce", "three", "four"), [(True, 192, 384), (False, 256, 512)])
def test_parameter_counts_of_the_large_experts(name, groups, width, reduce, three, four):
    common = 3 * 49 * 64 + 128 + stage(bottleneck, 64, 256, 3, 64, groups, width)
    common += stage(bottleneck, 256, 512, 4, 128, groups, width)
    expert = stage(bottleneck, 512, 4 * three, 6, three, groups, width)
    expert += stage(bottleneck, 4 * three, 4 * four, 3, four, groups, width)
    output, variables = shapes(BACKBONES[name](reduce=reduce), np.zeros((2, 64, 64, 3), np.float32))
    assert count(variables["params"]) == common + 3 * expert
    assert output.shape == (3, 2, 2, 2, 4 * four)
    if not reduce:  # one of these experts and what is common make the published network
        published = {"ride_resnet50": 23_508_032, "ride_resnext50_32x4d": 22_979_904}[name]
        assert common + expert == published


@pytest.mark.parametrize(
    ("plain", "experts", "own"),
    [
        (ResNetCifar(8), ExpertBackbone(8, experts=2, reduce=False), ("stage2", "stage3")),
        (ResNet(10), LargeExpertBackbone(10, experts=2, reduce=False), ("stage3", "stage4")),
    ],
)
def test_each_expert_is_the_plain_network_with_its_own_last_stages(plain, experts, own):
    variables = random_variables(experts, IMAGES)

    def of(expert, tree):
        return {name: leaf for name, leaf in tree.items() if "expert" not in name} | tree[expert]

    single = [{part: of(f"expert{k}", tree) for part, tree in variables.items()} for k in range(2)]
    assert paths(single[0]) == paths(shapes(plain, IMAGES)[1])
    assert {name[:6] for name in variables["params"]["expert0"]} == set(own)
    run = jax.jit(plain.apply, static_argnames="train")
    expected = [run(one, IMAGES, train=False) for one in single]
    maps = jax.jit(experts.apply, static_argnames="train")(variables, IMAGES, train=False)
    assert np.abs(expected[0] - expected[1]).max() > 0.1
    np.testing.assert_allclose(maps, np.stack(expected), rtol=1e-4, atol=1e-5)


def test_a_network_of_experts_has_logits_and_statistics_of_each():
    net = Network(ExpertBackbone(8, experts=2), ExpertsHead(5, experts=2, head="reslt"), (0.5,) * 3, (0.25,) * 3)
    variables = random_variables(net, IMAGES)

    @jax.jit
    def passes(variables):
        train = {"train": True, "mutable": ["batch_stats"]}
        moved = net.apply(variables, IMAGES, **train)
        frozen = net.apply(variables, IMAGES, frozen_norm=True, **train)
        return moved, frozen

    (outputs, moved), (_, frozen) = jax.device_get(passes(variables))
    assert outputs.logits.shape == (2, 3, 2, 5) and outputs.features.shape == (2, 2, 48)
    before = jax.device_get(variables["batch_stats"])
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, frozen["batch_stats"], before)))
    assert not any(jax.tree.leaves(jax.tree.map(np.array_equal, moved["batch_stats"], before)))


def test_bad_numbers_of_experts_are_named_in_one_line():
    for call in (lambda: shapes(ExpertBackbone(8, experts=0), IMAGES), lambda: shapes(ResNetCifar(9), IMAGES)):
        with pytest.raises(InputError) as caught:
            call()
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="experts of the head: 3, but the feature map"):
        shapes(ExpertsHead(5, experts=3), jnp.zeros([2, 4, 3, 3, 8]))
