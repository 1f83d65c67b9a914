"""Which run a workdir belongs to: it resumes only under the config that it was started with."""

import json
import re

import jax
from etils import epath

from ltjax.errors import InputError, shortened
from ltjax.settings import Settings, user_paths
from ltjax.settings.identity import difference
from ltjax.training.workdir.metrics_log import Record


def absolute(workdir: str) -> epath.Path:
    """The folder as orbax needs it: a local path is made absolute, a bucket's stays as it is."""
    return epath.Path(user_paths.absolute(workdir))


def check_path(folder: str, key: str = "--workdir") -> None:
    """Raises InputError, which names the flag, for a path in which checkpoints could be written, but not read back.

    Orbax searches the files of a checkpoint by a pattern that begins with the path, and stores no path that is not
    UTF-8.

    Example:
      >>> check_path("/runs/it's 50% [of [all")
      >>> try:
      ...     check_path("/runs/a[1]")
      ... except InputError as error:
      ...     print(error)
      --workdir=/runs/a[1]: checkpoints cannot be read from a path with [1] in it; use another --workdir
    """
    found = re.search(r"\[[^/]+?\]|\\|[\ud800-\udfff]", folder)
    if found:
        raise InputError(
            f"{key}={shortened(folder)}: checkpoints cannot be read from a path with {shortened(found[0])} in it; "
            f"use another {key}"
        )


def open_workdir(folder: epath.Path, config: Settings) -> Record | None:
    """results.json of a finished run of this config; None if there is something left to do."""
    stored = folder / "config.json"
    if not (folder / "results.json").exists():
        check_path(str(folder))
    if stored.exists():
        try:
            other = difference(config, json.loads(stored.read_text()))
        except ValueError:
            raise InputError(f"{stored}: not valid JSON; remove the folder or use another --workdir") from None
        if other:
            raise InputError(
                f"--workdir={folder} holds a run of another config: {other}; use another --workdir, or set these "
                "values to resume that run"
            )
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
