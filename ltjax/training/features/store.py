"""The features of a whole source by a frozen network: computed once, stored on disk, found by later runs.

A later run that starts from the same first stage (config.init_from) has the same variables and images, so the same key.
"""

import contextlib
import dataclasses
import hashlib
import pathlib
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import traverse_util
from jax.experimental import multihost_utils

from ltjax.data import Source
from ltjax.data.dataset import fingerprint
from ltjax.data.digests import content_sha256
from ltjax.errors import InputError
from ltjax.methods.stage import Tree
from ltjax.settings import Settings
from ltjax.training.evaluation import Reading, feature_blocks, rows_at_once
from ltjax.training.execution.agreement import everywhere
from ltjax.training.features import files
from ltjax.training.workdir.identity import absolute
from ltjax.version import __version__

HASHED_IMAGES = 8  # images whose pixels are part of the key: other files, sizes or decoders give another key
STOP_EVERY = 10  # batches between two checks for a signal to stop


class FeatureStore(NamedTuple):
    """Where features are stored, and how they are computed.

    Attributes:
      folders: local folders (with several processes: shared by all); the first that can be written is used.
      memory: bytes; larger features are memory-mapped from their file.
      batch_size: images at a time.
      mesh: the devices.
      report: logs a line.
      stop: called every few batches; raises if the run got a signal to stop.
      run: identifies this run: features with substitutes for unreadable images are not shared with other runs.
    """

    folders: tuple[pathlib.Path, ...]
    memory: float
    batch_size: int
    mesh: Any
    report: Callable[[str], None]
    stop: Callable[[], None]
    run: str = ""

    def features(self, network: Any, variables: Tree, source: Source, shape: Any, reading: Reading) -> np.ndarray:
        """float [n, d]: ``network.apply(variables, images).features`` of all of ``source``, without augmentation.

        In memory, or memory-mapped if it is large. ``shape`` is that of an image.
        """
        known = identity(network, variables, source, shape)
        skips = reading.watch is not None and reading.watch.on_faults is not None
        path = self._found(known) or (self._found(known | {"run": self.run}) if skips else None)
        if path is None:
            path = self._made(known, network, variables, source, shape, reading)
        return files.load(path, self.memory)

    def _found(self, known: files.Identity) -> pathlib.Path | None:
        """The file, the same for all processes; the first one verifies every byte of it."""
        first = jax.process_index() == 0
        for folder in self.folders:
            path = None
            try:
                path = files.find(folder, known, check=first)
            except files.Damaged as damage:
                self.report(f"features: {damage}; they are computed again")
                if first:
                    with contextlib.suppress(OSError):  # then they are stored in another folder
                        files.remove(folder, known)
            if everywhere(path is not None):
                assert path is not None
                self.report(f"features: found in {path.parent}")
                return path
        return None

    def _made(
        self, known: files.Identity, network: Any, variables: Tree, source: Source, shape: Any, reading: Reading
    ) -> pathlib.Path:
        began = time.monotonic()
        size, dtype = _row(network, variables, shape)
        layout = files.Layout(len(source), size, dtype, rows_at_once(self.batch_size, self.mesh))
        folder, writer = self._writer(known, layout)
        faults = _Faults(reading)
        blocks = feature_blocks(
            network, variables, source, self.batch_size, self.mesh, faults.reading,
            start=_of_first(0 if writer is None else writer.begin),
        )  # fmt: skip
        with contextlib.closing(writer) if writer else contextlib.nullcontext(), contextlib.closing(blocks):
            for number, rows in enumerate(blocks):
                replaced = faults.of_block()
                if writer is not None:
                    writer.add(rows, replaced)
                if number % STOP_EVERY == STOP_EVERY - 1:
                    self.stop()
            replaced = _of_first(0 if writer is None else writer.replaced)
            named = known | {"run": self.run} if replaced else known
            check = writer is not None and not writer.publish(named)
        _wait_for_all()
        try:
            path = files.find(folder, named, check)
        except files.Damaged as damage:
            raise OSError(f"features: {damage}, and the folder cannot be replaced; remove it and run again") from None
        if not everywhere(path is not None):
            raise InputError(
                f"{folder}: not all processes see the features that the first one wrote; use a shared folder for "
                "--workdir or config.features.dir"
            )
        assert path is not None
        substitutes = f" ({replaced} substitutes for unreadable images: for this run only)" if replaced else ""
        self.report(
            f"features: {layout.rows:,} x {layout.size:,} ({path.stat().st_size / 1e6:,.1f} MB) computed in "
            f"{time.monotonic() - began:.1f} s{substitutes}, stored in {path.parent}"
        )
        return path

    def _writer(self, known: files.Identity, layout: files.Layout) -> tuple[pathlib.Path, files.Writer | None]:
        """The folder to write, and the writer: in the first process, or in each one where the folder is not shared."""
        first, writer, chosen, why = jax.process_index() == 0, None, len(self.folders), ""
        for number, folder in enumerate(self.folders if first else ()):
            try:
                writer, chosen = files.Writer(folder, known, layout), number
                break
            except OSError as error:
                why = why or f"{folder} cannot be written ({error.strerror or error})"
        chosen = _of_first(chosen)
        if chosen < len(self.folders):
            if why:
                self.report(f"features: {why}; they are stored in {self.folders[chosen]}")
            return self.folders[chosen], writer
        folder = _temporary()
        self.report(f"features: {why or 'no local folder to store them in'}; they are kept until this run ends")
        return folder, files.Writer(folder, known, layout)


