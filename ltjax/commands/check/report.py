"""What ``ltjax check`` prints and writes."""

import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ltjax import escape
from ltjax.class_counts import frequency_order
from ltjax.commands.check.findings import Finding
from ltjax.data.storage.paths import write_atomically
from ltjax.errors import MAX_QUOTED, InputError, shortened
from ltjax.settings.user_paths import expanded

ITEMS_PRINTED = {"error": 10, "allowed": 3, "note": 3}  # of a finding; check.json has all
CLASSES_PRINTED = 5  # the most and the least frequent
RANGES = {
    "strict": {"many": "> 100", "medium": "20 to 100", "few": "< 20"},
    "inclusive": {"many": ">= 100", "medium": "21 to 99", "few": "<= 20"},
}


def describe(report: dict[str, Any], found: Sequence[Finding]) -> str:
    """The text for the screen."""
    lines = _count_lines(report) if "counts" in report else ["the classes could not be counted"]
    if "files" in report:
        lines += _file_lines(report)
    for one in found:
        lines.append(f"{one.level}: {one.message} [{one.kind}]")
        shown = ITEMS_PRINTED[one.level]
        lines += [f"  {shortened(item, 4 * MAX_QUOTED)}" for item in one.items[:shown]]
        if len(one.items) > shown:
            lines.append(f"  ... and {len(one.items) - shown:,} more")
    errors = sum(one.level == "error" for one in found)
    lines.append(
        f"{errors} kind{'' if errors == 1 else 's'} of error" if errors else "nothing would stop or spoil a run"
    )
    return "\n".join(map(escape.terminal, lines))


def _count_lines(report: dict[str, Any]) -> list[str]:
    names, train = report["class_names"], report["counts"]["train"]
    names = escape.distinct(names) if names else [str(k) for k in range(len(train))]
    order = frequency_order(train).tolist()

    def named(k: int) -> str:
        return f"{train[k]:,} ({names[k]})"

    head, tail = max(train), min(train)
    factor = f"imbalance {head / tail:.1f}" if tail else "infinite imbalance"
    span = f"{named(order[0])} to {named(order[-1])} a class"
    lines = [f"train: {report['images']['train']:,} images, {len(train):,} classes, {span}, {factor}"]
    for group, classes in report["groups"].items():
        images = sum(train[k] for k in classes)
        plural = "" if len(classes) == 1 else "es"
        what = "labels" if "labels_of_image" in report else "images"
        lines.append(f"  {group} ({_range(report, group)}): {len(classes):,} class{plural}, {images:,} {what}")
    if len(order) > 2 * CLASSES_PRINTED:
        lines.append(f"  most: {', '.join(map(named, order[:CLASSES_PRINTED]))}")
        lines.append(f"  fewest: {', '.join(map(named, order[-CLASSES_PRINTED:]))}")
    for split, counts in report["counts"].items():
        if split != "train":
            tested = np.array(counts)[np.array(counts) > 0]
            lines.append(
                f"{split}: {report['images'][split]:,} images of {len(tested):,} classes, "
                f"{tested.max(initial=0):,} to {tested.min(initial=tested.max(initial=0)):,} a class"
            )
    for split, numbers in report.get("labels_of_image", {}).items():
        several = sum(k * images for k, images in enumerate(numbers)) / max(sum(numbers), 1)
        each = ", ".join(f"{images:,} with {k}" for k, images in enumerate(numbers) if images)
        lines.append(f"labels of an image, {split}: {several:.2f} on average ({each})")
    return [*lines, *(f"note: {note}" for note in report["notes"])]


def _range(report: dict[str, Any], group: str) -> str:
    """The training images of a class of the group, as the convention has them, or of classes in order of frequency."""
    if report["convention"] in RANGES:
        return RANGES[report["convention"]][group]
    counts = [report["counts"]["train"][k] for k in report["groups"][group]]
    ends = dict.fromkeys(f"{count:,}" for count in (min(counts), max(counts))) if counts else {"no image": None}
    return f"by frequency, {' to '.join(ends)} a class"


def _file_lines(report: dict[str, Any]) -> list[str]:
    files = report["files"]
    counted = [f"{count:,} of {report['images'][split]:,} {split}" for split, count in files["looked_at"].items()]
    complete = all(count == report["images"][split] for split, count in files["looked_at"].items())
    lines = [f"files inspected: {', '.join(counted)}{'' if complete else ' (--files=all: all of them)'}"]
    for what in ("formats", "modes") if files["modes"] else ():
        lines.append(f"  {what}: {', '.join(f'{name} {count:,}' for name, count in files[what].items())}")
    if files["rotated"]:
        lines.append(f"  rotated by their EXIF orientation: {files['rotated']:,}")
    for what in ("short_side", "long_side"):
        if files[what]:
            least, median, most = files[what]
            lines.append(f"  {what.replace('_', ' ')}: {least:,} to {most:,} pixels, median {median:,}")
    return lines


def write(out: str, report: dict[str, Any], figure: bytes | None) -> str:
    """Writes check.json and, where there is a figure, class_counts.png; returns the path of check.json.

    Raises:
      InputError: when the folder cannot be written.
    """
    folder = expanded(out)
    path = os.path.join(folder, "check.json")
    try:
        os.makedirs(folder, exist_ok=True)
        if figure is not None:
            write_atomically(os.path.join(folder, "class_counts.png"), figure)
        write_atomically(path, (json.dumps(report, indent=1) + "\n").encode())
    except OSError as error:
        raise InputError(
            f"--out: '{folder}' cannot be written ({error.strerror or error}); choose another folder"
        ) from error
    return path
