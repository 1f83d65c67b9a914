"""Weights of experts by prediction stability: the steps are torch's, and the end is the authors'."""

import types

import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.data import Source
from ltjax.data.augment.registry import find_transform
from ltjax.errors import InputError
from ltjax.methods.stage import ClosedForm
from ltjax.training import aggregation
from ltjax.training.execution import mesh as meshes

OPTIMIZER = types.SimpleNamespace(learning_rate=0.7, momentum=0.9, nesterov=True, weight_decay=0.02)
RNG = np.random.default_rng(0)


def test_the_steps_are_those_of_torch():
    torch = pytest.importorskip("torch")
    views = RNG.normal(size=(6, 2, 3, 10, 4)).astype(np.float32) * 2  # steps, views, experts, images, classes
    logits = torch.nn.Parameter(torch.full((3,), 1 / 3))
    sgd = torch.optim.SGD([logits], lr=0.7, momentum=0.9, weight_decay=0.02, nesterov=True)
    update, step = aggregation._step(lambda variables, view: view, OPTIMIZER, meshes.data_mesh())
    state = (jnp.full(3, 1 / 3), update.init(jnp.zeros(3)))
    for first, second in views:
        shares = torch.softmax(logits, 0)
        a, b = (torch.softmax(torch.einsum("e,enc->nc", shares, torch.tensor(v)), -1) for v in (first, second))
        cosine = torch.nn.CosineSimilarity(dim=1, eps=1e-6)(a, b).mean()
        sgd.zero_grad()
        (-cosine).backward()
        sgd.step()
        *state, alike = step(*state, {}, first, second)
        assert float(alike) == pytest.approx(cosine.item(), rel=1e-5)
        np.testing.assert_allclose(state[0], logits.detach(), rtol=1e-4, atol=1e-6)


def learned(stable, rate):
    """The weights where one expert of two sees the class and the other the augmentation; from 40 images."""
    images = np.repeat(np.array([0, 200], np.uint8), 20)[:, None, None, None] * np.ones((8, 8, 1), np.uint8)
    source = Source(np.zeros(40, np.int32), np.arange(40), read=lambda i: images[i])

    def experts(variables, views):
        class_of = jnp.mean(views.astype(jnp.float32), (1, 2, 3)) / 50 - 2
        shifted = views[:, 0, 0, 0].astype(jnp.float32) / 50 + views[:, 0, -1, 0] / 70 - 1
        pair = (class_of, 3 * shifted) if stable == 0 else (3 * shifted, class_of)
        return jnp.stack([jnp.stack([x, -x], -1) for x in pair])

    optimizer = types.SimpleNamespace(learning_rate=rate, momentum=0.9, nesterov=True, weight_decay=0.0)
    learn = aggregation.weight_learner(experts, find_transform("pad_crop"), optimizer, meshes.data_mesh())
    return learn({}, source)


@pytest.mark.parametrize("stable", [0, 1])
def test_the_stable_expert_gets_the_weight_and_training_ends_with_the_other_below_its_bound(stable):
    found = learned(stable, rate=5.0)
    assert np.argmax(found.weights) == stable and found.weights.sum() == pytest.approx(1)
    assert found.epochs == len(found.similarity) <= aggregation.EPOCHS
    assert found.epochs == aggregation.EPOCHS or np.round(found.weights, 2).min() < aggregation.LEAST
    assert np.array_equal(learned(stable, rate=5.0).weights, found.weights)


def test_a_low_rate_takes_all_epochs():
    found = learned(0, rate=1e-3)
    assert found.epochs == 5 and np.round(found.weights, 2).min() >= 0.05


def test_a_network_without_experts_is_refused():
    stage = types.SimpleNamespace(name="train", views={"branch_1": None})
    with pytest.raises(InputError, match="--aggregate: the network of stage 'train' has no experts to weight"):
        aggregation.experts_of(stage)


def test_the_prediction_is_the_weighted_sum_and_has_no_known_prior():
    logits = jnp.asarray(RNG.normal(size=(2, 4, 3)), jnp.float32)
    views = {f"expert_{e}": lambda variables, images, e=e: logits[e] for e in range(2)}
    stage = aggregation.weighted(ClosedForm("train", None, None, None, views=views, prior=np.ones(3)))
    found = stage.predict({aggregation.VARIABLE: {"weights": jnp.array([0.25, 0.75])}}, None)
    np.testing.assert_allclose(found, 0.25 * logits[0] + 0.75 * logits[1], rtol=1e-6)
    assert stage.prior is None
