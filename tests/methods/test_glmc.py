"""GLMC: its terms by hand on a batch, where the weight of its classifiers goes, and a run on the toy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import models
from ltjax.losses import cross_entropy
from ltjax.methods import METHODS
from ltjax.methods.mixing import box
from ltjax.training import loop, prepare
from ltjax.training.step.state import create_state
from ltjax.training.step.step import make_context
from tests.training import toy


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(prepare, "build", toy.build)
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)


def cosine(a, b):
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


@pytest.mark.parametrize("epoch", [0, 3])
def test_the_terms_are_those_of_both_mixtures(epoch):
    config, data = toy.config("glmc", epochs=4, glmc__width=6), toy.build(None)
    (stage,) = METHODS["glmc"](config, data)
    start = toy.start_of(stage)
    state = create_state(stage, start, 0)
    assert {name: sampler.same_as for name, sampler in stage.streams.items()} == {
        "image": "", "second": "image", "partner": "", "second_partner": "partner",
    }  # fmt: skip
    rng = np.random.default_rng(0)
    labels = {name: jnp.asarray(y) for name, y in (("image", [0, 1, 2, 0]), ("partner", [2, 2, 1, 0]))}
    batch = {
        name: {
            "image": jnp.asarray(rng.integers(0, 256, (4, 8, 8, 1)), jnp.uint8),
            "label": labels[sampler.same_as or name],
        }
        for name, sampler in stage.streams.items()
    }
    context = make_context(stage, state, {}, 5)._replace(epoch=jnp.int32(epoch))
    outcome = toy.outcome_of(stage, state, batch, context)

    share_key, box_key = jax.random.split(context.key)
    share = jax.random.beta(share_key, 1.0, 1.0)
    pixels = {name: np.asarray(batch[name]["image"], np.float32) for name in batch}
    blend = np.rint(share * pixels["image"] + (1 - share) * pixels["partner"]).astype(np.uint8)
    inside = np.asarray(box(box_key, (8, 8), share))
    cut = np.where(inside[..., None], pixels["second_partner"], pixels["second"]).astype(np.uint8)
    variables = {"params": state.params, **state.model_state}
    one, two = (toy.in_training(stage, variables, images, project=True)[0].logits for images in (blend, cut))
    weights = (1 / np.array(toy.COUNTS)) ** 1.2
    weights = weights / weights.sum() * 3

    def mixed(name, of):
        ours, theirs = labels["image"], labels["partner"]
        return sum(
            share * of[ours] * cross_entropy(made[name], ours)
            + (1 - share) * of[theirs] * cross_entropy(made[name], theirs)
            for made in (one, two)
        ).mean()

    a = 1 - (epoch / 4) ** 2
    expected = {
        "plain": a * mixed("plain", np.ones(3)),
        "rebalanced": (1 - a) * mixed("classifier", weights),
        "consistency": -10
        * (cosine(one["prediction"], two["projection"]) + cosine(two["prediction"], one["projection"])).mean(),
    }
    for name, value in expected.items():
        term = outcome.terms[name]
        np.testing.assert_allclose(term.scale * term.mean(), value, rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.slow
def test_a_run_learns(tmp_path):
    config = toy.config("glmc", epochs=6, optimizer__learning_rate=0.05, glmc__consistency_weight=1.0)
    results = loop.train(config, str(tmp_path / "run"))
    assert results["accuracy"]["all"] > 0.5
