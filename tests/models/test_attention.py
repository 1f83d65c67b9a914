"""Modulated attention is the formula of OLTR's paper, section 3.3, over the positions of the map."""

import jax
import jax.numpy as jnp
import numpy as np

from ltjax import models
from tests.models.arrays import paths

D, HEIGHT, WIDTH = 6, 3, 2
RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, HEIGHT, WIDTH, D)).astype(np.float32)


def softmax(x):
    raised = np.exp(x - x.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def formula(x, params):
    """One image, a position at a time, in float64."""
    p = jax.tree.map(lambda array: np.asarray(array, np.float64), params)
    rows = x.reshape(-1, D).astype(np.float64)
    query, key, value = (rows @ p[name]["kernel"] + p[name]["bias"] for name in ("query", "key", "value"))
    weights = softmax(rows.reshape(-1) @ p["mask"]["kernel"] + p["mask"]["bias"])
    made = []
    for position, row in enumerate(rows):
        context = softmax(query[position] @ key.T) @ value
        made.append(row + weights[position] * (context @ p["output"]["kernel"]))
    return np.reshape(made, x.shape)


def shapes(**fields):
    module = models.ModulatedAttention(**fields)
    return jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), jnp.asarray(X, module.dtype)))


def test_it_is_the_formula():
    drawn = jax.tree.map(lambda leaf: RNG.normal(size=leaf.shape).astype(np.float32), shapes()[1])
    made = jax.jit(models.ModulatedAttention().apply)(drawn, X)
    expected = np.stack([formula(x, drawn["params"]) for x in X])
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(made - X).max() > 0.1


def test_its_parameters_and_dtypes():
    for dtype in ("float32", "bfloat16"):
        made, variables = shapes(dtype=jnp.dtype(dtype))
        assert (made.shape, made.dtype) == (X.shape, dtype)
        assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    embeddings = {f"{name}/kernel": (D, D // 2) for name in ("query", "key", "value")}
    embeddings |= {f"{name}/bias": (D // 2,) for name in ("query", "key", "value")}
    positions = HEIGHT * WIDTH
    mask = {"mask/kernel": (positions * D, positions), "mask/bias": (positions,)}
    assert paths(variables["params"]) == embeddings | mask | {"output/kernel": (D // 2, D)}


def test_where_it_starts():
    """The authors' network: N(0, sqrt(2 / out)) for the pointwise layers, 1/sqrt(inputs) for the mask."""
    init = jax.jit(models.ModulatedAttention().init)
    params = init(jax.random.key(0), jnp.zeros((1, 4, 4, 64)))["params"]
    for name, out in (("query", 32), ("key", 32), ("value", 32), ("output", 64)):
        np.testing.assert_allclose(np.std(params[name]["kernel"]), np.sqrt(2 / out), rtol=0.1, err_msg=name)
    assert not any(np.any(params[name]["bias"]) for name in ("query", "key", "value"))
    np.testing.assert_allclose(np.abs(params["mask"]["kernel"]).max(), 1 / 32, rtol=1e-2)


def test_it_changes_the_map_before_the_head_of_a_network():
    class Identity(models.ResNetCifar):
        def __call__(self, x, train, frozen_norm=False):
            return x

    plain = models.Network(Identity(8), models.LinearHead(3), (0.5,), (0.25,))
    attended = plain.clone(attention=models.ModulatedAttention())
    variables = jax.jit(attended.init)(jax.random.key(0), X)
    assert set(variables["params"]) == {"attention", "head"}
    outputs = attended.apply(variables, X)
    changed = models.ModulatedAttention().apply({"params": variables["params"]["attention"]}, X)
    expected = plain.apply({"params": {"head": variables["params"]["head"]}}, changed)
    np.testing.assert_allclose(outputs.features, expected.features, rtol=1e-6)
    np.testing.assert_allclose(outputs.logits, expected.logits, rtol=1e-5, atol=1e-6)
