"""Writes shards. What goes where is planned first, so that the same command continues a preparation that was killed."""

import contextlib
import fcntl
import hashlib
import io
import json
import math
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ltjax.commands.worker_pool import Advance
from ltjax.data.datasets.assemble import Split, Splits
from ltjax.data.storage.paths import write_atomically
from ltjax.data.storage.shards import FORMAT, MANIFEST, file_sha256, open_shard, pack
from ltjax.errors import InputError

PLAN = "unfinished.json"  # the manifest without its files, while they are being written
SHARD_BYTES = 256 * 2**20  # of a shard, about, where --shards is not given
SAMPLED = 500  # images whose sizes give the mean size of an image


class Job(NamedTuple):
    """One shard: the records ``start`` .. ``stop - 1`` of a split go into ``file``."""

    split: str
    file: str
    start: int
    stop: int


def present(splits: Splits) -> dict[str, Split]:
    """The splits that the data set has."""
    named = {"train": splits.train, "test": splits.test, "validation": splits.validation}
    return {name: split for name, split in named.items() if split is not None}


def make_plan(splits: Splits, shards: int | None) -> dict[str, Any]:
    """The manifest before anything is written: class names and, for every split, counts, a hash, number of shards."""
    planned = {}
    for name, split in present(splits).items():
        labels = split.source.labels
        planned[name] = {
            "records": len(labels),
            "class_counts": np.bincount(labels, minlength=len(splits.class_names)).tolist(),
            "records_sha256": _records_sha256(split),
            "shard_count": min(shards or _enough_shards(split), len(labels)),
        }
    return {"format": FORMAT, "class_names": list(splits.class_names), "splits": planned}


def _records_sha256(split: Split) -> str:
    """Of names, labels and index."""
    assert split.names is not None
    source = split.source
    digest = hashlib.sha256(source.labels.astype("<i8").tobytes() + source.index.astype("<i8").tobytes())
    digest.update(split.names.sha256().encode())
    return digest.hexdigest()


def _enough_shards(split: Split) -> int:
    encoded = split.source.encoded
    assert encoded is not None
    sample = np.unique(np.linspace(0, len(split.source) - 1, min(SAMPLED, len(split.source))).astype(np.int64))
    mean = np.mean([len(read_named(split, int(i))) for i in sample])
    return max(1, math.ceil(mean * len(split.source) / SHARD_BYTES))


def read_named(split: Split, record: int) -> bytes:
    """The bytes of an image file; the error for one that cannot be read names it."""
    assert split.source.encoded is not None
    try:
        return split.source.encoded(record)
    except InputError as error:
        raise InputError(f"{split.source.named(record)} cannot be read: {error}") from error


def adopt_plan(out: str, plan: dict[str, Any], shards: int | None) -> dict[str, Any]:
    """The plan that the folder has already, or else this one, which is stored there.

    Raises:
      InputError: when the folder has shards, finished or not, of another data set.
    """
    for name in (MANIFEST, PLAN):
        path = os.path.join(out, name)
        if not os.path.exists(path):
            continue
        try:
            with open(path) as file:
                old = json.load(file)
            same = _without_shards(old) == _without_shards(plan)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: cannot be read ({error}); remove the folder or choose another --out") from error
        if not same:
            raise InputError(f"--out: {out} has shards of another data set; remove it or choose another --out")
        counts = {split: one["shard_count"] for split, one in old["splits"].items()}
        if shards and any(counts[split] != one["shard_count"] for split, one in plan["splits"].items()):
            raise InputError(
                f"--shards: {shards}, but {out} was started with {', '.join(map(str, counts.values()))}; "
                "use that number, remove the folder, or choose another --out"
            )
        return {
            **plan,
            "splits": {split: one | {"shard_count": counts[split]} for split, one in plan["splits"].items()},
        }
    write_atomically(os.path.join(out, PLAN), json.dumps(plan).encode())
    return plan


def _without_shards(plan: dict[str, Any]) -> Any:
    keys = ("records", "class_counts", "records_sha256")
    return plan["format"], plan["class_names"], {n: [s[key] for key in keys] for n, s in plan["splits"].items()}


