"""What each loss should give, written as a formula one can check by hand."""

import functools
from math import exp, log, sqrt

import numpy as np
import pytest

from ltjax import losses
from tests.losses.catalogue import public_losses

E = exp(1)
P2 = E**2 / (E**2 + E + 1)  # softmax of (2, 1, 0)
P1 = E / (E**2 + E + 1)
P0 = 1 / (E**2 + E + 1)
X = np.array([[2.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
Y = np.array([0, 2])
COUNTS = [60, 30, 10]
SIGMOID = [1 / (1 + exp(-x)) for x in (2, 1, 0)]
TWO_BRANCHES = np.array([X, 2 * X])
MASKS = np.array([[True, True, True], [False, False, True]])
Q2, Q0 = E**6 / (E**6 + E**3 + 1), 1 / (E**4 + E**2 + 1)  # of the sum (6, 3, 0), of the second branch (4, 2, 0)
POINTS = np.array([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]])
ORTHOGONAL = np.eye(2)
# Attention between orthonormal vectors of two identical graphs, cosine 1 or 0, distance 0 or sqrt 2.
MU = sqrt(2) / (1 + E)
ANGLES = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])


def focal(p, gamma, w=1.0):
    return (1 - p**w) ** gamma * -w * log(p)


def smoothed(p, eps):
    return -(1 - eps) * log(p[0]) - eps / 3 * sum(log(q) for q in p)


def ldam_term(x, y, margins, s):
    z = [s * (v - (margins[y] if k == y else 0)) for k, v in enumerate(x)]
    return -z[y] + log(sum(exp(v) for v in z))


MARGINS = [0.5 * (10 / n) ** 0.25 for n in COUNTS]
RIDE_LOGITS = np.array([[[2.0, 0.0]], [[0.0, 0.0]]])
S1, S2 = 1 / (1 + exp(-2)), 1 / (1 + exp(-1))  # softmax of the first expert, of the mean
KL = S2 * log(S2 / S1) + (1 - S2) * log((1 - S2) / (1 - S1)) + S2 * log(2 * S2) + (1 - S2) * log(2 * (1 - S2))

