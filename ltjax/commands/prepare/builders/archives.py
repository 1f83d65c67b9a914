"""What the builders share: downloading files, reading archives, and selecting the images that a list names."""

import io
import os
import tarfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ltjax.data.storage.list_file import check_all_classes, read_list
from ltjax.data.storage.shards import file_sha256
from ltjax.errors import InputError


def manual_folder(manager: Any) -> str | None:
    """The folder with the files that the user has downloaded (``--manual-dir``), if there is one."""
    try:
        return str(manager.manual_dir)
    except (AssertionError, ValueError):
        return None


def obtain(manager: Any, builder: Any, names: dict[str, str]) -> dict[str, str]:
    """{file name: path} of the files ``names``, {file name: URL}: the user's, else downloaded; all are checked.

    Raises:
      InputError: for a file of the user's whose checksum is wrong.
    """
    folder = manual_folder(manager)
    paths, missing = {}, {}
    for name, url in names.items():
        path = folder and os.path.join(folder, name)
        if path and os.path.isfile(path):
            expected = (builder.url_infos or {}).get(url)
            if expected is not None and (
                os.path.getsize(path) != int(expected.size) or file_sha256(path) != expected.checksum
            ):
                raise InputError(f"{path}: is not the published {name} (sha256 {expected.checksum}); download it again")
            paths[name] = path
        else:
            missing[name] = url
    return paths | {name: str(path) for name, path in manager.download(missing).items()} if missing else paths


def members(archive: str) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """(name, its bytes when called) of every file in a tar archive, those of tar archives inside it, too.

    Raises:
      InputError: for an archive that is damaged or truncated.
    """
    try:
        with tarfile.open(archive) as outer:
            yield from _files(outer)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InputError(f"{archive}: cannot be read ({error}); download it again") from error


def _files(archive: tarfile.TarFile) -> Iterator[tuple[str, Callable[[], bytes]]]:
    for member in archive:
        if not member.isfile():
            continue
        file = archive.extractfile(member)
        assert file is not None
        if member.name.endswith(".tar"):
            with tarfile.open(fileobj=file) as inner:
                yield from _files(inner)
        else:
            yield member.name, file.read
        archive.members = []  # type: ignore[attr-defined]  # else it keeps every header that it has read


def listed_images(
    list_path: str, archive: str, key_of: Callable[[str], str], size: int, num_classes: int, train: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(path in the list, record) of every image that a list names, from a tar archive, in the order of the archive.

    Args:
      list_path: 'relative/path label' lines.
      archive: a tar archive, perhaps of tar archives.
      key_of: path in the list, or in the archive -> the key of the image.
      size: the number of lines of the published list.
      num_classes: C.
      train: whether every class must have an image.

    Raises:
      InputError: for another list than the published one, or images that are not in the archive.
    """
    listing = read_list(list_path)
    if len(listing) != size:
        raise InputError(f"{list_path}: {len(listing)} images; the published list has {size}")
    if train:
        check_all_classes(listing, num_classes)
    wanted = {key_of(name): i for i, name in enumerate(listing.names)}
    if len(wanted) < len(listing):
        raise InputError(f"{list_path}: two of its paths are the same image in {archive}; download the list again")
    for name, content in members(archive):
        i = wanted.pop(key_of(name), None)
        if i is not None:
            path = listing.names[i]
            yield path, {"file_name": path, "image": io.BytesIO(content()), "label": int(listing.labels[i])}
    if wanted:
        first = listing.at(min(wanted.values()))
        raise InputError(f"{archive}: {len(wanted)} listed images are not in it ({first}); download the archive again")


def png(image: np.ndarray) -> io.BytesIO:
    """A small image, uint8 [H, W, 3], as PNG bytes, which TFDS takes without TensorFlow."""
    from PIL import Image

    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, "PNG")
    encoded.seek(0)
    return encoded


def cifar_records(
    archive: str, files: tuple[str, ...], split: str, label_names: tuple[str, ...], size: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The records of CIFAR's binary archive: a byte for every label, then 3,072 of the image, channel after channel.

    Raises:
      InputError: for an archive that lacks a file or has another number of images.
    """
    found = {os.path.basename(name): content() for name, content in members(archive) if os.path.basename(name) in files}
    missing = [name for name in files if name not in found]
    width = len(label_names) + 3072
    if missing or any(len(content) % width for content in found.values()):
        raise InputError(f"{archive}: {missing[0] if missing else 'a file of it'} is incomplete; download it again")
    rows = np.concatenate([np.frombuffer(found[name], np.uint8).reshape(-1, width) for name in files])
    if len(rows) != size:
        raise InputError(f"{archive}: {len(rows)} images of {split}, expected {size}; download it again")
    images = rows[:, len(label_names) :].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    for i, (row, image) in enumerate(zip(rows, images, strict=True)):
        name = f"{split}_{i:05d}"
        labels = {label: int(row[k]) for k, label in enumerate(label_names)}
        yield name, {"id": name, "image": png(np.ascontiguousarray(image)), **labels}
