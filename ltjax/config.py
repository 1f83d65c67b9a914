"""From the command line to a checked config. Every mistake becomes an InputError of one line."""

import contextlib
import difflib
import importlib.util
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from ltjax import presets
from ltjax.errors import InputError, did_you_mean
from ltjax.training.workdir.identity import flat

Rule = tuple[Callable[[Any], bool], str]
_at_least_1: Rule = (lambda v: v >= 1, "an integer >= 1")
_at_least_0: Rule = (lambda v: v >= 0, "0 or more")
_not_negative: Rule = (lambda v: 0 <= v < math.inf, "a finite number >= 0")
_fraction: Rule = (lambda v: 0 <= v < 1, "a number in [0, 1)")


def _one_of(*allowed: str) -> Rule:
    return (lambda v: v in allowed, "one of " + ", ".join(allowed))


def _rising(values: Sequence[int]) -> bool:
    return all(isinstance(v, int) and v >= 1 for v in values) and sorted(set(values)) == list(values)


# Possible values of the settings that every method has; a method checks its own.
RULES: dict[str, Rule] = {
    "seed": (lambda v: 0 <= v < 2**32, "an integer in [0, 2**32)"),
    "num_seeds": _at_least_1,
    "seeds_by": _one_of("auto", "vmap", "unroll"),
    "steps_per_call": _at_least_0,
    "epochs": _at_least_1,
    "batch_size": _at_least_1,
    "micro_batches": _at_least_1,
    "dtype": _one_of("float32", "bfloat16", "float64"),
    "data.imbalance": (lambda v: 1 <= v < math.inf, "a number >= 1"),
    "data.profile": _one_of("exp", "step"),
    "data.source": _one_of("auto", "npz", "python", "list", "shards", "tfds"),
    "data.test_fraction": _fraction,
    "data.image_size": _at_least_1,
    "data.resize": _at_least_1,
    "data.selection_seed": (lambda v: 0 <= v < 2**32, "an integer in [0, 2**32)"),
    "data.validation_fraction": _fraction,
    "data.validation_use": _one_of("evaluate", "choose"),
    "data.workers": _at_least_0,
    "data.on_error": _one_of("stop", "skip"),
    "data.max_skipped": _at_least_0,
    "data.timeout": _not_negative,
    "data.on_device": _one_of("auto", "yes", "no"),
    "model.norm_group": _at_least_0,
    "optimizer.learning_rate": (lambda v: 0 < v < math.inf, "a finite number > 0"),
    "optimizer.recipe_batch_size": _at_least_0,
    "optimizer.momentum": _fraction,
    "optimizer.weight_decay": _not_negative,
    "optimizer.backbone_rate": _not_negative,
    "optimizer.schedule.unit": _one_of("epoch", "step"),
    "optimizer.schedule.warmup_epochs": _at_least_0,
    "optimizer.schedule.warmup_start": (lambda v: 0 <= v <= 1, "a number in [0, 1]"),
    "optimizer.schedule.milestones": (_rising, "rising epochs >= 1, such as (160,180)"),
    "optimizer.schedule.decay": (lambda v: 0 < v <= 1, "a number in (0, 1]"),
    "evaluation.batch_size": _at_least_1,
    "evaluation.every_epochs": _at_least_0,
    "evaluation.shots": _one_of("strict", "inclusive", "index"),
    "evaluation.index_boundaries": (lambda v: len(v) == 2 and _rising(v), "two rising class indices, such as (35,70)"),
    "features.memory_mb": _not_negative,
    "log_every_steps": _at_least_1,
    "checkpoint.every_steps": _at_least_1,
    "checkpoint.keep": _at_least_1,
    "second_stage_epochs": _at_least_1,
    "second_stage_optimizer.schedule.name": _one_of("step", "cosine", "constant"),
}
RULES |= {f"second_stage_{key}": rule for key, rule in RULES.items() if key.startswith("optimizer.")}
RULES["optimizer.rate_rule"] = _one_of("none", "linear", "sqrt")  # one for all stages


def find(path: str) -> str:
    """The config file: as given, or the one of that name inside the package (``configs/NAME.py`` after pip install)."""
    if pathlib.Path(path).is_file():
        return path
    package = pathlib.Path(__file__).parent
    folders = [package / "configs", package.parent / "configs"]
    shipped = {f"configs/{f.name}": f for d in folders if d.is_dir() for f in sorted(d.glob("[!_]*.py"))}
    name = path.removeprefix("./")
    for candidate in (name, f"{name}.py", f"configs/{name}", f"configs/{name}.py"):
        if candidate in shipped:
            return str(shipped[candidate])
    raise InputError(
        f"--config: no file '{path}'; the package has {', '.join(sorted(shipped))}{did_you_mean(path, shipped)}"
    )


