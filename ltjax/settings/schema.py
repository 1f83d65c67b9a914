"""A setting is a field of a frozen dataclass: type, default, meaning, allowed values, whether a resume may change it.

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class LDAMSettings(Block):
        scale: float = setting(30.0, "factor on the cosines", positive)

Settings have one of the types int, float, bool, str, Literal of strings, tuple[int, ...], tuple[float, ...], their
optional forms, or are blocks themselves. ``read`` makes a block of nested mappings, as a config file or a stored
config.json has them.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from ltjax.errors import InputError, did_you_mean

T = TypeVar("T")
B = TypeVar("B", bound="Block")
KEY = "ltjax"  # of the field's metadata


@dataclasses.dataclass(frozen=True)
class Check:
    """The values that a setting may have.

    Attributes:
      holds: whether a value of the right type is possible.
      allowed: what is, in words, for the documentation and for errors.
      names: the possible values where they can be listed, to suggest the nearest one.
    """

    holds: Callable[[Any], bool]
    allowed: str
    names: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Setting:
    """What the schema says of a field beside its type and default.

    Attributes:
      meaning: one line.
      check: the possible values; None: all of the type.
      run_only: may change when a run is resumed: it decides where, how fast or how often, never what is computed.
      later: there are workdirs that are older than the setting; at its default it is as if it were not there.
      only_with: flat key of a later setting without which this one, too, is as if it were not there.
      only_given: None leaves it out of the stored config, which has it for some methods only.
    """

    meaning: str
    check: Check | None = None
    run_only: bool = False
    later: bool = False
    only_with: str = ""
    only_given: bool = False


def setting(
    default: T,
    meaning: str,
    check: Check | None = None,
    *,
    run_only: bool = False,
    later: bool = False,
    only_with: str = "",
    only_given: bool = False,
) -> T:
    """A field of a block; the arguments are those of ``Setting``."""
    about = Setting(meaning, check, run_only, later, only_with, only_given)
    return dataclasses.field(default=default, metadata={KEY: about})


def one_of(*names: str) -> Check:
    """One of these words."""
    return Check(lambda v: v in names, "one of " + ", ".join(names), names)


def integer(low: int, high: int | None = None) -> Check:
    """An integer from ``low`` to ``high``."""
    if high is None:
        return Check(lambda v: v >= low, f"an integer >= {low}")
    return Check(lambda v: low <= v <= high, f"an integer from {low} to {high}")


def number(low: float, high: float) -> Check:
    """A number from ``low`` to ``high``, both included."""
    return Check(lambda v: low <= v <= high, f"a number in [{low:g}, {high:g}]")


def _rising(values: Sequence[int]) -> bool:
    return all(isinstance(v, int) and v >= 1 for v in values) and sorted(set(values)) == list(values)


positive = Check(lambda v: 0 < v < math.inf, "a finite number > 0")
not_negative = Check(lambda v: 0 <= v < math.inf, "a finite number >= 0")
fraction = Check(lambda v: 0 <= v < 1, "a number in [0, 1)")
seed = Check(lambda v: 0 <= v < 2**32, "an integer in [0, 2**32)")
rising_epochs = Check(_rising, "rising epochs >= 1, such as (160,180)")
two_rising = Check(lambda v: len(v) == 2 and _rising(v), "two rising class indices, such as (35,70)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Block:
    """A group of settings."""

    def check(self, prefix: str) -> None:
        """Raises InputError for values that are possible one by one, but not together.

        Args:
          prefix: "config.NAME." of the block, for errors.
        """

    def to_dict(self) -> dict[str, Any]:
        """As nested dicts, the form of a config file and of config.json."""
        return {
            field.name: value.to_dict() if isinstance(value, Block) else value
            for field in settings_of(type(self))
            if (value := getattr(self, field.name)) is not None or not about(field).only_given
        }


def types_of(block: type[Block]) -> dict[str, Any]:
    """Setting -> its type."""
    return typing.get_type_hints(block)


def settings_of(block: type[Block]) -> Iterator[dataclasses.Field[Any]]:
    """The fields that are settings, in the order of the class."""
    return (field for field in dataclasses.fields(block) if KEY in field.metadata)


def about(field: dataclasses.Field[Any]) -> Setting:
    found = field.metadata[KEY]
    assert isinstance(found, Setting)
    return found


def block_type(kind: Any) -> type[Block] | None:
    """The block's class where a setting's type is a block or an optional one."""
    members = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    return next((m for m in members if isinstance(m, type) and issubclass(m, Block)), None)


def flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"optimizer.learning_rate": 0.1, ...} of nested mappings.

    Example:
      >>> flat({"seed": 0, "data": {"name": "cifar10"}})
      {'seed': 0, 'data.name': 'cifar10'}
    """
    out: dict[str, Any] = {}
    for key, value in nested.items():
        out.update(flat(value, f"{prefix}{key}.") if hasattr(value, "items") else {prefix + key: value})
    return out


