"""Stochastic depth: which images skip a block, by how much the others grow, and where nothing is drawn."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.errors import InputError
from ltjax.methods import METHODS
from ltjax.methods.stage import Updates
from ltjax.models import BACKBONES, ExpertBackbone, LargeTwoBranchBackbone, ResNet, ResNetCifar, TwoBranchBackbone
from ltjax.models.drop_path import STREAM
from ltjax.models.resnet import Bottleneck
from ltjax.models.resnet_cifar import BasicBlock, pad_shortcut
from ltjax.training.step.step import make_apply
from tests.models.arrays import random_variables, shapes
from tests.training import toy

IMAGES = np.random.default_rng(0).normal(size=(64, 4, 4, 8)).astype(np.float32)
TYPES = (jnp.float32, jnp.float32)
BLOCKS = {
    "cifar": BasicBlock(8, 1, *TYPES, final_relu=False),
    "bottleneck": Bottleneck(2, 1, 1, 64, False, *TYPES, final_relu=False),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_an_image_skips_the_branch_or_has_it_divided_by_what_stays(name):
    plain = BLOCKS[name]
    dropping = plain.clone(drop_rate=0.25)
    variables = plain.init(jax.random.key(1), IMAGES, train=False)
    run = {"mutable": ["batch_stats"], "train": True}
    whole, statistics = plain.apply(variables, IMAGES, **run)
    made, after = dropping.apply(variables, IMAGES, rngs={STREAM: jax.random.key(2)}, **run)
    shortcut = pad_shortcut(IMAGES, 8, 1)
    dropped = np.array([np.array_equal(one, skip) for one, skip in zip(made, shortcut, strict=True)])
    assert 0.1 < dropped.mean() < 0.4
    kept = ~dropped
    np.testing.assert_allclose(made[kept], (shortcut + (whole - shortcut) / 0.75)[kept], rtol=1e-4, atol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, after, statistics)
    np.testing.assert_array_equal(
        dropping.apply(variables, IMAGES, train=False), plain.apply(variables, IMAGES, train=False)
    )


@pytest.mark.parametrize(
    "net, rates",
    [
        (ResNetCifar(14), [1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1]),
        (ResNet(18), [k / 8 for k in range(1, 9)]),
        (TwoBranchBackbone(8), [1 / 3, 2 / 3, 1, 1]),
        (LargeTwoBranchBackbone(10), [1 / 4, 2 / 4, 3 / 4, 1, 1]),
        (ExpertBackbone(8, experts=2), [1 / 3, 2 / 3, 1, 2 / 3, 1]),
    ],
)
def test_the_rate_grows_with_the_depth(net, rates):
    seen = []

    def note(call, args, kwargs, context):
        if hasattr(context.module, "drop_rate") and context.method_name == "__call__":
            seen.append(context.module.drop_rate)
        return call(*args, **kwargs)

    with nn.intercept_methods(note):
        shapes(net.clone(drop_path=0.6), np.zeros((2, 8, 8, 3), np.float32))
    np.testing.assert_allclose(seen, 0.6 * np.array(rates))


def test_every_backbone_of_the_table_has_the_setting_and_others_are_refused(monkeypatch):
    for make in BACKBONES.values():
        assert make(drop_path=0.1).drop_path == 0.1
    monkeypatch.setitem(BACKBONES, "toy", toy.Backbone)
    with pytest.raises(InputError, match=r"config.model.drop_path: the backbone 'toy' has no such setting"):
        METHODS["ce"](toy.config(model__drop_path=0.1), toy.build(None))


def two_calls(remat=False, **updates):
    """key -> the logits of two calls on the same images, as an objective of this stage gets them; jitted."""
    data = toy.build(None)
    config = toy.config(model__backbone="resnet8", model__drop_path=0.5, model__remat=remat)
    (stage,) = METHODS["ce"](config, data)
    network, images = stage.network, np.stack([data.train.read(i) for i in range(16)])
    variables = random_variables(network, images)
    stage = toy.stage(config, network=network, updates=Updates(**updates))

    def run(key):
        apply, state = make_apply(stage, key), {"batch_stats": variables["batch_stats"]}
        return [apply(variables["params"], state, images)[0].logits for _ in range(2)]

    return jax.jit(run, compiler_options={"xla_backend_optimization_level": 0})


def test_calls_of_a_step_have_different_draws_which_depend_on_the_key_alone():
    run = two_calls()
    first, second = run(jax.random.key(3))
    assert not np.allclose(first, second) and not np.allclose(first, run(jax.random.key(4))[0])
    np.testing.assert_array_equal(first, run(jax.random.key(3))[0])


@pytest.mark.slow
def test_a_block_that_is_computed_again_has_its_draws_again():
    plain, again = (two_calls(remat)(jax.random.key(3))[0] for remat in (False, True))
    np.testing.assert_allclose(plain, again, rtol=1e-4, atol=1e-5)


def test_a_stage_that_trains_no_part_of_the_backbone_draws_nothing():
    def lowered(*trainable):
        return two_calls(trainable=trainable).lower(jax.random.key(3)).as_text()

    assert "threefry" in lowered() and "threefry" in lowered("head", "backbone/stage3_block0")
    assert "threefry" not in lowered("head") and "random" not in lowered("head")
    assert Updates().trains_within("backbone") and not Updates(("backbone2",)).trains_within("backbone")
