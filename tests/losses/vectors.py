"""The reference vectors as dictionaries: case -> field -> array."""

import numpy as np

from tests.shared import shared_path


def read(name: str) -> dict[str, dict[str, np.ndarray]]:
    """Every case of ``shared/reference/<name>.npz``; skips the test where that is not there."""
    cases: dict[str, dict[str, np.ndarray]] = {}
    with np.load(shared_path(f"reference/{name}.npz")) as data:
        for key in data.files:
            case, field = key.split("__", 1)
            cases.setdefault(case, {})[field] = data[key]
    return cases
