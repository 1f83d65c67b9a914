"""One file a method. METHODS: name -> (config, data) -> list of stages."""

from collections.abc import Callable, Mapping
from typing import Any

from ltjax.data import Data
from ltjax.methods.auxiliary import auxiliary
from ltjax.methods.ce import cross_entropy_method
from ltjax.methods.reslt import reslt
from ltjax.methods.stage import Stage

METHODS: Mapping[str, Callable[[Any, Data], list[Stage]]] = {
    "auxiliary": auxiliary,
    "ce": cross_entropy_method,
    "reslt": reslt,
}
