"""Published learning rates; the settings of BBN, RIDE and causal norm, by data set and word after the colon."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.settings.schema import flat
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


# data set, words -> settings
BASELINES = {
    ("cifar10", "bbn"): {"model.backbone": "bbn_resnet32", "baseline.horizon": 0, "optimizer.weight_decay": 2e-4},
    ("inat", "bbn"): {"epochs": 180, "batch_size": 128, "optimizer.learning_rate": 0.05},
    ("cifar100", "ride"): {"baseline.diversity": -0.45, "baseline.experts": 3, "optimizer.weight_decay": 5e-4},
    ("cifar10", "ride"): {"baseline.diversity": -0.2, "baseline.reweight_factor": 0.05},
    ("imagenet", "ride,experts=2"): {"baseline.experts": 2, "baseline.diversity": -0.2, "baseline.reduce": True},
    ("imagenet", "ride"): {"epochs": 100, "baseline.reweight_factor": 0.02, "model.backbone": "ride_resnext50_32x4d"},
    ("cifar10", "causal_norm"): {"baseline.alpha": 1.0, "batch_size": 256, "baseline.momentum": "constant"},
    ("cifar100", "causal_norm"): {"baseline.alpha": 1.5, "model.backbone": "bbn_resnet32"},
    ("imagenet", "causal_norm"): {"baseline.alpha": 3.0, "baseline.momentum": "learning_rate"},
}
CASES = [("baselines", *key, value) for key, value in BASELINES.items()]


@pytest.mark.parametrize("family, dataset, words, expected", CASES, ids=[f"{d}_{f}:{w}" for f, d, w, _ in CASES])
def test_published_settings(family, dataset, words, expected):
    found = flat(recipes.resolved(dataset, family, words).to_dict())
    for path, value in expected.items():
        assert found[path] == value, path
