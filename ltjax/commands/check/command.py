"""Checks a data set before a long run, and writes nothing into it.

    python -m ltjax.data.check --config=configs/places_ce.py --config.data.dir=DIR [--config.KEY=VALUE ...]
    python -m ltjax.data.check --folder=DIR
    python -m ltjax.data.check --list=train.txt --test-list=test.txt --root=DIR

Counts of every class and group, with a picture; classes and labels that no run could have; files that are absent,
empty, truncated or no pictures; modes and sizes; images that are in train and test, or twice in train; with --run,
whether a finished run's head fits. DIR of --out gets check.json, with all that was found, and class_counts.png.

Exit status: 0 nothing that would stop or spoil a run, 1 something, 2 bad input of this command.
"""

import argparse
import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from ltjax.class_counts import shot_groups
from ltjax.commands.check import findings as audit
from ltjax.commands.check.inspect_files import Look, look_at, sample
from ltjax.commands.check.lenient_read import read_loosely
from ltjax.commands.check.report import describe, printable, write
from ltjax.commands.cli import Parser, guarded
from ltjax.data.dataset import Data, Source
from ltjax.data.datasets.lt_benchmarks import CARDS
from ltjax.data.storage.find_dataset import data_root
from ltjax.errors import InputError, did_you_mean

SAMPLED = 2000  # files of a split that are looked at without --files=all
AT_ONCE = 1024  # images in memory that are compared in a row
PUBLIC = {"mnist5k", "cifar10", "cifar100", *CARDS}
AS_PUBLISHED = {"leak", "two_labels"}  # findings that public sets keep, so that results can be compared
CYCLE = 4  # images of a class at a visit of data.sampler=class_cycle


def _parser() -> argparse.ArgumentParser:
    parser = Parser("ltjax.data.check", __doc__)
    parser.add_argument("--folder", help="instead of --config: as configs/folder_ce.py with this config.data.dir")
    parser.add_argument("--list", help="instead of --config: as configs/list_ce.py with this config.data.train_list")
    parser.add_argument("--test-list", help="with --list")
    parser.add_argument("--val-list", help="with --list")
    parser.add_argument("--root", help="with --list: the folder that the paths in the lists are relative to")
    parser.add_argument("--files", choices=("sample", "all"), default="sample", help=f"{SAMPLED:,} of a split, or all")
    parser.add_argument("--run", help="the workdir of a finished run, whose head is compared")
    parser.add_argument("--allow", default="", metavar="KIND,...", help="findings that do not count, such as leak")
    parser.add_argument("--out", default="check", help="the folder for check.json and class_counts.png (./check)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes that look at files")
    return parser


def run(argv: Sequence[str]) -> int:
    """The command. Returns 0 or 1.

    Raises:
      InputError: bad input.
    """
    options, rest = _parser().parse_known_args(argv)
    allowed = _allowed(options.allow)
    if options.workers < 1:
        raise InputError(f"--workers: {options.workers} is not possible; 1 or more")
    config = _config(options, rest)
    _check_out(options.out, config.data)
    results = _results(options.run) if options.run else None
    settings = SimpleNamespace(**config.data.to_dict(), keep_labels=False)
    if settings.name in PUBLIC:
        allowed |= AS_PUBLISHED
    data, found = read_loosely(settings)
    report: dict[str, Any] = {"status": 0, "data": settings.name, "dir": settings.dir}
    if data is not None:
        found += audit.class_findings(data, images_per_class(config, data))
        report |= _counts(data, config)
        if results is not None:
            found += audit.head_findings(data, results, options.run)
        seen, hashes = look_at_images(data, options.files == "all", options.workers)
        if seen:
            report["files"] = audit.summary(seen)
            found += audit.file_findings(audit.parts_of(data), seen, settings.image_size)
        found += audit.duplicate_findings(audit.parts_of(data), hashes, lambda k: audit.class_name(data, k))
    found = [one._replace(level="allowed") if one.kind in allowed else one for one in found]
    report["status"] = int(any(one.level == "error" for one in found))
    report["findings"] = [one._asdict() for one in found]
    print(printable(describe(report, found)))
    picture = None if data is None else _picture(report)
    path = write(options.out, report, picture)
    print(f"all of it: {path}{'' if picture is None else ', and class_counts.png beside it'}")
    return report["status"]


def _allowed(text: str) -> set[str]:
    kinds = {kind for kind in text.split(",") if kind}
    for kind in sorted(kinds - set(audit.KINDS)):
        raise InputError(
            f"--allow: unknown kind '{kind}'; allowed: {', '.join(audit.KINDS)}{did_you_mean(kind, audit.KINDS)}"
        )
    return kinds


