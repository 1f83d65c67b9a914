"""GCL: the noise of each stage and its loss by hand, and what the second stage trains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from ltjax import losses, models
from ltjax.errors import InputError
from ltjax.methods.gcl import GCLSettings, clouded
from ltjax.methods.stage import Context
from ltjax.models import Outputs
from tests.methods.asynchronous import toy as asynchronous_toy
from tests.methods.test_disalign import one_step, second_stage
from tests.training import toy
from tests.training.step.test_micro_batches import batch_of

COSINES = np.random.RandomState(0).uniform(-1, 1, (6, 3)).astype(np.float32)
LABELS = np.array([0, 1, 2, 0, 2, 1])


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setitem(models.BACKBONES, "toy", asynchronous_toy.Backbone)


def test_the_loss_has_noise_of_the_steps_key_within_one():
    settings = GCLSettings(cloud=1.0)
    objective = clouded(toy.config(), settings, toy.build(None), scale=2.0, margin=0.1, gamma=1.0)
    batch = {"image": {"image": COSINES, "label": LABELS}}

    def loss(seed):
        context = Context(jnp.int32(0), jnp.int32(0), 10, jnp.float32(0), jax.random.key(seed), {}, {})
        outputs = Outputs(jnp.asarray(COSINES), None)
        return objective(lambda *_: (outputs, {}), {}, {}, batch, context).terms["classification"].values

    noise = np.clip(np.asarray(jax.random.normal(jax.random.key(3), (6, 3))) / 3, -1, 1)
    options = {"class_counts": toy.COUNTS, "scale": 2.0, "cloud": 1.0, "margin": 0.1, "gamma": 1.0}
    np.testing.assert_allclose(loss(3), losses.gaussian_clouded_loss(COSINES, LABELS, noise, **options), rtol=1e-5)
    assert np.abs(loss(3) - loss(4)).min() > 0


def test_the_second_stage_trains_the_classifier_alone_from_where_it_was():
    first, second, previous, start = second_stage("gcl")
    assert second.streams["image"].name == "effective_number" and second.updates.norm == "frozen"
    batch = batch_of(second)
    images = batch["image"]["image"]
    cosines = second.predict(start.variables, images) / 20, first.predict(previous.variables, images) / 30
    assert np.abs(cosines[0]).max() <= 1 + 1e-6
    np.testing.assert_allclose(*cosines, rtol=1e-6)
    new, metrics = one_step(second, start, batch)
    assert 0 <= float(metrics["gcl/lam"]) <= 1
    before, after = (traverse_util.flatten_dict(params, sep="/") for params in (start.variables["params"], new.params))
    assert [path for path in before if not np.array_equal(before[path], after[path])] == ["head/classifier/kernel"]


def test_a_spread_beyond_one_is_one_line():
    with pytest.raises(InputError, match=r"config.gcl.beta_spread: impossible value 0.001; allowed: a number below"):
        toy.config("gcl", second_stage=True, gcl__beta_spread=0.001)