TABLE = {
    "cross_entropy": [
        (lambda: losses.cross_entropy(X, Y), [-log(P2), log(3)]),
        (lambda: losses.cross_entropy(X[0], Y[0]), -log(P2)),
        (lambda: losses.cross_entropy(X, Y, label_smoothing=0.3), [smoothed([P2, P1, P0], 0.3), log(3)]),
        (lambda: losses.cross_entropy(X[0], np.array([0.5, 0.5, 0.0])), -0.5 * log(P2) - 0.5 * log(P1)),
        (lambda: losses.cross_entropy(X, Y, where=np.array([True, False])), [-log(P2), 0]),
        (lambda: losses.cross_entropy(np.array([-np.inf, 0.0, 0.0]), 1), log(2)),
        (lambda: losses.cross_entropy(np.array([-np.inf, 0.0, 0.0]), np.array([0, 0.5, 0.5])), log(2)),
        (lambda: losses.cross_entropy(np.array([1e4, -1e4]), 1), 2e4),
        (lambda: losses.cross_entropy(np.zeros(8142), 5000), log(8142)),
    ],
    "focal_loss": [
        (lambda: losses.focal_loss(X, Y), [focal(P2, 2), focal(1 / 3, 2)]),
        (lambda: losses.focal_loss(X, Y, gamma=0.0), [-log(P2), log(3)]),
        (
            lambda: losses.focal_loss(X, Y, gamma=1.0, class_weights=[0.5, 1, 2]),
            [focal(P2, 1, 0.5), focal(1 / 3, 1, 2)],
        ),
        (lambda: losses.focal_loss(np.array([100.0, 0.0]), 0, gamma=0.5), 0),
    ],
    "sigmoid_focal_loss": [
        (
            lambda: losses.sigmoid_focal_loss(X[0], 0, gamma=2.0),
            -((1 - SIGMOID[0]) ** 2) * log(SIGMOID[0])
            - SIGMOID[1] ** 2 * log(1 - SIGMOID[1])
            - SIGMOID[2] ** 2 * log(1 - SIGMOID[2]),
        ),
        (lambda: losses.sigmoid_focal_loss(X[1], 2, gamma=1.0, class_weights=[1, 1, 4]), 4 * 3 * 0.5 * log(2)),
        (lambda: losses.sigmoid_focal_loss(np.zeros(2), np.array([0.5, 0.5]), gamma=0.0), 2 * log(2)),
    ],
    "ldam_loss": [
        (
            lambda: losses.ldam_loss(X / 2, Y, class_counts=COUNTS, scale=5.0),
            [ldam_term((1, 0.5, 0), 0, MARGINS, 5), ldam_term((0, 0, 0), 2, MARGINS, 5)],
        ),
        (lambda: losses.ldam_loss(X, Y, class_counts=COUNTS, max_margin=0.0, scale=1.0), [-log(P2), log(3)]),
    ],
    "balanced_softmax_loss": [
        (lambda: losses.balanced_softmax_loss(X[1], 2, class_counts=COUNTS), log(10)),
        (
            lambda: losses.balanced_softmax_loss(X[0], 0, class_counts=COUNTS),
            -log(60 * E**2 / (60 * E**2 + 30 * E + 10)),
        ),
    ],
    "logit_adjusted_loss": [
        (lambda: losses.logit_adjusted_loss(X, Y, class_counts=COUNTS, tau=0.0), [-log(P2), log(3)]),
        (lambda: losses.logit_adjusted_loss(X[1], 0, class_counts=COUNTS, tau=2.0), log((36 + 9 + 1) / 36)),
    ],
    "softmax_equalization_loss": [
        (lambda: losses.softmax_equalization_loss(X, Y, class_counts=COUNTS, threshold=0.0), [-log(P2), log(3)]),
        (lambda: losses.softmax_equalization_loss(X, Y, class_counts=COUNTS, threshold=0.2), [log(1 + 1 / E), log(3)]),
        (lambda: losses.softmax_equalization_loss(X, Y, class_counts=COUNTS, threshold=0.5), [0, log(2)]),
        (
            lambda: losses.softmax_equalization_loss(
                X, Y, class_counts=COUNTS, threshold=0.5, ignored=np.array([[True, False, True], [True, True, True]])
            ),
            [log(1 + 1 / E), log(2)],
        ),
        (
            lambda: losses.softmax_equalization_loss(np.array([0.0, 0.0, 1e4]), 0, class_counts=COUNTS, threshold=0.2),
            log(2),
        ),
        (
            lambda: losses.softmax_equalization_loss(X[1], np.array([0.5, 0, 0.5]), class_counts=COUNTS, threshold=0.2),
            log(2.5),
        ),
    ],
    "distillation_loss": [
        (lambda: losses.distillation_loss(X, X), [0, 0]),
        (
            lambda: losses.distillation_loss(X[1], X[0], temperature=1.0),
            P2 * log(3 * P2) + P1 * log(3 * P1) + P0 * log(3 * P0),
        ),
        (lambda: losses.distillation_loss(X, [[2e4, 0, 0]] * 2, where=[True, False]), [log(1 + exp(-0.5) + 1 / E), 0]),
    ],
    "mixup_loss": [
        (lambda: losses.mixup_loss(X[0], 0, 1, 0.25), -0.25 * log(P2) - 0.75 * log(P1)),
        (lambda: losses.mixup_loss(X, Y, Y, np.array([0.2, 0.9])), [-log(P2), log(3)]),
        (
            lambda: losses.mixup_loss(X[0], 0, 1, 0.5, loss=functools.partial(losses.focal_loss, gamma=1.0)),
            0.5 * focal(P2, 1) + 0.5 * focal(P1, 1),
        ),
    ],
    "weighted_mean": [
        (lambda: losses.weighted_mean(np.array([1.0, 4.0]), np.array([2.0, 1.0])), 2),
        (lambda: losses.weighted_mean(np.array([1.0, 4.0]), 3.0), 2.5),
        (lambda: losses.weighted_mean(np.array([1.0, 4.0]), np.zeros(2)), 0),
        (lambda: losses.weighted_mean(np.array([np.inf, 4.0]), np.array([0.0, 2.0])), 4),
        (lambda: losses.weighted_mean(np.array([np.nan, 4.0]), np.ones(2), np.array([False, True])), 4),
    ],
    "reslt_terms": [
        (lambda: losses.reslt_terms(TWO_BRANCHES, Y, branch_masks=MASKS).fusion, [-log(Q2), log(3)]),
        (lambda: losses.reslt_terms(TWO_BRANCHES, Y, branch_masks=MASKS).branch, [[-log(P2), log(3)], [0, log(3)]]),
        (lambda: losses.reslt_terms(TWO_BRANCHES, Y, branch_masks=MASKS).branch_weights, [[1, 1], [0, 1]]),
    ],
    "reslt_loss": [
        (
            lambda: losses.reslt_loss(TWO_BRANCHES, Y, branch_masks=MASKS, alpha=0.75).total,
            0.25 * (-log(Q2) + log(3)) / 2 + 0.75 * (-log(P2) + log(3) + log(3)) / 3,
        ),
        (
            lambda: losses.reslt_loss(TWO_BRANCHES, Y, branch_masks=MASKS, alpha=0.75, divisor="subset_means").branch,
            (-log(P2) + log(3)) / 2 + log(3),
        ),
        (
            lambda: (
                losses.reslt_loss(
                    TWO_BRANCHES, np.array([2, 2]), branch_masks=MASKS, alpha=1.0, probability_epsilon=0.1
                ).total
            ),
            -(log(P0 + 0.1) + log(Q0 + 0.1) + 2 * log(1 / 3 + 0.1)) / 4,
        ),
        (
            lambda: (
                losses.reslt_loss(
                    TWO_BRANCHES, np.array([0, 1]), branch_masks=MASKS, alpha=1.0, divisor="subset_means"
                ).total
            ),
            (-log(P2) + log(3)) / 2,
        ),
        (
            lambda: (
                losses.reslt_loss(TWO_BRANCHES[:, 1:], Y[1:], branch_masks=MASKS, alpha=0.0, fusion_epsilon=1 / 6).total
            ),
            log(2),
        ),
    ],
    "ride_loss": [
        (
            lambda: losses.ride_loss(RIDE_LOGITS, [0], class_counts=[7, 7], use_ldam=False, diversity=-0.5),
            [-log(S1) + log(2) - 0.5 * KL, -log(S1) + log(2), KL],
        ),
        (
            lambda: losses.ride_loss(RIDE_LOGITS, [1], class_counts=[16, 1], diversity=0.1, scale=2.0).individual,
            log(1 + exp(3)) + log(1 + exp(1)),
        ),
        (
            lambda: losses.ride_loss(RIDE_LOGITS, [0], class_counts=[7, 7], use_ldam=False, diversity=0.0).total,
            -2 * log(S2),
        ),
    ],
    "graph_matching_loss": [
        (lambda: losses.graph_matching_loss(ORTHOGONAL, ORTHOGONAL), [MU, MU]),
        (lambda: losses.graph_matching_loss(3 * ORTHOGONAL, ORTHOGONAL, block_size=1), [MU, MU]),
        (
            lambda: losses.graph_matching_loss(POINTS[:2], POINTS[1:], similarity="negative_l2", normalize=False),
            [5 + 5 / (1 + exp(5)), 5 / (1 + exp(5))],
        ),
        (
            lambda: losses.graph_matching_loss(ORTHOGONAL, ORTHOGONAL, temperature=0.5),
            [sqrt(2) / (1 + exp(2))] * 2,
        ),
        (lambda: losses.graph_matching_loss(POINTS[:1], POINTS[1:2], normalize=False), [5]),
    ],
    "margin_ranking_loss": [
        (lambda: losses.margin_ranking_loss(np.array([[0.7, 0.5, 0.1]]), [0]), [0.3]),
        (lambda: losses.margin_ranking_loss(np.array([[0.7, 0.5, 0.1]]), [2]), [0.5 * 2 - 0.1 * 2 + 0.7 + 0.5]),
        (lambda: losses.margin_ranking_loss(np.array([[0.7, 0.5, 0.1]]), [2], top_k=1), [0.5 - 0.1 + 0.7]),
        (
            lambda: losses.margin_ranking_loss(
                np.array([[0.7, 0.5, 0.1]]), [2], top_k=5, negatives=[False, True, True], margin=0.2
            ),
            [0.2 - 0.1 + 0.5],
        ),
        (lambda: losses.margin_ranking_loss(np.array([[0.9, 0.1]]), [0]), [0]),
    ],
    "lifted_structure_loss": [
        (
            lambda: losses.lifted_structure_loss(POINTS, [0, 0, 1], margin=6.0),
            max(0, log(exp(6 - 10) + exp(6 - 5)) + 5) ** 2 / 2,
        ),
        (lambda: losses.lifted_structure_loss(POINTS, [0, 1, 2]), 0),
        (lambda: losses.lifted_structure_loss(POINTS, [0, 0, 0]), 0),
    ],
    "range_loss": [
        # Squared ranges 100, 25, 25: the largest two; one class has no other centre.
        (lambda: losses.range_loss(POINTS, [4, 4, 4]), 2 / (1 / 100 + 1 / 25)),
        (lambda: losses.range_loss(POINTS, [4, 4, 4], k=3), 3 / (1 / 100 + 2 / 25)),
        # One pair, 25; the centres are (1.5, 2) and (6, 8), 56.25 apart.
        (lambda: losses.range_loss(POINTS, [0, 0, 1], margin=60.0, beta=2.0), 25 + 2 * (60 - 56.25)),
        (lambda: losses.range_loss(POINTS, [0, 1, 2], margin=26.0, alpha=5.0), 1),
        (lambda: losses.range_loss(np.ones((3, 2)), [0, 0, 0]), 0),
    ],
    "triplet_loss": [
        (lambda: losses.triplet_loss(ANGLES, [0, 0, 1], margin=2.5), ((2 - 4 + 2.5) + (2 - 2 + 2.5)) / 2),
        (lambda: losses.triplet_loss(POINTS, [0, 0, 1], margin=1.0, normalize=False), (0 + 1) / 2),
        (
            lambda: losses.triplet_loss(POINTS, [0, 0, 1], form="ratio", normalize=False),
            (1 / (1 + exp(5)) ** 2 + 1 / 4) / 2,
        ),
        (lambda: losses.triplet_loss(POINTS, [0, 1, 2]), 0),
    ],
    "proxy_loss": [
        (lambda: losses.proxy_loss(ANGLES[:1], [0], ANGLES), 0 + log(exp(-2) + exp(-4))),
        (lambda: losses.proxy_loss(ANGLES[:2], [1, 2], ANGLES[:2] * 3, where=[True, False]), 2 - 0),
        (lambda: losses.proxy_loss(POINTS[:1], [1], POINTS, normalize=False), 25 + log(1 + exp(-100))),
    ],
}


def test_only_public_losses_are_listed():
    assert set(TABLE) <= public_losses()


@pytest.mark.parametrize(
    "call, expected",
    [case for cases in TABLE.values() for case in cases],
    ids=[f"{name}-{i}" for name, cases in TABLE.items() for i in range(len(cases))],
)
def test_values_are_those_of_the_formula(call, expected):
    np.testing.assert_allclose(np.asarray(call()), expected, rtol=2e-6, atol=1e-6)
