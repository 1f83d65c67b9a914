"""Counts to priors, weights, margins, groups and sampling: against the reference vectors and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import class_counts as cc


def test_effective_number_weights_agree_with_the_reference(reference):
    for case, v in reference("cb_weights").items():
        got = cc.effective_number_weights(v["class_counts"], float(v["beta"]))
        rtol = 1e-9 if v["weights"].dtype == np.float64 else 1e-6
        np.testing.assert_allclose(got, v["weights"], rtol=rtol, err_msg=case)


def test_effective_number_weights_near_beta_one_approach_inverse_frequency():
    counts = np.array([5000, 300, 7, 1])
    limit = (1 / counts) / (1 / counts).sum() * 4
    np.testing.assert_allclose(cc.effective_number_weights(counts, 1 - 1e-13), limit, rtol=1e-8)


def test_inverse_frequency_weights_are_the_cost_sensitive_ones():
    np.testing.assert_allclose(cc.inverse_frequency_weights([50, 10, 2]), [2 / 50, 2 / 10, 1])
    np.testing.assert_allclose(cc.inverse_frequency_weights([50, 10, 2], 0.5), np.sqrt([2 / 50, 2 / 10, 1]))


def test_ldam_margins_agree_with_the_reference(reference):
    for case, v in reference("ldam").items():
        got = cc.ldam_margins(v["class_counts"], float(v["max_m"]))
        np.testing.assert_allclose(got, v["margins"], rtol=1e-6, err_msg=case)


@pytest.mark.parametrize("epoch, reweighted", [(0, False), (159, False), (160, True), (199, True)])
def test_drw_weights_start_at_the_stated_epoch_traced_or_not(epoch, reweighted):
    counts = [500, 50, 5]
    expected = cc.effective_number_weights(counts, 0.9999) if reweighted else np.ones(3)
    np.testing.assert_array_equal(cc.drw_weights(counts, epoch, start=160), expected)
    traced = jax.jit(lambda e: cc.drw_weights(counts, e, start=160))(jnp.int32(epoch))
    np.testing.assert_allclose(traced, expected, rtol=1e-6)


def test_sampling_probabilities_agree_with_the_reference(reference):
    for case, v in reference("sampling_probabilities").items():
        counts, total, t = v["class_counts"], int(v["T"]), v["t"]
        for strategy, field in (("instance", "IB"), ("class", "CB"), ("square_root", "SR")):
            got = cc.sampling_probabilities(counts, strategy)
            np.testing.assert_allclose(got, v[field], rtol=1e-9, err_msg=f"{case} {strategy}")
        for field, progress in (("PB_paper", t / total), ("PB_author", t / (total - 1))):
            got = cc.sampling_probabilities(counts, "progressive", progress)
            np.testing.assert_allclose(got, v[field], rtol=1e-9, err_msg=f"{case} {field}")


def test_reversed_sampling_agrees_with_the_reference(reference):
    for case, v in reference("bbn").items():
        got = cc.sampling_probabilities(v["class_counts"], "reversed")
        np.testing.assert_allclose(got, v["reversed_prob"], rtol=1e-9, err_msg=case)


def test_progress_may_be_traced():
    got = jax.jit(lambda t: cc.sampling_probabilities([6, 3, 1], "progressive", t))(0.25)
    np.testing.assert_allclose(got, 0.75 * np.array([0.6, 0.3, 0.1]) + 0.25 / 3, rtol=1e-6)


@pytest.mark.parametrize("strategy", ["instance", "class", "square_root", "progressive"])
def test_a_class_without_images_is_never_drawn(strategy):
    got = cc.sampling_probabilities([6, 0, 2], strategy, progress=0.5)
    assert got[1] == 0
    np.testing.assert_allclose(got.sum(), 1)


def test_shot_conventions_at_their_limits():
    counts = [101, 100, 99, 21, 20, 19, 0]
    strict, inclusive = cc.shot_groups(counts), cc.shot_groups(counts, "inclusive")
    assert strict["many"].tolist() == [True] + [False] * 6
    assert strict["few"].tolist() == [False] * 5 + [True] * 2
    assert inclusive["many"].tolist() == [True] * 2 + [False] * 5
    assert inclusive["few"].tolist() == [False] * 4 + [True] * 3
    for groups in (strict, inclusive):
        assert (sum(mask.astype(int) for mask in groups.values()) == 1).all()


def test_shot_sizes_of_places_lt(reference):
    places = reference("places_lt_counts")
    for convention in ("strict", "inclusive"):
        sizes = {name: int(mask.sum()) for name, mask in cc.shot_groups(places["counts"], convention).items()}
        expected = places[convention]
        assert sizes == {"many": expected["many"], "medium": expected["median"], "few": expected["few"]}
    outside = [int(row.sum()) for row in ~cc.branch_masks(places["counts"])[1:]]
    assert outside == places.get("branches", [22, 22 + 191])


def test_shot_groups_by_index_follow_frequency_with_ties_by_label(reference):
    groups = cc.shot_groups([5, 7, 5, 9], "index", boundaries=(1, 3))
    assert groups["many"].tolist() == [False, False, False, True]
    assert groups["medium"].tolist() == [True, True, False, False]
    groups = cc.shot_groups(reference("cifar_lt_counts")["cifar100_exp_if100"]["counts"], "index", (35, 70))
    assert [int(m.sum()) for m in groups.values()] == [35, 35, 30]


@pytest.mark.parametrize("name, sizes", [("cifar10_exp_if100", [3, 3, 4]), ("cifar100_exp_if100", [33, 33, 34])])
def test_geometric_branches_of_an_exponential_profile_have_equal_sizes(name, sizes, reference):
    masks = cc.branch_masks(reference("cifar_lt_counts")[name]["counts"])
    assert masks[0].all()
    assert (-np.diff(masks.sum(1), append=0)).tolist() == sizes


def test_geometric_thresholds_are_exact_on_a_tie():
    # 1000 * (1/1000)^(1/3) = 100 and 10, both on a threshold, which floating-point roots miss.
    assert cc.branch_masks([1000, 100, 10, 1]).astype(int).tolist() == [[1, 1, 1, 1], [0, 1, 1, 1], [0, 0, 1, 1]]


def test_branches_at_positions_in_frequency_order():
    masks = cc.branch_masks([3, 50, 3, 100, 20], boundaries=(2, 4))
    assert masks.astype(int).tolist() == [[1, 1, 1, 1, 1], [1, 0, 1, 0, 1], [0, 0, 1, 0, 0]]
    counts = np.arange(8142, 0, -1)
    masks = cc.branch_masks(counts, boundaries=(1542,))
    assert masks.shape == (2, 8142)
    assert masks[1].sum() == 6600


def test_an_absent_class_belongs_to_the_tail_branch():
    assert cc.branch_masks([100, 0, 1])[2].astype(int).tolist() == [0, 1, 1]


BAD = [
    ([3, -1, 2], "class 1"),
    ([3, 2, float("nan")], "class 2"),
    ([float("inf"), 1, 1], "class 0"),
    ([0, 0, 0], "all 3 classes"),
    ([[1, 2, 3]], r"shape \[1, 3\]"),
    ([], r"shape \[0\]"),
    (["a", "b"], "expected numbers"),
    (np.ones(3, bool), "expected numbers"),
]
FUNCTIONS = {
    "validate": cc.validate,
    "prior": cc.prior,
    "effective_number_weights": lambda c: cc.effective_number_weights(c, 0.9),
    "inverse_frequency_weights": cc.inverse_frequency_weights,
    "ldam_margins": lambda c: cc.ldam_margins(c, 0.5),
    "drw_weights": lambda c: cc.drw_weights(c, 1, start=2),
    "shot_groups": cc.shot_groups,
    "branch_masks": cc.branch_masks,
    "sampling_probabilities": lambda c: cc.sampling_probabilities(c, "instance"),
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS.keys())
@pytest.mark.parametrize("counts, message", BAD, ids=[m for _, m in BAD])
def test_bad_counts_raise_naming_the_class(function, counts, message):
    with pytest.raises(ValueError, match=message):
        function(counts)


@pytest.mark.parametrize("name", ["effective_number_weights", "inverse_frequency_weights", "ldam_margins"])
def test_a_zero_count_raises_where_it_would_be_divided_by(name):
    with pytest.raises(ValueError, match="class 1 has no images"):
        FUNCTIONS[name]([3, 0, 2])
    with pytest.raises(ValueError, match="class 1 has no images"):
        cc.sampling_probabilities([3, 0, 2], "reversed")


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: cc.validate([1, 2], num_classes=3), "2 classes where the logits or labels have 3"),
        (lambda: cc.effective_number_weights([1, 2], 1.0), "beta"),
        (lambda: cc.shot_groups([1, 2], "stric"), "convention"),
        (lambda: cc.shot_groups([1, 2], "index", ()), "boundaries"),
        (lambda: cc.shot_groups([1, 2], "index", (2, 1)), "ascend"),
        (lambda: cc.shot_groups([1, 2], "strict", (0, 1)), "boundaries"),
        (lambda: cc.branch_masks([1, 2], boundaries=(3,)), "within 0..2"),
        (lambda: cc.branch_masks([1, 2], num_groups=0), "num_groups"),
        (lambda: cc.sampling_probabilities([1, 2], "balanced"), "strategy"),
        (lambda: cc.sampling_probabilities([1, 2], "progressive"), "progress"),
        (lambda: cc.sampling_probabilities([1, 2], "progressive", 1.5), "progress"),
    ],
)
def test_bad_choices_raise_naming_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()