def leaves(block: type[Block], prefix: str = "") -> Iterator[tuple[str, Any, Any, Setting]]:
    """(flat key, type, default, about) of every setting of the block and of the blocks in it."""
    for field in settings_of(block):
        kind = types_of(block)[field.name]
        inner = block_type(kind)
        if inner is not None:
            yield from leaves(inner, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, kind, field.default, about(field)


def type_name(kind: Any) -> str:
    """As a reader knows it.

    Example:
      >>> type_name(tuple[int, ...]), type_name(float | None), type_name(bool)
      ('tuple of int', 'float or None', 'bool')
    """
    if isinstance(kind, types.UnionType):
        return " or ".join(
            "None" if member is types.NoneType else type_name(member) for member in typing.get_args(kind)
        )
    if typing.get_origin(kind) is typing.Literal:  # its values are the check's
        return "str"
    if typing.get_origin(kind) is tuple:
        return f"tuple of {type_name(typing.get_args(kind)[0])}"
    return str(kind.__name__)


def coerced(value: Any, kind: Any) -> Any:
    """The value in the setting's type: an int is a float, a list a tuple.

    Raises:
      TypeError: if it has another type.
    """
    if isinstance(kind, types.UnionType):
        if value is None and types.NoneType in typing.get_args(kind):
            return None
        kind = next(member for member in typing.get_args(kind) if member is not types.NoneType)
    if typing.get_origin(kind) is typing.Literal:  # its values are the check's
        kind = str
    if typing.get_origin(kind) is tuple:
        element = typing.get_args(kind)[0]
        if not isinstance(value, list | tuple):
            raise TypeError
        return tuple(one for one in value if coerced(one, element) is not None)  # as they are written: 1 stays 1
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError
    return value


def read(block: type[B], values: Mapping[str, Any], prefix: str = "config.", tolerant: bool = False) -> B:
    """The block with these values, all of them checked; what is not given has its default.

    Args:
      block: the class.
      values: nested mappings.
      prefix: of the keys, in errors.
      tolerant: leaves out settings that the block does not have, as a config.json of a newer ltjax may.

    Raises:
      InputError: one line that names the setting, its value and what is allowed.

    Example:
      >>> @dataclasses.dataclass(frozen=True, kw_only=True)
      ... class Example(Block):
      ...     rate: float = setting(0.1, "learning rate", positive)
      >>> read(Example, {"rate": 1})
      Example(rate=1.0)
    """
    fields = {field.name: field for field in settings_of(block)}
    given: dict[str, Any] = {}
    for name, value in values.items():
        if name in fields:
            given[name] = _read_one(fields[name], types_of(block)[name], value, prefix, tolerant)
        elif not tolerant:
            allowed = ", ".join(f"{prefix}{known}" for known in fields)
            raise InputError(f"{prefix}{name}: unknown key{did_you_mean(name, fields)}; allowed: {allowed}")
    made = block(**given)
    made.check(prefix)
    return made


def _read_one(field: dataclasses.Field[Any], kind: Any, value: Any, prefix: str, tolerant: bool) -> Any:
    key, inner = prefix + field.name, block_type(kind)
    if inner is not None:
        if value is None and types.NoneType in typing.get_args(kind):
            return None
        if not hasattr(value, "items"):
            raise InputError(f"{key}: {value!r} has the wrong type; allowed: a group of settings")
        return read(inner, value, f"{key}.", tolerant)
    try:
        value = coerced(value, kind)
    except TypeError:
        raise InputError(
            f"{key}: {value!r} has the wrong type; allowed: {allowed_values(kind, about(field))}"
        ) from None
    check_value(key, value, about(field).check)
    return value


def allowed_values(kind: Any, about: Setting) -> str:
    """Type and possible values, for people."""
    return type_name(kind) + (f"; {about.check.allowed}" if about.check is not None else "")


def check_value(key: str, value: Any, check: Check | None) -> None:
    """Raises InputError for nan and for a value that the check refuses; None is always possible where the type is."""
    if any(isinstance(one, float) and math.isnan(one) for one in (value if isinstance(value, tuple) else (value,))):
        refuse(key, value, check.allowed if check is not None else "a number")
    if check is not None and value is not None and not check.holds(value):
        refuse(key, value, check.allowed + did_you_mean_name(value, check.names))


def did_you_mean_name(value: Any, names: tuple[str, ...]) -> str:
    return did_you_mean(value, names) if names else ""


def refuse(key: str, value: Any, allowed: str) -> typing.NoReturn:
    """Raises InputError in the form that every impossible value has."""
    raise InputError(f"{key}: impossible value {value!r}; allowed: {allowed}")


def replaced(block: B, changes: Mapping[str, Any], prefix: str = "config.") -> B:
    """The block with other values under flat keys, checked.

    Example:
      >>> @dataclasses.dataclass(frozen=True, kw_only=True)
      ... class Inner(Block):
      ...     rate: float = setting(0.1, "learning rate")
      >>> @dataclasses.dataclass(frozen=True, kw_only=True)
      ... class Outer(Block):
      ...     optimizer: Inner = setting(Inner(), "optimizer")
      >>> replaced(Outer(), {"optimizer.rate": 0.5}).optimizer.rate
      0.5
    """
    fields = {field.name: field for field in settings_of(type(block))}
    given: dict[str, Any] = {}
    for key, value in changes.items():
        name, _, rest = key.partition(".")
        if name not in fields:
            allowed = ", ".join(f"{prefix}{known}" for known in fields)
            raise InputError(f"{prefix}{key}: unknown key{did_you_mean(name, fields)}; allowed: {allowed}")
        inner = given.get(name, getattr(block, name))
        if rest:
            given[name] = replaced(inner, {rest: value}, f"{prefix}{name}.")
        elif isinstance(value, Block):
            given[name] = value
        else:
            given[name] = _read_one(fields[name], types_of(type(block))[name], value, prefix, False)
    made = dataclasses.replace(block, **given)
    made.check(prefix)
    return made
