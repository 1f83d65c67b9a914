"""The influence-balanced loss: plain until its epoch, then the formula; which weights its classes have."""

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

RANDOM = np.random.RandomState(0)
LOGITS, FEATURES = RANDOM.standard_normal((6, 3)), RANDOM.standard_normal((6, 4))
LABELS = np.array([0, 1, 2, 0, 2, 1])
COUNTS = np.array(toy.COUNTS)
INVERSE = 3 / COUNTS / (1 / COUNTS).sum()


@pytest.mark.parametrize(
    ("weights", "of_class"),
    [("inverse", INVERSE), ("effective", effective_number_weights(COUNTS, 0.9999)), ("none", np.ones(3))],
)
def test_the_loss_changes_at_its_epoch(weights, of_class, monkeypatch):
    monkeypatch.setattr("ltjax.models.BACKBONES", {"toy": toy.Backbone})
    (stage,) = METHODS["ib"](toy.config("ib", epochs=10, ib__weights=weights), toy.build(None))

    def loss(epoch):
        context = Context(jnp.int32(0), jnp.int32(epoch), 10, jnp.float32(0), jax.random.key(0), {}, {})
        batch = {"image": {"image": LOGITS, "label": LABELS}}
        outputs = Outputs(jnp.asarray(LOGITS), jnp.asarray(FEATURES))
        return stage.objective(lambda *_: (outputs, {}), {}, {}, batch, context).terms["classification"].mean()

    plain = np.asarray(losses.cross_entropy(LOGITS, LABELS))
    np.testing.assert_allclose(loss(4), plain.mean(), rtol=1e-5)
    p = np.exp(-plain)
    influence = 2 * (1 - p) * np.abs(FEATURES).sum(1)
    np.testing.assert_allclose(loss(5), np.mean(1000 * of_class[LABELS] * plain / (influence + 1e-3)), rtol=1e-4)
