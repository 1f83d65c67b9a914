"""Every backbone keeps the protocol of ``ltjax/models/backbone.py``."""

import jax
import jax.numpy as jnp
import pytest
from flax import traverse_util

from ltjax.methods.stage import under
from ltjax.models import BACKBONES, HasTrainableParts, VisionTransformer
from tests.training import toy

DEEPER = ("34", "44", "56", "101", "152", "vit_l", "vit_b", "small", "base", "large")  # more of the same blocks
NAMES = [pytest.param(name, marks=[pytest.mark.slow] * any(depth in name for depth in DEEPER)) for name in BACKBONES]


@pytest.mark.parametrize("name", NAMES)
def test_the_map_and_the_parameters_have_their_dtypes_and_the_parts_that_are_named_exist(name):
    backbone = BACKBONES[name](dtype=jnp.bfloat16, param_dtype=jnp.float32)
    side = 2 * backbone.patch if isinstance(backbone, VisionTransformer) else 32
    images = jnp.zeros((2, side, side, 3))
    made = jax.eval_shape(lambda: backbone.init_with_output(jax.random.key(0), images, train=True, frozen_norm=True))
    feature_map, params = made[0], traverse_util.flatten_dict(made[1]["params"], sep="/")
    assert feature_map.dtype == jnp.bfloat16 and feature_map.shape[-4] == 2
    assert {leaf.dtype for leaf in params.values()} == {jnp.dtype("float32")}
    if isinstance(backbone, HasTrainableParts):
        parts = backbone.trainable_parts()
        covered = {
            part: {path for path in params if any(under(path, prefix) for prefix in parts[part])} for part in parts
        }
        assert set() < covered["last_block"] <= covered["last_stage"] < set(params)
        assert all(any(under(path, prefix) for path in params) for prefixes in parts.values() for prefix in prefixes)


def test_our_networks_name_their_parts_and_a_backbone_need_not():
    assert all(isinstance(make(), HasTrainableParts) for make in BACKBONES.values())
    assert not isinstance(toy.Backbone(), HasTrainableParts)
    parts = BACKBONES["resnet20"]().trainable_parts()
    assert parts["last_stage"] == ("stage3_block0", "stage3_block1", "stage3_block2")
    assert parts["last_block"] == ("stage3_block2",)
