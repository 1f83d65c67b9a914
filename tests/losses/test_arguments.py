"""Bad arguments raise one line that names them; what is traced inside the caller's jit is used as it comes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import losses
from tests.losses.catalogue import COUNTS, MASKS

X, Y = jnp.ones((4, 5)), jnp.array([0, 1, 2, 4])
BRANCHES = jnp.ones((3, 4, 5))
OF_COUNTS = {
    "ldam_loss": lambda counts: losses.ldam_loss(X, Y, class_counts=counts),
    "balanced_softmax_loss": lambda counts: losses.balanced_softmax_loss(X, Y, class_counts=counts),
    "logit_adjusted_loss": lambda counts: losses.logit_adjusted_loss(X, Y, class_counts=counts, tau=2.0),
    "ride_loss": lambda counts: losses.ride_loss(BRANCHES, Y, class_counts=counts, reweight=True).total,
}
OF_WEIGHTS = {
    "focal_loss": lambda weights: losses.focal_loss(X, Y, class_weights=weights),
    "sigmoid_focal_loss": lambda weights: losses.sigmoid_focal_loss(X, Y, class_weights=weights),
}
BAD = [
    ([1, 2, 3, 4], "4 classes where the logits or labels have 5"),
    ([1, 2, -3, 4, 5], "class 2 has a negative count"),
    ([1, 2, 3, float("nan"), 5], "class 3 has a count that is not finite"),
    ([0] * 5, "all 5 classes"),
]


@pytest.mark.parametrize("counts, message", [*BAD, ([1, 2, 3, 4, 0], "class 4 has no images")])
@pytest.mark.parametrize("loss", OF_COUNTS.values(), ids=OF_COUNTS)
def test_bad_class_counts_name_the_class(loss, counts, message):
    for values in (counts, np.array(counts), jnp.array(counts)):
        with pytest.raises(ValueError, match=f"class_counts: .*{message}"):
            loss(values)
    # Concrete counts are still checked inside a jit.
    with pytest.raises(ValueError, match=message):
        jax.jit(lambda: loss(counts))()


@pytest.mark.parametrize("weights, message", BAD)
@pytest.mark.parametrize("loss", OF_WEIGHTS.values(), ids=OF_WEIGHTS)
def test_bad_class_weights_name_the_class(loss, weights, message):
    with pytest.raises(ValueError, match=f"class_weights: .*{message}"):
        loss(weights)


@pytest.mark.parametrize("loss", [*OF_COUNTS.values(), *OF_WEIGHTS.values()], ids=[*OF_COUNTS, *OF_WEIGHTS])
def test_class_information_may_be_traced(loss):
    np.testing.assert_allclose(jax.jit(loss)(COUNTS), loss(COUNTS), rtol=1e-5)
    with pytest.raises(ValueError, match=r"expected shape \[5\]"):
        jax.jit(loss)(COUNTS[:3])


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: losses.cross_entropy(X, Y[:3]), r"labels: expected integers \[4\] or probabilities \[4, 5\]"),
        (lambda: losses.cross_entropy(X, Y[:, None]), "labels"),
        (lambda: losses.cross_entropy(X, Y.astype(float)), "labels"),
        (lambda: losses.cross_entropy(jnp.ones(()), 0), "scalar"),
        (lambda: losses.cross_entropy(X, Y, where=jnp.ones(3, bool)), r"where: .*\[4\], not \[3\]"),
        (lambda: losses.cross_entropy(X, Y, where=jnp.ones((4, 1), bool)), "where"),
        (lambda: losses.weighted_mean(jnp.ones(4), jnp.ones(3)), "weights"),
        (lambda: losses.weighted_mean(jnp.ones(()), jnp.ones(3)), "weights"),
        (lambda: losses.mixup_loss(X, Y, Y, jnp.ones(3)), "lam"),
        (lambda: losses.reslt_loss(BRANCHES, Y, branch_masks=MASKS, alpha=0.5, divisor="sum"), "divisor"),
        (lambda: losses.reslt_loss(BRANCHES, Y, branch_masks=MASKS[:2], alpha=0.5), "branch_masks"),
        (lambda: losses.reslt_loss(BRANCHES, Y, branch_masks=~MASKS, alpha=0.5), "class 0 is missing"),
        (lambda: losses.reslt_loss(X[0], Y[0], branch_masks=MASKS, alpha=0.5), "branch_logits"),
        (lambda: losses.ride_loss(X[0], Y[0], class_counts=COUNTS), "expert_logits"),
        (lambda: losses.margin_ranking_loss(X, X), "true class"),
        (lambda: losses.margin_ranking_loss(X, Y, top_k=0), "top_k"),
        (lambda: losses.margin_ranking_loss(X, Y, negatives=[True] * 4), "negatives"),
        (lambda: losses.graph_matching_loss(X, X[:3]), "features"),
        (lambda: losses.graph_matching_loss(X, X, similarity="l2"), "similarity"),
        (lambda: losses.graph_matching_loss(X, X, block_size=0), "block_size"),
        (lambda: losses.triplet_loss(X, Y[:3]), "labels"),
        (lambda: losses.triplet_loss(X[0], Y), "features"),
        (lambda: losses.triplet_loss(X, Y, form="hinge"), "form"),
        (lambda: losses.range_loss(X, Y, k=0), "k: "),
        (lambda: losses.proxy_loss(X, Y, jnp.ones((5, 4))), "proxies"),
        (lambda: losses.rotate(jnp.ones((2, 3, 4, 1)), 1), "images"),
        (lambda: losses.rotate(jnp.ones((2, 3, 3, 1)), 1.0), "quarter_turns"),
        (lambda: losses.rotate(jnp.ones((2, 3, 3, 1)), jnp.array([1, 2, 3])), "quarter_turns"),
    ],
)
def test_bad_arguments_raise_naming_them(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "loss",
    [
        losses.cross_entropy,
        losses.focal_loss,
        losses.sigmoid_focal_loss,
        losses.margin_ranking_loss,
        *[lambda x, y, f=f: f(x, y, class_counts=COUNTS) for f in (losses.ldam_loss, losses.balanced_softmax_loss)],
    ],
)
def test_a_label_outside_is_nan_not_the_loss_of_another_class(loss):
    got = loss(X, jnp.array([-1, 5, 4, 0]))
    assert np.isnan(got).tolist() == [True, True, False, False]


def test_arguments_may_be_lists():
    got = losses.cross_entropy([[2.0, 1.0], [0.0, 0.0]], [0, 1], where=[True, False])
    np.testing.assert_allclose(got, [np.log1p(np.exp(-1)), 0], rtol=1e-6)


def test_options_may_be_traced():
    def loss(smoothing, gamma, tau, scale, alpha, epsilon, reweight):
        return jnp.stack(
            [
                losses.cross_entropy(X, Y, label_smoothing=smoothing).sum(),
                losses.focal_loss(X, Y, gamma=gamma).sum(),
                losses.logit_adjusted_loss(X, Y, class_counts=COUNTS, tau=tau).sum(),
                losses.ldam_loss(X, Y, class_counts=COUNTS, scale=scale).sum(),
                losses.reslt_loss(
                    BRANCHES, Y, branch_masks=MASKS, alpha=alpha, probability_epsilon=epsilon, fusion_epsilon=epsilon
                ).total,
                losses.ride_loss(BRANCHES, Y, class_counts=COUNTS, reweight=reweight).total,
            ]
        )

    for epsilon, reweight in ((1e-7, True), (0.0, False)):
        options = 0.1, 1.5, 0.5, 10.0, 0.9, epsilon, reweight
        np.testing.assert_allclose(jax.jit(loss)(*options), loss(*options), rtol=1e-5)


def test_random_rotations_are_what_their_labels_say():
    images = jax.random.randint(jax.random.key(0), (200, 4, 4, 2), 0, 255).astype(jnp.uint8)
    rotated, labels = losses.random_rotations(jax.random.key(1), images)
    assert rotated.dtype == jnp.uint8
    for image, turned, label in zip(np.asarray(images), np.asarray(rotated), labels.tolist(), strict=True):
        np.testing.assert_array_equal(np.rot90(image, label), turned)
    assert np.bincount(labels, minlength=4).min() > 30
    np.testing.assert_array_equal(losses.rotate(images[0], -1), np.rot90(images[0], -1))
