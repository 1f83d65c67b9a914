"""Where the reference vectors and data sets lie, when they are there: beside the project, never in it."""

import os
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PLACES = [pathlib.Path(p) for p in [os.environ.get("LTJAX_SHARED", "")] if p] + [
    ROOT.parent / "shared",
    ROOT.parent.parent / "shared",
]


def shared_path(relative: str) -> pathlib.Path:
    """The file or folder ``shared/<relative>`` beside the project; skips the test when it is not there."""
    for place in PLACES:
        if (place / relative).exists():
            return place / relative
    pytest.skip(f"shared/{relative} is not beside the project (set LTJAX_SHARED to its folder)")
