"""The images to predict: files, folders, globs, list files and prepared shards, as one sequence in little memory."""

import dataclasses
import glob
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ltjax.data import image_formats
from ltjax.data.datasets.prepared_shards import read_shards
from ltjax.data.storage.image_files import ImageFiles, missing_files
from ltjax.data.storage.image_folder import images_in
from ltjax.data.storage.list_file import list_text
from ltjax.data.storage.packed_names import PackedNames
from ltjax.data.storage.shards import MANIFEST
from ltjax.errors import InputError, shortened
from ltjax.inference.preprocessing import view_of
from ltjax.settings import DataSettings
from ltjax.settings.user_paths import expanded, looked_for

LISTS = (".txt", ".txt.xz")
CHECKED = 256  # files of a list that are looked for before anything is computed


@dataclasses.dataclass(frozen=True)
class Images:
    """Images by position; picklable, because worker processes read them.

    Attributes:
      names: what stands in the output, of all images: paths, or their names in shards.
      parts: (first position, encoded) of what was given, in order; encoded(position - first) is the file's content.
      left_out: what else is in the folders; "" if nothing.
      folders: (first position, folder) of the parts, the absolute path that names are relative to; "" where all names
        are absolute.
    """

    names: PackedNames
    parts: tuple[tuple[int, Callable[[int], bytes]], ...]
    left_out: str = ""
    folders: tuple[tuple[int, str], ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def __call__(self, position: int) -> bytes:
        """The content of the file."""
        first, encoded = next(part for part in reversed(self.parts) if part[0] <= position)
        return encoded(position - first)


@dataclasses.dataclass(frozen=True)
class Reader:
    """``reader(i)`` is image i as the network takes it, uint8 [H, W, C], or why it cannot be read; picklable."""

    images: Images
    image_shape: tuple[int, int, int]
    resize: int
    interpolation: str = "bilinear"

    def __call__(self, position: int) -> np.ndarray | str:
        try:
            return view_of(self.images(position), self.image_shape, self.resize, self.interpolation)
        except Exception as error:
            known = isinstance(error, InputError)
            return str(error) if known else f"{type(error).__name__}: {error}".splitlines()[0]


class Part(NamedTuple):
    """What one argument names: encoded(i) is the content of image i, ``folder`` what relative names are relative to."""

    names: PackedNames
    encoded: Callable[[int], bytes]
    folder: str


def find_images(given: Sequence[str], root: str | None = None) -> Images:
    """All images that the arguments name, in their order; those of a folder or a glob sorted.

    Args:
      given: files, folders, globs, folders of shards, list files (``.txt``: a path a line, perhaps with a label:
        ``path number``, ``path<TAB>name`` or ``path,name``).
      root: the folder that paths in list files are relative to; None: each list's own folder.

    Raises:
      InputError: for a path that does not exist, a list whose files do not, or if there is no image.
    """
    strays: Counter[str] = Counter()
    found = [part for one in given for part in _part(expanded(one), root, strays)]
    found = [part for part in found if len(part.names)]
    unread = image_formats.unread(strays)
    if not found:
        endings = ", ".join(image_formats.endings())
        there = f"; not read: {unread}" if unread else ""
        raise InputError(
            f"{', '.join(map(shortened, given))}: contains no image ({endings}){there}; choose another folder"
        )
    others = f"{strays.total()} files whose names are not those of images that are read" if strays else ""
    firsts = np.cumsum([0, *(len(part.names) for part in found)]).tolist()
    names = found[0].names if len(found) == 1 else PackedNames.of(name for part in found for name in part.names)
    parts = tuple((first, part.encoded) for first, part in zip(firsts, found, strict=False))
    changes = [i for i, part in enumerate(found) if i == 0 or part.folder != found[i - 1].folder]
    folders = tuple((firsts[i], found[i].folder) for i in changes)
    return Images(names, parts, others + (f": {unread}" if unread else ""), folders)


def _part(one: str, root: str | None, strays: Counter[str]) -> list[Part]:
    """What one argument names; several parts for the splits of shards."""
    if os.path.isfile(one):
        return [_listed(one, root)] if one.lower().endswith(LISTS) else [_files(PackedNames.of([one]))]
    if os.path.isfile(os.path.join(one, MANIFEST)):
        return _in_shards(one)
    if os.path.isdir(one):
        return [_files(PackedNames.of(os.path.join(one, name) for name in images_in(one, "", strays)))]
    if glob.has_magic(one):
        matched = sorted(glob.glob(one, recursive=True))
        endings = image_formats.endings()
        images = [path for path in matched if path.lower().endswith(endings) and os.path.isfile(path)]
        if not images:
            others = f" ({len(matched)} other files and folders do)" if matched else ""
            raise InputError(f"'{shortened(one)}': no image matches{others}; correct the pattern")
        return [_files(PackedNames.of(images))]
    raise InputError(f"'{shortened(one)}': no such file or folder{looked_for(one)}")


def _files(names: PackedNames) -> Part:
    # Absolute, because worker processes may have another working directory.
    return _in_folder(ImageFiles(os.getcwd(), names))


def _in_folder(files: ImageFiles) -> Part:
    absolute = all(name.startswith(b"/") for name in files.names.encoded())
    return Part(files.names, files, "" if absolute else files.root)


def _listed(path: str, root: str | None) -> Part:
    """The paths in a list file; some of them are looked for, so that a wrong root is found at once."""
    endings = tuple(ending.encode() for ending in image_formats.endings())
    image = re.compile(rb"(.*(?:%s)[\"']?)[ ]*[\t,]" % b"|".join(map(re.escape, endings)), re.IGNORECASE)
    lines, numbers = [], []
    for number, line in enumerate(list_text(path).split(b"\n"), 1):
        words = line.strip()
        if not words:
            continue
        name, _, label = words.replace(b"\t", b" ").rpartition(b" ")
        labelled = label.lstrip(b"-").isdigit() and name.strip(b' "').lower().endswith(endings)
        if not labelled:
            named = None if words.strip(b' "').lower().endswith(endings) else image.match(words)
            name = named[1] if named else words
        lines.append(name.strip(b' "'))
        numbers.append(number)
    names = PackedNames.of(map(os.fsdecode, lines))
    folder = os.path.abspath(expanded(root) if root else os.path.dirname(path) or ".")
    files = ImageFiles(folder, names, origin=path, lines=np.array(numbers, np.int64))
    sample = np.unique(np.linspace(0, len(names) - 1, min(len(names), CHECKED)).astype(np.int64))
    missing = missing_files(files, sample) if len(names) else sample[:0]
    if len(missing) == len(sample) and len(names):
        raise InputError(
            f"{files.quoted(int(missing[0]))}: missing, and so are all checked files of this list; name the folder "
            "that its paths are relative to with --root"
        )
    return _in_folder(files)


def _in_shards(root: str) -> list[Part]:
    """All splits of prepared shards, in the order train, test, validation."""
    splits = read_shards(root, DataSettings())
    found = []
    for split in (splits.train, splits.test, splits.validation):
        if split is not None:
            assert split.source.encoded is not None and split.names is not None
            found.append(Part(split.names, split.source.encoded, os.path.abspath(root)))
    return found
