"""The index of a folder's tar files, kept beside them: reading all headers of a large set takes minutes."""

import contextlib
import io
import json
import os

import numpy as np

from ltjax.data.storage.packed_names import PackedNames
from ltjax.data.storage.paths import write_atomically
from ltjax.data.storage.webdataset import TarIndex, index_tar

FILE = "ltjax_tar_index.npz"


def index_tars(
    root: str, paths: list[str], image_column: str = "", label_column: str = "", keep: bool = True
) -> list[TarIndex]:
    """The index of each tar file: the stored one while size and time of the file are the same.

    Args:
      root: the folder of the tar files, or a single one.
      paths: the files.
      image_column, label_column: as in ``index_tar``.
      keep: whether the index is stored in ``root``; where that cannot be written, it is not.

    Raises:
      InputError: as ``index_tar``.
    """
    folder = root if os.path.isdir(root) else os.path.dirname(os.path.abspath(root))
    cache = os.path.join(folder, FILE)
    known = _load(cache)
    marks = {path: [os.path.relpath(path, folder), *_mark(path), image_column, label_column] for path in paths}
    found = {path: known.get(json.dumps(marks[path])) or index_tar(path, image_column, label_column) for path in paths}
    indexed = [found[path]._replace(path=path) for path in paths]
    if keep and any(json.dumps(mark) not in known for mark in marks.values()):
        rest = {mark: one for mark, one in known.items() if json.loads(mark)[0] not in {m[0] for m in marks.values()}}
        with contextlib.suppress(OSError):
            write_atomically(cache, _dump(rest | {json.dumps(marks[path]): found[path] for path in paths}))
    return indexed


def _mark(path: str) -> tuple[int, int]:
    try:
        stat = os.stat(path)
    except OSError:
        return -1, -1
    return stat.st_size, stat.st_mtime_ns


def _dump(indexes: dict[str, TarIndex]) -> bytes:
    tars, content = list(indexes.values()), io.BytesIO()
    about = {"marks": list(indexes), "counts": [len(tar.labels) for tar in tars], "notes": [tar.notes for tar in tars]}
    names = PackedNames.of(name for tar in tars for name in tar.names)
    labels = PackedNames.of(label for tar in tars for label in tar.labels.tolist())
    np.savez(
        content,
        about=np.frombuffer(json.dumps(about).encode(), np.uint8),
        offsets=np.concatenate([tar.offsets for tar in tars]),
        sizes=np.concatenate([tar.sizes for tar in tars]),
        names=np.frombuffer(names.text, np.uint8),
        name_ends=names.ends,
        labels=np.frombuffer(labels.text, np.uint8),
        label_ends=labels.ends,
    )
    return content.getvalue()


def _load(cache: str) -> dict[str, TarIndex]:
    """Mark -> index; {} where there is none, or it is damaged."""
    try:
        with np.load(cache, allow_pickle=False) as arrays:
            about = json.loads(arrays["about"].tobytes())
            names = list(_unpacked(arrays["names"], arrays["name_ends"]))
            labels = np.array([*_unpacked(arrays["labels"], arrays["label_ends"])], object)
            offsets, sizes = arrays["offsets"], arrays["sizes"]
        ends = np.cumsum(about["counts"]).tolist()
        found = {}
        for mark, begin, end, notes in zip(about["marks"], [0, *ends], ends, about["notes"], strict=False):
            one = slice(begin, end)
            found[mark] = TarIndex("", names[one], offsets[one], sizes[one], labels[one], tuple(notes))
        assert not ends or ends[-1] == len(names) == len(labels) == len(offsets) == len(sizes)
    except Exception:  # a damaged file raises nearly anything: the headers are read again
        return {}
    return found


def _unpacked(text: np.ndarray, ends: np.ndarray) -> PackedNames:
    return PackedNames(text.tobytes(), np.concatenate([[0], ends[:-1]]).astype(np.int64), ends.astype(np.int64))
