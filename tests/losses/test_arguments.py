"""Bad arguments raise one line that names them; what is traced inside the caller's jit is used as it comes."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import losses
from tests.losses.catalogue import COUNTS, FIRST, MASKS

X, Y = jnp.ones((4, 5)), jnp.array([0, 1, 2, 4])
BRANCHES = jnp.ones((3, 4, 5))
BAD = [
    ([1, 2, 3, 4], "4 classes where the logits or labels have 5"),
    ([1, 2, -3, 4, 5], "class 2 has a negative count"),
    ([1, 2, 3, float("nan"), 5], "class 3 has a count that is not finite"),
    ([0] * 5, "all 5 classes"),
]


def taking(*parameters):
    """Parametrises over the losses that have such a parameter, and which one."""
    found = [(e, p) for e in FIRST for p in parameters if p in inspect.signature(e.function).parameters]
    return pytest.mark.parametrize("entry, parameter", found, ids=[f"{e.name} {p}" for e, p in found])


@pytest.mark.parametrize("values, message", BAD)
@taking("class_counts", "class_weights")
def test_bad_numbers_of_a_class_name_the_class(entry, parameter, values, message):
    x, y = entry.inputs()
    for given in (values, np.array(values), jnp.array(values)):
        with pytest.raises(ValueError, match=f"{parameter}: .*{message}"):
            entry.loss(x, y, **{parameter: given})
    # Concrete ones are still checked inside a jit.
    with pytest.raises(ValueError, match=message):
        jax.jit(lambda: entry.loss(x, y, **{parameter: values}))()


@taking("class_counts")
def test_a_class_without_images_is_named(entry, parameter):
    with pytest.raises(ValueError, match=r"class_counts: .*class 4 has no images"):
        entry.loss(*entry.inputs(), **{parameter: [1, 2, 3, 4, 0]})


@taking("class_counts", "class_weights")
def test_class_information_may_be_traced(entry, parameter):
    def loss(values):
        return entry.loss(*entry.inputs(), **{parameter: values})

    np.testing.assert_allclose(jax.jit(loss)(COUNTS), loss(COUNTS), rtol=1e-5)
    with pytest.raises(ValueError, match=r"expected shape \[5\]"):
        jax.jit(loss)(COUNTS[:3])


@pytest.mark.parametrize("entry", FIRST, ids=[e.name for e in FIRST])
def test_an_unknown_choice_is_named_with_those_allowed(entry):
    x, y = entry.inputs()
    for option in entry.choices():
        with pytest.raises(ValueError, match=f"{option}: unknown value 'neither'; allowed: "):
            entry.loss(x, y, **{option: "neither"})


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
        (lambda: losses.distillation_loss(X, X[:3]), "teacher_logits"),
        (
            lambda: losses.softmax_equalization_loss(
                X, Y, class_counts=np.arange(1, 6), threshold=0.1, ignored=[True] * 4
            ),
            "ignored",
        ),
        (lambda: losses.influence_balanced_loss(X, Y, X[:3]), r"features: .*\[4, 'd'\], not \[3, 5\]"),
        (lambda: losses.gaussian_clouded_loss(X, Y, X[:3], class_counts=COUNTS), "noise"),
        (lambda: losses.lade_regularizer(X, X, class_counts=COUNTS), "one true class"),
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
        (lambda: losses.balanced_contrastive_loss(X, Y, jnp.ones((5, 4))), "prototypes"),
        (lambda: losses.proco_loss(X, Y, jnp.ones((5, 4)), class_counts=COUNTS), "class_means"),
        (lambda: losses.paco_loss(X[:3], Y, X, X, Y, class_counts=COUNTS), "logits"),
        (lambda: losses.paco_loss(X, Y, X, X[:, :4], Y, class_counts=COUNTS), "keys"),
        (lambda: losses.cosine_consistency_loss(X, X[:3]), "targets"),
        (lambda: losses.binary_cross_entropy(X, Y), r"targets: .*\[4, 5\], not \[4\]"),
        (lambda: losses.asymmetric_loss(X, X[:3]), "targets"),
        (lambda: losses.distribution_balanced_loss(1.0, 1.0, class_counts=COUNTS, num_images=9), "scalar"),
        (lambda: losses.rotate(jnp.ones((2, 3, 4, 1)), 1), "images"),
        (lambda: losses.rotate(jnp.ones((2, 3, 3, 1)), 1.0), "quarter_turns"),
        (lambda: losses.rotate(jnp.ones((2, 3, 3, 1)), jnp.array([1, 2, 3])), "quarter_turns"),
    ],
)
def test_bad_arguments_raise_naming_them(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_arguments_may_be_lists():
    got = losses.cross_entropy([[2.0, 1.0], [0.0, 0.0]], [0, 1], where=[True, False])
    np.testing.assert_allclose(got, [np.log1p(np.exp(-1)), 0], rtol=1e-6)


def test_random_rotations_are_what_their_labels_say():
    images = jax.random.randint(jax.random.key(0), (200, 4, 4, 2), 0, 255).astype(jnp.uint8)
    rotated, labels = losses.random_rotations(jax.random.key(1), images)
    assert rotated.dtype == jnp.uint8
    for image, turned, label in zip(np.asarray(images), np.asarray(rotated), labels.tolist(), strict=True):
        np.testing.assert_array_equal(np.rot90(image, label), turned)
    assert np.bincount(labels, minlength=4).min() > 30
    np.testing.assert_array_equal(losses.rotate(images[0], -1), np.rot90(images[0], -1))
