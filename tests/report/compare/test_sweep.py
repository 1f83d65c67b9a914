"""Which setting is swept, and what its curves hold."""

import pytest

from ltjax.errors import InputError
from ltjax.report.compare import choose_sweep
from ltjax.report.compare.groups import group_by_seed
from ltjax.report.compare.sweep import differing_settings, make_sweep, swept
from tests.report.compare.rows import member


def reslt(**settings):
    """A run with these settings: alpha and groups are reslt's, the others have __ for a dot."""
    common = {"epochs": 200, "data.sampler": "random", "optimizer.schedule.milestones": [160, 180]}
    given = {f"reslt.{k}" if k in ("alpha", "groups") else k.replace("__", "."): v for k, v in settings.items()}
    return member("reslt", settings={k: given.pop(k) for k in list(given) if k.startswith("reslt.")} | common | given)


def test_the_one_setting_that_differs_is_found_sorted_and_others_are_references():
    groups = group_by_seed([reslt(alpha=0.9), member("ce"), reslt(alpha=0.1), reslt(alpha=0.5)])
    sweep = choose_sweep(groups)
    assert (sweep.key, sweep.numeric, sweep.values) == ("reslt.alpha", True, [0.1, 0.5, 0.9])
    assert [group.settings["reslt.alpha"] for group in sweep.series[0].groups] == [0.1, 0.5, 0.9]
    assert [group.label for group in sweep.references] == ["ce"] and sweep.along == []


def test_each_combination_of_the_other_settings_is_a_line():
    pairs = [(0.1, 2), (0.9, 2), (0.1, 3), (0.9, 3), (0.5, 9)]
    groups = group_by_seed([reslt(alpha=alpha, groups=number) for alpha, number in pairs])
    assert swept(groups) == ["reslt.alpha", "reslt.groups"]
    sweep = make_sweep(groups, "alpha")
    assert [line.label for line in sweep.series] == ["reslt, groups=2", "reslt, groups=3"]
    assert [group.settings["reslt.groups"] for group in sweep.references] == [9]
    assert "choose one with --x=KEY" in choose_sweep(groups)
    assert [line.label for line in make_sweep(groups[:2] + groups[4:], "alpha").series] == ["reslt, groups=2"]


def test_two_methods_over_one_setting_are_two_lines():
    groups = group_by_seed(
        [member(method, settings={"model.width": w}) for method in ("ce", "reslt") for w in (1, 2, 3)]
    )
    sweep = choose_sweep(groups)
    assert [(line.label, len(line.groups)) for line in sweep.series] == [("ce", 3), ("reslt", 3)]


def test_settings_that_follow_the_chosen_one_may_vary_along():
    groups = group_by_seed([reslt(alpha=1, epochs=e, optimizer__schedule__milestones=[e - 1]) for e in (10, 30)])
    assert "no two runs differ in one setting only" in choose_sweep(groups)
    sweep = choose_sweep(groups, "config.epochs")
    assert sweep.values == [10, 30] and sweep.along == ["optimizer.schedule.milestones"]


def test_words_are_categories_in_the_given_order():
    sweep = choose_sweep(group_by_seed([reslt(alpha=1, data__sampler=name) for name in ("square_root", "balanced")]))
    assert not sweep.numeric and sweep.values == ["square_root", "balanced"]


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("alfa", r"--x=alfa: the runs do not differ in it \(did you mean 'reslt.alpha'\?\)|--x=alfa: .*they differ in"),
        ("lambda", "do not differ in it.*they differ in reslt.alpha, reslt.groups, reslt.tau, lws.tau"),
        ("tau", "may be reslt.tau or lws.tau; write the whole key"),
    ],
)
def test_an_unknown_setting_is_one_line_with_those_that_differ(key, words):
    two = [{"reslt.alpha": a, "reslt.groups": g, "reslt.tau": a, "lws.tau": g} for a, g in ((1, 2), (1, 3), (2, 2))]
    groups = group_by_seed([member("reslt", settings=settings) for settings in two])
    assert len(differing_settings(groups)) == 4
    with pytest.raises(InputError, match=words):
        make_sweep(groups, key)


def test_nothing_to_sweep_is_said():
    assert choose_sweep(group_by_seed([member("ce"), member("reslt")])) == "no two runs of a method differ in a setting"
