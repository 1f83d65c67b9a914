"""What one family of methods adds to a config: its settings, its own schedule, its words behind the colon."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from ml_collections.config_dict import ConfigDict


def _nothing(*_: object) -> None:
    pass


class Family(NamedTuple):
    """One family, ``configs/<dataset>_<family>.py``.

    Attributes:
      configure: (config with the data set's recipe, data set) -> None; adds the family's settings and schedule.
      arguments: word or key behind the colon -> (config, value) -> None; the value of a bare word is "".
      resolve: (config) -> None; fills in, after all overrides, what depends on other settings.
      short: (config) -> None; what ``:short`` means beside the shorter schedule.
    """

    configure: Callable[[ConfigDict, str], None] = _nothing
    arguments: Mapping[str, Callable[[ConfigDict, str], None]] = MappingProxyType({})
    resolve: Callable[[ConfigDict], None] = _nothing
    short: Callable[[ConfigDict], None] = _nothing


def setting(path: str, kind: Callable[[str], object] = float) -> Callable[[ConfigDict, str], None]:
    """An argument ``key=value`` that sets one setting, such as ``setting("reslt.groups", int)``."""

    def apply(config: ConfigDict, value: str) -> None:
        config.update_from_flattened_dict({path: kind(value)})

    return apply
