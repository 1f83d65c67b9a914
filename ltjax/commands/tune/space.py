"""The settings that a search may change, in a TOML file:

    optimizer.learning_rate = {low = 0.01, high = 0.3, log = true}
    optimizer.weight_decay = {low = 1e-4, high = 2e-3, log = true}
    batch_size = [64, 128, 256]

A setting is named as behind ``--config.``. A range has low and high, and log = true (for floats and integers) or
step; a list has the values to choose from.
"""

import dataclasses
import itertools
import math
import pathlib
import re
import tomllib
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ltjax.errors import InputError, did_you_mean
from ltjax.methods.configure import from_command_line
from ltjax.settings import Settings
from ltjax.settings.schema import leaves, shown, type_name
from ltjax.settings.user_paths import expanded

RANGE = ("low", "high", "log", "step")
# what a search must not change: what is measured, and on which images
MEASURE = ("method", "family", "recipe", "seed", "num_seeds", "init_from", "dtype", "optimizer.recipe_batch_size")
OF_DATA = ("data.augment", "data.sampler", "data.image_size", "data.resize")  # may be searched, others of data not
MOST = 256  # combinations of the other settings that a value is tried with


@dataclasses.dataclass(frozen=True)
class Dimension:
    """One setting and its values.

    Attributes:
      key: flat, "optimizer.learning_rate".
      choices: as the command line has them; () = a range.
      low, high: of a range, both included; integers for an integer setting.
      log: whether the logarithm is uniform.
      step: between the values of a range; None = any.
    """

    key: str
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None

    def text(self, value: object) -> str:
        """A value as the command line has it; of a float four digits, which are what is trained.

        Example:
          >>> Dimension("optimizer.learning_rate", low=0.01, high=0.3).text(0.0123456789)
          '0.01235'
        """
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    def ends(self) -> tuple[str, ...]:
        """The values that have to be possible, each with some of the others: all choices, or both ends of the range."""
        return self.choices or (self.text(self.low), self.text(self.high))

    def to_json(self) -> dict[str, object]:
        """What another start of the study has to have as well."""
        return {"choices": list(self.choices)} if self.choices else dataclasses.asdict(self) | {"choices": []}


