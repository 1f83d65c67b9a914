"""What every method in METHODS keeps to, by shapes alone, so that nothing is trained. A new method needs no edit."""

import dataclasses
import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import models
from ltjax.class_counts import effective_number_weights
from ltjax.dryrun.lowering import stage_shapes
from ltjax.errors import InputError
from ltjax.inference.model import apply_of
from ltjax.methods import METHODS
from ltjax.methods.stage import ClosedForm, Stage, trained
from ltjax.training.step.gradient_conflict import make_distortion
from ltjax.training.step.step import make_train_step
from ltjax.training.workdir.model_record import record_of
from tests.methods.asynchronous import toy as asynchronous_toy
from tests.methods.expert_toys import BACKBONES
from tests.training import toy
from tests.training.step.test_micro_batches import config_of

SIZE = 12
IMAGES = jax.ShapeDtypeStruct((SIZE, 8, 8, 1), jnp.uint8)
FREQUENT = np.array([True, False, False])


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    for name, backbone in BACKBONES.items():
        monkeypatch.setitem(models.BACKBONES, name, backbone)
    monkeypatch.setitem(models.BACKBONES, "toy", asynchronous_toy.Backbone)


@pytest.fixture
def made(request):
    return make(request.param)


@functools.cache
def make(method):
    """(stages, the shapes of their states, constants and tables) of a method with its default settings."""
    config, data = config_of(method, {"dtype": "float32"}), toy.build(None)
    stages = METHODS[method](config, data)
    return stages, stage_shapes(config, data, stages, data, stages)


def batch_of(stage):
    row = jax.ShapeDtypeStruct((SIZE,), jnp.int32)
    return {name: {"image": IMAGES, "label": row, "index": row} for name in stage.streams}


def shapes(tree):
    return jax.tree.map(lambda x: (x.shape, x.dtype), tree)


@pytest.mark.parametrize("made", METHODS, indirect=True)
def test_stages_have_different_names_and_the_first_trains(made):
    stages, _ = made
    assert all(isinstance(stage, Stage | ClosedForm) for stage in stages)
    names = [stage.name for stage in stages]
    assert len(set(names)) == len(names) and all(name.isidentifier() for name in names)
    assert isinstance(stages[0], Stage) and all(stage.epochs >= 1 and stage.streams for stage in trained(stages))


@pytest.mark.parametrize("made", METHODS, indirect=True)
def test_a_step_returns_the_state_in_its_shapes_and_scalars_to_log(made):
    for stage, of in zip(*made, strict=True):
        if isinstance(stage, Stage) and stage.representation is None:
            after, metrics = jax.eval_shape(make_train_step(stage, 5), of.state, of.constants, batch_of(stage))
            assert shapes(after) == shapes(of.state)
            assert {value.shape for value in metrics.values()} == {()} and {"loss", "learning_rate"} <= set(metrics)


@pytest.mark.parametrize("mix", ["mixup", "remix"])
@pytest.mark.parametrize("method", METHODS)
def test_every_stage_takes_mixed_images_or_the_method_refuses_them_before_the_first_step(method, mix):
    changes = {"dtype": "float32", "mix.name": mix}
    if {"mix.name", f"mix.name={mix}"} & set(METHODS[method].refuses):
        with pytest.raises(InputError, match=rf"^config.mix.name: impossible value '{mix}'; allowed: .*{method}: "):
            config_of(method, changes)
        return
    config, data = config_of(method, changes), toy.build(None)
    stages = METHODS[method](config, data)
    for stage, of in zip(stages, stage_shapes(config, data, stages, data, stages), strict=True):
        if isinstance(stage, Stage) and stage.representation is None:
            jax.eval_shape(make_train_step(stage, 5), of.state, of.constants, batch_of(stage))


@pytest.mark.slow
@pytest.mark.parametrize("made", METHODS, indirect=True)
def test_imbsam_splits_every_objective(made):
    for stage, of in zip(*made, strict=True):
        if isinstance(stage, Stage) and stage.representation is None:
            optimizer = dataclasses.replace(stage.optimizer, sam_rho=0.1, sam_below=20)
            sharpened = dataclasses.replace(stage, optimizer=optimizer, sharpened=~FREQUENT)
            after, _ = jax.eval_shape(make_train_step(sharpened, 5), of.state, of.constants, batch_of(stage))
            assert shapes(after) == shapes(of.state)


