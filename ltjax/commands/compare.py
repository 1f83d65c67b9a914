"""Compares finished runs: the papers' table, and figures of what distinguishes the runs.

python -m ltjax.compare [NAME=]RUN ... [--baseline=RUN] [--out=DIR] [--x=KEY] [--allow=data,epochs,test,groups]
    [--shots=strict] [--tsne]

RUN is a workdir, its results.json, or a folder of workdirs, such as a table's: all finished runs in it. Runs that
differ only in their seeds are one row, mean ± sample standard deviation. Without --out the table is printed, and that
is all; with it the folder gets comparison.md, table.csv, table.tex and the figures. Runs of other data, epochs or test
images are refused unless --allow names that. Of images with several labels the numbers are average precision. Exit
status: 0 done, 1 reading or writing failed, 2 bad input.
"""

from __future__ import annotations  # the report needs packages that the base install has not: imported where it is used

import argparse
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ltjax import escape
from ltjax.commands.cli import Parser, guarded
from ltjax.commands.run_settings import epochs_of, identifying_settings
from ltjax.data.storage.paths import as_path, open_path
from ltjax.errors import InputError, did_you_mean
from ltjax.settings.user_paths import looked_for

if TYPE_CHECKING:
    from ltjax.report.compare import Member, SeedGroup

CONVENTIONS = ("strict", "inclusive", "index")


class Found(NamedTuple):
    """A run as the user named it.

    Attributes:
      name: the label, or "".
      given: its path in the user's words.
      folder: its workdir, absolute.
    """

    name: str
    given: str
    folder: pathlib.Path


def parse(argv: Sequence[str]) -> argparse.Namespace:
    from ltjax.report.compare.differences import ASPECTS

    parser = Parser("compare", "ltjax.compare", __doc__)
    parser.add_argument("runs", nargs="+", metavar="[NAME=]RUN", help="finished runs; NAME is the label of the row")
    parser.add_argument(
        "--baseline", action="append", default=[], metavar="RUN", help="gains are over this run; may be repeated"
    )
    parser.add_argument("--out", metavar="DIR", help="write the page, the tables and the figures to this folder")
    parser.add_argument("--x", default="", metavar="KEY", help="the setting of the curves, such as reslt.alpha")
    parser.add_argument(
        "--allow", action="append", default=[], metavar="WHAT", help=f"allow different {', '.join(ASPECTS)}"
    )
    parser.add_argument("--shots", default="", choices=CONVENTIONS, help="many, medium and few of all runs")
    parser.add_argument("--tsne", action="store_true", help="draw features of test images; needs the runs' data")
    parser.add_argument("--data-dir", help="for --tsne: where the data is now, if it was moved")
    options = parser.parse_args(argv)
    options.allow = [word for words in options.allow for word in words.split(",") if word]
    for word in options.allow:
        if word not in ASPECTS:
            raise InputError(
                f"--allow: unknown value '{word}'{did_you_mean(word, ASPECTS)}; allowed: {', '.join(ASPECTS)}"
            )
    for flag in ("x", "tsne"):
        if getattr(options, flag) and not options.out:
            raise InputError(f"--{flag} is for a figure; add --out=DIR")
    return options


def find_runs(given: str) -> list[Found]:
    """The finished runs that an argument names; several for a folder of workdirs, whose unfinished runs are reported.

    Raises:
      InputError: no such path, no run, or a run that is not finished.
    """
    from ltjax.report.run import state_of

    name, path = name_and_path(given)
    root = open_path(path)
    if not root.exists():
        raise InputError(f"{path}: no such file or folder{looked_for(path)}")
    if root.name == "results.json":
        return [Found(name, path, _absolute(root.parent))]
    if not root.is_dir():
        raise InputError(f"{path}: not a run; name its workdir or its results.json")
    if (root / "results.json").exists():
        return [Found(name, path, _absolute(root))]
    inside = workdirs_in(root)
    if not inside:
        how = state_of(root)
        mend = "correct the path" if how.startswith("no run") else "run its training command again to resume it"
        raise InputError(f"{path}: {how}; {mend}")
    states = {folder: state_of(folder) for folder in inside}
    waiting = [f"{folder.name} ({state})" for folder, state in states.items() if state != "finished"]
    if len(waiting) == len(inside):
        raise InputError(f"{path}: none of its {len(inside)} runs is finished: {', '.join(waiting[:3])}")
    if waiting:
        log(f"{path}: {len(waiting)} of {len(inside)} runs left out: {', '.join(waiting)}")
    return [
        Found(name, os.path.join(path, folder.relative_to(root)), _absolute(folder))
        for folder, state in states.items()
        if state == "finished"
    ]


def name_and_path(given: str) -> tuple[str, str]:
    """NAME=RUN in two parts: "" without a name. Names and paths may have an "=", so the path is the one that exists."""
    words = given.split("=")
    splits = [("=".join(words[:i]), "=".join(words[i:])) for i in range(len(words))]
    there = [(name, path) for name, path in splits if path and _exists(path)]
    return there[0] if there else splits[min(1, len(splits) - 1)]


