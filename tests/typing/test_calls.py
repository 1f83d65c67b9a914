"""A type checker finds swapped and wrong arguments of the public functions, and nothing in right calls."""

import pathlib
import re

import pytest

CALLS = pathlib.Path(__file__).with_name("calls.py")


def test_mypy_finds_every_wrong_call_and_no_other():
    api = pytest.importorskip("mypy.api")
    found, problems, _ = api.run([str(CALLS), "--no-error-summary", "--no-color-output"])
    assert not problems, problems
    expected = {number for number, line in enumerate(CALLS.read_text().splitlines(), 1) if line.endswith("# wrong")}
    errors = [re.match(r".*calls\.py:(\d+): error", line) for line in found.splitlines()]
    assert len(expected) > 20 and {int(error[1]) for error in errors if error} == expected, found