@pytest.mark.parametrize("made", METHODS, indirect=True)
def test_predictions_and_views_are_logits_of_all_classes(made):
    for stage, of in zip(*made, strict=True):
        variables = {"params": of.state.params, **of.state.model_state}
        for predict in (stage.predict, *stage.views.values()):
            logits = jax.eval_shape(predict, variables, IMAGES)
            assert logits.shape == (SIZE, 3) and jnp.issubdtype(logits.dtype, jnp.floating)


@pytest.mark.parametrize("made", METHODS, indirect=True)
def test_a_finished_run_of_every_stage_has_logits_features_and_probabilities(made, request):
    config, data = config_of(request.node.callspec.params["made"], {"dtype": "float32"}), toy.build(None)
    for stage, of in zip(*made, strict=True):
        finished = types.SimpleNamespace(config=config, stage=stage, model=record_of(config, data, ""))
        outputs = jax.eval_shape(apply_of(finished), {"params": of.state.params, **of.state.model_state}, IMAGES)
        assert outputs.logits.shape == outputs.probabilities.shape == (SIZE, 3)
        assert outputs.features.ndim == 2 and len(outputs.features) == SIZE


@pytest.mark.parametrize("made", METHODS, indirect=True)
def test_the_gradient_diagnostic_splits_every_objective(made):
    for stage, of in zip(*made, strict=True):
        if isinstance(stage, Stage) and stage.representation is None:
            seen = jax.eval_shape(make_distortion(stage, 5, FREQUENT), of.state, of.constants, batch_of(stage))
            assert {"gradient/cosine_frequent", "gradient/cosine_rare", "gradient/norm"} <= set(seen)


# What the softmax of each method's logits goes with, by its loss and its batches; all others: nothing that is known.
TRAIN = np.array(toy.COUNTS, float)
PRIORS = {
    "ce": TRAIN,
    "mixup": TRAIN,
    "cutmix": TRAIN,
    "balanced_softmax": np.ones(3),
    "logit_adjustment": np.ones(3),
    "lade": np.ones(3),
    "disalign": TRAIN * TRAIN**-1.2,
    "weight_balancing": TRAIN * effective_number_weights(toy.COUNTS, 0.9999),
    "cost_sensitive": np.ones(3),
    "ce_drs": np.ones(3),
    "decoupling": np.ones(3),
    "auxiliary": np.ones(3),
    "cb_ce": TRAIN * effective_number_weights(toy.COUNTS, 0.9999),
    "ce_drw": TRAIN * effective_number_weights(toy.COUNTS, 0.9999),
    "lifted": np.ones(3),  # on class-aware batches
    "range": np.ones(3),  # on class-aware batches
    "triplet": np.ones(3),  # on class-aware batches
    "proxy": np.ones(3),  # on class-aware batches
    "shike": np.ones(3),
    "mdcs": np.ones(3),  # of strengths -0.5, 1 and 2.5, in the geometric mean
    "sade": np.cbrt(TRAIN * TRAIN[::-1] ** 2),  # of CE, balanced and inverse (tau 2) experts, in the geometric mean
    "bcl": np.ones(3),
    "proco": np.ones(3),
    "paco": np.ones(3),
    "gpaco": np.ones(3),
    "lift": np.ones(3),
}


@pytest.mark.parametrize("made", METHODS, indirect=True)
def test_the_prior_of_the_last_stage_is_that_of_its_loss_and_batches(made, request):
    method, (stages, _) = request.node.callspec.params["made"], made
    prior = stages[-1].prior
    if method not in PRIORS:
        assert prior is None
    else:
        np.testing.assert_allclose(prior / np.sum(prior), PRIORS[method] / np.sum(PRIORS[method]), rtol=1e-12)


def test_the_prior_follows_sampler_and_strength():
    data = toy.build(None)

    def prior(method, **changes):
        made = METHODS[method](toy.config(method, **changes), data)[-1].prior
        return None if made is None else made / np.sum(made)

    shares = TRAIN**0.5
    np.testing.assert_allclose(prior("ce", data__sampler="square_root"), shares / shares.sum())
    np.testing.assert_allclose(prior("ce", data__sampler="class_balanced"), np.full(3, 1 / 3))
    np.testing.assert_allclose(prior("logit_adjustment", baseline__tau=0.5), shares / shares.sum())
    assert prior("ce", data__sampler="progressive") is None