def parse(argv: Sequence[str]) -> tuple[Any, str]:
    """``--config=FILE[:ARG] --workdir=DIR --config.KEY=VALUE ...`` -> (checked config, workdir)."""
    from absl import flags
    from ml_collections import config_flags

    values = flags.FlagValues()
    arguments = _with_found_config(argv)
    config_flags.DEFINE_config_file("config", None, "The config file.", flag_values=values, sys_argv=arguments)
    flags.DEFINE_string("workdir", None, "Where the run leaves its files.", flag_values=values)
    try:
        rest = values(["ltjax", *arguments], known_only=False)
    except InputError:
        raise
    except (AttributeError, KeyError):  # how config_flags reports a key that the config does not have
        raise InputError(_unknown_key(arguments)) from None
    except flags.Error as error:
        raise InputError(_bad_flag(error, arguments)) from None
    if len(rest) > 1:
        raise InputError(f"unexpected argument '{rest[1]}'; settings are written --config.KEY=VALUE")
    config: Any = values["config"].value
    if not hasattr(config, "items"):
        raise InputError("--config: the file has no get_config(arg) that returns a ConfigDict")
    if not values["workdir"].value:
        raise InputError("--workdir is missing: the folder that the run writes to, such as --workdir=runs/first")
    presets.resolve(config)
    check(config)
    config.lock()
    return config, values["workdir"].value


def _with_found_config(argv: Sequence[str]) -> list[str]:
    """The same arguments with --config's file found (here or in the package); it has to come before its overrides."""
    arguments = list(argv)
    for i, word in enumerate(arguments):
        if word in ("--config", "-config") and i + 1 < len(arguments):
            arguments[i : i + 2] = [f"--config={arguments[i + 1]}"]
            word = arguments[i]
        if word.startswith(("--config=", "-config=")):
            path, colon, arg = word.partition("=")[2].partition(":")
            found = find(path)
            _try_config(found, arg if colon else None)
            arguments.insert(0, f"--config={found}{colon}{arg}")
            del arguments[i + 1]
            return arguments
    raise InputError("--config is missing: a config file such as --config=configs/mnist5k_reslt.py")


def _loaded(arguments: Sequence[str]) -> dict[str, Any]:
    """The settings of the config file alone, to name what is allowed."""
    from absl import flags
    from ml_collections import config_flags

    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, "", flag_values=values, sys_argv=list(arguments[:1]))
    values(["ltjax", arguments[0]])
    return flat(values["config"].value)


def _overrides(arguments: Sequence[str]) -> list[str]:
    return [a.lstrip("-").removeprefix("no").partition("=")[0][7:] for a in arguments[1:] if "config." in a]


def _unknown_key(arguments: Sequence[str]) -> str:
    known = _loaded(arguments)
    prefixes = {key.rpartition(".")[0] for key in known}
    for key in _overrides(arguments):
        if key not in known and key not in prefixes:
            parent = key.rpartition(".")[0]
            siblings = [k for k in known if k.rpartition(".")[0] == parent] or list(known)
            near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
            hint = f" (did you mean 'config.{near[0]}'?)" if near else ""
            allowed = ", ".join(f"config.{k}" for k in siblings)
            return f"config.{key}: unknown key{hint}; allowed: {allowed}"
    return f"unknown key among {', '.join(_overrides(arguments))}"


def _try_config(path: str, arg: str | None) -> None:
    """Calls the file's get_config, for an InputError of its own: absl would wrap it with its traceback as text."""
    spec = importlib.util.spec_from_file_location("config", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with contextlib.suppress(Exception):
        spec.loader.exec_module(module)
    if callable(getattr(module, "get_config", None)):
        try:
            module.get_config(arg)
        except InputError:
            raise
        except Exception:  # told by what reads the file for the flags
            return


def _bad_flag(error: Exception, arguments: Sequence[str]) -> str:
    text = " ".join(str(error).split())
    if text.startswith("flag --config."):
        key, _, value = text.removeprefix("flag --config.").partition(": ")[0].partition("=")
        default = _loaded(arguments).get(key)
        kind = "a group of settings" if default is None else type(default).__name__
        allowed = f"; {RULES[key][1]}" if key in RULES else ""
        return f"config.{key}: '{value}' has the wrong type; allowed: {kind}{allowed} (the file has {default!r})"
    if "Unknown command line flag" in text:
        name = text.split("'")[1]
        hint = did_you_mean(name, ["config", "workdir"])
        return f"--{name}: unknown flag; allowed: --config, --workdir, --config.KEY{hint}"
    return text


def check(config: Any) -> None:
    """Raises InputError for a value that no run could have."""
    settings = flat(config)
    for key, value in settings.items():
        if isinstance(value, float) and math.isnan(value):
            raise InputError(f"config.{key}: nan is no number")
        if key in RULES and value is not None and not RULES[key][0](value):
            raise InputError(f"config.{key}: impossible value {value!r}; allowed: {RULES[key][1]}")
    if config.steps_per_call > 1 and config.data.on_device == "no":
        raise InputError("config.steps_per_call: several steps a call need the data on the device, not on_device=no")
    if config.micro_batches > 1 and config.gradients.every_steps:
        raise InputError(
            "config.gradients.every_steps: the diagnostic takes a batch as a whole; with config.micro_batches use 0"
        )
    if config.seed + config.num_seeds > 2**32:
        raise InputError(f"config.num_seeds: the last seed {config.seed + config.num_seeds - 1} is not below 2**32")
