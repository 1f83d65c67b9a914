"""The convolution is Flax's; only on a CPU its input is an array of its own."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.models.conv import Conv

X = jax.random.normal(jax.random.key(0), (2, 6, 6, 3))


def loss(module, variables, x):
    return jnp.sum(jnp.sin(module.apply(variables, x)))


def test_values_and_gradients_are_flaxs():
    ours, flaxs = (kind(4, (3, 3), strides=2, padding=1, use_bias=False) for kind in (Conv, nn.Conv))
    variables = ours.init(jax.random.key(1), X)
    assert jax.tree.map(jnp.shape, variables) == {"params": {"kernel": (3, 3, 3, 4)}}
    gradients = jax.grad(loss, argnums=(1, 2))
    for function in (loss, gradients, jax.vmap(gradients, in_axes=(None, None, 0))):
        x = X if function in (loss, gradients) else jnp.stack([X, 2 * X])
        ours_value, flaxs_value = (jax.jit(function, static_argnums=0)(m, variables, x) for m in (ours, flaxs))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), ours_value, flaxs_value)


def test_the_barrier_stands_in_programs_for_a_cpu_and_in_no_others():
    module = Conv(4, (3, 3))
    variables = module.init(jax.random.key(1), X)
    lowered = jax.jit(jax.grad(loss, argnums=1), static_argnums=0).trace(module, variables, X)
    assert "optimization_barrier" in lowered.lower(lowering_platforms=("cpu",)).as_text()
    for platform in ("cuda", "tpu"):
        text = lowered.lower(lowering_platforms=(platform,)).as_text()
        assert "convolution" in text and "optimization_barrier" not in text


# Forms that only programs for a CPU have: (image, kernel, strides, padding, channels, features, groups).
FORMS = {
    "small map": ((2, 2), (3, 3), (1, 1), 1, 6, 4, 1),
    "one pixel": ((1, 1), (3, 3), (1, 1), 1, 6, 4, 1),
    "small map, strides": ((4, 3), (3, 3), (2, 2), 1, 6, 4, 1),
    "small map, SAME": ((3, 2), (3, 3), (2, 1), "SAME", 6, 4, 1),
    "small map, VALID": ((5, 4), (4, 4), (1, 1), "VALID", 6, 4, 1),
    "grouped": ((6, 6), (3, 3), (2, 2), 1, 6, 9, 3),
    "depthwise": ((7, 6), (3, 2), (2, 1), "SAME", 6, 6, 6),
    "depthwise, small": ((2, 2), (5, 5), (1, 1), 2, 6, 6, 6),
    "channels with two features": ((5, 5), (3, 3), (1, 1), 1, 6, 12, 6),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_for_the_cpu_have_the_values_of_the_convolution(form):
    image, kernel, strides, padding, channels, features, groups = FORMS[form]
    ours, flaxs = (
        kind(features, kernel, strides, padding=padding, feature_group_count=groups) for kind in (Conv, nn.Conv)
    )
    x = jax.random.normal(jax.random.key(0), (2, *image, channels))
    variables = flaxs.init(jax.random.key(1), x)
    gradients = jax.jit(jax.value_and_grad(loss, argnums=(1, 2)), static_argnums=0)
    results = [gradients(one, variables, x) for one in (ours, flaxs)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5), *results)


@pytest.mark.parametrize("form", FORMS)
def test_the_forms_stand_in_programs_for_a_cpu_and_in_no_others(form):
    image, kernel, strides, padding, channels, features, groups = FORMS[form]
    module = Conv(features, kernel, strides, padding=padding, feature_group_count=groups)
    x = jnp.zeros((2, *image, channels))
    traced = jax.jit(module.apply).trace(module.init(jax.random.key(1), x), x)
    counts = {
        p: traced.lower(lowering_platforms=(p,)).as_text().count("stablehlo.convolution")
        for p in ("cpu", "cuda", "tpu")
    }
    form_is = form.partition(",")[0]
    assert counts == {"cpu": {"grouped": 3, "channels with two features": 6}.get(form_is, 0), "cuda": 1, "tpu": 1}
