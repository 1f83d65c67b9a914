"""Methods, data sets and backbones by name: ltjax's, or the user's as FILE.py:NAME or package.module:NAME."""

import contextlib
import importlib
import importlib.util
import os
import sys
import traceback
import types
import zlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ltjax.errors import InputError, did_you_mean
from ltjax.settings.user_paths import expanded

T = TypeVar("T")
PREFIX = "ltjax_file_"  # of the module names of the user's files


def lookup(table: Mapping[str, T], name: str, key: str) -> T:
    """Returns ``table[name]``, or the object NAME in the user's file or module.

    Args:
      table: the entries of ltjax.
      name: a key of the table, "path/to/file.py:NAME" or "package.module:NAME".
      key: the setting, for errors.

    Raises:
      InputError: if the name, file or module does not exist, or the object is not callable.
    """
    if ":" not in name:
        if name in table:
            return table[name]
        if name.endswith(".py"):
            raise InputError(f"{key}={name}: add the name of a function or class in the file, as in {name}:NAME")
        raise InputError(
            f"{key}: unknown value '{name}'; allowed: {', '.join(sorted(table))}, or your code as "
            f"FILE.py:NAME or package.module:NAME{did_you_mean(name, table)}"
        )
    place, _, attribute = name.rpartition(":")
    names = vars(_module(place, f"{key}={name}"))
    if attribute not in names:
        public = [one for one in names if not one.startswith("_")]
        raise InputError(
            f"{key}={name}: {place} defines no '{attribute}'; it defines: {', '.join(public) or 'nothing'}"
            f"{did_you_mean(attribute, public)}"
        )
    found = names[attribute]
    if not callable(found):
        raise InputError(f"{key}={name}: '{attribute}' is of type {type(found).__name__}; name a function or class")
    return found  # type: ignore[no-any-return]


def absolute(name: str) -> str:
    """FILE.py:NAME with the absolute path of the file, so that a resumed run finds it; other names are unchanged.

    Example:
      >>> absolute("resnet32"), absolute("package.module:name")
      ('resnet32', 'package.module:name')
    """
    place, _, attribute = name.rpartition(":")
    return f"{os.path.abspath(expanded(place))}:{attribute}" if place.endswith(".py") else name


def address(thing: Callable[..., Any]) -> str:
    """FILE.py:NAME of the user's function, class or method, the form that settings take.

    Raises:
      InputError: if it is not defined at the top level of its file.
    """
    function = getattr(thing, "stages", thing)  # a method is found by its stages function
    of_stages = getattr(function, "__globals__", None) or vars(sys.modules[function.__module__])
    # a method with the stages of another file, such as ltjax's, is in one of the files that were loaded
    for names in (of_stages, *(vars(module) for key, module in sys.modules.items() if key.startswith(PREFIX))):
        for name, value in names.items():
            if value is thing:
                return f"{os.path.abspath(names['__file__'])}:{name}"
    raise InputError(f"{thing!r} has no name at the top level of its file; define it there, not inside get_config")


def load_file(path: str, where: str) -> types.ModuleType:
    """Loads the user's Python file as a module; repeated calls return the same module.

    Args:
      path: the path of the file.
      where: the setting or flag that names it, for errors.

    Raises:
      InputError: if the file does not exist or raises an exception.
    """
    path = os.path.abspath(expanded(path))
    if not os.path.isfile(path):
        raise InputError(f"{where}: no file '{path}'; correct the path")
    name = f"{PREFIX}{zlib.crc32(os.fsencode(path)):08x}"
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
        raise InputError(f"{where}: {path} fails with {type(error).__name__}: {error}{line_of(error, path)}") from error
    return module


def line_of(error: Exception, path: str) -> str:
    """Returns `` (line N)``, the line of the user's file in which the exception was raised, or ""."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return f" (line {lines[-1]})" if lines else ""


def _module(place: str, where: str) -> types.ModuleType:
    if place.endswith(".py"):
        module = load_file(place, where)
        with contextlib.suppress(ImportError):  # only data loading processes need it, and grain brings it
            import cloudpickle

            # they cannot import a file by this module's name: objects are sent to them with their code
            cloudpickle.register_pickle_by_value(module)
        return module
    try:
        return importlib.import_module(place)
    except ImportError as error:
        raise InputError(f"{where}: {error}; give FILE.py:NAME, or install the package") from None
