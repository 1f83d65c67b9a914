"""The command line: ``--config=FILE[:WORDS] --workdir=DIR --config.KEY=VALUE ...``."""

import dataclasses
import difflib
import pathlib
import re
from collections.abc import Sequence
from typing import Any

from ltjax.errors import InputError, did_you_mean, shortened
from ltjax.settings.blocks import Settings
from ltjax.settings.config_dict import is_config
from ltjax.settings.epochs import scale_epochs
from ltjax.settings.schema import allowed_values, flat, leaves, shown
from ltjax.settings.user_code import line_of, load_file
from ltjax.settings.user_paths import expanded

HELP = "--help-config"
SETTING = re.compile(r"--?(no)?config\.([^=]*)(=?)")
OF_THE_FILE = ("family", "recipe")  # they describe the config file


@dataclasses.dataclass(frozen=True)
class CommandLine:
    """A parsed command line.

    Attributes:
      config: the ConfigDict of the file, with the overrides.
      workdir: the folder that the run writes to.
      notes: remarks on the settings that the run reports.
    """

    config: Any
    workdir: str
    notes: tuple[str, ...]


def find(path: str) -> str:
    """The path of a config file: as given, or of the shipped one with that name (``configs/NAME.py`` or ``NAME``)."""
    path = expanded(path)
    if pathlib.Path(path).is_file():
        return path
    package = pathlib.Path(__file__).parent.parent
    folders = [package / "configs", package.parent / "configs"]
    shipped = {f"configs/{f.name}": f for d in folders if d.is_dir() for f in sorted(d.glob("[!_]*.py"))}
    name = path.removeprefix("./")
    for candidate in (name, f"{name}.py", f"configs/{name}", f"configs/{name}.py"):
        if candidate in shipped:
            return str(shipped[candidate])
    raise InputError(_no_file(path, sorted(pathlib.Path(one).stem for one in shipped)))


def _no_file(path: str, stems: Sequence[str]) -> str:
    """The message for a path that is no config file; ``stems`` are the names of those that ltjax has.

    It stays with the data set that the path names, and knows words: of folder_crt it says folder_decoupling.py:crt.
    """
    stem = pathlib.Path(path).stem
    dataset, _, family = stem.partition("_")
    of_dataset = [one for one in stems if one.startswith(f"{dataset}_")]
    by_word = [f"{one}.py:{family}" for one in of_dataset if family and _has_word(one, family)]
    if by_word:
        hint = f" (did you mean '{by_word[0]}'?)"
    elif f"folder_{family}" in stems and not of_dataset and not _near(dataset, stems):
        hint = f" (for images of your own: 'folder_{family}', with list files 'list_{family}')"
    else:
        hint = did_you_mean(stem, of_dataset or stems)
    names = ", ".join(of_dataset or stems)
    return (
        f"--config: no file '{path}'{hint}; give the path of a config file, or the name of one that ltjax has: {names}"
    )


def _near(dataset: str, stems: Sequence[str]) -> bool:
    """Whether a data set of ltjax has nearly this name."""
    return bool(difflib.get_close_matches(dataset, {one.partition("_")[0] for one in stems}, n=1, cutoff=0.75))


def _has_word(stem: str, word: str) -> bool:
    try:
        load(f"{stem}:{word}")
    except InputError:
        return False
    return True


def load(source: str) -> Any:
    """The ConfigDict of FILE[:WORDS].

    Raises:
      InputError: if the file does not exist or fails, or for an unknown word.
    """
    path, colon, words = source.partition(":")
    module = load_file(find(path), "--config")
    get_config = getattr(module, "get_config", None)
    if not callable(get_config):
        raise InputError(
            f"--config: {path} defines no get_config; write a function get_config(arg=None) that returns a ConfigDict"
        )
    try:
        config = get_config(words) if colon else get_config()
    except InputError:
        raise
    except Exception as error:
        line = line_of(error, str(module.__file__))
        raise InputError(f"--config: get_config of {path} fails with {type(error).__name__}: {error}{line}") from error
    if not is_config(config):
        kind = "None" if config is None else f"an object of type {type(config).__name__}"
        raise InputError(
            f"--config: get_config of {path} returns {kind}; return the ConfigDict that new_config or with_words gives"
        )
    return config


