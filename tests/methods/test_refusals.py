"""What a method cannot be combined with is refused in one line, before any data is read."""

import pytest

from ltjax.errors import InputError
from ltjax.methods import METHODS, configure
from ltjax.methods.method import Method
from ltjax.methods.refusals import UNDECLARED, check_combination
from ltjax.settings import Block
from tests.training import toy

PICKY = {"model.features": "its loss needs feature maps"}


def test_a_refused_setting_is_one_line_with_the_reason(monkeypatch):
    monkeypatch.setitem(METHODS, "picky", Method(lambda config, own, data: [], Block, refuses=PICKY))
    assert toy.config("picky").model.features == 0
    recipe = toy.recipe("picky", model__features=8)
    with pytest.raises(InputError) as error:
        configure.resolve(recipe)
    assert str(error.value) == (
        "config.model.features: impossible value 8; allowed: 0 with config.method=picky: its loss needs feature maps"
    )
    assert configure.from_json(recipe.to_dict()).model.features == 8  # a finished run stays readable


def test_a_user_method_that_declares_nothing_refuses_what_a_method_is_written_for():
    assert Method(lambda config, own, data: [], Block).refuses == UNDECLARED
    assert all(method.refuses != UNDECLARED for name, method in METHODS.items() if method.block in ("", "baseline"))


def test_what_is_unknown_is_not_refused():
    check_combination(toy.config("ce"), {"no.such": "it never was"})
