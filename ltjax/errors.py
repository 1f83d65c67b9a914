"""The one error that a person can mend: it says what is wrong, where, and what to do, in one line."""

import argparse
import difflib
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")


class InputError(ValueError):
    """Bad input (a setting, a file, a data set). The commands print it as one line and exit with status 2."""


class Parser(argparse.ArgumentParser):
    """A command's argument parser: an error is one line, no flag is guessed from its beginning.

    Args:
      command: the module, such as "ltjax.table".
      description: the text above the options in --help, as it is.
      settings: further arguments of argparse's.

    Example:
      >>> try:
      ...     Parser("ltjax.table", "Runs a table.").parse_args(["--rot=x"])
      ... except InputError as error:
      ...     print(error)
      unrecognized arguments: --rot=x; see python -m ltjax.table --help
    """

    def __init__(self, command: str, description: str | None, **settings: Any) -> None:
        form = argparse.RawDescriptionHelpFormatter
        super().__init__(
            f"python -m {command}", None, description, formatter_class=form, allow_abbrev=False, **settings
        )

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")


def did_you_mean(name: object, allowed: Iterable[object]) -> str:
    """`` (did you mean 'x'?)`` for the nearest allowed name, or nothing when none is near.

    Example:
      >>> did_you_mean("reslr", ["ce", "reslt"])
      " (did you mean 'reslt'?)"
    """
    near = difflib.get_close_matches(str(name), [str(a) for a in allowed], n=1, cutoff=0.5)
    return f" (did you mean '{near[0]}'?)" if near else ""


def choose(table: Mapping[str, T], name: str, key: str) -> T:
    """Returns ``table[name]``; otherwise one line that names the setting ``key`` and what is allowed.

    Example:
      >>> choose({"ce": 1, "reslt": 2}, "ce", "config.method")
      1

    Raises:
      InputError: if ``name`` is not in ``table``.
    """
    if name in table:
        return table[name]
    raise InputError(f"{key}: unknown value '{name}'; allowed: {', '.join(sorted(table))}{did_you_mean(name, table)}")
