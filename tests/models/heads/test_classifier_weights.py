"""The weights that classify, of every head: their products with the features are its logits, but for bias and factor.

Kang et al. (2020), figure 2 (left), compares their norms: those of a classifier normalised with tau = 1 are all 1.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import models
from ltjax.models import (
    AuxiliaryHead,
    CausalNormHead,
    ConvTopHead,
    CosineHead,
    ExpertsHead,
    GeneratorHead,
    LinearHead,
    LWSHead,
    MeanHead,
    MemoryHead,
    MLPHead,
    ProxyHead,
    ResLTHead,
    TauHead,
    classifier_weights,
)
from ltjax.training.workdir.results import classifier_weight_norms

SIZE, CLASSES = 6, 4


def random_params(head, shape=(1, 1, 1, SIZE)):
    made = jax.eval_shape(lambda: head.init(jax.random.key(0), jnp.zeros(shape), train=False))
    random = np.random.RandomState(3)
    return jax.tree.map(lambda a: random.uniform(0.5, 1.5, a.shape) * random.choice([-1, 1], a.shape), made)


def of_length_1(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


# head -> what its features become before the product, and the factor that all classes share
LINEAR = {
    "linear": (LinearHead(CLASSES), lambda x: x, 1),
    "lws": (LWSHead(CLASSES), lambda x: x, 1),
    "tau": (TauHead(CLASSES), lambda x: x, 1),
    "cosine": (CosineHead(CLASSES, scale=16.0, learn_scale=False), of_length_1, 16),
    "causal_norm": (CausalNormHead(CLASSES, num_heads=1, scale=16.0, gamma=0.5), of_length_1, 16),
    "ncm_euclidean": (MeanHead(CLASSES, "raw", "euclidean"), lambda x: x, 2),
    "ncm_dot": (MeanHead(CLASSES, "raw", "dot"), lambda x: x, 1 / SIZE),
    "ncm_cosine": (MeanHead(CLASSES, "l2", "cosine"), of_length_1, 1),
}


@pytest.mark.parametrize("name", LINEAR)
def test_the_products_with_the_features_are_the_logits(name):
    head, transformed, factor = LINEAR[name]
    variables = random_params(head)
    features = np.random.RandomState(4).normal(size=(2, SIZE)).astype(np.float32)
    logits = head.apply(variables, features[:, None, None], train=False)
    logits = np.asarray(logits.logits if isinstance(logits, models.Outputs) else logits)
    weights = np.asarray(classifier_weights(head, variables["params"]))
    assert weights.shape == (SIZE, CLASSES)
    first, second = transformed(features) @ weights * factor
    difference = logits[1] - logits[0]
    if name == "ncm_euclidean":  # -|x - m|^2: the features' own length is the same for every class
        difference += np.sum(features[1] ** 2) - np.sum(features[0] ** 2)
    np.testing.assert_allclose(difference, second - first, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("gamma", [None, 0.0, 0.7])
def test_reslts_are_those_of_evaluation(gamma):
    head = ResLTHead(CLASSES, gamma=gamma)
    params = random_params(head)["params"]
    kernel = params["classifier"]["kernel"]
    expected = np.linalg.norm(kernel, axis=0) ** (1 - (gamma or 0))
    found = np.linalg.norm(classifier_weights(head, params), axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("tau", [0.0, 0.4, 1.0])
def test_norms_of_tau_are_those_of_the_normalised_classifier(tau):
    network = models.Network(None, TauHead(CLASSES), (0.5,), (0.5,))
    params = {"head": {**random_params(TauHead(CLASSES))["params"], "tau": tau}}
    raw = np.linalg.norm(params["head"]["classifier"]["kernel"], axis=0)
    np.testing.assert_allclose(classifier_weight_norms(network, params), raw ** (1 - tau), rtol=1e-5)


def test_norms_of_lws_have_its_factors():
    network = models.Network(None, LWSHead(CLASSES), (0.5,), (0.5,))
    params = {"head": random_params(LWSHead(CLASSES))["params"]}
    raw = np.linalg.norm(params["head"]["classifier"]["kernel"], axis=0)
    expected = raw * np.abs(params["head"]["scale"])
    np.testing.assert_allclose(classifier_weight_norms(network, params), expected, rtol=1e-5)


PLAIN = [LinearHead(CLASSES), MLPHead(CLASSES, (5,)), ProxyHead(CLASSES), AuxiliaryHead(CLASSES), ConvTopHead(CLASSES)]


@pytest.mark.parametrize("head", PLAIN, ids=lambda head: type(head).__name__)
def test_a_plain_classifier_has_the_norms_of_its_kernel(head):
    params = random_params(head)["params"]
    expected = np.sqrt(np.sum(np.square(params["classifier"]["kernel"]), axis=0))
    network = models.Network(None, head, (0.5,), (0.5,))
    np.testing.assert_allclose(classifier_weight_norms(network, {"head": params}), expected, rtol=1e-6)
    # a network of the user's without a head
    np.testing.assert_allclose(classifier_weight_norms(object(), params), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "head", [CosineHead(CLASSES), MemoryHead(CLASSES), GeneratorHead(CLASSES)], ids=["cosine", "memory", "generator"]
)
def test_directions_have_length_1(head):
    network = models.Network(None, head, (0.5,), (0.5,))
    norms = classifier_weight_norms(network, {"head": random_params(head)["params"]})
    np.testing.assert_allclose(norms, np.ones(CLASSES), rtol=1e-6)


@pytest.mark.parametrize("kind", ["linear", "cosine", "reslt"])
def test_experts_have_the_mean_of_their_norms(kind):
    head = ExpertsHead(CLASSES, experts=2, head=kind, gamma=1.0)
    params = random_params(head, (2, 1, 1, 1, SIZE))["params"]
    kernels = np.stack([params[f"expert{e}"]["classifier"]["kernel"] for e in range(2)])
    expected = np.linalg.norm(kernels, axis=1).mean(0) if kind == "linear" else np.ones(CLASSES)
    norms = classifier_weight_norms(models.Network(None, head, (0.5,), (0.5,)), {"head": params})
    np.testing.assert_allclose(norms, expected, rtol=1e-5)


def test_the_parts_of_causal_norm_are_divided_one_by_one():
    head = CausalNormHead(CLASSES, num_heads=2, gamma=0.25)
    params = random_params(head)["params"]
    parts = np.linalg.norm(params["classifier"]["kernel"].reshape(2, SIZE // 2, CLASSES), axis=1)
    expected = np.sqrt(np.sum((parts / (parts + 0.25)) ** 2, axis=0))
    norms = classifier_weight_norms(models.Network(None, head, (0.5,), (0.5,)), {"head": params})
    np.testing.assert_allclose(norms, expected, rtol=1e-5)


def test_a_head_on_a_feature_layer_has_its_own():
    head = models.HeadOnFeatureLayer(TauHead(CLASSES), 5)
    params = {**random_params(head)["params"], "tau": 1.0}
    assert params["classifier"]["kernel"].shape == (5, CLASSES)
    norms = classifier_weight_norms(models.Network(None, head, (0.5,), (0.5,)), {"head": params})
    np.testing.assert_allclose(norms, np.ones(CLASSES), rtol=1e-6)


def test_without_a_classifier_there_are_none():
    assert classifier_weight_norms(object(), {"layer": {"kernel": np.ones((2, 3))}}) is None
