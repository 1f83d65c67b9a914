"""What this project should give, from two sources that know nothing of it: a test may ask for either.

"oracle": computed here, by plain float64 numpy written from the papers' formulas, on inputs from seeds; gradients are
central differences. "vectors": inputs and outputs of the authors' public code, in files beside the project
(``LTJAX_SHARED``); without the files those tests skip, and the oracle's run alone.

Both have the same form: case -> field -> array; or what a JSON file holds.
"""

import functools
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.reference import features, logits, networks, tables
from tests.shared import shared_path

JSON = {
    "cifar_lt_counts",
    "cifar_lt_selection",
    "loss_weight_lambda",
    "lr_schedules",
    "param_counts",
    "places_lt_counts",
}
ORACLES: dict[str, Callable[[], Any]] = {**logits.ORACLES, **features.ORACLES, **networks.ORACLES, **tables.ORACLES}


@functools.cache
def oracle(name: str) -> Any:
    return ORACLES[name]()


@functools.cache
def vectors(name: str) -> Any:
    """Every case of ``shared/reference/<name>.npz``, or the contents of ``<name>.json``; skips where it is missing."""
    if name in JSON:
        return json.loads(shared_path(f"reference/{name}.json").read_text())
    cases: dict[str, dict[str, np.ndarray]] = {}
    with np.load(shared_path(f"reference/{name}.npz")) as data:
        for key in data.files:
            case, _, field = key.partition("__")
            cases.setdefault(case, {})[field] = data[key]
    return cases


SOURCES = {"oracle": oracle, "vectors": vectors}
