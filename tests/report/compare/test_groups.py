"""Runs become rows: seeds that belong together, their means and deviations, and labels."""

import numpy as np
import pytest

from ltjax.errors import InputError
from ltjax.report.compare.groups import group_by_seed
from ltjax.report.seeds import pooled
from tests.report.compare.rows import COUNTS, member
from tests.report.synthetic import results_of_seeds


def labels(*members):
    return [group.label for group in group_by_seed(members)]


def test_runs_that_differ_only_in_the_seed_are_one_row_with_the_sample_deviation():
    members = [member(seed=seed) for seed in (0, 1, 2)]
    (group,) = group_by_seed([members[0], members[2], members[1]])
    each = np.array([one.run.results["per_class"] for one in members])
    assert group.results["seeds"] == [0, 2, 1]
    np.testing.assert_allclose(group.results["per_class"], each.mean(0))
    np.testing.assert_allclose(group.results["std"]["per_class"], each.std(0, ddof=1))
    all_ = [one.run.results["accuracy"]["all"] for one in members]
    np.testing.assert_allclose(group.accuracy("all"), (np.mean(all_), np.std(all_, ddof=1)))
    np.testing.assert_allclose(group.weight_norms, np.mean([one.run.weight_norms for one in members], axis=0))
    assert group.results["shots"]["strict"]["classes"] == members[0].run.results["shots"]["strict"]["classes"]


def test_a_run_of_several_seeds_and_one_of_a_single_seed_count_by_their_seeds():
    several = results_of_seeds(COUNTS, 2, method="ce")
    single = member(seed=9)
    (group,) = group_by_seed([member(seed=5, **several), single])
    each = [one["accuracy"]["few"] for one in several["per_seed"]] + [single.run.results["accuracy"]["few"]]
    np.testing.assert_allclose(group.accuracy("few"), (np.mean(each), np.std(each, ddof=1)))
    assert group.results["seeds"] == [5, 6, 9]


def test_pooled_values_keep_what_is_unknown_or_no_measurement():
    mean, deviation = pooled([{"few": None, "convention": "strict", "classes": [1, 2]}] * 2, [{}, {}], [1, 1])
    assert mean == {"few": None, "convention": "strict", "classes": [1, 2]} and deviation["few"] is None


def test_views_of_several_runs_are_averaged():
    views = [{"branch_0": {"accuracy": {"all": value, "few": None}}} for value in (0.5, 0.7)]
    (group,) = group_by_seed([member(seed=seed, views=of) for seed, of in enumerate(views)])
    branch = group.results["views"]["branch_0"]
    assert branch["accuracy"] == {"all": pytest.approx(0.6), "few": None}
    assert branch["std"]["accuracy"]["all"] == pytest.approx(np.std([0.5, 0.7], ddof=1))


@pytest.mark.parametrize("changes", [{"epochs": 10}, {"settings": {"epochs": 10}}, {"train_index_sha256": "f" * 64}])
def test_other_settings_epochs_or_data_are_another_row(changes):
    assert len(group_by_seed([member(), member(seed=1, **changes)])) == 2


def test_a_label_is_the_method_and_what_distinguishes_it_in_the_order_of_the_settings():
    runs = [
        member("decoupling", settings={"decoupling.second_stage": stage, "decoupling.tau": tau, "epochs": 90})
        for stage, tau in (("crt", 1.0), ("tau", 0.5), ("tau", 1.0))
    ]
    assert labels(member("ce"), *runs) == [
        "ce", "decoupling, second_stage=crt", "decoupling, second_stage=tau, tau=0.5",
        "decoupling, second_stage=tau, tau=1",
    ]  # fmt: skip


def test_many_differences_are_the_name_of_the_folder():
    keys = [f"reslt.{letter}" for letter in "abcd"]
    settings = [dict.fromkeys(keys, 1)] + [dict.fromkeys(keys, 1) | dict.fromkeys(keys[:n], 2) for n in (4, 3, 2, 1)]
    runs = [member("reslt", settings=one, path=f"runs/number{i}/") for i, one in enumerate(settings)]
    assert labels(*runs)[0] == "reslt, a=1" and labels(*runs)[1] == "reslt (number1)"


def test_runs_without_a_config_are_rows_of_their_own():
    assert labels(member(settings={}, path="a/x"), member(settings={}, path="a/y", seed=1)) == ["ce (x)", "ce (y)"]


def test_a_users_method_is_called_by_its_function():
    assert labels(member("/mine/poly.py:poly")) == ["poly"]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([{"path": "a"}, {"path": "a"}], "a: is given twice"),
        ([{"path": "a"}, {"path": "b"}], "b: is the same run as a .same settings, seed 0."),
        ([{"name": "x"}, {"name": "y", "seed": 1}], "'x' and 'y' are one row"),
        ([{"name": "x"}, {"name": "x", "epochs": 3}], "two rows are called 'x'"),
        ([{"path": "a/r", "settings": {}}, {"path": "b/r", "settings": {}}], "two rows are called 'ce .r.'.*NAME=b/r"),
    ],
)
def test_mistakes_are_one_line(members, words):
    with pytest.raises(InputError, match=words) as caught:
        group_by_seed([member(**one) for one in members])
    assert "\n" not in str(caught.value)


def test_another_convention_is_read_from_the_same_results():
    one = member()
    (group,) = group_by_seed([one], "index")
    shots = one.run.results["shots"]["index"]
    assert [group.accuracy(key)[0] for key in ("many", "medium", "few")] == [
        shots[k] for k in ("many", "medium", "few")
    ]
    assert group.results["convention"] == "index"
    assert group.accuracy("all")[0] == one.run.results["accuracy"]["all"]
