"""WebDataset: images and their labels in tar files, found by one pass over the tars' headers, read by position.

A sample is consecutive members that differ in what follows the first dot of their names: ``rose_1.jpg``,
``rose_1.cls``. Its label is the number in ``.cls``, the text in ``.txt``, or a field of ``.json``.
"""

from __future__ import annotations

import dataclasses
import json
import tarfile
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ltjax.data import image_formats
from ltjax.data.storage.packed_names import PackedNames
from ltjax.errors import InputError, shortened

LABELS = ("cls", "txt", "json")  # endings of the members that are labels, in the order in which they are looked for
FIELD = "label"  # of a .json member, if no setting names another
REST = 2**16  # bytes behind the last member that are looked at
MAX_LABEL = 2**20  # bytes of a member with a label


class TarIndex(NamedTuple):
    """The samples of one tar file.

    Attributes:
      path: of the file.
      names: N names of the images.
      offsets, sizes: int64 [N], where the bytes of each image begin, and their number.
      labels: text (dtype object) [N]; "" for a sample without a label.
      notes: what the user should know, one line each.
    """

    path: str
    names: list[str]
    offsets: np.ndarray
    sizes: np.ndarray
    labels: np.ndarray
    notes: tuple[str, ...]


def index_tar(path: str, image_column: str = "", label_column: str = "") -> TarIndex:
    """Reads all headers, and the members that are labels.

    Args:
      path: an uncompressed tar file.
      image_column: the ending of the images ("jpg", "left.png"); "" = whatever is an image.
      label_column: "cls", "txt", or a field of the .json members; "" = the first of ``LABELS`` that a sample has.

    Raises:
      InputError: for a file that is not a tar, or is compressed or truncated; a sample with several images.
    """
    names: list[str] = []
    offsets, sizes, labels, others = [], [], [], Counter[str]()
    endings = image_formats.endings()
    try:
        with tarfile.open(path, "r:") as tar:
            for key, sample in _samples(tar, path):
                image = _image_of(sample, key, image_column, endings, path)
                if image is None:
                    others.update(sample.keys())
                    continue
                names.append(image.name)
                offsets.append(image.offset_data)
                sizes.append(image.size)
                labels.append(_label(tar, sample, label_column, path))
            closed = _check_end(path, tar.offset)
    except tarfile.TarError as error:
        raise InputError(f"{shortened(path)}: {_reason(path, error)}") from error
    except OSError as error:
        raise InputError(f"{shortened(path)}: cannot be read ({error.strerror or error}); get it again") from error
    kinds = ", ".join(f"{count} x *.{kind}" for kind, count in sorted(others.items()))
    notes = [f"{path}: skipped {others.total()} files of samples without an image ({kinds})"] if others else []
    notes += [] if closed else [f"{path}: has no end mark; if it was cut off, images are missing"]
    return TarIndex(
        path, names, np.array(offsets, np.int64), np.array(sizes, np.int64), np.array(labels, object), tuple(notes)
    )


def _samples(tar: tarfile.TarFile, path: str) -> Iterator[tuple[str, dict[str, tarfile.TarInfo]]]:
    """(key, {ending: member}) of each sample: consecutive files of the same key."""
    key, sample = "", dict[str, tarfile.TarInfo]()
    for member in tar:
        tar.members.clear()  # type: ignore[attr-defined]  # it would keep a kilobyte of each
        folder, _, file = member.name.rpartition("/")
        if not member.isreg() or file.startswith("."):
            continue
        stem, _, ending = file.partition(".")
        own = f"{folder}/{stem}"
        if own != key and sample:
            yield key, sample
            sample = {}
        key, ending = own, ending.lower()
        if ending in sample:
            raise InputError(f"{shortened(path)}: has '{shortened(member.name)}' twice; pack it again without repeats")
        sample[ending] = member
    if sample:
        yield key, sample


def _image_of(
    sample: dict[str, tarfile.TarInfo], key: str, image_column: str, endings: tuple[str, ...], path: str
) -> tarfile.TarInfo | None:
    if image_column:
        return sample.get(image_column.lower().removeprefix("."))
    images = [member for ending, member in sample.items() if f".{ending}".endswith(endings)]
    if len(images) > 1:
        raise InputError(
            f"{shortened(path)}: the sample '{shortened(key.lstrip('/'))}' has {len(images)} images "
            f"({', '.join(shortened(one.name) for one in images[:3])}); set config.data.image_column to the "
            "ending of the right one, such as jpg"
        )
    return images[0] if images else None


