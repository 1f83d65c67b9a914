"""The one error that a person can mend: it says what is wrong, where, and what to do, in one line."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


class InputError(ValueError):
    """Bad input (a setting, a file, a data set). The commands print it as one line and exit with status 2."""


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
