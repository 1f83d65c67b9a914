"""Checks a data set before a long run, and writes nothing into it.

    python -m ltjax.data.check --config=configs/places_ce.py --config.data.dir=DIR [--config.KEY=VALUE ...]
    python -m ltjax.data.check --folder=DIR
    python -m ltjax.data.check --list=train.txt --test-list=test.txt --root=DIR

It counts images by class and group, and draws the counts. It reports impossible classes and labels; files that are
missing, empty, truncated or no images; modes and sizes; images that are in train and test, or twice in train; with
--run, whether the head of a finished run fits. The folder of --out gets check.json with everything that was found, and
class_counts.png. `ltjax check` is the same command.

Exit status: 0 nothing would stop or spoil a run, 1 something would, 2 bad input of this command.
"""

import argparse
import contextlib
import dataclasses
import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ltjax import escape
from ltjax.class_counts import shot_groups
from ltjax.commands.check import findings
from ltjax.commands.check.advice import advice
from ltjax.commands.check.inspect_files import Inspection, evenly_spread, inspect_files
from ltjax.commands.check.lenient_read import read_leniently
from ltjax.commands.check.report import describe, write
from ltjax.commands.cli import Parser, guarded, spelled
from ltjax.commands.data_flags import COLUMNS, add_format_flags, check_format_flags, in_flags, named_by_flags
from ltjax.data.dataset import Data, Source
from ltjax.data.datasets.lt_benchmarks import SPECS
from ltjax.data.storage.find_dataset import data_root
from ltjax.errors import InputError, did_you_mean
from ltjax.settings import DataSettings, Settings
from ltjax.settings.config_file import FORMATS
from ltjax.settings.user_paths import expanded

SAMPLED = 2000  # files of a split that are inspected without --files=all
AT_ONCE = 1024  # arrays of images are hashed in blocks of this many
PUBLIC = {"mnist5k", "cifar10", "cifar100", *SPECS}
AS_PUBLISHED = {
    "leak",
    "two_labels",
}  # accepted in public sets, whose results must stay comparable
CYCLE = 4  # images of a class that data.sampler=class_cycle draws at a time


def _parser() -> argparse.ArgumentParser:
    parser = Parser("check", "ltjax.data.check", __doc__)
    parser.add_argument("--folder", help="instead of --config: as configs/folder_ce.py with this config.data.dir")
    parser.add_argument("--list", help="instead of --config: as configs/list_ce.py with this config.data.train_list")
    parser.add_argument("--test-list", help="with --list")
    parser.add_argument("--val-list", help="with --list")
    parser.add_argument("--root", help="with --list: the folder that the paths in the lists are relative to")
    parser.add_argument(
        "--allow-outside", action="store_true", help="with --list: the lists may name images outside of --root"
    )
    add_format_flags(parser)
    parser.add_argument("--files", choices=("sample", "all"), default="sample", help=f"{SAMPLED:,} of a split, or all")
    parser.add_argument("--run", help="the workdir of a finished run, to compare the head of")
    parser.add_argument("--allow", default="", metavar="KIND,...", help="kinds of findings to accept, such as leak")
    parser.add_argument("--out", default="check", help="the folder for check.json and class_counts.png (./check)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes that inspect files")
    return parser