def parse(argv: Sequence[str], workdir: bool = True) -> CommandLine:
    """Reads the command line; checks flags and types, but not values.

    Args:
      argv: the arguments.
      workdir: whether --workdir is required.

    Raises:
      InputError: one line that says what is wrong and what is allowed.
    """
    source, arguments = _split(argv)
    if any(word.lstrip("-").startswith("config.epochs=") for word in arguments):
        source = _without_epochs(source)  # that is overridden: the recipe's own epochs are what schedules scale from
    loaded = load(source)
    repeated = _check_flags(arguments, flat(loaded.to_dict()))
    config, folder, overridden = _overridden(loaded, arguments)
    if workdir and not folder:
        raise InputError("--workdir is missing: give the folder that the run writes to, such as --workdir=runs/first")
    return CommandLine(config, folder or "", (*repeated, *_fit_to_epochs(config, source, overridden)))


def _split(argv: Sequence[str]) -> tuple[str, list[str]]:
    """Splits the arguments into FILE[:WORDS] and the others."""
    sources, others = [], []
    words = iter(argv)
    for word in words:
        if word in ("--config", "-config"):
            sources += [next(words, "")]
        elif word.startswith(("--config=", "-config=")):
            sources += [word.partition("=")[2]]
        else:
            others += [word]
    if not any(sources):
        raise InputError("--config is missing: give a config file, such as --config=configs/mnist5k_reslt.py")
    if len(sources) > 1:
        raise InputError(f"--config is given {len(sources)} times: {', '.join(sources)}; give one config file")
    return sources[0], others


def _check_flags(arguments: Sequence[str], known: dict[str, Any]) -> list[str]:
    """Raises InputError for a flag that is none; returns notes on settings that are given several times."""
    values: dict[str, list[str]] = {}
    words = iter(arguments)
    for word in words:
        if not word.startswith("-"):
            continue  # refused later, with what is allowed
        found = SETTING.match(word)
        name = word.lstrip("-").partition("=")[0]
        if found is None and name != "workdir":
            hint = did_you_mean(f"--{name}", ["--config", "--workdir", HELP])
            raise InputError(f"--{name}: unknown flag; allowed: --config, --workdir, --config.KEY, {HELP}{hint}")
        key = found[2] if found else name
        if found and key in OF_THE_FILE:
            raise InputError(f"config.{key} says what the config file is for, and cannot be set; leave it out")
        if found and not (key in known or any(one.startswith(f"{key}.") for one in known)):
            raise InputError(_unknown_key(known, key))
        if found and found[1] and not isinstance(known.get(key), bool):
            raise InputError(f"--noconfig.{key}: only true and false have this form; write --config.{key}=VALUE")
        bare = "=" not in word and not (found and isinstance(known.get(key), bool))
        value = next(words, None) if bare else word.partition("=")[2]
        if value is None or (bare and re.match("--?[A-Za-z]", value)):
            raise InputError(f"--{name}: its value is missing; write --{name}=VALUE")
        values.setdefault(key, []).append(value)
    if len(set(values.get("workdir", []))) > 1:
        raise InputError(f"--workdir is given several times: {', '.join(values['workdir'])}; give one folder")
    return [
        f"config.{key} is given {len(given)} times ({', '.join(given)}); the last counts"
        for key, given in values.items()
        if key != "workdir" and len(set(given)) > 1
    ]


def _overridden(config: Any, arguments: list[str]) -> tuple[Any, str | None, set[str]]:
    """(the config with its --config.KEY=VALUE overrides, --workdir, the overridden keys)."""
    from absl import flags
    from ml_collections import ConfigDict, config_flags

    class WithoutText(ConfigDict):  # type: ignore[misc]  # ml_collections has no types
        """Absl writes a flag's default twice, for a help that is not shown: as YAML, half of the time of parsing."""

        def __str__(self) -> str:
            return ""

    values: Any = flags.FlagValues()  # type: ignore[no-untyped-call]
    known = flat(config.to_dict())
    try:
        config_flags.DEFINE_config_dict("config", WithoutText(config), flag_values=values, sys_argv=arguments)
        flags.DEFINE_string("workdir", None, "The folder that the run writes to.", flag_values=values)
        rest = values(["ltjax", *arguments], known_only=False)
    except flags.Error as error:
        raise InputError(_bad_flag(error, known)) from None
    except (TypeError, ValueError, OverflowError, RecursionError, MemoryError, SyntaxError) as error:
        raise InputError(f"a value of the command line cannot be read: {shown(str(error))}; correct it") from None
    if len(rest) > 1:
        raise InputError(f"unexpected argument '{rest[1]}'; write settings as --config.KEY=VALUE")
    return ConfigDict(values["config"].value), values["workdir"].value, set(values["config"].override_values)


