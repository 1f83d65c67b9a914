"""commits.json: the commits of the code that a run was trained with, in turn; results.json has them."""

import functools
import importlib.metadata
import json
import os
import pathlib
import subprocess
from collections.abc import Callable

import jax
from etils import epath

from ltjax import version
from ltjax.data.loading.prefetch import to_stderr
from ltjax.data.storage.paths import write_atomically
from ltjax.training.workdir.json_files import read_records

FILE = "commits.json"


@functools.cache
def code_commit(package: pathlib.Path = pathlib.Path(version.__file__).parent) -> str | None:
    """The commit of the code that runs: 40 digits, followed by "-dirty" if files of it were changed.

    That of the checkout in which the package lies, or the one that pip installed from a repository; None where
    neither is known, as for a package of an index, whose version says all.
    """
    root = package.parent
    if (root / ".git").exists():
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        clean = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        try:
            found = subprocess.run(command, capture_output=True, text=True, timeout=10, env=clean)
        except (OSError, subprocess.SubprocessError, ValueError):
            return None
        return found.stdout.strip() or None if found.returncode == 0 else None
    try:
        origin = json.loads(importlib.metadata.distribution("ltjax").read_text("direct_url.json") or "{}")
        return str(origin["vcs_info"]["commit_id"])
    except (importlib.metadata.PackageNotFoundError, OSError, ValueError, KeyError, TypeError):
        return None


def commits(folder: epath.Path, report: Callable[[str], None] = to_stderr) -> list[str | None]:
    """The commits that the run in this workdir was trained with, from the first on; None is an unknown one."""
    return [one["commit"] for one in read_records(folder / FILE, ("commit",), report)]


def note_commit(folder: epath.Path, begun: bool, report: Callable[[str], None] = to_stderr) -> None:
    """Notes the commit of the code if it is another one than the last; the first process does.

    Args:
      folder: the workdir.
      begun: whether the run has checkpoints; without a note of theirs their commit is unknown.
      report: gets a line if the file is damaged.
    """
    if jax.process_index() != 0:
        return
    stored = commits(folder, report) if begun else []
    before = stored or ([None] if begun else [])
    now = code_commit()
    each = before if before[-1:] == [now] else [*before, now]
    if each != stored:
        write_atomically(folder / FILE, json.dumps([{"commit": one} for one in each]) + "\n")
