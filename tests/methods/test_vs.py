"""The vector-scaling loss: its special cases are the methods that they are named after."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import losses
from ltjax.class_counts import effective_number_weights
from ltjax.methods import METHODS
from ltjax.methods.stage import Context
from ltjax.models import Outputs
from tests.training import toy

LOGITS = jnp.asarray(np.random.RandomState(0).standard_normal((6, 3)), jnp.float32)
LABELS = jnp.array([0, 1, 2, 0, 2, 1])
COUNTS = np.array(toy.COUNTS)
LATE = 9  # an epoch of ten, after the weights have changed


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr("ltjax.models.BACKBONES", {"toy": toy.Backbone})


def loss_of(method, logits, epoch=LATE, **changes):
    """Of these outputs of the network at this epoch."""
    (stage,) = METHODS[method](toy.config(method, epochs=10, **changes), toy.build(None))
    context = Context(jnp.int32(0), jnp.int32(epoch), 10, jnp.float32(0), jax.random.key(0), {}, {})
    batch = {"image": {"image": logits, "label": LABELS}}
    outcome = stage.objective(lambda params, state, images: (Outputs(images, images), state), {}, {}, batch, context)
    return sum(term.scale * term.mean() for term in outcome.terms.values())


@pytest.mark.parametrize(
    ("method", "own", "case", "scale"),
    [
        ("ce", {}, {"gamma": 0.0, "tau": 0.0}, 1),
        ("ce_drw", {}, {"gamma": 0.0, "tau": 0.0, "deferred": True}, 1),
        ("logit_adjustment", {"baseline__tau": 1.3}, {"gamma": 0.0, "tau": 1.3}, 1),
        ("ldam", {}, {"gamma": 0.0, "tau": 0.0, "max_margin": 0.5, "head": "cosine"}, 30),
        ("ldam_drw", {}, {"gamma": 0.0, "tau": 0.0, "max_margin": 0.5, "head": "cosine", "deferred": True}, 30),
    ],
)
def test_a_special_case_is_the_method_of_that_name(method, own, case, scale):
    """LDAM's loss scales the cosines of its head; here the head has scaled them."""
    as_case = {f"vs__{key}": value for key, value in case.items()}
    for epoch in (0, LATE):
        expected = loss_of(method, LOGITS / scale, epoch, **own)
        np.testing.assert_allclose(loss_of("vs", LOGITS, epoch, **as_case), expected, rtol=1e-5)


def test_without_offsets_it_is_class_dependent_temperatures():
    got = losses.vector_scaling_loss(LOGITS, LABELS, class_counts=COUNTS, gamma=0.3, tau=0.0)
    temperatures = (COUNTS.max() / COUNTS) ** 0.3  # CDT divides by them
    np.testing.assert_allclose(got, losses.cross_entropy(LOGITS / temperatures, LABELS), rtol=1e-5)


def test_only_what_is_a_logit_adjustment_fits_a_prior():
    def prior(**changes):
        made = METHODS["vs"](toy.config("vs", **changes), toy.build(None))[0].prior
        return None if made is None else made / np.sum(made)

    assert prior() is None and prior(vs__gamma=0.0, vs__max_margin=0.1) is None
    np.testing.assert_allclose(prior(vs__gamma=0.0, vs__tau=1.0), np.full(3, 1 / 3))
    weights = effective_number_weights(COUNTS, 0.9999) * COUNTS
    weighted = prior(vs__gamma=0.0, vs__tau=0.0, vs__deferred=True, epochs=10)
    np.testing.assert_allclose(weighted, weights / weights.sum())
