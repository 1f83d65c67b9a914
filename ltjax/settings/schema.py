"""A setting is a field of a frozen dataclass: type, default, meaning, allowed values, whether it may change on resume.

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class LDAMSettings(Block):
        scale: float = setting(30.0, "factor on the cosines", positive)

The type of a setting is int, float, bool, str, Literal of strings, tuple[int, ...], tuple[float, ...], an optional form
of these, or another block. ``read`` turns nested mappings (a config file, a stored config.json) into a block.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from ltjax.errors import InputError, did_you_mean, shortened

T = TypeVar("T")
B = TypeVar("B", bound="Block")
KEY = "ltjax"  # the key in a field's metadata
LARGEST = 2**31 - 1  # of an integer: steps, records and classes are int32 on the devices
LARGEST_FLOAT = 3.4e38  # of a float: what is more is infinite in float32
LARGEST_EPOCHS = 1_000_000


@dataclasses.dataclass(frozen=True)
class Check:
    """The values that a setting may have.

    Attributes:
      holds: whether a value of the right type is allowed.
      allowed: the allowed values in words, for the documentation and for errors.
      names: the allowed values if they can be listed, for "did you mean".
    """

    holds: Callable[[Any], bool]
    allowed: str
    names: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Setting:
    """What the schema records for a field besides its type and default.

    Attributes:
      meaning: one line.
      check: the allowed values; None: all values of the type.
      run_only: may change on resume; it affects where, how fast or how often, never the result.
      added_later: some workdirs are older than the setting; at its default it is treated as absent.
      former_default: the default in older workdirs, whose runs are the same as those with the new one; None: the same.
      depends_on: flat key of an added_later setting; while that one is absent, this one is too.
      stored_if_set: omitted from the stored config while it is None; only some methods use it.
      formerly: flat keys of the same setting in configs of older versions.
    """

    meaning: str
    check: Check | None = None
    run_only: bool = False
    added_later: bool = False
    depends_on: str = ""
    stored_if_set: bool = False
    formerly: tuple[str, ...] = ()
    former_default: Any = None


def setting(
    default: T,
    meaning: str,
    check: Check | None = None,
    *,
    run_only: bool = False,
    added_later: bool = False,
    depends_on: str = "",
    stored_if_set: bool = False,
    formerly: tuple[str, ...] = (),
    former_default: T | None = None,
) -> T:
    """A field of a block, with its default; the other arguments are those of ``Setting``."""
    about = Setting(meaning, check, run_only, added_later, depends_on, stored_if_set, formerly, former_default)
    return dataclasses.field(default=default, metadata={KEY: about})


def one_of(*names: str) -> Check:
    """One of these words."""
    return Check(lambda v: v in names, "one of " + ", ".join(names), names)


def integer(low: int, high: int | None = None) -> Check:
    """An integer from ``low`` to ``high``; None = the largest that the devices count with."""
    if high is None:
        return Check(lambda v: low <= v <= LARGEST, f"an integer >= {low}")
    return Check(lambda v: low <= v <= high, f"an integer from {low} to {high}")


def number(low: float, high: float) -> Check:
    """A number from ``low`` to ``high``, both included."""
    return Check(lambda v: low <= v <= high, f"a number in [{low:g}, {high:g}]")


def _increasing(values: Sequence[int]) -> bool:
    return all(isinstance(v, int) and 1 <= v <= LARGEST_EPOCHS for v in values) and sorted(set(values)) == list(values)


positive = Check(lambda v: 0 < v <= LARGEST_FLOAT, "a finite number > 0")
not_negative = Check(lambda v: 0 <= v <= LARGEST_FLOAT, "a finite number >= 0")
number_of_epochs = integer(1, LARGEST_EPOCHS)
fraction = Check(lambda v: 0 <= v < 1, "a number in [0, 1)")
seed = Check(lambda v: 0 <= v < 2**32, "an integer in [0, 2**32)")
increasing_epochs = Check(_increasing, f"increasing epochs from 1 to {LARGEST_EPOCHS}, such as (160,180)")
class_numbers = Check(
    lambda v: all(0 <= c <= LARGEST for c in v) and len(set(v)) == len(v), "different class numbers >= 0, such as (0,9)"
)
two_increasing = Check(
    lambda v: not v or (len(v) == 2 and _increasing(v)), "() or two increasing class indices, such as (35,70)"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Block:
    """A group of settings."""

    def check(self, prefix: str) -> None:
        """Raises InputError for values that are allowed one by one, but not in combination.

        Args:
          prefix: the block's path, such as "config.data.", for errors.
        """

    def to_dict(self) -> dict[str, Any]:
        """The settings as nested dicts, the form of a config file and of config.json."""
        return {
            field.name: value.to_dict() if isinstance(value, Block) else value
            for field in settings_of(type(self))
            if (value := getattr(self, field.name)) is not None or not setting_of(field).stored_if_set
        }


_TYPES: dict[type[Block], Mapping[str, Any]] = {}  # kept: reading them is most of the time that a config takes


def types_of(block: type[Block]) -> Mapping[str, Any]:
    """The type of each setting, by name."""
    if block not in _TYPES:
        _TYPES[block] = typing.get_type_hints(block)
    return _TYPES[block]


def settings_of(block: type[Block]) -> Iterator[dataclasses.Field[Any]]:
    """The fields that are settings, in definition order."""
    return (field for field in dataclasses.fields(block) if KEY in field.metadata)


def setting_of(field: dataclasses.Field[Any]) -> Setting:
    """The schema's record of a field."""
    found = field.metadata[KEY]
    assert isinstance(found, Setting)
    return found


