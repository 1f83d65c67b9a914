"""The error for mistakes that a user can correct: one line that says what is wrong, where, and what to do."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")
MAX_QUOTED = 200  # characters of a path or of a line of a file that a message quotes


class InputError(ValueError):
    """Bad input (a setting, a file, a data set). The commands print it as one line and exit with status 2."""


class OutOfMemory(RuntimeError):
    """A device or the host has too little memory. The commands print it as one line and exit with status 1."""


def shortened(text: object, limit: int = MAX_QUOTED) -> str:
    """The text as a message quotes it: of a longer one the beginning and the end, ``limit`` characters together.

    Example:
      >>> shortened("rose/1.jpg"), shortened("a" * 10 + "b" * 10, limit=9)
      ('rose/1.jpg', 'aaa...bbb')
    """
    whole = str(text)
    if len(whole) <= limit:
        return whole
    kept = limit - 3
    return f"{whole[: kept - kept // 2]}...{whole[len(whole) - kept // 2 :]}"


def did_you_mean(name: object, allowed: Iterable[object]) -> str:
    """Returns `` (did you mean 'x'?)`` with the nearest allowed name, or "" if none is close.

    Example:
      >>> did_you_mean("reslr", ["ce", "reslt"])
      " (did you mean 'reslt'?)"
    """
    near = difflib.get_close_matches(str(name), [str(a) for a in allowed], n=1, cutoff=0.5)
    return f" (did you mean '{near[0]}'?)" if near else ""


def choose(table: Mapping[str, T], name: str, key: str) -> T:
    """Returns ``table[name]``; the error names the setting ``key`` and the allowed values.

    Example:
      >>> choose({"ce": 1, "reslt": 2}, "ce", "config.method")
      1

    Raises:
      InputError: if ``name`` is not in ``table``.
    """
    if name in table:
        return table[name]
    raise InputError(f"{key}: unknown value '{name}'; allowed: {', '.join(sorted(table))}{did_you_mean(name, table)}")
