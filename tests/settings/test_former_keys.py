"""A setting that moved: stored configs of older versions are read, and their runs are the same runs."""

import json

import pytest

from ltjax.methods import configure
from ltjax.settings.identity import difference, identity, identity_of, to_json
from tests import recipes


def older(settings, block, width):
    """What config.json held when the layer's width was a setting of these methods alone."""
    stored = json.loads(to_json(settings))
    for name in ("features", "needs_pretrained"):
        del stored["model"][name]
    stored[block]["features"] = width
    return stored


@pytest.mark.parametrize(
    "family, words, block, width", [("auxiliary", "", "auxiliary", 512), ("baselines", "oltr", "oltr", 0)]
)
def test_a_run_from_before_the_layer_was_a_setting_of_any_method(family, words, block, width):
    settings = recipes.resolved("mnist5k", family, words)
    stored = older(settings, block, width)
    assert configure.from_json(stored) == settings
    assert difference(settings, stored) is None and identity_of(stored, settings) == identity(settings)
    other = older(settings, block, 7)
    assert configure.from_json(other).model.features == 7
    assert difference(settings, other) == f"config.model.features is 7 there and {width} here"


def test_a_default_that_changed_leaves_runs_the_same():
    settings = recipes.resolved("folder", "ce")
    stored = json.loads(to_json(settings))
    assert stored["evaluation"]["index_boundaries"] == []
    stored["evaluation"]["index_boundaries"] = [3, 6]
    assert difference(settings, stored) is None and identity_of(stored, settings) == identity(settings)
    assert identity(settings)["evaluation.index_boundaries"] == [3, 6]  # fingerprints of checkpoints are made of it
    stored["evaluation"]["index_boundaries"] = [4, 6]
    assert difference(settings, stored) == "config.evaluation.index_boundaries is [4, 6] there and [3, 6] here"


def test_a_run_of_another_method_is_unchanged_without_the_layer():
    settings = recipes.resolved("mnist5k", "ce")
    stored = json.loads(to_json(settings))
    for name in ("features", "needs_pretrained"):
        del stored["model"][name]
    assert difference(settings, stored) is None and "model.features" not in identity(settings)
    wide = settings.replaced({"model.features": 512})
    assert difference(wide, stored) == "config.model.features is None there and 512 here"
