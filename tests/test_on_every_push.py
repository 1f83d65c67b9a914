"""The table of tests that run in part on every push (tests/conftest.py) names tests that there are."""

import re

import pytest

from tests.conftest import ON_EVERY_PUSH
from tests.shared import ROOT

SOURCES = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
DEFINED = [name for source in SOURCES for name in re.findall(r"(?m)^def (test_\w+)", source)]


@pytest.mark.parametrize("name", ON_EVERY_PUSH)
def test_a_name_is_that_of_one_test(name):
    assert DEFINED.count(name) == 1
