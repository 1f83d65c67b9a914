"""What a stored config.json says of a run's result: the settings that determine it, and its epochs."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ltjax.data.storage.paths import open_path
from ltjax.errors import InputError

# They choose the seeds, the file that the config came from, and what is measured; not what is trained.
NOT_TRAINED = {"seed", "num_seeds", "method", "family", "recipe", "watch_classes", "log_every_steps"}
NOT_TRAINED_BLOCKS = ("evaluation.", "gradients.")


def identifying_settings(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Flat key -> value of the settings that determine the result, without seeds; the method's own block first.

    A setting that the run is older than has its default. The run that it started from stands for its settings: second
    stages of other seeds start from first stages of other seeds.
    """
    from ltjax.methods.configure import BLOCKS, from_json
    from ltjax.settings.identity import all_leaves, identity, run_only
    from ltjax.settings.schema import flat

    try:
        settings = from_json(stored)
    except InputError:  # a method, a sampler or a backbone in a file of the user's that is not here
        values = {key: value for key, value in flat(stored).items() if key not in run_only()}
        first: tuple[str, ...] = BLOCKS
    else:
        known, matter = all_leaves(settings), identity(settings)
        values = flat(json.loads(json.dumps(dataclasses.replace(settings, unused={}).to_dict())))
        values = {
            key: value
            for key, value in values.items()
            if key in matter or (key in known and known[key][1].added_later and not known[key][1].run_only)
        }
        first = (settings.method_block,)
    values = {
        key: value for key, value in values.items() if key not in NOT_TRAINED and not key.startswith(NOT_TRAINED_BLOCKS)
    }
    if values.get("init_from"):
        values["init_from"] = _source(values["init_from"])
    return dict(sorted(values.items(), key=lambda item: item[0].partition(".")[0] not in first))


def _source(workdir: str) -> str:
    """The method of the run in this workdir and a hash of its settings; its path if it cannot be read."""
    stored = _read(workdir, "config.json")
    if stored is None:
        return workdir
    method = stored.get("method")
    text = json.dumps([method, identifying_settings(stored)], sort_keys=True)
    return f"{method} {hashlib.sha256(text.encode()).hexdigest()[:6]}"


def epochs_of(results: Mapping[str, Any], stored: Mapping[str, Any] | None) -> int:
    """The epochs of all stages, with those of the run that it started from.

    If that one cannot be read, the setting for the epochs of the first stage counts.
    """
    own = int(results["epochs"])
    if not stored or not stored.get("init_from"):
        return own
    before = _read(stored["init_from"], "results.json")
    if before is None or "epochs" not in before:
        return own + int(stored.get("epochs", 0))
    return own + epochs_of(before, _read(stored["init_from"], "config.json"))


def _read(workdir: str, name: str) -> dict[str, Any] | None:
    try:
        content = json.loads((open_path(workdir) / name).read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
