"""Which files of a folder hold which split, by their names: ``data/train-00000-of-00002.parquet``, ``val/000.tar``."""

import os
import re
from collections import defaultdict

from ltjax.data.storage.folder_shapes import is_leftover
from ltjax.errors import InputError, shortened

# split -> words that name it in the path of a file
WORDS = {
    "train": ("train", "training"),
    "test": ("test", "testing", "eval", "evaluation"),
    "validation": ("val", "valid", "validation", "dev"),
}
NUMBERED = re.compile(r"(.*)-(\d{3,})-of-(\d{3,})(\.\w+)$")


def split_files(root: str, endings: tuple[str, ...], kind: str) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """(split -> its files below ``root``, sorted; notes). A path without the name of a split is of the training images.

    Args:
      root: a folder, or a single file, which holds the training images.
      endings: of the names of the files, in lower case.
      kind: what the files are, for messages: "Parquet files".

    Raises:
      InputError: if there is no such file, none of the training images, a file of a numbered series is missing, or
        there are several data sets.
    """
    if "://" in root:
        raise InputError(
            f"config.data.dir: '{root}' is in a bucket; {kind} are read from disks: copy them, or mount it"
        )
    if os.path.isfile(root) and root.lower().endswith(endings):
        return {"train": [root]}, ()
    files = _below(root, endings)
    if not files:
        what = "has none" if os.path.isdir(root) else "is no such file" if os.path.isfile(root) else "does not exist"
        raise InputError(
            f"config.data.dir: '{shortened(root)}' {what}; set it to the folder of the {kind} ({', '.join(endings)})"
        )
    found: dict[str, list[str]] = defaultdict(list)
    for name in files:
        found[split_of(name)].append(name)
    other = found.pop("", [])
    notes = []
    if "train" not in found and other:
        found["train"] = other
    elif other:
        notes.append(f"{root}: {len(other)} {kind} whose paths name no split are not read, such as {other[0]}")
    if "train" not in found:
        raise InputError(
            f"{shortened(root)}: has {kind} of {' and '.join(sorted(found))}, but none of the training images; add "
            "them, with 'train' in their names"
        )
    files_of = {}
    for split in filter(found.get, WORDS):
        _check_series(root, split, found[split])
        files_of[split] = [os.path.join(root, name) for name in found[split]]
    return files_of, tuple(notes)


def _below(root: str, endings: tuple[str, ...]) -> list[str]:
    """Paths relative to ``root``, sorted; hidden files and folders are left out."""
    found = []
    for folder, inside, files in os.walk(root):
        inside[:] = [name for name in inside if not is_leftover(name)]
        relative = os.path.relpath(folder, root)
        found += [
            os.path.normpath(os.path.join(relative, name))
            for name in files
            if name.lower().endswith(endings) and not name.startswith(".")
        ]
    return sorted(found)


def split_of(path: str) -> str:
    """The split that the file's name says, or else the nearest folder's; "" if none does.

    Example:
      >>> split_of("data/train-00000-of-00002.parquet"), split_of("val/000.tar"), split_of("data/strain.tar")
      ('train', 'validation', '')
    """
    for part in reversed(path.split("/")):
        words = re.split("[^a-z]+", re.sub("(?<=[a-z])(?=[A-Z])", "_", part).lower())
        for word in words:
            split = next((split for split, known in WORDS.items() if word in known), None)
            if split is not None:
                return split
    return ""


def _check_series(root: str, split: str, names: list[str]) -> None:
    """Raises InputError where ``-00003-of-00005`` is missing, or files of several data sets are mixed."""
    series: dict[tuple[str, str], set[int]] = defaultdict(set)
    for name in names:
        match = NUMBERED.match(name)
        if match:
            series[match[1], match[3]].add(int(match[2]))
    for (begin, total), numbers in series.items():
        absent = sorted(set(range(int(total))) - numbers)
        if absent:
            raise InputError(
                f"{shortened(root)}: of the {int(total)} files {begin}-*-of-{total} {len(absent)} are missing, the "
                f"first is number {absent[0]:0{len(total)}}; download them again"
            )
    folders = sorted({os.path.dirname(begin) for begin, _ in series})
    if len(folders) > 1 or len(series) > 1:
        both = sorted(begin for begin, _ in series)[:2]
        raise InputError(
            f"{shortened(root)}: '{both[0]}' and '{both[-1]}' are two series of {split} images, of several data sets "
            "perhaps; set config.data.dir to the folder of one"
        )
