"""What linear, rescaled and convolutional heads compute: against reference vectors and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import models
from tests.models.arrays import as_map, random_variables, run

X = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def linear(x, layer):
    return x @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"])


def test_the_layers_before_the_classifier_have_a_relu():
    for head, hidden in [
        (models.HeadOnFeatureLayer(models.LinearHead(5), 3), ["fc"]),
        (models.MLPHead(5, hidden=(7, 3)), ["fc1", "fc2"]),
        (models.HeadOnFeatureLayer(models.AuxiliaryHead(5), 3), ["fc"]),
    ]:
        variables = random_variables(head, as_map(X))
        params = variables["params"]
        features = X
        for layer in hidden:
            features = np.maximum(linear(features, params[layer]), 0)
        assert (features == 0).any() and (features > 0).any()
        outputs = run(head, variables, as_map(X), train=True)
        np.testing.assert_allclose(outputs.features, features, **CLOSE)
        logits = outputs.logits if isinstance(outputs.logits, dict) else {"classifier": outputs.logits}
        for name, values in logits.items():
            layer = params["classifier" if name == "primary" else name]
            np.testing.assert_allclose(values, linear(features, layer), **CLOSE, err_msg=name)


def test_the_bias_can_start_at_a_constant():
    head = models.LinearHead(5, bias_init_value=-np.log(4))
    params = head.init(jax.random.key(0), as_map(X), train=True)["params"]["classifier"]
    np.testing.assert_allclose(params["bias"], np.full(5, -np.log(4)), rtol=1e-6)
    assert jax.nn.sigmoid(params["bias"][0]) == pytest.approx(1 / 5)
    without = {"params": {"classifier": {"kernel": params["kernel"]}}}
    logits = models.LinearHead(5, bias=False).apply(without, as_map(X), train=True)
    np.testing.assert_allclose(logits, X @ np.asarray(params["kernel"]), **CLOSE)


@pytest.mark.parametrize("case", ["init", "random"])
def test_learnable_weight_scaling_agrees_with_the_reference(case, reference):
    v = reference("lws")[case]
    params = {"classifier": {"kernel": v["weight"].T, "bias": v["bias"]}, "scale": v["scales"]}

    def loss(scale):
        logits = models.LWSHead(20).apply({"params": {**params, "scale": scale}}, as_map(v["features"]), train=True)
        picked = jnp.take_along_axis(jax.nn.log_softmax(logits), v["labels"][:, None], 1)
        return -picked.mean(), logits

    (value, logits), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(v["scales"])
    np.testing.assert_allclose(logits, v["logits"], **CLOSE)
    np.testing.assert_allclose(value, v["ce_loss"], rtol=2e-5)
    np.testing.assert_allclose(gradient, v["grad_scales"], rtol=1e-4, atol=2e-6)
    if case == "init":
        made = models.LWSHead(20).init(jax.random.key(0), as_map(v["features"]), train=True)
        assert (made["params"]["scale"] == 1).all()


def test_tau_normalised_logits_agree_with_the_reference(reference):
    for case, v in reference("tau_norm").items():
        params = {"classifier": {"kernel": v["weight"].T, "bias": np.full(20, 9.0)}, "tau": v["tau"]}
        logits = run(models.TauHead(20), {"params": params}, as_map(v["features"]))
        np.testing.assert_allclose(logits, v["logits"], **CLOSE, err_msg=case)


def test_tau_starts_where_it_is_told_and_its_gradient_is_that_of_the_norm():
    x, kernel = np.ones((1, 1), np.float32), jnp.array([[4.0, 0.0]])
    made = models.TauHead(2, tau=0.5).init(jax.random.key(0), as_map(x), train=True)["params"]
    assert made["tau"].shape == () and made["tau"] == 0.5

    def first(tau, kernel):
        params = {"tau": tau, "classifier": {"kernel": kernel, "bias": jnp.zeros(2)}}
        return models.TauHead(2).apply({"params": params}, as_map(x), train=True).sum()

    by_tau, by_kernel = jax.jit(jax.grad(first, (0, 1)))(0.5, kernel)
    assert by_tau == pytest.approx(-2 * np.log(4))  # d/dtau 4^(1 - tau)
    assert by_kernel.tolist() == [[pytest.approx(0.25), 1.0]]  # 0.5 * 4^-0.5; finite for a class without weights


def test_proxies_start_as_random_directions():
    proxies = models.ProxyHead(50).init(jax.random.key(0), as_map(X), train=True)["params"]["proxies"]
    np.testing.assert_allclose(np.linalg.norm(proxies, axis=1), 1, rtol=1e-6)
    assert np.abs(np.mean(proxies, 0)).max() < 0.3


def test_grouped_and_separate_convolutions_are_the_mean_of_their_branches():
    x = np.random.default_rng(1).normal(size=(4, 3, 2, 6)).astype(np.float32)
    separate, grouped = (models.ConvTopHead(5, form=form) for form in ("separate", "grouped"))
    variables = random_variables(separate, x)

    def packed(collection, kind, leaf):
        return jnp.concatenate([variables[collection][f"{kind}{k}"][leaf] for k in range(3)], -1)

    params = {"conv": {"kernel": packed("params", "conv", "kernel")}, "classifier": variables["params"]["classifier"]}
    params["norm"] = {leaf: packed("params", "norm", leaf) for leaf in ("scale", "bias")}
    stats = {"norm": {leaf: packed("batch_stats", "norm", leaf) for leaf in ("mean", "var")}}
    options = {"train": True, "mutable": ["batch_stats"]}
    outputs, after = separate.apply(variables, x, **options)
    same, same_after = grouped.apply({"params": params, "batch_stats": stats}, x, **options)
    np.testing.assert_allclose(outputs.logits, same.logits, **CLOSE)
    np.testing.assert_allclose(
        after["batch_stats"]["norm1"]["var"], same_after["batch_stats"]["norm"]["var"][6:12], 1e-5
    )

    features = 0
    for k in range(3):
        y = x @ np.asarray(variables["params"][f"conv{k}"]["kernel"])[0, 0]
        y = (y - y.mean((0, 1, 2))) / np.sqrt(y.var((0, 1, 2)) + 1e-5)
        norm = variables["params"][f"norm{k}"]
        features += np.maximum(y * np.asarray(norm["scale"]) + np.asarray(norm["bias"]), 0).mean((1, 2)) / 3
    np.testing.assert_allclose(outputs.features, features, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(outputs.logits, linear(features, params["classifier"]), rtol=1e-4, atol=1e-4)

    _, frozen = separate.apply(variables, x, frozen_norm=True, **options)
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, frozen["batch_stats"], variables["batch_stats"])))