def _config(options: Any, rest: list[str]) -> Any:
    """The checked config that the arguments mean."""
    for word in rest:
        name = word.partition("=")[0]
        if word.startswith("-") and not name.lstrip("-").removeprefix("no").startswith("config"):
            known = [action.option_strings[0] for action in _parser()._actions]
            raise InputError(f"{name}: unknown flag; allowed: {', '.join(known)}, --config{did_you_mean(name, known)}")
    whole = any(word.partition("=")[0] in ("--config", "-config") for word in rest)
    if whole + bool(options.folder) + bool(options.list) != 1:
        raise InputError("what is to be checked: --config=FILE, --folder=DIR or --list=FILE, one of them")
    if not options.list and (options.test_list or options.val_list or options.root):
        raise InputError("--test-list, --val-list and --root go with --list")
    given = []
    if options.folder:
        given = ["--config=configs/folder_ce.py", f"--config.data.dir={options.folder}"]
    elif options.list:
        if not options.root:
            raise InputError("--root is missing: the folder that the paths in the lists are relative to")
        lists = {"train_list": options.list, "test_list": options.test_list, "val_list": options.val_list}
        given = ["--config=configs/list_ce.py", f"--config.data.dir={options.root}"]
        given += [f"--config.data.{key}={path}" for key, path in lists.items() if path]
    from ltjax.config import parse

    return parse([*given, *rest, "--workdir=unused"])[0]


def _check_out(out: str, settings: Any) -> None:
    """Raises InputError when it is in the data's folder, which stays as it is."""
    root = str(data_root(settings))
    if "://" not in root:
        root, place = os.path.realpath(root), os.path.realpath(os.path.expanduser(out))
        if place == root or place.startswith(root.rstrip(os.sep) + os.sep):
            raise InputError(f"--out: '{place}' is inside the data ({root}), which stays as it is; set another")


def _results(workdir: str) -> Mapping[str, Any]:
    from ltjax.report.run import read_run

    return read_run(workdir).results


def images_per_class(config: Any, data: Data) -> int | None:
    """Z: how many images of a class the config's sampler takes at a visit; None where it takes single ones."""
    if config.data.sampler == "class_cycle":
        return CYCLE
    groups = [group for group in config.values() if hasattr(group, "items") and "images_per_class" in group]
    if not groups:
        return None
    if groups[0].images_per_class is not None:
        return groups[0].images_per_class
    from ltjax.methods.auxiliary import images_per_class as fitting

    return fitting(config.batch_size, int(np.count_nonzero(data.class_counts)))


def _counts(data: Data, config: Any) -> dict[str, Any]:
    """What the report says of classes and groups."""
    shots, boundaries = config.evaluation.shots, tuple(config.evaluation.index_boundaries)
    try:
        groups = shot_groups(data.class_counts, shots, boundaries if shots == "index" else None)
    except ValueError as error:
        raise InputError(f"config.evaluation.index_boundaries: {error}") from error
    counts = {
        split: np.bincount(source.labels, minlength=data.num_classes).tolist()
        for split, source in audit.parts_of(data).items()
    }
    return {
        "train_index_sha256": data.fingerprint,
        "class_names": list(data.class_names) if data.class_names else None,
        "counts": counts,
        "convention": shots,
        "groups": {group: np.flatnonzero(mask).tolist() for group, mask in groups.items()},
        "notes": list(data.notes),
    }


def _picture(report: Mapping[str, Any]) -> bytes:
    """Of the counts; matplotlib is loaded here."""
    from ltjax.report.classes import class_curve

    classes = np.arange(len(report["counts"]["train"]))
    groups = {group: np.isin(classes, own) for group, own in report["groups"].items()}
    names = report["class_names"]
    return class_curve(report["counts"], groups, names and [printable(name) for name in names])


Seen = dict[str, dict[int, Look]]


def look_at_images(data: Data, everything: bool, workers: int) -> tuple[Seen, dict[str, dict[int, bytes]]]:
    """(split -> record -> look, split -> record -> hash of the content); no looks of images that lie in memory."""
    parts = audit.parts_of(data)
    if any(source.encoded is None for source in parts.values()):
        return {}, {split: _hashes(source) for split, source in parts.items()}
    records = {
        split: np.arange(len(source)) if everything else sample(len(source), SAMPLED) for split, source in parts.items()
    }
    reads = {split: source.encoded for split, source in parts.items() if source.encoded is not None}
    seen = look_at(reads, records, workers)
    return seen, {
        split: {record: one.sha256 for record, one in own.items() if not one.fault} for split, own in seen.items()
    }


def _hashes(source: Source) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for start in range(0, len(source), AT_ONCE):
        own = np.arange(start, min(start + AT_ONCE, len(source)))
        images = source.images(own)
        found |= {int(i): hashlib.sha256(image.tobytes()).digest() for i, image in zip(own, images, strict=True)}
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return guarded(lambda: run(sys.argv[1:] if argv is None else argv))


if __name__ == "__main__":
    sys.exit(main())
