"""Every config file has the settings that were published, all of them, and so has each of its words."""

import pytest

from ltjax.settings.blocks import Settings
from ltjax.settings.schema import leaves
from tests.recipes.published import TABLES
from tests.recipes.published.defaults import DEFAULTS
from tests.recipes.table import differences, same
from tests.shared import ROOT


@pytest.mark.parametrize("name", TABLES)
def test_a_recipe_has_its_published_settings(name):
    stem, _, words = name.partition(":")
    lines = differences(stem, words, TABLES[name])
    assert not lines, "\n".join(lines)


def test_every_config_file_has_a_table():
    files = {path.stem for path in (ROOT / "configs").glob("*.py")}
    assert files == {name.partition(":")[0] for name in TABLES}


def test_a_setting_that_no_recipe_mentions_has_its_default():
    published = {key: (value, source) for source, says in DEFAULTS.items() for key, value in says.items()}
    for key, _, default, about in leaves(Settings):
        if not about.stored_if_set and not key.startswith("second_stage_"):
            assert same(default, published[key][0]), f"{key}: {default!r}; {published[key][1]}: {published[key][0]!r}"