def block_type(kind: Any) -> type[Block] | None:
    """The block's class if a setting's type is a block or an optional block, otherwise None."""
    members = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    return next((m for m in members if isinstance(m, type) and issubclass(m, Block)), None)


def flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flattens nested mappings to {"optimizer.learning_rate": 0.1, ...}.

    Example:
      >>> flat({"seed": 0, "data": {"name": "cifar10"}})
      {'seed': 0, 'data.name': 'cifar10'}
    """
    out: dict[str, Any] = {}
    for key, value in nested.items():
        out.update(flat(value, f"{prefix}{key}.") if hasattr(value, "items") else {prefix + key: value})
    return out


def leaves(block: type[Block], prefix: str = "") -> Iterator[tuple[str, Any, Any, Setting]]:
    """(flat key, type, default, ``Setting``) of every setting in the block and in its inner blocks."""
    for field in settings_of(block):
        kind = types_of(block)[field.name]
        inner = block_type(kind)
        if inner is not None:
            yield from leaves(inner, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, kind, field.default, setting_of(field)


def type_name(kind: Any) -> str:
    """The name of a type in the documentation and in errors.

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
    """Converts the value to the setting's type: an int to a float, a list to a tuple.

    Raises:
      TypeError: if the value has another type.
    """
    if isinstance(kind, types.UnionType):
        if value is None and types.NoneType in typing.get_args(kind):
            return None
        kind = next(member for member in typing.get_args(kind) if member is not types.NoneType)
    if typing.get_origin(kind) is typing.Literal:  # the check has its values
        kind = str
    if typing.get_origin(kind) is tuple:
        element = typing.get_args(kind)[0]
        if not isinstance(value, list | tuple):
            raise TypeError
        return tuple(one for one in value if coerced(one, element) is not None)  # elements keep their type: 1 stays 1
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return _to_float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError
    return value


def _to_float(value: float) -> float:
    """A float; an integer that is too large for one is infinite, and -0.0 is 0.0: config.json tells them apart."""
    try:
        return float(value) + 0.0
    except OverflowError:
        return math.copysign(math.inf, value)


def read(block: type[B], values: Mapping[str, Any], prefix: str = "config.", tolerant: bool = False) -> B:
    """Makes a block from these values and checks them; missing values get their defaults.

    Args:
      block: the class.
      values: nested mappings.
      prefix: prefix of the keys in errors.
      tolerant: ignore settings that the block does not have; a config.json from a newer version may have some.

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
        if not isinstance(value, Mapping):
            raise InputError(f"{key}: {shown(value)} has the wrong type; allowed: a group of settings")
        return read(inner, value, f"{key}.", tolerant)
    try:
        value = coerced(value, kind)
    except TypeError:
        raise InputError(
            f"{key}: {shown(value)} has the wrong type; allowed: {allowed_values(kind, setting_of(field))}"
        ) from None
    check_value(key, value, setting_of(field).check)
    return value


def allowed_values(kind: Any, about: Setting) -> str:
    """The type and the allowed values of a setting, for documentation and errors."""
    if about.check is None:
        return type_name(kind)
    allowed = about.check.allowed
    return allowed if kind is int and allowed.startswith("an integer") else f"{type_name(kind)}; {allowed}"


def check_value(key: str, value: Any, check: Check | None) -> None:
    """Raises InputError for NaN and for a value that the check does not allow; None always passes."""
    if any(isinstance(one, float) and math.isnan(one) for one in (value if isinstance(value, tuple) else (value,))):
        refuse(key, value, check.allowed if check is not None else "a number")
    if isinstance(value, str) and "\0" in value:
        refuse(key, value, "text without a zero byte")
    if check is not None and value is not None and not check.holds(value):
        refuse(key, value, check.allowed + _beyond(value) + did_you_mean_name(value, check.names))


def _beyond(value: Any) -> str:
    """The bound that every number has, for one that is beyond it."""
    if isinstance(value, int) and value > LARGEST:
        return ", < 2**31"
    return ", that float32 holds" if isinstance(value, float) and LARGEST_FLOAT < value < math.inf else ""


def did_you_mean_name(value: Any, names: tuple[str, ...]) -> str:
    return did_you_mean(value, names) if names else ""


def refuse(key: str, value: Any, allowed: str) -> typing.NoReturn:
    """Raises the InputError for an impossible value, in the form that all such errors have."""
    raise InputError(f"{key}: impossible value {shown(value)}; allowed: {allowed}")


def shown(value: Any) -> str:
    """A value as errors quote it: at most 200 characters."""
    try:
        text = repr(value)
    except ValueError:  # Python's limit of digits
        return "an integer of thousands of digits"
    return shortened(text)


def replaced(block: B, changes: Mapping[str, Any], prefix: str = "config.") -> B:
    """The block with some values changed, by flat keys; checked.

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
