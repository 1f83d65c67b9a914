"""The normaliser of the von Mises-Fisher distribution against scipy's Bessel functions, in float64 and in float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from ltjax.losses.vmf import concentration_of, log_normalizer_difference

DIMENSIONS = (2, 5, 64, 1024)
difference = jax.jit(log_normalizer_difference, static_argnums=2)


def log_normalizer(kappa, dimension):
    """log I_v(kappa) - v log kappa; only where scipy's I_v does not underflow."""
    order = dimension / 2 - 1
    return np.log(scipy.special.ive(order, kappa)) + kappa - order * np.log(kappa)


def grid(dimension):
    """Concentrations from a tenth of the dimension to 1e5, and what is added to their squares at several cosines."""
    kappa = np.geomspace(max(0.1, dimension / 3), 1e5, 25)[:, None]
    cosines, temperature = np.linspace(-1, 1, 9), 0.07
    return kappa, 2 * kappa / temperature * cosines + 1 / temperature**2


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_differences_are_those_of_scipy(dimension):
    kappa, excess = grid(dimension)
    after = np.sqrt(np.maximum(kappa**2 + excess, 1e-2))
    excess = after**2 - kappa**2
    expected = log_normalizer(after, dimension) - log_normalizer(kappa, dimension)
    usable = np.isfinite(expected)
    assert usable.mean() > 0.9
    with jax.enable_x64(True):
        wide = difference(jnp.asarray(kappa**2), jnp.asarray(excess), dimension)
    # scipy's terms are as large as kappa, so their difference has kappa's rounding
    np.testing.assert_allclose(wide[usable], expected[usable], rtol=1e-11, atol=1e-10)
    single = difference(jnp.float32(kappa**2), jnp.float32(excess), dimension)
    np.testing.assert_allclose(single, wide, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_the_derivative_is_the_quotient_of_bessel_functions(dimension):
    kappa, _ = grid(dimension)
    order = dimension / 2 - 1
    expected = scipy.special.ive(order + 1, kappa) / scipy.special.ive(order, kappa)

    @jax.jit
    def normalizer(kappa):
        """g(kappa) - g(0)"""
        return log_normalizer_difference(jnp.zeros_like(kappa), kappa**2, dimension)

    for wide in (True, False):
        with jax.enable_x64(wide):
            values = jnp.asarray(kappa.ravel(), jnp.float64 if wide else jnp.float32)
            got = jax.jit(jax.vmap(jax.grad(normalizer)))(values)
        np.testing.assert_allclose(got, expected.ravel(), rtol=1e-10 if wide else 2e-5)
    assert float(jax.jit(jax.grad(normalizer))(jnp.float32(0))) == 0
    assert abs(float(normalizer(jnp.float32(1e-4)))) < 1e-6


def test_the_concentration_grows_with_the_length_of_the_mean_up_to_its_largest():
    length = np.array([0.0, 0.5, 0.9, 0.999999, 1.0, 1.0001])
    got = np.asarray(concentration_of(jnp.asarray(length), 128))
    np.testing.assert_allclose(got[:3], [0, 128 * 0.5 / 0.75, 128 * 0.9 / 0.19], rtol=1e-5)
    assert got[3:].tolist() == [1e5] * 3
    gradient = jax.jit(jax.vmap(jax.grad(lambda r: concentration_of(r, 128))))(jnp.asarray(length))
    assert np.isfinite(gradient).all()
