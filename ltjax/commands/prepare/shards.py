"""Makes ArrayRecord shards of a list or folder of images: few large files, which disks and pods read fast.

    python -m ltjax.data.prepare --folder=DIR --out=SHARDS
    python -m ltjax.data.prepare --list=train.txt --test-list=test.txt --root=DIR --out=SHARDS
    python -m ltjax.data.prepare --format=parquet --folder=DIR --out=SHARDS

The image files are packed unchanged. Kill it and run the same command again: finished shards are kept. The last file
to be written is manifest.json; then train with --config.data.name=shards (or imagenet_lt, places_lt, inat2018)
--config.data.dir=SHARDS. `ltjax prepare shards` is the same command.
"""

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence
from typing import Any

from ltjax import escape
from ltjax.commands.cli import Parser, guarded
from ltjax.commands.data_flags import COLUMNS, add_format_flags, check_format_flags, in_flags, named_by_flags
from ltjax.commands.prepare.shard_writer import (
    Job,
    adopt_plan,
    finish,
    jobs_of,
    locked,
    make_plan,
    present,
    write_shard,
)
from ltjax.commands.worker_pool import Advance, run_jobs
from ltjax.data.datasets.assemble import Split, Splits
from ltjax.data.datasets.records import READERS
from ltjax.data.datasets.tables import read_tables
from ltjax.data.datasets.user_images import find_list, read_folder, read_lists
from ltjax.errors import InputError
from ltjax.settings import DataSettings
from ltjax.settings.user_paths import expanded, without_slashes


def _parser() -> argparse.ArgumentParser:
    parser = Parser("prepare shards", "ltjax.data.prepare", __doc__)
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--folder", help="class folders, or train/ and test/ or val/ of class folders")
    kind.add_argument("--list", help="the training list, 'relative/path label' lines")
    parser.add_argument("--test-list", help="with --list: the test images")
    parser.add_argument("--val-list", help="with --list: the validation images")
    parser.add_argument("--root", help="with --list: the folder that the paths in the lists are relative to")
    parser.add_argument(
        "--class-names",
        default="",
        help="with --list: a file with a class name in each line, by label",
    )
    parser.add_argument(
        "--allow-outside", action="store_true", help="with --list: the lists may name images outside of --root"
    )
    add_format_flags(parser)
    parser.add_argument("--out", required=True, help="the folder for the shards")
    parser.add_argument("--shards", type=int, help="shards of every split; default: as many as give about 256 MB each")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes; default: all cores")
    return parser


def prepare(arguments: Any) -> str:
    """Reads the data set, writes the missing shards, and returns the summary.

    Raises:
      InputError: one line; finished shards are kept.
    """
    for name in ("shards", "workers"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise InputError(f"--{name}: impossible value {value}; allowed: an integer >= 1")
    with named_by_flags(of_lists=not arguments.folder):
        splits = _splits(arguments)
    out = os.path.abspath(expanded(arguments.out))
    for note in splits.notes:
        print(escape.terminal(in_flags(note, of_lists=not arguments.folder)), file=sys.stderr)
    with locked(out):
        plan = adopt_plan(out, make_plan(splits, arguments.shards), arguments.shards)
        written = _write_all(out, plan, splits, arguments.workers)
        manifest = finish(out, plan, splits, written)
    return _summary(out, manifest)


def _splits(arguments: Any) -> Splits:
    check_format_flags(arguments)
    settings = DataSettings(
        image_size=224, resize=256, class_names=arguments.class_names, allow_outside=arguments.allow_outside,
        **{name: getattr(arguments, name) for name in COLUMNS},
    )  # fmt: skip
    settings = dataclasses.replace(settings, keep_labels=False)
    of_lists = ("test_list", "val_list", "root", "class_names", "allow_outside")
    if arguments.folder:
        given = [name.replace("_", "-") for name in of_lists if getattr(arguments, name)]
        if given:
            raise InputError(f"--{given[0]}: only allowed with --list, not with --folder")
        read = READERS.get(arguments.format, read_folder)
        return read(without_slashes(expanded(arguments.folder)), settings)
    if not arguments.root:
        raise InputError("--list needs --root: the folder that the paths in the lists are relative to")
    root = without_slashes(expanded(arguments.root))
    lists = {"train": arguments.list, "test": arguments.test_list, "validation": arguments.val_list}
    paths = {split: find_list(root, name) for split, name in lists.items() if name}
    return (
        read_tables(arguments.format, root, paths, settings) if arguments.format else read_lists(root, paths, settings)
    )


def _write_all(out: str, plan: dict[str, Any], splits: Splits, workers: int) -> dict[str, dict[str, Any]]:
    """File name -> what the manifest says of it."""
    jobs = jobs_of(plan)
    total = sum(job.stop - job.start for job in jobs)
    advice = "run the same command again, perhaps with fewer --workers: finished shards are kept"
    shared = (out, present(splits))
    done = run_jobs(_write_one, shared, jobs, workers=workers, total=total, advice=advice)
    return {job.file: entry for job, entry in done}


def _write_one(shared: tuple[str, dict[str, Split]], job: Job, advance: Advance) -> dict[str, Any]:
    out, splits = shared
    return write_shard(out, splits[job.split], job, advance)


def _summary(out: str, manifest: dict[str, Any]) -> str:
    lines = [f"{escape.terminal(out)}: {len(manifest['class_names'])} classes"]
    for name, split in manifest["splits"].items():
        counts, size = split["class_counts"], sum(shard["bytes"] for shard in split["shards"])
        lines.append(
            f"{name}: {split['records']} images in {len(split['shards'])} shards, {size / 1e6:,.1f} MB, {max(counts)} "
            f"to {min(counts)} a class, sha256 {split['records_sha256']}"
        )
    lines.append(f"use it with --config.data.name=shards --config.data.dir={escape.terminal(out)}")
    return "\n".join(lines)


def run(argv: Sequence[str]) -> int:
    print(prepare(_parser().parse_args(argv)))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    kept = "finished shards are kept: run the same command again to continue"
    return guarded(run, argv, unfinished=kept)


if __name__ == "__main__":
    sys.exit(main())