def read_space(path: str, argv: Sequence[str], settings: Settings) -> list[Dimension]:
    """The dimensions of a file, all of them checked.

    Args:
      path: of the TOML file.
      argv: the command line of a run without them.
      settings: that it stands for.

    Raises:
      InputError: one line for the first mistake.
    """
    given = expanded(path)
    try:
        content = tomllib.loads(pathlib.Path(given).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--space={path}: {error.strerror}; give a TOML file with the settings to search") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"--space={path}: is no TOML file: {error}") from None
    found = [_dimension(path, key, value, settings) for key, value in _flat(path, content)]
    if not found:
        raise InputError(f"--space={path}: has no settings; write such as batch_size = [64, 128]")
    for dimension in found:
        if any(re.fullmatch(rf"--?(no)?config\.{re.escape(dimension.key)}(=.*)?", word, re.DOTALL) for word in argv):
            raise InputError(f"config.{dimension.key} is in --space={path} and on the command line; leave one out")
    try:
        _check_values(found, argv, lambda _: None)
    except InputError as error:
        raise InputError(f"--space={path}: {error}") from None
    return found


def check_choices(space: Sequence[Dimension], argv: Sequence[str], settings: Settings) -> None:
    """Opens the data, and makes the stages of a run with every end of every dimension; trains nothing.

    Raises:
      InputError: for data that cannot be read or has no held-out images, or a name that nothing has.
    """
    from ltjax.training.prepare import build_data, make_stages

    data = build_data(settings)
    if data.split == "test":
        raise InputError(f"config.data.name: {data.name} holds no training images out; a search cannot choose with it")
    of_stages = [one for one in space if not one.key.startswith(("data.image_size", "data.resize"))]
    _check_values(of_stages, argv, lambda changed: make_stages(changed, data))


def _check_values(space: Sequence[Dimension], argv: Sequence[str], check: Callable[[Settings], object]) -> None:
    """Raises the InputError of the first end of a dimension that is possible with no values of the others."""
    for dimension in space:
        others = [one for one in space if one is not dimension]
        for text in dimension.ends():
            own = [*argv, "--workdir=none", f"--config.{dimension.key}={text}"]
            runs = ([*own, *changes] for changes in _combinations(others))
            errors = _errors(runs, check)
            if errors:
                raise refusal(own, check) or errors[0]


def _errors(runs: Iterable[Sequence[str]], check: Callable[[Settings], object]) -> list[InputError]:
    """Why each of the runs is refused; none if one of them is not."""
    found = []
    for words in runs:
        error = refusal(words, check)
        if error is None:
            return []
        found.append(error)
    return found


def refusal(argv: Sequence[str], check: Callable[[Settings], object]) -> InputError | None:
    """Why a run is refused, by its command line or by ``check`` of its settings; None if it is not."""
    try:
        check(from_command_line(argv)[0])
    except InputError as error:
        return error
    return None


def _combinations(space: Sequence[Dimension]) -> Iterator[tuple[str, ...]]:
    """Flags that set the dimensions to their ends, in all combinations.

    Of more than MOST combinations some: none is set, all have their first or their last end, one or two are set.

    Example:
      >>> list(_combinations([Dimension("batch_size", ("32", "64")), Dimension("epochs", low=2, high=9)]))[:2]
      [('--config.batch_size=32', '--config.epochs=2'), ('--config.batch_size=32', '--config.epochs=9')]
    """
    flags = [[f"--config.{one.key}={text}" for text in one.ends()] for one in space]
    if math.prod(map(len, flags)) <= MOST:
        yield from itertools.product(*flags)
        return
    yield ()
    yield tuple(one[0] for one in flags)
    yield tuple(one[-1] for one in flags)
    for count in (1, 2):
        for chosen in itertools.combinations(flags, count):
            yield from itertools.product(*chosen)


def _flat(path: str, content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(key, range or list) of every setting; a table that is no range is a group of settings."""
    for name, value in content.items():
        if isinstance(value, Mapping) and not {*value} & {*RANGE}:
            yield from _flat(path, value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _dimension(path: str, key: str, value: Any, settings: Settings) -> Dimension:
    where = f"--space={path}: config.{key}"
    kind = _kind(where, key, settings)
    if isinstance(value, list):
        texts = tuple(_text(where, one) for one in value)
        if len(set(texts)) < 2 or len(set(texts)) < len(texts):
            raise InputError(f"{where}: {shown(value)} are not two or more different values")
        return Dimension(key, texts)
    if not isinstance(value, Mapping):
        raise InputError(
            f"{where}: {shown(value)} is one value; give a range {{low = ..., high = ...}} or a list, or set it as "
            f"--config.{key}={_text(where, value)}"
        )
    for name in value:
        if name not in RANGE:
            raise InputError(f"{where}: unknown word '{name}'{did_you_mean(name, RANGE)}; allowed: {', '.join(RANGE)}")
    if kind not in (int, float):
        raise InputError(f"{where}: {type_name(kind)} has no range; give a list of values")
    return _range(where, key, value, int if kind is int else float)


def _kind(where: str, key: str, settings: Settings) -> Any:
    """The type of the setting.

    Raises:
      InputError: if there is none of this name, or a search must not change it.
    """
    own = leaves(type(settings.method_settings), f"{settings.method_block}.")
    known = {one: (kind, about) for one, kind, _, about in (*leaves(Settings), *own)}
    if key not in known:
        raise InputError(f"{where}: unknown key{did_you_mean(key, known)}; all settings: --config=FILE --help-config")
    kind, about = known[key]
    measured = key in MEASURE or key.startswith(("evaluation.", "gradients."))
    if about.run_only or measured or (key.startswith("data.") and key not in OF_DATA):
        raise InputError(f"{where}: is nothing to search: it changes what is measured, or nothing; leave it out")
    if isinstance(kind, types.UnionType):
        kind = next(one for one in typing.get_args(kind) if one is not types.NoneType)
    return kind


def _range(where: str, key: str, value: Mapping[str, Any], kind: type[int] | type[float]) -> Dimension:
    numbers = {name: value.get(name) for name in ("low", "high", "step")}
    for name, one in numbers.items():
        wrong = isinstance(one, bool) or not isinstance(one, kind if kind is int else int | float)
        if wrong and not (name == "step" and one is None):
            raise InputError(f"{where}: {name} = {shown(one)}; give {'an integer' if kind is int else 'a number'}")
    low, high, log, step = kind(value["low"]), kind(value["high"]), value.get("log", False), numbers["step"]
    if not isinstance(log, bool):
        raise InputError(f"{where}: log = {shown(log)}; allowed: true or false")
    if not low < high:
        raise InputError(f"{where}: low = {low} is not below high = {high}")
    if log and (low <= 0 or step is not None):
        raise InputError(f"{where}: log = true needs low > 0 and no step")
    if step is not None and step <= 0:
        raise InputError(f"{where}: step = {step}; give a number > 0")
    return Dimension(key, (), low, high, log, step)


def _text(where: str, value: Any) -> str:
    """A value of TOML as the command line has it.

    Example:
      >>> _text("", [160, 180]), _text("", True), _text("", "cosine"), _text("", 0.5)
      ('(160,180)', 'true', 'cosine', '0.5')
    """
    if isinstance(value, list):
        return f"({','.join(_text(where, one) for one in value)}{',' if len(value) == 1 else ''})"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    raise InputError(f"{where}: {shown(value)} is no value of a setting")
