"""The images to predict: files, folders, globs, list files and prepared shards, as one sequence in little memory."""

import dataclasses
import glob
import os
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from ltjax.data import image_formats
from ltjax.data.datasets.assemble import EvaluationView
from ltjax.data.datasets.prepared_shards import read_shards
from ltjax.data.storage.image_files import ImageFiles, missing_files
from ltjax.data.storage.image_folder import images_in
from ltjax.data.storage.list_file import list_text
from ltjax.data.storage.packed_names import PackedNames
from ltjax.data.storage.shards import MANIFEST
from ltjax.errors import InputError, shortened
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
    """

    names: PackedNames
    parts: tuple[tuple[int, Callable[[int], bytes]], ...]
    left_out: str = ""

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

    def __call__(self, position: int) -> np.ndarray | str:
        height, _, channels = self.image_shape
        try:
            pixels = EvaluationView(self.images, height, self.resize)(position)
        except Exception as error:
            known = isinstance(error, InputError)
            return str(error) if known else f"{type(error).__name__}: {error}".splitlines()[0]
        if channels == 3:
            return pixels
        return np.round(pixels @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)[..., None]  # ITU-R BT.601 luma


def find_images(given: Sequence[str], root: str | None = None) -> Images:
    """All images that the arguments name, in their order; those of a folder or a glob sorted.

    Args:
      given: files, folders, globs, folders of shards, list files (``.txt``: a path a line, perhaps with a label).
      root: the folder that paths in list files are relative to; None: each list's own folder.

    Raises:
      InputError: for a path that does not exist, a list whose files do not, or if there is no image.
    """
    strays: Counter[str] = Counter()
    found = [part for one in given for part in _part(expanded(one), root, strays)]
    found = [(names, encoded) for names, encoded in found if len(names)]
    unread = image_formats.unread(strays)
    if not found:
        endings = ", ".join(image_formats.endings())
        there = f"; not read: {unread}" if unread else ""
        raise InputError(
            f"{', '.join(map(shortened, given))}: contains no image ({endings}){there}; choose another folder"
        )
    others = f"{strays.total()} files whose names are not those of images that are read" if strays else ""
    firsts = np.cumsum([0, *(len(names) for names, _ in found)]).tolist()
    names = found[0][0] if len(found) == 1 else PackedNames.of(name for names, _ in found for name in names)
    parts = tuple((first, encoded) for first, (_, encoded) in zip(firsts, found, strict=False))
    return Images(names, parts, others + (f": {unread}" if unread else ""))


def _part(one: str, root: str | None, strays: Counter[str]) -> list[tuple[PackedNames, Callable[[int], bytes]]]:
    """What one argument names: (names, encoded); several for the splits of shards."""
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


def _files(names: PackedNames) -> tuple[PackedNames, Callable[[int], bytes]]:
    # Absolute, because worker processes may have another working directory.
    return names, ImageFiles(os.getcwd(), names)


def _listed(path: str, root: str | None) -> tuple[PackedNames, Callable[[int], bytes]]:
    """The paths in a list file; some of them are looked for, so that a wrong root is found at once."""
    endings = tuple(ending.encode() for ending in image_formats.endings())
    lines, numbers = [], []
    for number, line in enumerate(list_text(path).split(b"\n"), 1):
        words = line.strip()
        if not words:
            continue
        name, _, label = words.replace(b"\t", b" ").rpartition(b" ")
        labelled = label.lstrip(b"-").isdigit() and name.strip(b' "').lower().endswith(endings)
        lines.append((name if labelled else words).strip(b' "'))
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
    return names, files


def _in_shards(root: str) -> list[tuple[PackedNames, Callable[[int], bytes]]]:
    """All splits of prepared shards, in the order train, test, validation."""
    splits = read_shards(root, DataSettings())
    found = []
    for split in (splits.train, splits.test, splits.validation):
        if split is not None:
            assert split.source.encoded is not None and split.names is not None
            found.append((split.names, split.source.encoded))
    return found
