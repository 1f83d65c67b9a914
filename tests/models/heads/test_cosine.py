"""Heads that compare directions or distances: against reference vectors, by hand, and at their edges."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import models
from tests.models.arrays import as_map, random_variables, run

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
KINDS = {"un": "raw", "l2n": "l2", "cl2n": "centered_l2"}


def kernel(params):
    return {"params": {"classifier": {"kernel": params}}}


@pytest.mark.parametrize("case", ["linear_sigma1.0", "linear_sigma17.5"])
def test_cosine_logits_with_a_learnt_scale_agree_with_the_reference(case, reference):
    v = reference("cosine_classifiers")[case]
    head = models.CosineHead(20)

    def loss(features, params):
        outputs = head.apply({"params": params}, as_map(features), train=True)
        picked = jnp.take_along_axis(jax.nn.log_softmax(outputs.logits), v["labels"][:, None], 1)
        return -picked.mean(), outputs

    params = {"classifier": {"kernel": v["weight"].T}, "scale": jnp.float32(v["sigma"])}
    (value, outputs), (by_features, by_params) = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(
        v["features"], params
    )
    np.testing.assert_allclose(outputs.logits, v["logits"], **CLOSE)
    np.testing.assert_allclose(outputs.features, v["features"], **CLOSE)
    np.testing.assert_allclose(value, v["ce_loss"], rtol=2e-5)
    np.testing.assert_allclose(by_features, v["grad_features"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(by_params["classifier"]["kernel"], v["grad_weight"].T, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(by_params["scale"], v["grad_sigma"][0], rtol=1e-4, atol=1e-6)


def test_plain_and_scaled_cosines_agree_with_the_reference(reference):
    v = reference("cosine_classifiers")["ldam_normed"]
    for scale in (1.0, 30.0):
        head = models.CosineHead(20, scale=scale, learn_scale=False)
        logits = run(head, kernel(v["weight"]), as_map(v["features"]), train=True).logits
        np.testing.assert_allclose(logits, scale * v["logits"], rtol=1e-5, atol=1e-5 * scale)
    experts = models.ExpertsHead(20, experts=2)
    params = {"params": {name: kernel(v["weight"])["params"] for name in ("expert0", "expert1")}}
    maps = jnp.stack([as_map(v["features"]), as_map(-v["features"])])
    logits = run(experts, params, maps, train=True).logits
    np.testing.assert_allclose(logits, 30 * np.stack([v["logits"], -v["logits"]]), rtol=1e-5, atol=3e-4)


def test_cosine_kernels_start_as_published():
    def init(head):
        return jax.jit(functools.partial(head.init, train=True))(jax.random.key(0), jnp.zeros([1, 1, 1, 64]))

    made = init(models.CosineHead(100, scale=2.0))["params"]
    assert made["scale"] == 2
    values = np.asarray(made["classifier"]["kernel"])
    assert 0.12 < values.max() <= 1 / 8 and -1 / 8 <= values.min() < -0.12  # uniform within 1 / sqrt(64)
    np.testing.assert_allclose(values.std(), 1 / 8 / np.sqrt(3), rtol=0.03)
    unit = init(models.CosineHead(100, normed_init=True))["params"]
    np.testing.assert_allclose(np.linalg.norm(unit["classifier"]["kernel"], axis=0), 1, rtol=1e-5)


def test_zero_features_and_zero_columns_have_finite_gradients():
    def total(features, params):
        head = models.CosineHead(2, learn_scale=False)
        return head.apply(kernel(params), as_map(features), train=True).logits.sum()

    zeros = jnp.zeros([3, 4]), jnp.zeros([4, 2])
    value, gradients = jax.jit(jax.value_and_grad(total, (0, 1)))(*zeros)
    assert value == 0 and all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("case", ["C10_d64_H2_alpha1.0", "C30_d64_H4_alpha3.0", "C5_d8_H1_alpha3.0"])
def test_causal_norm_agrees_with_the_reference(case, reference):
    v = reference("causal_norm")[case]
    head = models.CausalNormHead(
        len(v["weight"]), num_heads=int(v["num_head"]), scale=float(v["tau"]), gamma=float(v["gamma"])
    )
    variables, feature_map = kernel(v["weight"].T), as_map(v["features"])
    np.testing.assert_allclose(run(head, variables, feature_map, train=True), v["train_logits"], **CLOSE)
    mean = jnp.asarray(v["embed"], jnp.float32)
    effect = run(head, variables, feature_map, mean_feature=mean, alpha=float(v["alpha"]))
    np.testing.assert_allclose(effect, v["tde_logits"], **CLOSE)
    assert models.CausalNormHead(5).scale == 16 and models.CausalNormHead(5).gamma == 1 / 32


@pytest.mark.parametrize("case", KINDS)
def test_nearest_class_means_agree_with_the_reference(case, reference):
    v = reference("ncm")[case]
    variables = {"params": {"means": v["centroids"], "center": v["feature_mean"]}}
    variables = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), variables)
    for metric, name in [("euclidean", "l2"), ("dot", "cos"), ("cosine", "true_cos")]:
        head = models.MeanHead(9, transform=KINDS[case], metric=metric)
        scores = run(head, variables, as_map(v["test_features"]))
        np.testing.assert_allclose(scores, v[f"{name}_logits"], rtol=1e-4, atol=1e-5, err_msg=metric)
        np.testing.assert_array_equal(scores.argmax(1), v[f"{name}_pred"], err_msg=metric)


def memory_logits(x, centroids, params, scale):
    """The formulas of the head's docstring in numpy, one image at a time."""
    rows = []
    for direct in x:
        attention = np.exp(direct @ params["hallucinator"]["kernel"] + params["hallucinator"]["bias"])
        memory = attention / attention.sum() @ centroids
        selector = np.tanh(direct @ params["selector"]["kernel"] + params["selector"]["bias"])
        distance = min(np.linalg.norm(direct - centroid) for centroid in centroids)
        v = 10 / distance * (direct + selector * memory)
        w = params["classifier"]["kernel"]
        rows.append(scale * (v / (1 + np.linalg.norm(v))) @ (w / np.linalg.norm(w, axis=0)))
    return np.array(rows)


