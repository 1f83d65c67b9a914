"""The convolution is Flax's; only on a CPU its input is an array of its own."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

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
