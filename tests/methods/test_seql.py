"""SEQL: which classes are rare, and that every step draws anew which images leave them alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import losses, models
from ltjax.methods import METHODS
from ltjax.methods.stage import Context
from tests.training import toy

LABELS = np.array([0, 1, 2, 0, 0, 2])
LOGITS = np.random.RandomState(0).standard_normal((6, 3)).astype(np.float32)


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)


def loss(seed=0, **settings):
    own = {f"baseline__{name}": value for name, value in settings.items()}
    (stage,) = METHODS["seql"](toy.config("seql", **own), toy.build(None))
    context = Context(jnp.int32(0), jnp.int32(0), 2, jnp.float32(0), jax.random.key(seed), {}, {})

    def apply(params, model_state, images):
        return models.Outputs(LOGITS, LOGITS), model_state

    outcome = stage.objective(apply, {}, {}, {"image": {"image": None, "label": LABELS}}, context)
    return np.asarray(outcome.terms["classification"].values)


def test_without_draws_it_is_the_formula_with_the_classes_below_half_of_the_mean():
    """Of 24, 12 and 6 images the third class is rare: 6 < 7. With 1 of the mean the second is, too."""
    for share, threshold in ((0.5, 0.2), (1.0, 0.3)):
        expected = losses.softmax_equalization_loss(LOGITS, LABELS, class_counts=toy.COUNTS, threshold=threshold)
        np.testing.assert_allclose(loss(gamma=1.0, rare_share=share), expected, rtol=1e-6)
    np.testing.assert_allclose(loss(gamma=0.0), losses.cross_entropy(LOGITS, LABELS), rtol=1e-6)


def test_each_step_draws_by_its_key_for_every_image():
    plain, left_alone = loss(gamma=0.0), loss(gamma=1.0)
    drawn = np.stack([loss(seed, gamma=0.5) for seed in range(20)])
    of_plain, of_left_alone = np.isclose(drawn, plain), np.isclose(drawn, left_alone)
    assert (of_plain | of_left_alone).all() and of_plain[:, LABELS == 2].all()
    free = of_left_alone[:, LABELS != 2]
    assert 0.3 < free.mean() < 0.7 and len(np.unique(free, axis=0)) > 7