def _label(tar: tarfile.TarFile, sample: dict[str, tarfile.TarInfo], label_column: str, path: str) -> str:
    """The label as text; "" if the sample has none."""
    wanted: tuple[str, ...] = LABELS
    field = FIELD
    if label_column in ("cls", "txt"):
        wanted = (label_column,)
    elif label_column:
        wanted, field = ("json",), label_column
    member = next((sample[ending] for ending in wanted if ending in sample), None)
    if member is None:
        return ""
    place = f"{shortened(path)}: '{shortened(member.name)}'"
    if member.size > MAX_LABEL:
        raise InputError(f"{place} has {member.size:,} bytes, too many for a label; set config.data.label_column")
    file = tar.extractfile(member)
    content = b"" if file is None else file.read()
    try:
        text = content.decode("utf-8-sig").strip()
        value = json.loads(text)[field] if member is sample.get("json") else text
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        what = f"has no field '{field}'" if isinstance(error, KeyError | TypeError) else f"is no label ({error})"
        mend = "set config.data.label_column to the field with the label" if "json" in wanted else "pack it again"
        raise InputError(f"{place} {shortened(what)}; {mend}") from error
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise InputError(f"{place} has the label {shortened(value)}; a label is an integer or text, one an image")
    return str(value).strip()


def _check_end(path: str, offset: int) -> bool:
    """Whether the blocks of zeros that end a tar file follow its last member; without anything behind it may be whole.

    Raises:
      InputError: for anything else, which the tar module takes for the end.
    """
    with open(path, "rb") as file:
        file.seek(offset)
        rest = file.read(REST)
    if rest.startswith(bytes(512)) and any(rest):
        raise InputError(
            f"{shortened(path)}: more follows its end mark at byte {offset:,}, another tar perhaps; keep them as "
            "two files"
        )
    if rest and not rest.startswith(bytes(512)):
        raise InputError(f"{shortened(path)}: is damaged at byte {offset:,}; get it again")
    return bool(rest)


def _reason(path: str, error: Exception) -> str:
    with open(path, "rb") as file:
        begin = file.read(6)
    if begin[:2] == b"\x1f\x8b" or begin[:3] == b"BZh" or begin in (b"\xfd7zXZ\0",) or begin[:4] == b"\x28\xb5\x2f\xfd":
        return "is compressed, and cannot be read by position; decompress it (its images are compressed already)"
    if not begin:
        return "the file is empty (0 bytes); get it again"
    return f"is no complete tar file ({error}); get it again"


@dataclasses.dataclass(frozen=True)
class TarImages:
    """``images(i)`` is the encoded image i; picklable, keeps no file open.

    Attributes:
      paths: the tar files.
      file: int32 [N], the number of the tar file of each image.
      offsets, sizes: int64 [N], as in ``TarIndex``.
      members: N names of the images in their tar file.
    """

    paths: tuple[str, ...]
    file: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    members: PackedNames

    @classmethod
    def of(cls, tars: list[TarIndex]) -> TarImages:
        """The images of these files, one file after the other."""
        return cls(
            tuple(tar.path for tar in tars),
            np.repeat(np.arange(len(tars), dtype=np.int32), [len(tar.labels) for tar in tars]),
            np.concatenate([tar.offsets for tar in tars]),
            np.concatenate([tar.sizes for tar in tars]),
            PackedNames.of(name for tar in tars for name in tar.names),
        )

    def where(self, position: int) -> str:
        """The tar file and the member, for messages."""
        return f"{self.paths[self.file[position]]}: {self.members[position]}"

    def size(self, position: int) -> int:
        """The bytes of the image."""
        return int(self.sizes[position])

    def __call__(self, position: int) -> bytes:
        size = int(self.sizes[position])
        try:
            with open(self.paths[self.file[position]], "rb") as file:
                file.seek(int(self.offsets[position]))
                content = file.read(size)
        except OSError as error:
            raise InputError(error.strerror or str(error)) from error
        if len(content) != size:
            raise InputError(f"the tar file ends after {len(content):,} of its {size:,} bytes; get it again")
        if not content:
            raise InputError("the file is empty (0 bytes)")
        return content