def _exists(path: str) -> bool:
    try:
        return open_path(path).exists()
    except InputError:  # $WORD of a name is no variable
        return False


def _absolute(folder: pathlib.Path) -> pathlib.Path:
    """A local folder as an absolute path, a bucket's as it is."""
    return folder if "://" in str(folder) else as_path(os.path.abspath(folder))


def workdirs_in(root: pathlib.Path) -> list[pathlib.Path]:
    """The workdirs in a folder or, if there are none, in its folders, sorted."""
    level = [root]
    for _ in range(2):
        level = sorted(child for folder in level for child in folder.iterdir() if child.is_dir())
        found = [folder for folder in level if (folder / "results.json").exists() or (folder / "config.json").exists()]
        if found:
            return found
    return []


def read_member(found: Found) -> Member:
    from ltjax.report.compare import Member
    from ltjax.report.run import read_run

    run = read_run(found.folder)
    for name in run.damaged:  # figures and settings would be left out without a word
        raise InputError(f"{found.folder}/{name}: is damaged; run the training command again")
    settings = identifying_settings(run.config) if run.config is not None else {}
    return Member(found.given, found.name, run, settings, epochs_of(run.results, run.config))


def read_groups(options: argparse.Namespace) -> tuple[list[SeedGroup], list[SeedGroup]]:
    """All rows, and those of them that are baselines.

    Raises:
      InputError: no run, unreadable files, the same run twice, two rows with one label, an unknown baseline.
    """
    from ltjax.report.compare import group_by_seed

    found = [one for given in options.runs for one in find_runs(given)]
    named: list[list[str] | str] = []  # of each baseline the folders, or the label
    for given in options.baseline:
        if any(given == one.name for one in found) or not _exists(name_and_path(given)[1]):
            named.append(given)
            continue
        runs = find_runs(given)
        there = {str(one.folder) for one in found}
        found += [one for one in runs if str(one.folder) not in there]
        named.append([str(one.folder) for one in runs])
    members = {str(one.folder): read_member(one) for one in found}
    if len(members) < len(found):
        folders = [str(one.folder) for one in found]
        twice = next(one.given for i, one in enumerate(found) if str(one.folder) in folders[:i])
        raise InputError(f"{twice}: is given twice; leave one out")
    groups = group_by_seed(list(members.values()), options.shots)
    baselines = [_baseline(given, groups, members) for given in named]
    if len({base.label for base in baselines}) < len(baselines):
        raise InputError(f"--baseline: {baselines[0].label} is given twice; leave one out")
    return groups, baselines


def _baseline(given: list[str] | str, groups: Sequence[SeedGroup], members: Mapping[str, Member]) -> SeedGroup:
    if isinstance(given, str):
        labels = {group.label: group for group in groups}
        if given not in labels:
            if "/" in given:
                open_path(name_and_path(given)[1])  # a path with a variable that is not set says so
            hint = did_you_mean(given, labels)
            raise InputError(f"--baseline={given}: neither a run nor a row{hint}; the rows: {', '.join(labels)}")
        return labels[given]
    wanted = [members[folder] for folder in given]
    of = [group for group in groups if any(member in wanted for member in group.members)]
    if len(of) > 1:
        rows = ", ".join(group.label for group in of)
        raise InputError(f"--baseline: holds {len(of)} rows ({rows}); name one of them")
    return of[0]


def run(argv: Sequence[str]) -> int:
    from ltjax.report.compare import choose_sweep, compare, explain, write_comparison
    from ltjax.report.compare.differences import refuse
    from ltjax.report.compare.table import as_markdown

    options = parse(argv)
    groups, baselines = read_groups(options)
    found = refuse(groups, options.allow)
    sweep = choose_sweep(groups, options.x)
    features = feature_png(groups, found, options.data_dir) if options.tsne else None
    print(as_markdown(compare(groups, baselines, found)))
    print(f"\n{explain(groups, found)}")
    if not options.out:
        return 0
    page = write_comparison(open_path(options.out), groups, baselines, sweep, found, features)
    print(f"\ncomparison: {escape.terminal(str(page))}")
    return 0


def feature_png(groups: Sequence[SeedGroup], found: Mapping[str, str], data_dir: str | None) -> bytes:
    """The figure of --tsne.

    Raises:
      InputError: scikit-learn or a run's checkpoint is missing, or the rows have other classes or test images.
    """
    from ltjax.commands.tsne import check_installed, feature_maps
    from ltjax.report.compare.figures import feature_figure
    from ltjax.report.compare.groups import same_classes

    if groups[0].measure != "accuracy":
        raise InputError("--tsne: is of one label an image, but those of the runs have several; leave it out")
    check_installed()
    if "test" in found or not same_classes(groups):
        raise InputError("--tsne: the runs have other classes or test images; compare runs of the same data")
    return feature_figure(groups, feature_maps(groups, data_dir, log))


def log(text: str) -> None:
    print(escape.terminal(text), file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return guarded(run, argv)


if __name__ == "__main__":
    sys.exit(main())
