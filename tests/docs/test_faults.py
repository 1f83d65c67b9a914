"""The page of faults names the tests that provoke them."""

import ast
import re

import pytest

from tests.shared import ROOT

PAGE = ROOT / "docs" / "guides" / "faults.md"
FAULTS = ROOT / "tests" / "faults"
ROWS = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and "::" in line]


def named(row):
    """(path, test, whether it is said to be slow) of each test in a row."""
    found = re.findall(r"`([\w/]+\.py)::(\w+)`( \(slow\))?", row)
    return [
        (FAULTS / file if "/" not in file else ROOT / "tests" / file, test, bool(slow)) for file, test, slow in found
    ]


def functions(path):
    return {node.name: node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:50])
def test_every_fault_has_a_test_that_is_there(row):
    assert len(re.split(r"(?<!\\)\|", row)) == 6, row
    assert named(row), row
    for path, test, slow in named(row):
        assert path.exists(), path
        assert test in functions(path), f"{path.name} has no {test}"
        marks = [ast.unparse(one) for one in functions(path)[test].decorator_list]
        marked = "pytestmark = pytest.mark.slow" in path.read_text() or any("slow" in one for one in marks)
        assert slow <= marked, f"{test} is not marked slow"


def test_every_file_of_provoked_faults_is_on_the_page():
    listed = {path.name for row in ROWS for path, _, _ in named(row)}
    assert {path.name for path in FAULTS.glob("test_*.py")} <= listed
