"""Unreadable training records that were substituted: each one counted once, logged and stored, up to a limit.

Evaluation skips nothing: an accuracy covers every test image, or there is none.
"""

import json
from collections.abc import Callable, Sequence

import jax
from etils import epath

from ltjax.data.loading.prefetch import Watch, to_stderr
from ltjax.data.loading.unreadable import Fault
from ltjax.data.storage.paths import write_atomically
from ltjax.errors import InputError
from ltjax.settings import Settings
from ltjax.training.workdir.json_files import read_records
from ltjax.training.workdir.metrics_log import Record

FILES = "skipped.*.json"  # in the workdir, one for each process, which reads its share of the batches


class Skipped:
    """Called with the unreadable records of a batch. Raises InputError if there are more than ``most`` in all.

    Each process counts those that it read itself, and those in the files of earlier starts of the run.
    """

    def __init__(self, workdir: epath.Path, most: int, report: Callable[[str], None]) -> None:
        self.path = workdir / FILES.replace("*", str(jax.process_index()))
        self.most, self.report = most, report
        self.reasons = {record["index"]: record["reason"] for record in skipped_records(workdir, report)}

    def __call__(self, faults: Sequence[Fault]) -> None:
        new = {fault.index: fault.reason for fault in faults if fault.index not in self.reasons}
        for index, reason in new.items():
            self.reasons[index] = reason
            self.report(f"skipped: {reason} ({len(self.reasons)} of at most {self.most})")
        if new:
            records = [{"index": index, "reason": self.reasons[index]} for index in sorted(self.reasons)]
            write_atomically(self.path, json.dumps(records, indent=1) + "\n")
        if len(self.reasons) > self.most:
            raise InputError(
                f"{len(self.reasons)} training records cannot be read, more than config.data.max_skipped={self.most}: "
                f"repair those listed in {self.path}, or raise the limit; the last: {list(self.reasons.values())[-1]}"
            )


def skipped_records(workdir: epath.Path, report: Callable[[str], None] = to_stderr) -> list[Record]:
    """The records that any process of the run skipped: {"index", "reason"} of each one once, by index."""
    found: dict[int, Record] = {}
    for path in sorted(workdir.glob(FILES)) if workdir.exists() else []:
        records = read_records(path, ("index", "reason"), report)
        found |= {record["index"]: record for record in records if type(record["index"]) is int}
    return [found[index] for index in sorted(found)]


def make_watch(config: Settings, workdir: epath.Path, report: Callable[[str], None]) -> Watch:
    """How training images are watched: config.data.on_error and config.data.timeout."""
    skip = config.data.on_error == "skip"
    return Watch(Skipped(workdir, config.data.max_skipped, report) if skip else None, config.data.timeout, report)
