"""Methods, data sets and backbones by name: those of ltjax, or FILE.py:NAME and package.module:NAME of the user's."""

import importlib
import importlib.util
import os
import sys
import traceback
import types
import zlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ltjax.errors import InputError, choose, did_you_mean

T = TypeVar("T")


def find(table: Mapping[str, T], name: str, key: str) -> T:
    """``table[name]``, or what the user's file or module has under NAME.

    Args:
      table: what ltjax has.
      name: a key of it, "path/to/file.py:NAME" or "package.module:NAME".
      key: the setting, for errors.

    Raises:
      InputError: one line, if there is no such name, file or module, or if what it names cannot be called.
    """
    if ":" not in name:
        if name in table:
            return table[name]
        raise InputError(
            f"{key}: unknown value '{name}'; allowed: {', '.join(sorted(table))}, or FILE.py:NAME or "
            f"package.module:NAME of your own{did_you_mean(name, table)}"
        )
    place, _, attribute = name.rpartition(":")
    names = vars(_module(place, f"{key}={name}"))
    public = {one: None for one in names if not one.startswith("_")}
    choose(public if attribute not in names else names, attribute, f"{key}={name}")
    found = names[attribute]
    if not callable(found):
        raise InputError(f"{key}={name}: '{attribute}' is a {type(found).__name__}, which cannot be called")
    return found  # type: ignore[no-any-return]


def absolute(name: str) -> str:
    """FILE.py:NAME with the file from the root, so that a run finds it again; other names as they are.

    Example:
      >>> absolute("resnet32"), absolute("package.module:name")
      ('resnet32', 'package.module:name')
    """
    place, _, attribute = name.rpartition(":")
    return f"{os.path.abspath(os.path.expanduser(place))}:{attribute}" if place.endswith(".py") else name


def address(thing: Callable[..., Any]) -> str:
    """FILE.py:NAME of a function, a class or a method of the user's: what a setting takes.

    Raises:
      InputError: if it has no name at the top of its file.
    """
    function = getattr(thing, "stages", thing)  # of a method its function
    names = getattr(function, "__globals__", None) or vars(sys.modules[function.__module__])
    name = next((name for name, value in names.items() if value is thing), None)
    if name is None:
        raise InputError(f"{thing!r} has no name at the top of a file: define it there, outside of get_config")
    return f"{os.path.abspath(names['__file__'])}:{name}"


def load_file(path: str, where: str) -> types.ModuleType:
    """A user's Python file as a module, run once however often it is asked for.

    Args:
      path: of the file.
      where: the setting or flag that names it, for errors.

    Raises:
      InputError: one line, if there is no such file or it fails.
    """
    path = os.path.abspath(os.path.expanduser(path))
    if not os.path.isfile(path):
        raise InputError(f"{where}: no file '{path}'")
    name = f"ltjax_file_{zlib.crc32(path.encode()):08x}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses and pickle look for it
    try:
        spec.loader.exec_module(module)
    except InputError:
        del sys.modules[name]
        raise
    except Exception as error:
        del sys.modules[name]
        raise InputError(
            f"{where}: {path} fails with {type(error).__name__}: {error}{_line_of(error, path)}"
        ) from error
    return module


def _line_of(error: Exception, path: str) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return f" (line {lines[-1]})" if lines else ""


def _module(place: str, where: str) -> types.ModuleType:
    if place.endswith(".py"):
        return load_file(place, where)
    try:
        return importlib.import_module(place)
    except ImportError as error:
        raise InputError(f"{where}: {error}; give FILE.py:NAME, or install the package") from None
