"""Which run a workdir belongs to: it resumes only under the config that it was started with."""

import re
from collections.abc import Callable

import jax
from etils import epath

from ltjax.errors import InputError, shortened
from ltjax.settings import Settings, user_paths
from ltjax.settings.identity import difference
from ltjax.training.workdir.json_files import Record, read_object

RESULTS = {"convention", "per_class", "seeds", "shots", "step"}  # what results.json has at least


def absolute(workdir: str) -> epath.Path:
    """The folder as orbax needs it: a local path is made absolute, a bucket's stays as it is."""
    return epath.Path(user_paths.absolute(workdir))


def check_path(folder: str, key: str = "--workdir") -> None:
    """Raises InputError, which names the flag, for a path in which checkpoints cannot be written, or not be read back.

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


def config_is_damaged(folder: epath.Path) -> bool:
    """Whether config.json is there, but not what a run wrote."""
    stored = folder / "config.json"
    return stored.exists() and read_object(stored) is None


def has_begun(folder: epath.Path) -> bool:
    """Whether a checkpoint is there, be it a damaged or an incomplete one; without one, nothing was trained."""
    return any(path.name.partition(".")[0].isdigit() for path in (folder / "checkpoints").glob("*/*"))


def stored_difference(folder: epath.Path, config: Settings) -> str:
    """How the workdir's config differs from this one, in words; "" if it does not, or cannot be read."""
    stored = read_object(folder / "config.json") if (folder / "config.json").exists() else None
    return "" if stored is None else difference(config, stored) or ""


def _shots_flag(folder: epath.Path, config: Settings) -> str:
    """The flag for the groups of the stored config: the recipes for the user's images have had other ones."""
    block = (read_object(folder / "config.json") or {}).get("evaluation")
    shots = block.get("shots") if isinstance(block, dict) else None
    return f" (--config.evaluation.shots={shots})" if shots and shots != config.evaluation.shots else ""


def open_workdir(
    folder: epath.Path, config: Settings, report: Callable[[str], None], force: bool = False
) -> Record | None:
    """results.json of a finished run of this config; None if there is something left to do.

    A run of another config that ended before its first checkpoint, as for a file that was missing, is no obstacle.
    Damaged files are reported. What config.json held, the checkpoints' fingerprints show as well; results.json is made
    again from the last checkpoint.

    Raises:
      InputError: if the workdir holds a run of another config; with ``force`` only a finished one.
    """
    stored = folder / "config.json"
    if not (folder / "results.json").exists():
        check_path(str(folder))
    if config_is_damaged(folder):
        report(f"{stored}: is damaged; a run that goes on writes it again, if its checkpoints are of this config")
    elif stored.exists():
        other, finished = stored_difference(folder, config), (folder / "results.json").exists()
        if other and force and finished:
            raise InputError(
                f"--workdir={folder} holds a finished run of another config: {other}; --resume=force continues "
                "unfinished ones; use another --workdir (config.init_from starts from the end of a run)"
            )
        if other and not finished and not has_begun(folder):
            report(f"{stored}: is replaced; it is of a run that ended before its first checkpoint ({other})")
        elif other and not force:
            rest = "" if finished else ", or continue it with these changes by --resume=force"
            raise InputError(
                f"--workdir={folder} holds a run of another config: {other}; use another --workdir, or set these "
                f"values{_shots_flag(folder, config)} to resume that run{rest}"
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
    return read_results(folder, report)


def read_results(folder: epath.Path, report: Callable[[str], None]) -> Record | None:
    """results.json of a finished run; None without it, and where it is damaged but can be made again."""
    path = folder / "results.json"
    if not path.exists():
        return None
    results = read_object(path)
    if results is not None and results.keys() >= RESULTS:
        return results
    if not (folder / "checkpoints").exists():
        raise InputError(f"{path}: is damaged, and there is no checkpoint to make it from; remove it to train again")
    report(f"{path}: is damaged; the last checkpoint is evaluated again")
    return None
