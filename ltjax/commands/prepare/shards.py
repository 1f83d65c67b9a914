"""Makes ArrayRecord shards of a list or a folder of pictures: few large files, which disks and pods read fast.

    python -m ltjax.data.prepare --folder=DIR --out=SHARDS
    python -m ltjax.data.prepare --list=train.txt --test-list=test.txt --root=DIR --out=SHARDS

The pictures' bytes stay as they are. Kill it and run it again: finished shards are kept. When all are there,
manifest.json is written; then train with --config.data.name=shards (or imagenet_lt, places_lt, inat2018)
--config.data.dir=SHARDS.
"""

import argparse
import multiprocessing
import os
import pickle
import sys
from collections.abc import Callable
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from types import SimpleNamespace
from typing import Any

from ltjax.commands.cli import Parser
from ltjax.commands.prepare.shard_writer import Job, agree_plan, alone, finish, jobs_of, make_plan, present, write_shard
from ltjax.commands.worker_pool import Bar, end_with_parent, without_interrupts
from ltjax.data.datasets.assemble import Split, Splits
from ltjax.data.datasets.user_images import find_list, read_folder, read_lists
from ltjax.errors import InputError


def _parser() -> argparse.ArgumentParser:
    parser = Parser("ltjax.data.prepare", __doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--folder", help="class folders, or train/ and test/ or val/ of class folders")
    what.add_argument("--list", help="the training list, 'relative/path label' lines")
    parser.add_argument("--test-list", help="with --list: the test images")
    parser.add_argument("--val-list", help="with --list: images to make choices on")
    parser.add_argument("--root", help="with --list: the folder that the paths in the lists are relative to")
    parser.add_argument("--class-names", default="", help="with --list: a file with a class's name a line, by label")
    parser.add_argument("--out", required=True, help="the folder that the shards are written to")
    parser.add_argument("--shards", type=int, help="shards of every split; without it about 256 MB go into each")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (all cores)")
    return parser


def prepare(arguments: Any) -> str:
    """Reads, writes what is not yet there, and returns the summary.

    Raises:
      InputError: one line; finished shards stay.
    """
    for name in ("shards", "workers"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise InputError(f"--{name}: {value} is not possible; 1 or more")
    splits = _splits(arguments)
    out = os.path.abspath(os.path.expanduser(arguments.out))
    for note in splits.notes:
        print(note, file=sys.stderr)
    with alone(out):
        plan = agree_plan(out, make_plan(splits, arguments.shards), arguments.shards)
        written = _write_all(out, plan, splits, arguments.workers)
        manifest = finish(out, plan, splits, written)
    return _summary(out, manifest)


def _splits(arguments: Any) -> Splits:
    settings = SimpleNamespace(image_size=224, resize=256, class_names=arguments.class_names)
    of_lists = ("test_list", "val_list", "root", "class_names")
    if arguments.folder:
        given = [name.replace("_", "-") for name in of_lists if getattr(arguments, name)]
        if given:
            raise InputError(f"--{given[0]}: goes with --list, not with --folder")
        return read_folder(os.path.expanduser(arguments.folder), settings)
    if not arguments.root:
        raise InputError("--root is missing: the folder that the paths in the lists are relative to")
    root = os.path.expanduser(arguments.root)
    lists = {"train": arguments.list, "test": arguments.test_list, "validation": arguments.val_list}
    return read_lists(root, {split: find_list(root, name) for split, name in lists.items() if name}, settings)


def _write_all(out: str, plan: dict[str, Any], splits: Splits, workers: int) -> dict[str, dict[str, Any]]:
    """File name -> what the manifest says of it."""
    jobs, named = jobs_of(plan), present(splits)
    total = sum(job.stop - job.start for job in jobs)
    if min(workers, len(jobs)) == 1:
        bar = Bar(total)
        written = {job.file: write_shard(out, named[job.split], job, bar.add) for job in jobs}
        bar.end()
        return written
    # By a file: a worker that is killed while it is still being sent much leaves its parent waiting for ever.
    handed = os.path.join(out, ".splits.unfinished")
    with open(handed, "wb") as file:
        pickle.dump(named, file)
    context = multiprocessing.get_context("spawn")
    done = context.RawArray("q", len(jobs))  # records of every shard; without a lock, which could die with its holder
    pool = futures.ProcessPoolExecutor(min(workers, len(jobs)), context, _begin, (out, handed, done))
    try:
        with without_interrupts():  # the workers are started here, and Ctrl-C is for their parent
            waiting = {pool.submit(_work, job, number): job.file for number, job in enumerate(jobs)}
        return _follow(waiting, Bar(total), lambda: sum(done))
    except BrokenProcessPool:
        raise InputError(
            "a worker process ended (out of memory?); run the same command again, perhaps with fewer --workers: "
            "finished shards are kept"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        os.remove(handed)


def _follow(waiting: dict[Any, str], bar: Bar, done: Callable[[], int]) -> dict[str, dict[str, Any]]:
    """Waits for all shards, showing how far they are; the first failure is raised."""
    left = set(waiting)
    while left:
        ended, left = futures.wait(left, timeout=0.2, return_when=futures.FIRST_EXCEPTION)
        bar.show(done())
        for one in ended:
            one.result()
    bar.end()
    return {file: one.result() for one, file in waiting.items()}


# What a worker process holds: (folder, splits, the records of every shard that are done).
_held: tuple[str, dict[str, Split], Any] | None = None


def _begin(out: str, handed: str, done: Any) -> None:
    global _held
    end_with_parent()
    with open(handed, "rb") as file:
        _held = (out, pickle.load(file), done)


def _work(job: Job, number: int) -> dict[str, Any]:
    assert _held is not None
    out, splits, done = _held

    def tell(count: int) -> None:
        done[number] += count

    return write_shard(out, splits[job.split], job, tell)


def _summary(out: str, manifest: dict[str, Any]) -> str:
    lines = [f"{out}: {len(manifest['class_names'])} classes"]
    for name, split in manifest["splits"].items():
        counts, size = split["class_counts"], sum(shard["bytes"] for shard in split["shards"])
        lines.append(
            f"{name}: {split['records']} images in {len(split['shards'])} shards, {size / 1e6:,.1f} MB, {max(counts)} "
            f"to {min(counts)} a class, sha256 {split['records_sha256']}"
        )
    lines.append(f"use it with --config.data.name=shards --config.data.dir={out}")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """The command. Returns the exit status: 0, 2 (bad input) or 1 after one line on stderr, 130 interrupted."""
    try:
        print(prepare(_parser().parse_args(argv)))
    except InputError as error:
        print(f"prepare: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # a full disk
        place = f"{error.filename}: " if error.filename else ""
        print(f"prepare: {place}{error.strerror or error}; finished shards are kept", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nprepare: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
