"""Which run a workdir belongs to: it resumes only under the config that it was started with."""

import json
import os
from typing import Any

import jax
from etils import epath

from ltjax.errors import InputError
from ltjax.training.workdir.metrics_log import Record

# Settings that may change when a run is resumed: they change where and how often, never what is computed.
RUN_ONLY = (
    "data.dir", "data.source", "data.workers", "evaluation.batch_size",
    "data.on_error", "data.max_skipped", "data.timeout",  # so that a run that stopped at a bad file can skip it
    "data.on_device", "steps_per_call", "seeds_by", "checkpoint.every_steps", "checkpoint.keep", "features.dir",
    "features.memory_mb",
)  # fmt: skip
# Settings that are newer than some workdirs, with the value that means the same as none: such runs resume.
LATER = {"micro_batches": 1, "model.norm_group": 0, "optimizer.rate_rule": "none", "decoupling.solver": "sgd"}
OF_RATE_RULE = ("optimizer.recipe_batch_size", "second_stage_optimizer.recipe_batch_size")  # nothing without a rule


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """{"optimizer.learning_rate": 0.1, ...} of a nested config."""
    out: dict[str, Any] = {}
    for key, value in config.items():
        out.update(flat(value, f"{prefix}{key}.") if hasattr(value, "items") else {prefix + key: value})
    return out


def to_json(config: Any) -> str:
    return json.dumps(config.to_dict(), indent=2, sort_keys=True) + "\n"


def identity(config: Any) -> dict[str, Any]:
    """The settings that the result depends on, as JSON returns them."""
    settings = json.loads(json.dumps(flat(config)))
    left_out = [*RUN_ONLY, *(key for key, value in LATER.items() if settings.get(key) == value)]
    if "optimizer.rate_rule" in left_out:
        left_out += OF_RATE_RULE
    return {key: value for key, value in settings.items() if key not in left_out}


def with_later_settings(stored: dict[str, Any]) -> dict[str, Any]:
    """A stored config, completed by settings that are newer than it."""
    for key, value in (LATER | dict.fromkeys(OF_RATE_RULE, 0)).items():
        block, _, name = key.rpartition(".")
        inner = stored.get(block) if block else stored
        if inner is not None:
            inner.setdefault(name, value)
    return stored


def difference(config: Any, stored: dict[str, Any]) -> str | None:
    """The first settings in which a stored config differs from this one, or None."""
    new, old = identity(config), identity(stored)
    keys = [k for k in sorted({*new, *old}) if new.get(k) != old.get(k)]
    if not keys:
        return None
    more = f" (and {len(keys) - 3} more)" if len(keys) > 3 else ""
    return "; ".join(f"config.{k} is {old.get(k)!r} there and {new.get(k)!r} here" for k in keys[:3]) + more


def absolute(workdir: str) -> epath.Path:
    """The folder as orbax needs it: a local path is made absolute, a bucket's stays as it is."""
    return epath.Path(workdir if "://" in workdir else os.path.abspath(os.path.expanduser(workdir)))


def open_workdir(folder: epath.Path, config: Any) -> Record | None:
    """results.json of a finished run of this config; None if there is something left to do."""
    stored = folder / "config.json"
    if stored.exists():
        try:
            other = difference(config, json.loads(stored.read_text()))
        except ValueError:
            raise InputError(f"{stored}: not valid JSON; remove the folder or use another --workdir") from None
        if other:
            raise InputError(f"--workdir={folder} holds a run of another config: {other}; use another --workdir")
    elif (folder / "checkpoints").exists() or (folder / "results.json").exists():
        raise InputError(f"--workdir={folder} holds a run without its config.json; use another --workdir")
    if jax.process_index() == 0:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"--workdir={folder}: cannot be created ({error.strerror or error}); use another --workdir"
            ) from None
    results = folder / "results.json"
    return json.loads(results.read_text()) if results.exists() else None