def run(argv: Sequence[str]) -> int:
    """The command. Returns 0 or 1.

    Raises:
      InputError: bad input.
    """
    options, rest = _parser().parse_known_args(argv)
    allowed = _allowed(options.allow)
    if options.workers < 1:
        raise InputError(f"--workers: impossible value {options.workers}; allowed: an integer >= 1")
    arguments = _arguments(options, rest)
    config = _config(arguments)
    _check_out(options.out, config.data)
    results = _results(options.run) if options.run else None
    settings = dataclasses.replace(config.data, keep_labels=False)
    if settings.name in PUBLIC:
        allowed |= AS_PUBLISHED
    with named_by_flags(bool(options.list)) if options.folder or options.list else contextlib.nullcontext():
        data, found = read_leniently(settings)
    if options.folder or options.list:
        found = [one._replace(message=in_flags(one.message, bool(options.list))) for one in found]
    report: dict[str, Any] = {"status": 0, "data": settings.name, "dir": settings.dir}
    if data is not None:
        found += findings.class_findings(data, images_per_class(config, data))
        report |= _counts(data, config)
        if results is not None:
            found += findings.head_findings(data, results, options.run)
        inspected, hashes = inspect_images(data, options.files == "all", options.workers)
        if inspected:
            report["files"] = findings.summary(inspected)
            found += findings.file_findings(findings.splits_of(data), inspected, settings.image_size)
        found += findings.duplicate_findings(findings.splits_of(data), hashes, lambda k: findings.class_name(data, k))
    found = [one._replace(level="allowed") if one.kind in allowed else one for one in found]
    report["status"] = int(any(one.level == "error" for one in found))
    report["findings"] = [one._asdict() for one in found]
    trains = data is not None and all(one.kind != "refused" for one in found)
    report["advice"] = _advice(report, config, arguments) if trains else []
    print(describe(report, found))
    figure = None if data is None else _figure(report)
    path = write(options.out, report, figure)
    if figure is not None:
        by_number = "; ".join(f"{c} = {name}" for c, name in _numbered(report).items())
        if by_number:
            print(
                escape.terminal(f"class_counts.png has numbers for names that no installed font can draw: {by_number}")
            )
    drawn = "" if figure is None else "; the counts are drawn in class_counts.png beside it"
    print(f"all findings: {escape.terminal(path)}{drawn}")
    print("\n".join(map(escape.terminal, report["advice"])), end="\n" if report["advice"] else "")
    return report["status"]


def _allowed(text: str) -> set[str]:
    kinds = {kind for kind in text.split(",") if kind}
    for kind in sorted(kinds - set(findings.KINDS)):
        raise InputError(
            f"--allow: unknown kind '{kind}'; allowed: {', '.join(findings.KINDS)}{did_you_mean(kind, findings.KINDS)}"
        )
    return kinds


def _config(arguments: Sequence[str]) -> Any:
    from ltjax.methods.configure import from_command_line

    return from_command_line([*arguments, "--workdir=unused"])[0]


def _arguments(options: Any, rest: list[str]) -> list[str]:
    """Those of a run on this data set: --config and its settings."""
    for word in rest:
        name = word.partition("=")[0]
        if word.startswith("-") and not name.lstrip("-").removeprefix("no").startswith("config"):
            known = [action.option_strings[0] for action in _parser()._actions]
            raise InputError(f"{name}: unknown flag; allowed: {', '.join(known)}, --config{did_you_mean(name, known)}")
    whole = any(word.partition("=")[0] in ("--config", "-config") for word in rest)
    if whole + bool(options.folder) + bool(options.list) != 1:
        raise InputError("give one of --config=FILE, --folder=DIR and --list=FILE: the data set to check")
    if not options.list and (options.test_list or options.val_list or options.root or options.allow_outside):
        raise InputError("--test-list, --val-list, --root and --allow-outside are only allowed with --list")
    check_format_flags(options)
    arguments, word = [], f":format={options.format}" if options.format else ""
    if options.folder:
        arguments = [f"--config=configs/folder_ce.py{word}", f"--config.data.dir={options.folder}"]
    elif options.list:
        if not options.root:
            raise InputError("--list needs --root: the folder that the paths in the lists are relative to")
        lists = {"train_list": options.list, "test_list": options.test_list, "val_list": options.val_list}
        arguments = [f"--config=configs/list_ce.py{word}", f"--config.data.dir={options.root}"]
        arguments += [f"--config.data.{key}={path}" for key, path in lists.items() if path]
        arguments += ["--config.data.allow_outside=True"] if options.allow_outside else []
    arguments += [f"--config.data.{key}={getattr(options, key)}" for key in COLUMNS if getattr(options, key)]
    return [*arguments, *rest]


def _advice(report: Mapping[str, Any], config: Settings, arguments: Sequence[str]) -> list[str]:
    """For the user's images: where to begin. Public sets have recipes of their own."""
    if config.recipe not in ("folder", "list") or config.data.name in PUBLIC or not all(report["counts"]["train"]):
        return []
    if "labels_of_image" in report:  # its one config file is the one that was checked
        return []
    pairs = zip(arguments, [*arguments[1:], ""], strict=True)
    flags = [
        word if "=" in word or word.startswith("--noconfig") else f"{word}={value}"
        for word, value in pairs
        if word.lstrip("-").startswith(("config.data.", "noconfig.data."))
    ]
    sides = report.get("files", {}).get("short_side")
    train = spelled("train", "ltjax.main")
    named = any(flag.startswith("--config.data.name=") for flag in flags)
    words = [f"format={config.data.name}"] if config.data.name in FORMATS and not named else []
    return advice(report["counts"]["train"], sides[1] if sides else None, train, config.recipe, flags, words)


