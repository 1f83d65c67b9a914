"""Causal norm against the authors' numbers; the running mean of the features in training, saves, seeds and at test."""

import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import models
from ltjax.classifiers import causal_norm_logits
from ltjax.errors import InputError
from ltjax.methods import METHODS
from ltjax.methods.causal_norm import mean_momentum
from ltjax.training import loop, prepare
from ltjax.training.interrupt import Interrupted
from tests.methods.expert_toys import BACKBONES, Step
from tests.training import toy
from tests.training.test_loop import final, lines, same, stop_at

MEAN = ".model_state['running']['mean_feature']"


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(prepare, "build", toy.build)
    for name, backbone in BACKBONES.items():
        monkeypatch.setitem(models.BACKBONES, name, backbone)


def config_of(backbone="bbn_toy", settings=None, **changes):
    own = {f"baseline__{name}": value for name, value in ({"alpha": 1.5} | (settings or {})).items()}
    return toy.config("causal_norm", model__backbone=backbone, **own, **changes)


class Given(nn.Module):
    """A backbone whose maps are the images."""

    dtype: jnp.dtype = jnp.float32
    param_dtype: jnp.dtype = jnp.float32

    def __call__(self, x, train=False, frozen_norm=False):
        return x


@pytest.mark.parametrize("case", ["C10_d64_H2_alpha1.0", "C100_d128_H2_alpha1.5", "C30_d64_H4_alpha3.0"])
def test_training_and_test_scores_are_the_authors(case, monkeypatch, reference):
    v = reference("causal_norm")[case]
    monkeypatch.setitem(models.BACKBONES, "given", Given)
    settings = {name: float(v[key]) for name, key in (("scale", "tau"), ("alpha", "alpha"), ("gamma", "gamma"))}
    config = config_of("given", settings=settings | {"heads": int(v["num_head"])})
    classes, d = v["weight"].shape
    data = types.SimpleNamespace(num_classes=classes, mean=(0.0,), std=(1.0,), image_shape=(1, 1, d))
    (stage,) = METHODS["causal_norm"](config, data)
    params = {"head": {"classifier": {"kernel": jnp.asarray(v["weight"].T)}}}
    state = {"running": {"mean_feature": jnp.zeros(d)}}
    for mean in v["batch_means"]:  # a batch with this mean feature
        images = jnp.broadcast_to(jnp.asarray(mean, jnp.float32), (4, 1, 1, d))
        _, state = stage.network.apply(
            {"params": params, **state}, images, train=True, momentum=0.9, mutable=["running"]
        )
    np.testing.assert_allclose(state["running"]["mean_feature"], v["embed"], rtol=1e-5)
    images = jnp.asarray(v["features"])[:, None, None]
    variables = {"params": params, **state}
    scores = stage.network.apply(variables, images, train=True, mutable=["running"])[0].logits
    np.testing.assert_allclose(scores, v["train_logits"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(stage.predict(variables, images), v["tde_logits"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(stage.views["without_tde"](variables, images), v["train_logits"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "momentum, rate, expected",
    [("constant", 0.2, 0.9), ("learning_rate", 0.2, 0.9), ("learning_rate", 0.002, 0.99), ("learning_rate", 0.0, 1.0)],
)
def test_the_momentum_of_the_mean_feature(momentum, rate, expected):
    context = types.SimpleNamespace(learning_rate=jnp.float32(rate))
    assert float(mean_momentum(types.SimpleNamespace(momentum=momentum), context)) == pytest.approx(expected)


def test_a_step_moves_the_mean_by_the_features_of_both_branches():
    step = Step(config_of())
    start = jnp.arange(8.0)
    state = {**step.state.model_state, "running": {"mean_feature": start}}

    @jax.jit
    def one(state):
        outcome = step.stage.objective(step.apply, step.state.params, state, step.batch, step.context)
        return outcome.model_state, step.apply(step.state.params, state, step.images)[0].features

    moved, features = one(state)
    assert features.shape == (6, 8)
    np.testing.assert_allclose(moved["running"]["mean_feature"], 0.9 * start + features.mean(0), rtol=1e-5)


@pytest.mark.slow
def test_runs_keep_the_mean_through_saves_and_use_it_at_test(tmp_path, monkeypatch):
    config = config_of()
    whole = loop.train(config, str(tmp_path / "whole"))
    assert set(whole["views"]) == {"without_tde"}
    stop_at(monkeypatch, 4)
    with pytest.raises(Interrupted):
        loop.train(config, str(tmp_path / "parts"))
    loop.train(config, str(tmp_path / "parts"))
    one, two = (final(tmp_path / name, config, "train", 10) for name in ("whole", "parts"))
    same(one, two)
    assert lines(tmp_path / "whole") == lines(tmp_path / "parts")
    assert np.abs(one[MEAN]).min() > 0


def test_evaluation_leaves_the_mean_alone_and_subtracts_its_part():
    step = Step(config_of())
    mean = jnp.arange(8.0) - 3
    variables = {**step.variables, "running": {"mean_feature": mean}}
    evaluate = jax.jit(lambda v: step.stage.network.apply(v, step.images, mutable=["running"]))
    outputs, changed = evaluate(variables)
    np.testing.assert_array_equal(changed["running"]["mean_feature"], mean)
    kernel = step.state.params["head"]["classifier"]["kernel"]
    expected = causal_norm_logits(outputs.features, kernel, mean_feature=mean, alpha=1.5)
    np.testing.assert_allclose(outputs.logits, expected, rtol=1e-4, atol=1e-5)
    plain = causal_norm_logits(outputs.features, kernel)
    assert not np.allclose(plain, expected, atol=1e-2)


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"heads": 3}, "num_heads of the causal-norm head: 3 does not divide 8 features"),
        ({"heads": 0}, "config.baseline.heads: impossible value 0"),
        (
            {"momentum": "lr"},
            "config.baseline.momentum: impossible value 'lr'; allowed: one of constant",
        ),
        ({"alpha": -1.0}, "config.baseline.alpha: impossible value -1.0"),
    ],
)
def test_impossible_settings_are_one_line(settings, words):
    with pytest.raises(InputError, match=words):
        (stage,) = METHODS["causal_norm"](config_of(settings=settings), toy.build(None))
        jax.eval_shape(lambda: stage.init(jax.random.key(0), None, None))
