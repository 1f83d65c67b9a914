"""data.json: digests of the images that a run began with. A resume compares them; results.json has their hashes."""

import json
import logging
from collections.abc import Callable

import jax
from etils import epath

from ltjax.data import Data
from ltjax.data.dataset import fingerprint
from ltjax.data.digests import SplitDigests, data_digests, difference, from_json, to_json
from ltjax.data.storage.paths import write_atomically
from ltjax.errors import InputError
from ltjax.training.execution.agreement import everywhere
from ltjax.training.workdir.metrics_log import Record

FILE = "data.json"


def read_data_record(folder: epath.Path) -> dict[str, SplitDigests] | None:
    """The digests in a workdir; None if it has none that can be read (which is reported)."""
    path = folder / FILE
    try:
        return from_json(json.loads(path.read_text())["splits"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, InputError) as error:
        logging.getLogger("ltjax").warning("%s cannot be read (%s): the data is not compared with it", path, error)
        return None


def check_data_record(
    folder: epath.Path, data: Data, verify: str, begun: bool, report: Callable[[str], None], stop: Callable[[], None]
) -> dict[str, SplitDigests]:
    """Compares the data with that which the run began with; returns the digests to record.

    Args:
      folder: the workdir.
      data: the run's.
      verify: ``config.data.verify``.
      begun: whether the run has trained before; if not, a record of an earlier attempt does not count.
      report: logs a line.
      stop: may raise to end a long reading.

    Raises:
      InputError: if the data differs; the message says what and where.
    """
    if verify == "full":
        report("data: every image is read once and compared (config.data.verify=full)")
    now = data_digests(data, verify, stop)
    stored = read_data_record(folder) if begun else None
    other = differs_anywhere(difference(stored, now, data) if stored is not None else None)
    if other is not None:
        raise InputError(
            f"--workdir={folder}: the data is not what the run began with: {other}; restore the data, or train on it "
            "as it is now in another --workdir, or continue on it with --resume=force"
        )
    if stored is None and begun:
        report(
            f"data: the workdir has no {FILE} that can be read (earlier versions wrote none), so it is not known "
            "whether images and test set are still the same; they are compared from now on"
        )
    recorded = _joined(stored or {}, now)
    if not begun:
        write_data_record(folder, recorded)
    return recorded


def write_data_record(folder: epath.Path, recorded: dict[str, SplitDigests]) -> None:
    """Writes data.json if it is another one; the first process does."""
    content = json.dumps({"format": 1, "splits": to_json(recorded)}) + "\n"
    path = folder / FILE
    if jax.process_index() == 0 and not (path.exists() and path.read_bytes() == content.encode()):
        write_atomically(path, content)


def differs_anywhere(other: str | None) -> str | None:
    """A difference that this process found, or that another one found; all processes must call it.

    A node may have a copy of its own. If it alone raised, the others would wait for it for ever.
    """
    if everywhere(other is None):
        return None
    return other or "that of another process differs, whose machine may have a copy of its own"


def split_difference(folder: epath.Path, data: Data, verify: str, split: str) -> str | None:
    """How a split differs from that of the run in ``folder``, in words; None if it does not, or nothing is recorded.

    All processes must call it: one that finds a difference makes it one in all of them.
    """
    stored = read_data_record(folder)
    other = None if stored is None else difference(stored, data_digests(data, verify, only=split), data, split)
    return differs_anywhere(other)


def _joined(stored: dict[str, SplitDigests], now: dict[str, SplitDigests]) -> dict[str, SplitDigests]:
    """The record with digests that it did not have, because config.data.verify was lower."""
    return {
        name: SplitDigests(split.class_counts, split.pieces | (stored[name].pieces if name in stored else {}))
        for name, split in now.items()
    }


def hashes(recorded: dict[str, SplitDigests], data: Data) -> Record:
    """What results.json has of the data: hashes of the index of each split, and of what was read of its images."""
    of_images = {name: split.sha256() for name, split in recorded.items()}
    for kinds in of_images.values():
        del kinds["index"]
    index = {"test_index_sha256": fingerprint(data.test)}
    if data.validation is not None:
        index["validation_index_sha256"] = fingerprint(data.validation)
    return {**index, "images_sha256": of_images}