def make_store(
    config: Settings, workdir: Any, mesh: Any, report: Callable[[str], None], stop: Callable[[], None]
) -> FeatureStore:
    """The store of a run: config.features.dir; without it in the workdir of config.init_from, or in the run's own."""
    if config.features.dir:
        roots = [absolute(config.features.dir)]
    else:
        roots = [absolute(config.init_from)] if config.init_from else []
        roots = [root / "features" for root in (*roots, workdir)]
    folders = tuple(pathlib.Path(root) for root in roots if "://" not in str(root))
    memory, size = 1e6 * config.features.memory_mb, config.evaluation.batch_size
    return FeatureStore(folders, memory, size, mesh, report, stop, run=str(workdir))


def identity(network: Any, variables: Tree, source: Source, shape: Any) -> files.Identity:
    """All that the features depend on: the network and its arrays, the records, and the images.

    Of files a sample is read; of images in memory every pixel.

    Only those of ``variables`` that the network has count: a ``Representation`` does not depend on the head.
    """
    return {
        "format": 1,
        "ltjax": __version__,
        "network": " ".join(repr(network).split()),
        "variables": _hash_of_arrays(_arrays_of(network, variables, shape)),
        "records": fingerprint(source),
        "images": _hash_of_images(source),
        "content": content_sha256(source),
    }


def _arrays_of(network: Any, variables: Tree, shape: Any) -> dict[str, Any]:
    """The arrays of the network by path."""

    def make() -> Tree:
        return network.init(jax.random.key(0), jax.numpy.zeros((1, *shape), np.uint8), train=False)

    given = traverse_util.flatten_dict(variables, sep="/")
    return {path: given[path] for path in traverse_util.flatten_dict(jax.eval_shape(make), sep="/")}


def _hash_of_arrays(arrays: dict[str, Any]) -> str:
    digest = hashlib.sha256()
    for path in sorted(arrays):
        array = np.asarray(arrays[path])
        digest.update(f"{path} {array.dtype.str} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _hash_of_images(source: Source) -> str:
    """Of the pixels of some images, as evaluation reads them; an unreadable one is hashed as such."""
    digest = hashlib.sha256()
    for record in np.unique(np.linspace(0, len(source) - 1, HASHED_IMAGES).astype(np.int64)):
        try:
            image = source.images(record[None])
        except InputError:
            digest.update(b"unreadable")
            continue
        digest.update(f"{image.dtype.str} {image.shape} ".encode())
        digest.update(image.tobytes())
    return digest.hexdigest()


def _row(network: Any, variables: Tree, shape: Any) -> tuple[int, np.dtype]:
    """Length and dtype of one image's features."""
    image = jax.ShapeDtypeStruct((1, *shape), np.uint8)
    made = jax.eval_shape(lambda v, x: network.apply(v, x, train=False).features, variables, image)
    return made.shape[1], np.dtype(made.dtype)


class _Faults:
    """Counts the unreadable images that are substituted, in all processes together."""

    def __init__(self, reading: Reading) -> None:
        self.seen, self.reading = 0, reading
        watch = reading.watch
        self.counts = watch is not None and watch.on_faults is not None
        if watch is not None and watch.on_faults is not None:
            report = watch.on_faults

            def count(faults: list[Any]) -> None:
                self.seen += len(faults)
                report(faults)

            self.reading = reading._replace(watch=dataclasses.replace(watch, on_faults=count))

    def of_block(self) -> int:
        """Those since the last call. Images are prefetched, so they may belong to a later block, not an earlier one."""
        if not self.counts:
            return 0
        seen, self.seen = self.seen, 0
        if jax.process_count() == 1:
            return seen
        return int(np.sum(multihost_utils.process_allgather(np.int32(seen))))


_TEMPORARY: list[tempfile.TemporaryDirectory] = []  # removed when the process ends


def _temporary() -> pathlib.Path:
    _TEMPORARY.append(tempfile.TemporaryDirectory(prefix="ltjax-features-"))
    return pathlib.Path(_TEMPORARY[-1].name)


def _of_first(number: int) -> int:
    """The first process's number."""
    return number if jax.process_count() == 1 else int(multihost_utils.broadcast_one_to_all(np.int32(number)))


def _wait_for_all() -> None:
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("features")