def _check_out(out: str, settings: DataSettings) -> None:
    """Raises InputError when it is in the data's folder, which stays as it is."""
    root = str(data_root(settings))
    if "://" not in root:
        root, place = os.path.realpath(root), os.path.realpath(expanded(out))
        if place == root or place.startswith(root.rstrip(os.sep) + os.sep):
            raise InputError(f"--out: '{place}' is inside the data ({root}), which is only read; choose another folder")


def _results(workdir: str) -> Mapping[str, Any]:
    from ltjax.report.run import read_run

    return read_run(expanded(workdir)).results


def images_per_class(config: Settings, data: Data) -> int | None:
    """Z: how many images of a class the config's sampler draws at a time; None where it draws single ones."""
    if config.data.sampler == "class_cycle":
        return CYCLE
    if not hasattr(config.method_settings, "images_per_class"):
        return None
    if config.method_settings.images_per_class is not None:
        return int(config.method_settings.images_per_class)
    from ltjax.methods.auxiliary import images_per_class as fitting

    return fitting(config.batch_size, int(np.count_nonzero(data.class_counts)))


def _counts(data: Data, config: Settings) -> dict[str, Any]:
    """What the report says of classes and groups."""
    shots, boundaries = config.evaluation.shots, tuple(config.evaluation.index_boundaries)
    try:
        groups = shot_groups(data.class_counts, shots, boundaries or None if shots == "index" else None)
    except ValueError as error:
        raise InputError(f"config.evaluation.index_boundaries: {error}") from error
    splits = findings.splits_of(data)
    counts = {split: source.class_counts(data.num_classes).tolist() for split, source in splits.items()}
    of_several = {"labels_of_image": labels_of_image(data)} if data.train.label_sets is not None else {}
    return {
        "images": {split: len(source) for split, source in splits.items()},
        **of_several,
        "train_index_sha256": data.fingerprint,
        "class_names": list(data.class_names) if data.class_names else None,
        "counts": counts,
        "convention": shots,
        "groups": {group: np.flatnonzero(mask).tolist() for group, mask in groups.items()},
        "notes": list(data.notes),
    }


def labels_of_image(data: Data) -> dict[str, list[int]]:
    """split -> the number of images with 0, 1, 2, ... labels."""
    sets = {split: source.label_sets for split, source in findings.splits_of(data).items()}
    return {split: np.bincount(one.sizes()).tolist() for split, one in sets.items() if one is not None}


def _figure(report: Mapping[str, Any]) -> bytes:
    """A PNG of the class counts; matplotlib is loaded here."""
    from ltjax.report.classes import class_curve

    classes = np.arange(len(report["counts"]["train"]))
    groups = {group: np.isin(classes, members) for group, members in report["groups"].items()}
    names = report["class_names"]
    return class_curve(report["counts"], groups, names)


def _numbered(report: Mapping[str, Any]) -> dict[int, str]:
    from ltjax.report.classes import numbered_classes

    return numbered_classes(report["counts"], report["class_names"])


Inspections = dict[str, dict[int, Inspection]]


def inspect_images(data: Data, everything: bool, workers: int) -> tuple[Inspections, dict[str, dict[int, bytes]]]:
    """(split -> record -> inspection, split -> record -> hash of the content); arrays in memory are only hashed."""
    splits = findings.splits_of(data)
    if any(source.encoded is None for source in splits.values()):
        return {}, {split: _hashes(source) for split, source in splits.items()}
    records = {
        split: np.arange(len(source)) if everything else evenly_spread(len(source), SAMPLED)
        for split, source in splits.items()
    }
    reads = {split: source.encoded for split, source in splits.items() if source.encoded is not None}
    inspected = inspect_files(reads, records, workers)
    hashes = {
        split: {record: one.sha256 for record, one in by_record.items() if not one.fault}
        for split, by_record in inspected.items()
    }
    return inspected, hashes


def _hashes(source: Source) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for start in range(0, len(source), AT_ONCE):
        records = np.arange(start, min(start + AT_ONCE, len(source)))
        images = source.images(records)
        found |= {int(i): hashlib.sha256(image.tobytes()).digest() for i, image in zip(records, images, strict=True)}
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return guarded(run, argv)


if __name__ == "__main__":
    sys.exit(main())
