"""Ablation tables: their rows come from the config file, and a row shows what its ingredient changed."""

import itertools
import json

import pytest

from ltjax.commands import table
from ltjax.commands.paper_tables.ablation import Ablation, in_turn, one_change, read_ablation
from ltjax.commands.paper_tables.ablation_render import ablation_sections
from ltjax.commands.paper_tables.structure import State
from ltjax.errors import InputError
from ltjax.methods import configure
from ltjax.report.text import DASH
from tests import recipes
from tests.commands.test_table import RESULTS, Runner
from tests.shared import ROOT

FILES = sorted(path.stem for path in (ROOT / "configs").glob("*_best.py"))
MINE = """
from ltjax.methods.configure import new_config
from ltjax.methods.ingredients import with_ingredients

INGREDIENTS = {"balanced": {"method": "balanced_softmax"}, "wide": {"model.width": 2}}


def get_config(arg=None):
    config = new_config("ce")
    config.data.name = "mnist5k"
    return with_ingredients(config, arg, INGREDIENTS)
"""


def results(*accuracies):
    """Of a run with these accuracies of its seeds."""
    each = [{"seed": seed, "accuracy": RESULTS["accuracy"] | {"mean_class": a}} for seed, a in enumerate(accuracies)]
    mean = sum(accuracies) / len(accuracies)
    std = {"accuracy": RESULTS["std"]["accuracy"] | {"mean_class": 0.01}}
    accuracy = RESULTS["accuracy"] | {"mean_class": mean}
    return RESULTS | {"seeds": list(range(len(each))), "accuracy": accuracy, "std": std, "per_seed": each}


@pytest.mark.parametrize("stem", FILES)
def test_the_rows_of_a_file_add_its_ingredients_in_turn_up_to_the_whole_recipe(stem, tmp_path):
    contents = read_ablation(f"ablation:{stem}")
    options, _ = table.parse_options([f"--root={tmp_path}", f"--table=ablation:{stem}", "--weights=resnet152=w.npz"])
    made = [configure.from_command_line(table.arguments(cell, options, []))[0] for cell in contents.cells()]
    assert len(made) == len(contents.rows) and made[0].method == "ce"
    for before, after in itertools.pairwise(made):
        assert before != after
    whole = recipes.parse(f"--config=configs/{stem}.py", "--config.num_seeds=3")
    assert made[-1] == whole


def test_the_table_shows_what_each_ingredient_changed():
    contents = Ablation("ablation", "mine", tuple(in_turn({"a": {}, "b": {}}, {})))
    found = [results(0.40, 0.50, 0.60), results(0.42, 0.50, 0.62), None]
    by_name = dict(zip((cell.name for cell in contents.cells()), found, strict=True))

    def state_of(cell):
        made = by_name[cell.name]
        return State("finished" if made else "not run yet", made)

    text = "\n".join(ablation_sections(contents, state_of))
    assert f"| base | 62.1 ± 1.1 | 43.3 ± 0.0 | {DASH} | 50.0 ± 1.0 | {DASH} | finished |" in text
    assert f"| + a | 62.1 ± 1.1 | 43.3 ± 0.0 | {DASH} | 51.3 ± 1.0 | +1.3 ± 1.2 | finished |" in text
    assert "| + b |  |  |  |  |  | not run yet |" in text


@pytest.mark.parametrize("stem", FILES)
def test_candidates_change_one_ingredient_of_the_recipe(stem, tmp_path):
    contents = read_ablation(f"candidates:{stem}")
    options, _ = table.parse_options([f"--root={tmp_path}", f"--table=candidates:{stem}", "--weights=resnet152=w.npz"])
    whole, *changed = (configure.from_command_line(table.arguments(cell, options, []))[0] for cell in contents.cells())
    assert whole == recipes.parse(f"--config=configs/{stem}.py", "--config.num_seeds=3")
    assert all(one != whole for one in changed)
    names = {cell.name for cell in contents.cells()}
    assert len(names) == len(contents.rows)
    in_both = names & {cell.name for cell in read_ablation(f"ablation:{stem}").cells()}
    assert len(in_both) == 2  # one root holds both tables: the recipe, and it without the last that was added


