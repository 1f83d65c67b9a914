"""From a config file, a command line or a stored config to typed settings with the method's own block."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ltjax.methods import METHODS
from ltjax.methods.method import AnyMethod, Method
from ltjax.methods.refusals import check_combination
from ltjax.settings import Block, Settings, command_line, config_file, user_code
from ltjax.settings.blocks import read_settings
from ltjax.settings.config_dict import Config
from ltjax.settings.config_file import Word, config_of
from ltjax.settings.identity import with_new_keys
from ltjax.settings.reference import help_text
from ltjax.settings.user_paths import absolute

BLOCKS = tuple(sorted({method.block for method in METHODS.values() if method.block}))


def find_method(name: str) -> AnyMethod:
    """The method of that name, or the user's: FILE.py:NAME, a ``Method`` or a function of stages without settings.

    Raises:
      InputError: one line, if there is none.
    """
    found = user_code.lookup(METHODS, name, "config.method")
    return found if isinstance(found, Method) else Method(found, Block)


def name_of(method: "str | AnyMethod | Callable[..., Any]") -> str:
    """What config.method holds: the name, or where the user's method stands."""
    return method if isinstance(method, str) else user_code.address(method)


def new_config(
    method: "str | AnyMethod | Callable[..., Any]" = "ce", recipe: str = "", family: str | None = None
) -> Config:
    """A config with neutral values of every setting, to be changed by a config file.

    Args:
      method: its name, or the user's method itself.
      recipe: the data set that the file is for.
      family: of methods, the second word of the config file's name; by default the method's name, if ltjax has it.

    Example:
      >>> config = new_config("reslt")
      >>> config.reslt.groups, config.epochs
      (3, 200)
    """
    if family is None:
        family = method if isinstance(method, str) and method in METHODS else ""
    config = config_file.common_settings()
    config.update(method=name_of(method), family=family, recipe=recipe)
    own = find_method(config.method)
    if own.block:
        config[own.block] = config_of(own.settings)
    return config


def with_words(config: Config, arg: str | None, words: Mapping[str, Word] | None = None) -> Config:
    """The config with the words behind its colon applied: the file's own, the method's, those that all have.

    Raises:
      InputError: for an unknown word or a value that is not one.
    """
    return config_file.with_words(config, arg, words or {}, lambda method: find_method(method).words)


def resolve(config: Config, notes: Sequence[str] = ()) -> Settings:
    """The typed settings of a config, all of them checked, with what depends on other settings filled in.

    Args:
      config: a config file's, with any overrides.
      notes: what the run has to report of its settings.

    Raises:
      InputError: one line that names the setting, its value and what is allowed.
    """
    return _typed(config.to_dict(), notes, tolerant=False)


def from_json(stored: Mapping[str, Any]) -> Settings:
    """The settings of a stored config.json; what this ltjax does not know is left out."""
    return _typed(stored, (), tolerant=True)


def _typed(values: Mapping[str, Any], notes: Sequence[str], tolerant: bool) -> Settings:
    values = _with_absolute_files(values)
    method = find_method(values["method"])
    values = with_new_keys(values, method.block) if tolerant else values
    settings = read_settings(values, method.block, method.settings, BLOCKS, tolerant)
    if not tolerant:  # a stored config was one that its ltjax could run
        check_combination(settings, method.refuses)
    own: Any = settings.method_settings
    return method.resolve(dataclasses.replace(settings, notes=tuple(notes)), own)


def _with_absolute_files(values: Mapping[str, Any]) -> dict[str, Any]:
    """FILE.py:NAME and folders with their absolute paths, so that the stored config finds them from anywhere.

    Only of settings that may change on resume: the others identify a run as they were written.
    """
    made = dict(values) | {"method": user_code.absolute(str(values.get("method", "ce")))}
    for block, name in (("data", "name"), ("data", "sampler"), ("model", "backbone")):
        if isinstance(made.get(block), Mapping) and isinstance(made[block].get(name), str):
            made[block] = dict(made[block]) | {name: user_code.absolute(made[block][name])}
    for block, name in (("data", "dir"), ("features", "dir")):
        if isinstance(made.get(block), Mapping) and made[block].get(name) and isinstance(made[block][name], str):
            made[block] = dict(made[block]) | {name: absolute(made[block][name])}
    return made


def from_command_line(argv: Sequence[str]) -> tuple[Settings, str]:
    """``--config=FILE[:WORDS] --workdir=DIR --config.KEY=VALUE ...`` -> (settings, workdir).

    Raises:
      InputError: one line for every mistake.
    """
    given = command_line.parse(argv)
    return resolve(given.config, given.notes), given.workdir


def help_config(argv: Sequence[str]) -> str:
    """Every setting of the config that the command line names, for --help-config."""
    config = command_line.parse([word for word in argv if word != command_line.HELP], workdir=False).config
    method = find_method(config.method)
    return help_text(config.to_dict(), method.block, method.settings)
