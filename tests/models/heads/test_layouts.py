"""What each head holds and returns inside a network: names and shapes on which methods, reports and imports rely."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from ltjax import models
from ltjax.errors import InputError
from tests.models.arrays import paths, random_variables, shapes

B, C, D = 4, 5, 6
KERNEL = {"classifier/kernel": (D, C)}
LINEAR = KERNEL | {"classifier/bias": (C,)}
NARROW = {"classifier/kernel": (3, C), "classifier/bias": (C,)}  # behind a layer of 3
FC = {"fc/kernel": (D, 3), "fc/bias": (3,)}
SELECTOR = {"hallucinator/kernel": (D, C), "hallucinator/bias": (C,), "selector/kernel": (D, D), "selector/bias": (D,)}

# head -> its parameters, the shapes of its logits and of its features
LAYOUTS = {
    "linear": (models.LinearHead(C), LINEAR, (B, C), (B, D)),
    "linear without bias": (models.LinearHead(C, bias=False), KERNEL, (B, C), (B, D)),
    "linear with fc": (models.HeadOnFeatureLayer(models.LinearHead(C), 3), FC | NARROW, (B, C), (B, 3)),
    "mlp": (
        models.MLPHead(C, hidden=(7, 3)),
        {"fc1/kernel": (D, 7), "fc1/bias": (7,), "fc2/kernel": (7, 3), "fc2/bias": (3,)} | NARROW,
        (B, C),
        (B, 3),
    ),
    "lws": (models.LWSHead(C), LINEAR | {"scale": (C,)}, (B, C), (B, D)),
    "aligned": (
        models.AlignedHead(C),
        LINEAR | {"magnitude": (C,), "margin": (C,), "confidence/kernel": (D, 1), "confidence/bias": (1,)},
        (B, C),
        (B, D),
    ),
    "tau": (models.TauHead(C), LINEAR | {"tau": ()}, (B, C), (B, D)),
    "cosine": (models.CosineHead(C), KERNEL | {"scale": ()}, (B, C), (B, D)),
    "plain cosine": (models.CosineHead(C, learn_scale=False), KERNEL, (B, C), (B, D)),
    "causal norm": (models.CausalNormHead(C), KERNEL, (B, C), (B, D)),
    "means": (models.MeanHead(C), {"means": (C, D), "center": (D,)}, (B, C), (B, D)),
    "proxies": (
        models.ProxyHead(C),
        LINEAR | {"proxies": (C, D)},
        {"classifier": (B, C), "proxies": (C, D)},
        (B, D),
    ),
    "auxiliary": (
        models.HeadOnFeatureLayer(models.AuxiliaryHead(C), 3),
        FC
        | NARROW
        | {"auxiliary/kernel": (3, C), "auxiliary/bias": (C,), "rotation/kernel": (3, 4), "rotation/bias": (4,)},
        {"primary": (B, C), "auxiliary": (B, C), "rotation": (B, 4)},
        (B, 3),
    ),
    "auxiliary without rotation and fc": (
        models.AuxiliaryHead(C, rotation=False),
        LINEAR | {"auxiliary/kernel": (D, C), "auxiliary/bias": (C,)},
        {"primary": (B, C), "auxiliary": (B, C)},
        (B, D),
    ),
    "memory": (models.MemoryHead(C), KERNEL | SELECTOR, (B, C), (B, D)),
    "grouped convolution": (
        models.ConvTopHead(C),
        LINEAR | {"conv/kernel": (1, 1, D, 3 * D), "norm/scale": (3 * D,), "norm/bias": (3 * D,)},
        (B, C),
        (B, D),
    ),
    "separate convolutions": (
        models.ConvTopHead(C, form="separate", branches=2),
        LINEAR
        | {f"conv{k}/kernel": (1, 1, D, D) for k in range(2)}
        | {f"norm{k}/{leaf}": (D,) for k in range(2) for leaf in ("scale", "bias")},
        (B, C),
        (B, D),
    ),
}
OF_ONE_EXPERT = {"cosine": {"kernel"}, "linear": {"kernel", "bias"}, "reslt": {"kernel", "bias"}}


class Identity(nn.Module):
    """A backbone whose feature map is the image."""

    def __call__(self, x, train, frozen_norm):
        return x


def network(head):
    return models.Network(Identity(), head, (0.5,), (0.25,))


@pytest.mark.parametrize("name", LAYOUTS)
def test_parameters_logits_and_features_in_a_network(name):
    head, parameters, logits, features = LAYOUTS[name]
    for dtype in ("float32", "bfloat16"):
        images = jnp.zeros([B, 3, 2, D], dtype)
        outputs, variables = shapes(network(head.clone(dtype=jnp.dtype(dtype))), images)
        assert isinstance(outputs, models.Outputs)
        assert paths(variables["params"]["head"]) == parameters
        assert jax.tree.map(jnp.shape, outputs.logits) == logits and outputs.features.shape == features
        assert {leaf.dtype for leaf in jax.tree.leaves((outputs, variables))} == {jnp.dtype("float32")}


@pytest.mark.parametrize("head", OF_ONE_EXPERT)
def test_every_expert_has_a_head_under_its_own_name(head):
    maps = jnp.zeros([2, B, 3, 3, D])
    outputs, variables = shapes(models.ExpertsHead(C, experts=2, head=head), maps)
    assert outputs.logits.shape == ((2, 3, B, C) if head == "reslt" else (2, B, C))
    assert outputs.features.shape == (2, B, D)
    assert set(variables["params"]) == {"expert0", "expert1"}
    for name in ("expert0", "expert1"):
        assert set(variables["params"][name]["classifier"]) == OF_ONE_EXPERT[head]


def test_a_networks_options_reach_its_head():
    net, images = network(models.HeadOnFeatureLayer(models.AuxiliaryHead(C), 3)), jnp.ones([B, 2, 2, D])
    variables = random_variables(net, images)
    everything = net.apply(variables, images).logits
    # at test, the parameters of the other classifiers are gone
    left = {name: variables["params"]["head"][name] for name in ("fc", "classifier")}
    outputs = net.apply({"params": {"head": left}}, images, classifiers=("primary",))
    assert set(outputs.logits) == {"primary"} and outputs.features.shape == (B, 3)
    assert jnp.array_equal(outputs.logits["primary"], everything["primary"])


@pytest.mark.parametrize(
    ("head", "options", "message"),
    [
        (models.LinearHead(C, bias=False, bias_init_value=0.0), {}, "bias_init_value"),
        (models.CausalNormHead(C, num_heads=4), {}, "4 does not divide 6"),
        (models.MeanHead(C, transform="l1"), {}, "'l1'; allowed: raw, l2, centered_l2"),
        (models.MeanHead(C, metric="manhattan"), {}, "'manhattan'; allowed: cosine, euclidean, dot"),
        (models.AuxiliaryHead(C), {"classifiers": ("first",)}, "'first'; allowed: primary, auxiliary, rotation"),
        (models.ConvTopHead(C, form="dense"), {}, "'dense'; allowed: grouped, separate"),
        (models.ConvTopHead(C, branches=0), {}, "0 is below 1"),
        (models.ExpertsHead(C, experts=2), {}, "experts of the head: 2"),
        (models.ExpertsHead(C, experts=B, head="mlp"), {}, "'mlp'; allowed: cosine, linear, reslt"),
    ],
)
def test_bad_settings_are_named_in_one_line(head, options, message):
    images = jnp.zeros([B, 2, 3, 3, D] if "mlp" in message else [B, 3, 3, D])
    with pytest.raises(InputError, match=message) as caught:
        shapes(head, images, **options)
    assert "\n" not in str(caught.value)