def test_a_candidate_that_sets_a_part_of_what_an_ingredient_sets_does_not_replace_it():
    rows = one_change({"a": {"x": 1, "y": 1}}, {"c": {"y": 2}})
    assert [row.label for row in rows] == ["recipe", "- a", "+ c"]


def test_a_candidate_that_sets_what_an_ingredient_sets_replaces_it():
    rows = [*one_change({"a": {"x": 1}, "b": {"y": 1}}, {"c": {"y": 2, "z": 1}, "d": {"w": 1}})]
    assert [row.label for row in rows] == ["recipe", "- a", "- b", "c instead of b", "+ d"]
    contents = Ablation("candidates", "mine", tuple(rows))
    found = [results(0.40, 0.50), results(0.30, 0.45), None, results(0.41, 0.52), results(0.50, 0.50)]
    by_name = dict(zip((cell.name for cell in contents.cells()), found, strict=True))

    def state_of(cell):
        made = by_name[cell.name]
        return State("finished" if made else "not run yet", made)

    text = "\n".join(ablation_sections(contents, state_of))
    assert "difference to the recipe" in text and f"| recipe | 62.1 ± 1.1 | 43.3 ± 0.0 | {DASH} | 45.0 ± 1.0" in text
    assert "-7.5 ± 3.5" in text and "+1.5 ± 0.7" in text and "+5.0 ± 7.1" in text
    assert "c instead of b" in text


def test_a_file_of_the_users_is_a_table_of_its_own(tmp_path, monkeypatch, capsys):
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.setattr(table, "train_and_report", runner := Runner())
    path = tmp_path / "mine.py"
    assert table.main([f"--root={tmp_path}/runs", f"--table=ablation:{path}", "--epochs=3", "--num-seeds=1"]) == 0
    assert runner.calls == ["mine_base_epochs-3", "mine_base_balanced_epochs-3", "mine_base_balanced_wide_epochs-3"]
    assert runner.arguments[2][0] == f"--config={path}:base,balanced,wide,epochs=3"
    made = (tmp_path / "runs" / "ablation_mine_epochs-3.md").read_text()
    assert capsys.readouterr().out == made and "3 epochs." in made
    assert json.loads((tmp_path / "runs" / runner.calls[2] / "config.json").read_text())["model"]["width"] == 2


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--table=ablation:cifar100_ce"], "cifar100_ce.py has no INGREDIENTS"),
        (["--table=ablation:cifar100_bests"], "did you mean 'cifar100_best'"),
        (["--table=ablation:cifar100_best", "--short"], "shorten it with --epochs=N"),
        (["--table=ablation:cifar100_best", "--data=mnist5k"], "the config file says what is run"),
        (["--table=cifar", "--epochs=3"], "only with --table=ablation:FILE and candidates:FILE"),
        (["--table=candidates:cifar100_ce"], "cifar100_ce.py has no INGREDIENTS"),
        (["--table=candidate:cifar100_best"], "candidates:FILE"),
        (["--table=ablation:cifar100_best", "--epochs=-1"], "allowed: an integer >= 1"),
    ],
)
def test_a_flag_that_does_not_fit_is_one_line(arguments, line, tmp_path, capsys):
    assert table.main([f"--root={tmp_path}", "--list", *arguments]) == 2
    assert line in capsys.readouterr().err


@pytest.mark.parametrize("wrong", ["['balanced']", "{'balanced': ('loss.tau', 1.0)}", "None"])
@pytest.mark.parametrize("name", ["INGREDIENTS", "OTHERS"])
def test_ingredients_of_another_form_are_one_line(name, wrong, tmp_path, capsys):
    (tmp_path / "mine.py").write_text(f"{MINE}\n{name} = {wrong}\n")
    assert table.main([f"--root={tmp_path}/runs", f"--table=candidates:{tmp_path}/mine.py", "--list"]) == 2
    error = capsys.readouterr().err
    assert f"its {name} is not a dict from each ingredient to a dict of settings" in error and error.count("\n") == 1


def test_a_word_puts_an_ingredient_in_or_leaves_it_out():
    assert recipes.resolved("cifar100", "best", "no_balanced").loss.tau == 0
    assert recipes.resolved("cifar100", "best", "base,balanced,imbalance=50").data.imbalance == 50
    with pytest.raises(InputError, match=r"unknown argument 'no_balance'.*did you mean 'no_balanced'"):
        recipes.build("cifar100", "best", "no_balance")