def test_memory_logits_are_those_of_the_formula():
    rng = np.random.default_rng(0)
    x, centroids = rng.normal(size=(4, 6)).astype(np.float32), 3 * rng.normal(size=(5, 6)).astype(np.float32)
    head = models.MemoryHead(5)
    variables = random_variables(head, as_map(x))
    outputs = run(head, variables, as_map(x), train=True, centroids=centroids)
    params = jax.tree.map(np.asarray, variables["params"])
    np.testing.assert_allclose(outputs.logits, memory_logits(x, centroids, params, 16), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(outputs.features, x, **CLOSE)  # the direct feature: centroids are means of it


def test_without_centroids_the_memory_head_is_oltrs_cosine_classifier(reference):
    v = reference("cosine_classifiers")["oltr"]
    head = models.MemoryHead(20)
    variables = random_variables(head, as_map(v["features"]))
    variables["params"]["classifier"]["kernel"] = v["weight"].T
    logits = run(head, variables, as_map(v["features"])).logits
    np.testing.assert_allclose(logits, v["logits"], **CLOSE)


def test_a_feature_on_its_centroid_has_finite_logits_and_gradients():
    x = jnp.array([[1.0, 2.0], [0.0, 0.0]])
    head = models.MemoryHead(3)
    variables = random_variables(head, as_map(x))

    def total(x):
        return head.apply(
            variables, as_map(x), train=True, centroids=jnp.array([[1.0, 2.0], [0.0, 0.0], [5.0, 5.0]])
        ).logits.sum()

    value, gradient = jax.jit(jax.value_and_grad(total))(x)
    assert np.isfinite(value) and np.isfinite(gradient).all()
