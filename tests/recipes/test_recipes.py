"""Every config file has the settings that were published, all of them, and so has each of its words."""

import pytest

from ltjax.methods import METHODS
from ltjax.methods.baselines import BASELINES
from ltjax.methods.recent import RECENT
from ltjax.settings.config_file import COMMON
from ltjax.settings.user_code import load_file
from tests import recipes
from tests.recipes.compare import of_constants, of_defaults
from tests.recipes.published import TABLES
from tests.recipes.table import differences
from tests.shared import ROOT


@pytest.mark.parametrize("name", TABLES)
def test_a_recipe_has_its_published_settings(name):
    stem, _, words = name.partition(":")
    lines = differences(stem, words, TABLES[name])
    assert not lines, "\n".join(lines)


def test_every_config_file_has_a_table():
    files = {path.stem for path in (ROOT / "configs").glob("*.py")}
    assert files == {name.partition(":")[0] for name in TABLES}


def test_every_word_has_a_table():
    """Of a family in one of its files at least, of a file in its own; those that all files have in one of them."""
    tested: dict[str, set[str]] = {}
    for name in TABLES:
        stem, _, words = name.partition(":")
        for key in (stem, stem.partition("_")[2]):
            tested.setdefault(key, set()).update(word.partition("=")[0] for word in words.split(","))
    assert set(COMMON) <= tested["ce"]
    for family in recipes.FAMILIES[1:-2]:
        assert set(METHODS[family].words) <= tested[family]
    for stem in {name.partition(":")[0] for name in TABLES}:
        words = vars(load_file(f"configs/{stem}.py", "--config")).get("WORDS", {})
        assert set(words) - {"strong"} <= tested[stem] or stem == "places_reslt", stem
        if stem.endswith("_baselines"):
            assert {*BASELINES, "oltr", "on"} <= tested[stem], stem
        if stem.endswith("_best"):
            file = load_file(f"configs/{stem}.py", "--config")
            assert {"base", *file.INGREDIENTS, *file.OTHERS} <= tested[stem], stem
        if stem.endswith("_recent"):
            assert set(RECENT) <= tested[stem], stem


def test_a_setting_that_no_recipe_mentions_has_its_default():
    lines = of_defaults()
    assert not lines, "\n".join(lines)


def test_constants_have_their_published_values():
    lines = of_constants()
    assert not lines, "\n".join(lines)
