"""Digests of a data set's splits, by which a run notices that its images, labels or names have changed.

A split is cut into at most 256 pieces of consecutive records, and each piece has a digest of its own, so that a
difference can be located. What a digest covers depends on how the images are stored (``kinds_of``):

    index    labels, index and names: every record
    sizes    the bytes of every image file, for files on a disk; nothing is opened
    sample   the content of the first image of each piece
    content  the content of every image

The content of an image is the bytes of its file where images are stored encoded, and its pixels elsewhere.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ltjax.data.dataset import ArrayReader, Data, Source
from ltjax.errors import InputError

PIECES = 256
THREADS = 16  # that read files, for slow disks
IN_MEMORY = 2**30  # bytes of pixels that are hashed whole at verify=sample
LENGTH = 16  # hex digits of a piece's digest
UNREADABLE = "-"  # in place of a digest, if an image cannot be read or is not there: the piece is not compared
VERIFY = ("none", "sample", "full")

Digests = dict[str, list[str]]  # kind -> the digests of the pieces


@dataclasses.dataclass(frozen=True)
class SplitDigests:
    """What is recorded of a split.

    Attributes:
      class_counts: images of each class, C numbers.
      pieces: kind -> the digest of each piece.
    """

    class_counts: list[int]
    pieces: Digests

    def sha256(self) -> dict[str, str]:
        """kind -> one hash of all pieces."""
        return {kind: hashlib.sha256(" ".join(each).encode()).hexdigest() for kind, each in self.pieces.items()}


def splits_of(data: Data) -> dict[str, Source]:
    """name -> source of the splits that the data set has."""
    splits = {"train": data.train, "validation": data.validation, data.split: data.test}
    return {name: source for name, source in splits.items() if source is not None}


def data_digests(
    data: Data, verify: str, stop: Callable[[], None] = lambda: None, only: str | None = None
) -> dict[str, SplitDigests]:
    """split -> its digests.

    Args:
      data: the data set.
      verify: as ``config.data.verify``: none (index only), sample or full.
      stop: called between pieces; may raise to end the reading.
      only: the only split; None: all.

    Example:
      >>> from ltjax.data.dataset import data_from_arrays
      >>> images, labels = np.zeros((4, 8, 8, 3), np.uint8), np.array([0, 0, 0, 1])
      >>> found = data_digests(data_from_arrays("zeros", (images, labels), (images[:1], labels[:1])), "sample")
      >>> {name: (split.class_counts, sorted(split.pieces)) for name, split in found.items()}
      {'train': ([3, 1], ['content', 'index']), 'test': ([1, 0], ['content', 'index'])}
    """
    return {
        name: SplitDigests(
            np.bincount(source.labels, minlength=data.num_classes).tolist(),
            {kind: list(digests(source, kind, stop)) for kind in kinds_of(source, verify)},
        )
        for name, source in splits_of(data).items()
        if only in (None, name)
    }


def kinds_of(source: Source, verify: str) -> list[str]:
    """Which digests a source gets."""
    if verify == "none":
        return ["index"]
    if isinstance(source.read, ArrayReader) and (verify == "full" or source.read.images.nbytes <= IN_MEMORY):
        return ["index", "content"]
    sizes = ["sizes"] if source.size is not None else []
    return ["index", *sizes, "sample", *(["content"] if verify == "full" else [])]


def content_sha256(source: Source) -> str:
    """A hash of a sample of the images, or of all that are in memory."""
    kind = kinds_of(source, "sample")[-1]
    return hashlib.sha256(" ".join(digests(source, kind, lambda: None)).encode()).hexdigest()


def bounds_of(size: int) -> list[tuple[int, int]]:
    """(begin, end) of each piece.

    Example:
      >>> bounds_of(3), len(bounds_of(10_000)), bounds_of(10_000)[1]
      ([(0, 1), (1, 2), (2, 3)], 256, (39, 78))
    """
    edges = [int(edge) for edge in np.linspace(0, size, min(size, PIECES) + 1)]
    return list(itertools.pairwise(edges))


def digests(source: Source, kind: str, stop: Callable[[], None]) -> Iterator[str]:
    """The digest of each piece."""
    make = {"index": _of_index, "sizes": _of_sizes, "sample": _of_first, "content": _of_content}[kind]
    bounds = bounds_of(len(source))
    # Files and arrays are read in several threads; a reader of the user's, of shards or of TFDS in one.
    threaded = source.size is not None or isinstance(source.read, ArrayReader) or kind == "index"
    with ThreadPoolExecutor(THREADS if threaded else 1) as pool:
        for first in range(0, len(bounds), THREADS):
            stop()
            yield from pool.map(lambda piece: make(source, *piece), bounds[first : first + THREADS])


def _of_index(source: Source, begin: int, end: int) -> str:
    digest = hashlib.sha256(source.index[begin:end].astype("<i8").tobytes())
    digest.update(source.labels[begin:end].astype("<i8").tobytes())
    if source.label_sets is not None:
        digest.update(source.label_sets.take(np.arange(begin, end)).encoded())
    if source.names is not None:
        digest.update(b"\n".join(source.names.take(np.arange(begin, end)).encoded()))
    return digest.hexdigest()[:LENGTH]


def _of_sizes(source: Source, begin: int, end: int) -> str:
    assert source.size is not None
    sizes = np.fromiter((source.size(record) for record in range(begin, end)), np.int64, end - begin)
    if (sizes < 0).any():
        return UNREADABLE
    return hashlib.sha256(sizes.astype("<i8").tobytes()).hexdigest()[:LENGTH]


def _of_first(source: Source, begin: int, end: int) -> str:
    del end
    return _of_content(source, begin, begin + 1)


def _of_content(source: Source, begin: int, end: int) -> str:
    digest = hashlib.sha256()
    if isinstance(source.read, ArrayReader):
        images = np.ascontiguousarray(source.read.images[begin:end])
        digest.update(f"{images.dtype.str} {images.shape[1:]} ".encode())
        digest.update(images.data if images.size else b"")
        return digest.hexdigest()[:LENGTH]
    for record in range(begin, end):
        try:
            digest.update(_content(source, record))
        except Exception:  # training reports or substitutes it, as config.data.on_error says
            return UNREADABLE
    return digest.hexdigest()[:LENGTH]


def _content(source: Source, record: int) -> bytes:
    if source.encoded is not None:
        encoded = source.encoded(record)
        return b"%d " % len(encoded) + encoded
    image = np.ascontiguousarray(source.read(record))
    return f"{image.dtype.str} {image.shape} ".encode() + image.tobytes()


def difference(
    stored: Mapping[str, SplitDigests], now: Mapping[str, SplitDigests], data: Data, only: str | None = None
) -> str | None:
    """What differs between two records of a data set, in words, and where; None if nothing does.

    Only what both have is compared: a record made with ``verify=none`` has no digests of images.

    Args:
      stored: an earlier record.
      now: that of ``data``.
      data: to name images and classes.
      only: the only split to compare; None: all.

    Example:
      >>> from ltjax.data.dataset import data_from_arrays
      >>> images, labels = np.zeros((4, 8, 8, 3), np.uint8), np.array([0, 0, 0, 1])
      >>> one, two = (data_from_arrays("x", (images, labels), (test, labels)) for test in (images, 255 - images))
      >>> difference(data_digests(one, "sample"), data_digests(two, "sample"), two)
      'the content of 4 test images, the first is record 0 (index 0)'
    """
    sources = splits_of(data)
    found = []
    for name in sorted({*stored, *now}, key=lambda name: (name not in now, name != "train", name)):
        if only is not None and name != only:
            continue
        if name not in stored or name not in now:
            there, here = ("none", "some") if name in now else ("some", "none")
            found.append(f"{name} images ({there} there, {here} here)")
            continue
        found += _of_split(name, stored[name], now[name], sources[name], data)
    return "; ".join(found) or None


def _of_split(name: str, stored: SplitDigests, now: SplitDigests, source: Source, data: Data) -> list[str]:
    if stored.class_counts != now.class_counts:
        return [_of_counts(name, stored.class_counts, now.class_counts, data)]
    if stored.pieces["index"] != now.pieces["index"]:
        first, last = _first(stored.pieces["index"], now.pieces["index"], source)
        return [f"the {name} index (names, labels or order), between {source.named(first)} and {source.named(last)}"]
    for kind in ("sizes", "content", "sample"):
        if kind not in stored.pieces or kind not in now.pieces:
            continue
        pairs = zip(stored.pieces[kind], now.pieces[kind], strict=True)
        changed = [i for i, pair in enumerate(pairs) if pair[0] != pair[1] and UNREADABLE not in pair]
        if not changed:
            continue
        begin, end = bounds_of(len(source))[changed[0]]
        what = "the sizes of" if kind == "sizes" else "the content of"
        if kind == "sample" or len(source) <= PIECES:
            sampled = f" of {len(now.pieces[kind])} compared" if kind == "sample" and len(source) > PIECES else ""
            plural = "image" if len(changed) == 1 else "images"
            return [f"{what} {len(changed)}{sampled} {name} {plural}, the first is {source.named(begin)}"]
        where = f"in {len(changed)} of {PIECES} parts, the first from {source.named(begin)} to {source.named(end - 1)}"
        return [f"{what} {name} images, {where}"]
    return []


def _of_counts(name: str, stored: list[int], now: list[int], data: Data) -> str:
    if len(stored) != len(now):
        return f"{name} images ({len(stored)} classes there, {len(now)} here)"
    changed = [c for c in range(len(now)) if stored[c] != now[c]]
    label = changed[0]
    which = f"class {label}" if data.class_names is None else f"class '{data.class_names[label]}'"
    more = f" and {len(changed) - 1} more classes" if len(changed) > 1 else ""
    return (
        f"{name} images ({sum(stored)} there, {sum(now)} here: {which} has {stored[label]} there and {now[label]} "
        f"here{more})"
    )


def _first(stored: list[str], now: list[str], source: Source) -> tuple[int, int]:
    """The first and the last record of the first piece that differs."""
    piece = next(i for i, (a, b) in enumerate(zip(stored, now, strict=True)) if a != b)
    begin, end = bounds_of(len(source))[piece]
    return begin, end - 1


def to_json(found: Mapping[str, SplitDigests]) -> dict[str, object]:
    """The record as JSON has it."""
    return {name: dataclasses.asdict(split) for name, split in found.items()}


def from_json(stored: object) -> dict[str, SplitDigests]:
    """The record of ``to_json``.

    Raises:
      InputError: if it is not one.
    """
    try:
        assert isinstance(stored, dict)
        found = {
            str(name): SplitDigests(
                [int(n) for n in split["class_counts"]],
                {str(kind): [str(one) for one in each] for kind, each in split["pieces"].items()},
            )
            for name, split in stored.items()
        }
        for split in found.values():
            pieces = min(sum(split.class_counts), PIECES)
            assert "index" in split.pieces and all(len(each) == pieces for each in split.pieces.values())
    except (AssertionError, KeyError, TypeError, ValueError, AttributeError):
        raise InputError("not a record of the digests of a data set") from None
    return found
