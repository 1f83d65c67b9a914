"""Long-tailed image recognition in JAX. Importing this costs nothing: a part is imported when it is first used.

Example:
  >>> import ltjax
  >>> round(float(ltjax.losses.cross_entropy([[0.0, 0.0]], [1])[0]), 2)
  0.69
"""

import importlib
from typing import TYPE_CHECKING

from ltjax.version import __version__

if TYPE_CHECKING:
    from ltjax import arrays, class_counts, classifiers, losses, metrics, samplers
    from ltjax.inference.model import Model, Outputs, load

__all__ = [
    "Model",
    "Outputs",
    "__version__",
    "arrays",
    "class_counts",
    "classifiers",
    "load",
    "losses",
    "metrics",
    "samplers",
]

_FINISHED_RUNS = ("Model", "Outputs", "load")


def __getattr__(name: str) -> object:
    if name in _FINISHED_RUNS:
        return getattr(importlib.import_module("ltjax.inference.model"), name)
    if name in __all__:
        return importlib.import_module(f"ltjax.{name}")
    raise AttributeError(f"module 'ltjax' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
