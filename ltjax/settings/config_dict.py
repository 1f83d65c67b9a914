"""A config while it is written: what ltjax uses of a ConfigDict of ml_collections, and one without it."""

import copy
from collections.abc import Mapping
from typing import Any, Protocol


class Config(Protocol):
    """Settings and blocks as attributes, of types that only ``resolve`` checks: ``config.optimizer.learning_rate``.

    A ConfigDict types every attribute as a union of all that it can hold, which says less than nothing to a type
    checker: here they are Any, up to the typed settings.
    """

    def __getattr__(self, name: str, /) -> Any: ...
    def __setattr__(self, name: str, value: Any, /) -> None: ...
    def __getitem__(self, key: str, /) -> Any: ...
    def __setitem__(self, key: str, value: Any, /) -> None: ...
    def __delitem__(self, key: str, /) -> None: ...
    def __contains__(self, key: str, /) -> bool: ...
    def get(self, key: str, default: Any = None, /) -> Any: ...
    def update(self, *others: Mapping[str, Any], **changes: Any) -> None: ...
    def update_from_flattened_dict(self, flattened_dict: Mapping[str, Any], /) -> None: ...
    def copy_and_resolve_references(self) -> "Config": ...
    def to_dict(self) -> dict[str, Any]: ...


class PlainConfig(dict[str, Any]):
    """What a ConfigDict does for a config file, where ml_collections is not installed.

    It takes values of any type: ``resolve`` checks them.

    Example:
      >>> config = PlainConfig(optimizer=PlainConfig(learning_rate=0.1))
      >>> config.optimizer.update(learning_rate=0.2)
      >>> config.update_from_flattened_dict({"optimizer.nesterov": True})
      >>> config.to_dict()
      {'optimizer': {'learning_rate': 0.2, 'nesterov': True}}
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def update(self, *others: Any, **changes: Any) -> None:
        for key, value in dict(*others, **changes).items():
            if isinstance(self.get(key), PlainConfig) and isinstance(value, Mapping):
                self[key].update(value)
            else:
                self[key] = value

    def update_from_flattened_dict(self, flattened_dict: Mapping[str, Any]) -> None:
        for path, value in flattened_dict.items():
            block, *names = self, *path.split(".")
            for name in names[:-1]:
                block = block[name]
            block[names[-1]] = value

    def copy_and_resolve_references(self) -> "PlainConfig":
        return copy.deepcopy(self)

    def to_dict(self) -> dict[str, Any]:
        return {key: value.to_dict() if isinstance(value, PlainConfig) else value for key, value in self.items()}


def empty_config() -> Config:
    """A ConfigDict, which takes only values of a setting's type; without ml_collections one that takes any."""
    try:
        from ml_collections.config_dict import ConfigDict
    except ImportError:
        return PlainConfig()
    made: Config = ConfigDict()
    return made


def unset(kind: type) -> Any:
    """The value of a setting of this type that has none yet."""
    try:
        from ml_collections.config_dict import placeholder
    except ImportError:
        return None
    return placeholder(kind)


def is_config(value: object) -> bool:
    """Whether ``empty_config`` made it, or the user from ml_collections."""
    try:
        from ml_collections.config_dict import ConfigDict
    except ImportError:
        return isinstance(value, PlainConfig)
    return isinstance(value, ConfigDict)
