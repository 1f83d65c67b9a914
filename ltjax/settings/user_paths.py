"""Paths as people type them: ``~`` and environment variables, in every setting, flag and argument that is a path."""

import os
import re

from ltjax.errors import InputError, shortened

_VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([^}]*)\})")


def expanded(path: str | os.PathLike[str]) -> str:
    """The path with ``~``, ``~user``, ``$NAME`` and ``${NAME}`` replaced; also in a bucket (``gs://$BUCKET/runs``).

    A shell replaces them before a command starts, but not within quotes, behind ``--flag=`` or in a config file. A
    folder or file whose own name has a ``$`` wins over the variable, so an expanded path stays as it is.

    Raises:
      InputError: for a variable that is not set, or a user that this machine does not have.

    Example:
      >>> os.environ["PHOTOS"] = "/data/photos"
      >>> expanded("${PHOTOS}/flowers"), expanded("$PHOTOS/roses/"), expanded("cost 5$.jpg")
      ('/data/photos/flowers', '/data/photos/roses/', 'cost 5$.jpg')
    """
    text = os.fspath(path)
    if "$" in text:
        text = _with_variables(text)
    if not text.startswith("~"):
        return text
    home = os.path.expanduser(text)
    if home.startswith("~") and not os.path.lexists(text):
        raise InputError(
            f"{shortened(text)}: this machine has no user '{text[1:].partition('/')[0]}'; write the path in full"
        )
    return home


def _with_variables(text: str) -> str:
    parts = text.split("/")
    for i, part in enumerate(parts):
        if "$" in part and ("://" in text or not os.path.lexists("/".join(parts[: i + 1]))):
            parts[i] = _VARIABLE.sub(lambda match: _value(match, text), part)
    return "/".join(parts)


def _value(match: re.Match[str], text: str) -> str:
    name = match[1] or match[2]
    value = os.environ.get(name, "")
    if not value:
        state = "empty" if name in os.environ else "not set"
        raise InputError(
            f"{shortened(text)}: the environment variable {name} is {state}; set it (export {name}=...), or write the "
            "path in full"
        )
    return value


def absolute(path: str | os.PathLike[str]) -> str:
    """The expanded path from the root of the file system, without doubled slashes; a bucket's stays as it is.

    Example:
      >>> absolute("/data//flowers/"), absolute("gs://bucket/flowers")
      ('/data/flowers', 'gs://bucket/flowers')
    """
    text = expanded(path)
    return text if "://" in text else os.path.abspath(text)


def looked_for(path: str | os.PathLike[str]) -> str:
    """Where a relative path that does not exist was looked for, for a message; "" for an absolute one.

    Example:
      >>> looked_for("/data/train.txt"), looked_for("train.txt").startswith(" (looked for in /")
      ('', True)
    """
    text = os.fspath(path)
    return "" if os.path.isabs(text) or "://" in text else f" (looked for in {shortened(os.getcwd())})"


def without_slashes(path: str) -> str:
    """The path without the slashes at its end and without doubled ones; a bucket's stays as it is.

    Example:
      >>> without_slashes("data//flowers/"), without_slashes("/")
      ('data/flowers', '/')
    """
    if "://" in path:
        return path
    single = re.sub("/+", "/", path)
    return single if single == "/" else single.rstrip("/")
