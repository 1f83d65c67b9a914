"""SHIKE: experts of different depths, what they teach each other, and new classifiers on frozen features."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import models
from ltjax.errors import InputError
from ltjax.losses import (
    balanced_softmax_loss,
    cross_entropy,
    mutual_distillation_loss,
    nontarget_distillation_loss,
)
from ltjax.methods import METHODS
from ltjax.methods.stage import Context, Previous
from ltjax.models.depth_experts import DepthExpertBackbone, LargeDepthExpertBackbone
from tests.methods.expert_toys import BACKBONES
from tests.training import toy

LABELS = np.array([0, 1, 2, 0, 0, 2])
LOGITS = np.random.RandomState(0).standard_normal((3, 6, 3)).astype(np.float32) * 5


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    for name, backbone in BACKBONES.items():
        monkeypatch.setitem(models.BACKBONES, name, backbone)


def stages_of(**settings):
    own = {f"shike__{name}": value for name, value in settings.items()}
    config = toy.config("shike", second_stage=True, second_stage_epochs=1, model__backbone="shike_toy", **own)
    return METHODS["shike"](config, toy.build(None))


def outcome(stage):
    def apply(params, model_state, images):
        return models.Outputs(LOGITS, None), model_state

    context = Context(jnp.int32(0), jnp.int32(0), 2, jnp.float32(0), jax.random.key(0), {}, {})
    return stage.objective(apply, {}, {}, {"image": {"image": None, "label": LABELS}}, context)


def test_the_terms_of_both_stages():
    first, second = stages_of(nontarget=6.0, mutual=2.0)
    terms = outcome(first).terms
    expected = {
        "classification": (1.0, sum(np.asarray(cross_entropy(one, LABELS)) for one in LOGITS)),
        "nontarget": (2.0, nontarget_distillation_loss(LOGITS, LABELS)),  # 6 / 3 classes
        "mutual": (2 / 3, mutual_distillation_loss(LOGITS)),
    }
    assert set(terms) == set(expected)
    for name, (scale, losses) in expected.items():
        assert terms[name].scale == pytest.approx(scale)
        np.testing.assert_allclose(terms[name].values, losses, rtol=1e-5)
    (of_second,) = outcome(second).terms.values()
    balanced = [np.asarray(balanced_softmax_loss(one, LABELS, class_counts=toy.COUNTS)) for one in LOGITS]
    np.testing.assert_allclose(of_second.values, sum(balanced), rtol=1e-5)


def test_the_second_stage_trains_new_classifiers_alone():
    first, second = stages_of()
    variables = toy.start_of(first).variables
    start = second.init(jax.random.key(1), Previous("representation", variables, {}), None).variables
    for part, same in (("backbone", True), ("head", False)):
        pairs = zip(*(jax.tree.leaves(one["params"][part]) for one in (variables, start)), strict=True)
        assert all(np.array_equal(a, b) == same for a, b in pairs)
    assert second.updates.trains("head/expert0/classifier/kernel") and not second.updates.trains("backbone/conv/kernel")


def test_experts_join_different_depths():
    """Experts 0 and 2 the first common stage by two strided convolutions, expert 1 the second by one."""
    net = DepthExpertBackbone(depth=8, experts=3)
    variables = net.init(jax.random.key(0), jnp.ones([2, 8, 8, 3]), train=False)
    of = {name: {key for key in params if key.startswith("shallow")} for name, params in variables["params"].items()}
    assert of["expert0"] == of["expert2"] == {f"shallow_{kind}{i}" for kind in ("conv", "norm") for i in (0, 1)}
    assert of["expert1"] == {"shallow_conv0", "shallow_norm0"}
    kernels = [variables["params"][f"expert{e}"]["shallow_conv0"]["kernel"].shape for e in range(3)]
    assert kernels == [(3, 3, 16, 32), (3, 3, 32, 64), (3, 3, 16, 32)]
    assert "shortcut_conv" in variables["params"]["stage2_block0"]


def test_the_product_of_deep_and_shallow():
    """A shallow norm of scale 0 and bias b makes the expert's map b times its last stage."""
    net = DepthExpertBackbone(depth=8, experts=2)
    images = jax.random.normal(jax.random.key(1), (2, 8, 8, 3))
    variables = net.init(jax.random.key(0), images, train=False)

    def with_bias(bias):
        params = jax.tree.map(lambda x: x, variables["params"])
        norm = params["expert1"]["shallow_norm0"]
        params["expert1"]["shallow_norm0"] = {"scale": 0 * norm["scale"], "bias": jnp.full_like(norm["bias"], bias)}
        return net.apply({**variables, "params": params}, images, train=False)

    one, three = with_bias(1.0), with_bias(3.0)
    np.testing.assert_allclose(three[1], 3 * one[1], rtol=1e-5)
    np.testing.assert_array_equal(three[0], one[0])
    assert not np.asarray(with_bias(-1.0)[1]).any()  # its ReLU


def test_large_experts_take_the_outputs_of_all_common_stages():
    net = LargeDepthExpertBackbone(depth=10, experts=3)
    shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), jnp.zeros([1, 64, 64, 3]), train=False))["params"]
    kernels = [[shapes[f"expert{e}"][f"shallow_conv{i}"]["kernel"].shape[2] for i in range(3 - e)] for e in range(3)]
    assert kernels == [[64, 128, 256], [128, 256], [256]]


def test_it_takes_a_network_of_its_own():
    config = toy.config("shike", second_stage=True, second_stage_epochs=1, model__backbone="ride_toy")
    with pytest.raises(InputError, match=r"config\.model\.backbone: 'ride_toy' does not fit here.*shike_resnet32"):
        METHODS["shike"](config, toy.build(None))
