"""Grad-CAM against its equations, written out for a network whose feature map is at hand."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.errors import InputError
from ltjax.training.grad_cam import grad_cam, last_map
from tests.training import toy

IMAGES = np.random.default_rng(0).integers(0, 255, (3, 8, 8, 1)).astype(np.uint8)
CLASSES = np.array([2, 0, 1])


class TwoLayers(nn.Module):
    """A head that is not linear in the pooled map, so that gradients differ from place to place."""

    again: bool = False

    @nn.compact
    def __call__(self, x):
        block = nn.remat(nn.Conv) if self.again else nn.Conv
        features = nn.relu(block(5, (3, 3), strides=2, name="conv")(x / 255))
        features = block(5, (3, 3), name="last")(features)
        self.sow("maps", "features", features)
        return nn.Dense(3)(jnp.tanh(features.reshape(len(x), -1)))


@pytest.mark.parametrize("again", [False, True])
def test_it_is_the_map_weighted_by_its_mean_gradients(again):
    network = TwoLayers(again)
    variables = {"params": network.init(jax.random.key(1), IMAGES)["params"]}
    features = network.apply(variables, IMAGES, mutable="maps")[1]["maps"]["features"][0]
    dense = variables["params"]["Dense_0"]

    def scores(features):
        logits = jnp.tanh(features.reshape(3, -1)) @ dense["kernel"] + dense["bias"]
        return logits[np.arange(3), CLASSES].sum()

    weights = jax.grad(scores)(features).mean((1, 2))
    expected = np.maximum(np.einsum("bhwd,bd->bhw", features, weights), 0)
    expected = np.asarray(jax.image.resize(expected, (3, 8, 8), "bilinear"))
    expected = expected / np.maximum(expected.max((1, 2), keepdims=True), 1e-30)
    assert last_map(network.apply, variables, IMAGES)[1] == (3, 4, 4, 5)
    np.testing.assert_allclose(grad_cam(network.apply, variables, IMAGES, CLASSES), expected, rtol=1e-4, atol=1e-5)
    assert expected.max() == 1


def test_it_takes_the_backbones_map_of_a_network():
    network = toy.network()
    variables = network.init(jax.random.key(0), IMAGES, train=False)

    def predict(variables, images):
        return network.apply(variables, images).logits

    assert last_map(predict, variables, IMAGES) == (("backbone",), (3, 8, 8, 4))
    heat = grad_cam(predict, variables, IMAGES, CLASSES)
    assert heat.shape == (3, 8, 8) and heat.min() >= 0 and heat.max() <= 1


def test_a_network_without_a_map_is_named():
    variables = nn.Dense(3).init(jax.random.key(0), jnp.ones((1, 2)))
    with pytest.raises(InputError, match="makes no feature map"):
        last_map(nn.Dense(3).apply, variables, jnp.ones((1, 2)))