def _fit_to_epochs(config: Any, source: str, overridden: set[str]) -> list[str]:
    """Scales the schedules to a number of epochs other than the recipe's; returns the note that reports it."""
    recipe = load(source)
    if overridden & {"epochs", "second_stage_epochs"}:
        scale_epochs(config, recipe, overridden)
    plain = load(_without_epochs(source)) if _without_epochs(source) != source else recipe
    if (config.epochs, config.get("second_stage_epochs")) == (plain.epochs, plain.get("second_stage_epochs")):
        return []
    before, after = flat(plain.to_dict()), flat(config.to_dict())
    ends = ("schedule.warmup_epochs", "schedule.milestones", "second_stage_epochs")
    changed = [
        f"{key} {before[key]} -> {after[key]}"
        for key in sorted(after)
        if key.endswith(ends) and key not in overridden and before.get(key) != after[key]
    ]
    scaled = f"scaled {', '.join(changed)}" if changed else "no schedule had to be scaled"
    key = "epochs" if config.epochs != plain.epochs else "second_stage_epochs"
    usual = plain[key] or "default"  # None: the method's
    return [f"config.{key}={config[key]} instead of the recipe's {usual}; {scaled}"]


def _without_epochs(source: str) -> str:
    """FILE:WORDS without the word ``epochs=N``.

    Example:
      >>> _without_epochs("configs/cifar100_ce.py:epochs=5,imbalance=50"), _without_epochs("configs/cifar100_ce.py")
      ('configs/cifar100_ce.py:imbalance=50', 'configs/cifar100_ce.py')
    """
    path, colon, words = source.partition(":")
    kept = ",".join(word for word in words.split(",") if word.partition("=")[0] != "epochs")
    return f"{path}{colon}{kept}" if kept else path


def _unknown_key(known: dict[str, Any], key: str) -> str:
    if key.partition("[")[0] in known:
        return f"config.{key}: one element cannot be set; write the whole value, --config.{key.partition('[')[0]}=..."
    parent = key.rpartition(".")[0]
    siblings = [k for k in known if k.rpartition(".")[0] == parent] if parent in _groups(known) else []
    near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
    hint = f" (did you mean 'config.{near[0]}'?)" if near else ""
    top = list(dict.fromkeys(k.partition(".")[0] for k in known))
    allowed = ", ".join(f"config.{k}" for k in siblings or top)
    return f"config.{shortened(key)}: unknown key{hint}; allowed: {allowed}"


def _groups(known: dict[str, Any]) -> set[str]:
    return {key.rpartition(".")[0] for key in known}


def _bad_flag(error: Exception, known: dict[str, Any]) -> str:
    text = " ".join(str(error).split())
    if text.startswith("flag --config."):
        key, _, value = text.removeprefix("flag --config.").partition(": ")[0].partition("=")
        default = known.get(key)
        if default is None and any(name.startswith(f"{key}.") for name in known):
            example = next(name for name in known if name.startswith(f"{key}."))
            return f"config.{key} is a group of settings, not a value; set one of them, such as --config.{example}=..."
        common = {key: allowed_values(kind, about) for key, kind, _, about in leaves(Settings)}
        allowed = common.get(key, type(default).__name__)
        return f"config.{key}: '{value}' has the wrong type; allowed: {allowed} (the file has {default!r})"
    if "Unknown command line flag" in text:
        name = text.split("'")[1]
        hint = did_you_mean(f"--{name}", ["--config", "--workdir", "--help-config"])
        return f"--{name}: unknown flag; allowed: --config, --workdir, --config.KEY, --help-config{hint}"
    return text
