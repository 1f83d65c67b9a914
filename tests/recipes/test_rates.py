"""The learning rates of the recipes, epoch by epoch, are the published ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.training.step.schedules import make_schedule
from tests import recipes


def curve(optimizer, epochs):
    """The learning rate of every epoch, which stays the same from its first step to its last."""
    schedule = jax.jit(jax.vmap(make_schedule(optimizer, epochs, 7)))
    rates = np.asarray(schedule(jnp.arange(7 * epochs))).reshape(epochs, 7)
    assert (rates == rates[:, :1]).all(), "the rate moves within an epoch"
    return rates[:, 0]


# curve of the authors' scripts -> the recipes that have it: data set, family, words
RATES = {
    "ldam_drw_cifar_200": [(d, f, None) for d in ("cifar10", "cifar100") for f in ("ce", "decoupling", "baselines")],
    "reslt_cifar_200": [("cifar10", "reslt", None), ("cifar100", "reslt", None)],
    "reslt_imagenet_180_warmup5": [("imagenet", "reslt", None)],
    "reslt_inat_200": [("inat", "reslt", None)],
    "bbn_cifar_200": [("cifar10", "baselines", "bbn"), ("cifar100", "baselines", "bbn")],
    "ride_cifar_200": [("cifar10", "baselines", "ride"), ("cifar100", "baselines", "ride")],
    "decoupling_cosine_90": [("imagenet", "decoupling", None), ("imagenet", "ce", None)],
}


@pytest.mark.parametrize(("name", "recipe"), [(name, recipe) for name, of in RATES.items() for recipe in of])
def test_the_published_rates(name, recipe, reference):
    published, config = reference("lr_schedules")[name], recipes.build(*recipe)
    published = published["per_epoch_1_to_90"] if isinstance(published, dict) else published
    np.testing.assert_allclose(curve(config.optimizer, config.epochs), published, rtol=1e-5, atol=1e-7)


def test_every_published_curve_has_a_recipe(reference):
    assert set(reference("lr_schedules")) == set(RATES)


# Kang et al. (2020), section 5.1: "cosine learning rate schedule gradually decaying from 0.2 to 0", restarted for the
# classifier; the authors' code steps it before each epoch: rate / 2 * (1 + cos(pi e / T)), e = 1 .. T
@pytest.mark.parametrize(
    ("dataset", "family", "words", "epochs"),
    [
        *((d, "decoupling", None, 10) for d in ("cifar10", "cifar100", "imagenet", "places")),
        ("inat", "decoupling", None, 30),
        *((d, "decoupling", "lws", 5) for d in recipes.BENCHMARKS if d != "mnist5k"),
        ("imagenet", "decoupling", "epochs=30", 10),
        *((d, "baselines", "oltr,on=crt", 10) for d in ("mnist5k", "cifar100", "imagenet", "places")),
    ],
)
def test_the_classifier_s_rate_anneals_per_epoch_to_zero(dataset, family, words, epochs):
    length, optimizer = recipes.resolved(dataset, family, words).second_stage()
    assert length == epochs
    expected = optimizer.learning_rate / 2 * (1 + np.cos(np.pi * np.arange(1, epochs + 1) / epochs))
    np.testing.assert_allclose(curve(optimizer, epochs), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dataset", ["imagenet", "places", "inat"])
@pytest.mark.parametrize("family", ["ce", "decoupling", "baselines"])
def test_the_representation_s_rate_anneals_per_epoch_to_zero(dataset, family):
    config = recipes.resolved(dataset, family)
    expected = (
        config.optimizer.learning_rate / 2 * (1 + np.cos(np.pi * np.arange(1, config.epochs + 1) / config.epochs))
    )
    np.testing.assert_allclose(curve(config.optimizer, config.epochs), expected, rtol=1e-5, atol=1e-7)


def test_per_step_stays_an_option():
    option = "--config.second_stage_optimizer.schedule.unit=step"
    found = recipes.parse("--config=configs/imagenet_decoupling.py", option).second_stage_optimizer
    rates = jax.vmap(make_schedule(found, 10, 226))(jnp.arange(2260))
    np.testing.assert_allclose(rates, 0.1 * (1 + np.cos(np.pi * np.arange(1, 2261) / 2260)), atol=1e-6)