def jobs_of(plan: dict[str, Any]) -> list[Job]:
    """All shards of a plan; the records are divided evenly, in order."""
    jobs = []
    for split, one in plan["splits"].items():
        count = one["shard_count"]
        bounds = [one["records"] * k // count for k in range(count + 1)]
        for k in range(count):
            jobs.append(Job(split, f"{split}-{k:05}-of-{count:05}.array_record", bounds[k], bounds[k + 1]))
    return jobs


def write_shard(out: str, split: Split, job: Job, advance: Advance) -> dict[str, Any]:
    """Writes one shard unless it exists; returns its entry in the manifest. ``advance(n)``: n more are done."""
    path = os.path.join(out, job.file)
    if _is_whole(path, job):
        advance(job.stop - job.start)
    else:
        unfinished = os.path.join(out, f".{job.file}.unfinished")
        _write(unfinished, split, job, advance)
        if not _is_whole(unfinished, job):
            raise InputError(f"{unfinished}: is incomplete; make room on the disk, then run the same command again")
        os.replace(unfinished, path)
    return {
        "file": job.file,
        "records": job.stop - job.start,
        "bytes": os.path.getsize(path),
        "sha256": file_sha256(path),
    }


def _is_whole(path: str, job: Job) -> bool:
    try:
        return os.path.exists(path) and open_shard(path).num_records() == job.stop - job.start
    except InputError:
        raise
    except Exception:  # its reader may raise anything for a truncated file
        return False


def _write(path: str, split: Split, job: Job, advance: Advance) -> None:
    from array_record.python import array_record_module

    assert split.names is not None
    source = split.source
    try:
        # One record a group, so that it can be read by itself; images are compressed already.
        writer = array_record_module.ArrayRecordWriter(os.fsencode(path), "group_size:1,uncompressed")
        for i in range(job.start, job.stop):
            content = read_named(split, i)
            writer.write(pack(int(source.labels[i]), int(source.index[i]), split.names[i], content))
            advance(1)
        writer.close()
    except RuntimeError as error:
        raise InputError(f"{path}: cannot be written ({str(error).splitlines()[0]})") from error


def finish(out: str, plan: dict[str, Any], splits: Splits, written: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Writes the index files and, last of all, the manifest; returns it."""
    manifest = {**plan, "splits": {}}
    for name, split in present(splits).items():
        file = f"{name}.index.npz"
        write_atomically(os.path.join(out, file), _index(split))
        path = os.path.join(out, file)
        manifest["splits"][name] = plan["splits"][name] | {
            "index": {"file": file, "bytes": os.path.getsize(path), "sha256": file_sha256(path)},
            "shards": [written[job.file] for job in jobs_of(plan) if job.split == name],
        }
    write_atomically(os.path.join(out, MANIFEST), (json.dumps(manifest, indent=1) + "\n").encode())
    with contextlib.suppress(FileNotFoundError):
        os.remove(os.path.join(out, PLAN))
    return manifest


def _index(split: Split) -> bytes:
    assert split.names is not None
    names, content = list(split.names.encoded()), io.BytesIO()
    np.savez(
        content,
        labels=split.source.labels.astype(np.int32),
        index=split.source.index.astype(np.int64),
        names=np.frombuffer(b"".join(names), np.uint8),
        name_ends=np.cumsum([len(name) for name in names], dtype=np.int64),
    )
    return content.getvalue()


@contextlib.contextmanager
def locked(out: str) -> Iterator[None]:
    """Makes the folder and locks it against a second preparation for as long as this one runs.

    Raises:
      InputError: when another one is running, or the folder cannot be made.
    """
    try:
        os.makedirs(out, exist_ok=True)
        lock = open(os.path.join(out, ".lock"), "w")  # noqa: SIM115
    except OSError as error:
        raise InputError(f"--out: {out} cannot be written ({error.strerror or error})") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"--out: another preparation is writing to {out}; wait until it ends") from None
        except OSError:  # a file system without locks
            pass
        try:
            yield
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.remove(lock.name)
