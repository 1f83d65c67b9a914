"""Random cases against the plain numpy oracle: minutes of loops, so marked slow."""

import functools

import jax
import numpy as np
import pytest

from ltjax import classifiers, losses
from tests.losses import oracle

pytestmark = pytest.mark.slow
SEEDS = range(12)


def draw(seed, experts=None):
    rng = np.random.default_rng(seed)
    batch, classes = int(rng.integers(2, 9)), int(rng.integers(2, 12))
    shape = (batch, classes) if experts is None else (experts, batch, classes)
    x = (rng.choice([0.1, 1.0, 5.0]) * rng.normal(size=shape)).astype(np.float32)
    return rng, x, rng.integers(0, classes, batch), rng.integers(1, 500, classes)


def logits_cases(seed):
    rng, x, y, counts = draw(seed)
    weights, gamma, tau = rng.uniform(0.1, 3, len(counts)), rng.uniform(0, 3), rng.uniform(0, 2)
    labels = y if seed % 2 else rng.dirichlet(np.ones(len(counts)), len(y))
    top_k, negatives = int(rng.integers(1, 4)), rng.uniform(size=len(counts)) < 0.7
    yield losses.cross_entropy(x, labels, label_smoothing=0.2), oracle.cross_entropy(x, labels, 0.2)
    yield (
        losses.focal_loss(x, labels, gamma=gamma, class_weights=weights),
        oracle.focal_loss(x, labels, gamma, weights),
    )
    yield (
        losses.sigmoid_focal_loss(x, labels, gamma=gamma, class_weights=weights),
        oracle.sigmoid_focal_loss(x, labels, gamma, weights),
    )
    yield (
        losses.ldam_loss(x, labels, class_counts=counts, max_margin=0.4, scale=7.0),
        oracle.ldam_loss(x, labels, counts, 0.4, 7.0),
    )
    yield (
        losses.logit_adjusted_loss(x, labels, class_counts=counts, tau=tau),
        oracle.logit_adjusted_loss(x, labels, counts, tau),
    )
    yield losses.balanced_softmax_loss(x, y, class_counts=counts), oracle.logit_adjusted_loss(x, y, counts, 1.0)
    everyone = np.ones(len(counts), bool)
    yield losses.margin_ranking_loss(x, y), oracle.margin_ranking_loss(x, y, 0.5, None, everyone)
    yield (
        losses.margin_ranking_loss(x, y, margin=0.3, top_k=top_k, negatives=negatives),
        oracle.margin_ranking_loss(x, y, 0.3, top_k, negatives),
    )


def branch_cases(seed):
    rng, x, y, counts = draw(seed, experts=3)
    masks = np.array([np.ones(len(counts), bool), rng.uniform(size=len(counts)) < 0.6, np.zeros(len(counts), bool)])
    masks[2] = masks[1] & (rng.uniform(size=len(counts)) < 0.5)
    for divisor in ("pooled", "subset_means"):
        for epsilons in ((0.0, 0.0), (1e-7, 0.0), (1e-2, 1e-3)):
            got = losses.reslt_loss(
                x,
                y,
                branch_masks=masks,
                alpha=0.7,
                divisor=divisor,
                probability_epsilon=epsilons[0],
                fusion_epsilon=epsilons[1],
            )
            yield got.total, oracle.reslt_loss(x, y, masks, 0.7, divisor, *epsilons)
    for diversity, use_ldam, reweight in (
        (-0.2, True, True),
        (0.3, True, False),
        (-0.45, False, True),
        (0, True, True),
    ):
        got = losses.ride_loss(
            x, y, class_counts=counts, diversity=diversity, use_ldam=use_ldam, scale=3.0, reweight=reweight
        )
        yield got.total, oracle.ride_loss(x, y, counts, diversity, use_ldam, 3.0, 0.05, reweight)


def feature_cases(seed):
    rng, x, _, _ = draw(seed)
    y = rng.integers(0, 3, len(x))
    other = x + rng.normal(size=x.shape).astype(np.float32)
    for similarity in ("cosine", "negative_l2"):
        for normalize in (True, False):
            got = losses.graph_matching_loss(
                x, other, similarity=similarity, normalize=normalize, temperature=0.4, block_size=2
            )
            yield got, oracle.graph_matching_loss(x, other, similarity, normalize, 0.4)
    yield losses.lifted_structure_loss(x, y, margin=1.5), oracle.lifted_structure_loss(x, y, 1.5)
    yield losses.range_loss(x, y, k=2, margin=4.0, alpha=0.5), oracle.range_loss(x, y.tolist(), 2, 4.0, 0.5, 1.0)
    for form, normalize in (("margin", True), ("ratio", False)):
        yield (
            losses.triplet_loss(x, y, form=form, normalize=normalize),
            oracle.triplet_loss(x, y, 0.2, form, normalize),
        )
    for normalize in (True, False):
        got = losses.proxy_loss(x, y, other[:3] if len(other) > 2 else np.eye(3, x.shape[1]), normalize=normalize)
        proxies = other[:3] if len(other) > 2 else np.eye(3, x.shape[1])
        yield got, oracle.proxy_loss(x, y, proxies, normalize)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("cases", [logits_cases, branch_cases, feature_cases])
def test_random_cases(cases, seed):
    for got, expected in cases(seed):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("similarity", ["cosine", "negative_l2"])
def test_random_exemplars(seed, similarity):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(40, 5)), rng.integers(0, 6, 40)
    with jax.enable_x64(True):
        got = classifiers.select_exemplars(x, y, 8, similarity=similarity, num_classes=7)
    assert got.tolist() == oracle.select_exemplars(x, y, 8, similarity, 7)


def test_mixup_of_any_loss():
    _, x, y, _ = draw(3)
    other = (y + 1) % x.shape[1]
    loss = functools.partial(losses.cross_entropy, label_smoothing=0.1)
    got = losses.mixup_loss(x, y, other, 0.3, loss=loss)
    expected = 0.3 * np.array(oracle.cross_entropy(x, y, 0.1)) + 0.7 * np.array(oracle.cross_entropy(x, other, 0.1))
    np.testing.assert_allclose(got, expected, rtol=1e-5)
