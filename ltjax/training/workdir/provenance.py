"""provenance.json: the commits of the code and the hardware that a run was trained with, in turn; for results.json."""

import functools
import importlib.metadata
import itertools
import json
import os
import pathlib
import platform
import subprocess
from collections.abc import Callable

import jax
from etils import epath

from ltjax import version
from ltjax.data.loading.prefetch import to_stderr
from ltjax.data.storage.paths import write_atomically
from ltjax.training.workdir.json_files import Record, read_records

FILE = "provenance.json"
KEYS = ("commit", "hardware")


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


def hardware() -> str:
    """The devices, and the machine that holds them.

    Example:
      >>> "cpu" in hardware() or "x" in hardware()
      True
    """
    devices = jax.devices()
    return f"{len(devices)} x {devices[0].device_kind} ({platform.machine()}, {jax.process_count()} process(es))"


def provenance(folder: epath.Path, report: Callable[[str], None] = to_stderr) -> Record:
    """What the run in this workdir was trained with, from its start over every resume.

    Args:
      folder: the workdir.
      report: gets a line if the file is damaged.

    Returns:
      "commits": those of the code, in turn, None for an unknown one; "hardware": all of it, in one line.
    """
    records = _records(folder, report) or [_now()]
    return {
        "commits": [commit for commit, _ in itertools.groupby(one["commit"] for one in records)],
        "hardware": "; ".join(dict.fromkeys(one["hardware"] or "unknown" for one in records)),
    }


def note_provenance(folder: epath.Path, begun: bool, report: Callable[[str], None] = to_stderr) -> None:
    """Notes the commit of the code and the hardware if one is another than before; the first process does.

    Args:
      folder: the workdir.
      begun: whether the run has checkpoints; without a note of theirs their commit and hardware are unknown.
      report: gets a line if the file is damaged.
    """
    if jax.process_index() != 0:
        return
    stored = _records(folder, report) if begun else []
    before = stored or ([dict.fromkeys(KEYS)] if begun else [])
    now = _now()
    each = before if before[-1:] == [now] else [*before, now]
    if each != stored:
        write_atomically(folder / FILE, json.dumps(each) + "\n")


def _records(folder: epath.Path, report: Callable[[str], None]) -> list[Record]:
    return read_records(folder / FILE, KEYS, report)


def _now() -> Record:
    return {"commit": code_commit(), "hardware": hardware()}
