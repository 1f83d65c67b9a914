"""Training records that could not be read and were replaced: each counted once, said, kept, and bounded.

Evaluation skips nothing: an accuracy is over every test image, or there is none.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

import jax
from etils import epath

from ltjax.data.loading.prefetch import Watch
from ltjax.data.loading.unreadable import Fault
from ltjax.data.storage.paths import write_atomically
from ltjax.errors import InputError
from ltjax.training.workdir.metrics_log import Record

FILES = "skipped.*.json"  # in the workdir, one of each process, which sees its share of the batches


class Skipped:
    """Called with the faults of a batch. Raises InputError at one record more than ``most``.

    Each process counts what it came upon, and what the files of an earlier start of the run have.
    """

    def __init__(self, workdir: epath.Path, most: int, say: Callable[[str], None]) -> None:
        self.path = workdir / FILES.replace("*", str(jax.process_index()))
        self.most, self.say = most, say
        self.reasons = {record["index"]: record["reason"] for record in skipped_records(workdir)}

    def __call__(self, faults: Sequence[Fault]) -> None:
        new = {fault.index: fault.reason for fault in faults if fault.index not in self.reasons}
        for index, reason in new.items():
            self.reasons[index] = reason
            self.say(f"skipped: {reason} ({len(self.reasons)} of at most {self.most})")
        if new:
            records = [{"index": index, "reason": self.reasons[index]} for index in sorted(self.reasons)]
            write_atomically(self.path, json.dumps(records, indent=1) + "\n")
        if len(self.reasons) > self.most:
            raise InputError(
                f"{len(self.reasons)} training records cannot be read, more than config.data.max_skipped={self.most}: "
                f"mend what {self.path} names, or allow more; the last: {list(self.reasons.values())[-1]}"
            )


def skipped_records(workdir: epath.Path) -> list[Record]:
    """What all processes of a run have skipped: {"index", "reason"} of each record once, by index."""
    found: dict[int, Record] = {}
    for path in sorted(workdir.glob(FILES)) if workdir.exists() else []:
        found |= {record["index"]: record for record in json.loads(path.read_text())}
    return [found[index] for index in sorted(found)]


def make_watch(config: Any, workdir: epath.Path, say: Callable[[str], None]) -> Watch:
    """What config.data.on_error and config.data.timeout say about the training data."""
    skip = config.data.on_error == "skip"
    return Watch(Skipped(workdir, config.data.max_skipped, say) if skip else None, config.data.timeout, say)
