"""The work of predict: images to predictions in order, block by block; the class distribution first, if it is asked."""

import dataclasses
import hashlib
import json
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from ltjax import escape
from ltjax.commands.adjustment import NUMBERS, Adjustment
from ltjax.commands.predict.batches import Elements, Spans
from ltjax.commands.predict.inputs import Images, Reader
from ltjax.commands.predict.network import Chosen, Network, choose, outputs
from ltjax.commands.predict.parts import Parts, Skipped
from ltjax.commands.predict.rows import Format, Prediction, Table
from ltjax.data.loading.unreadable import Fault
from ltjax.data.storage.paths import write_atomically
from ltjax.errors import InputError

MOST_BLOCKS = 1000
SHOWN = 5  # classes of an estimated distribution


class Job(NamedTuple):
    """What is predicted, with what.

    Attributes:
      images: all of them.
      read: position -> pixels, or why not.
      network: on this process's devices.
      adjustment: of its logits.
      table: what the rows have.
      workers: processes that read images.
      skip: whether unreadable images are left out; otherwise the first one is an error.
      advance: called with the number of images done.
      share: (this process, processes).
    """

    images: Images
    read: Reader
    network: Network
    adjustment: Adjustment
    table: Table
    workers: int
    skip: bool
    advance: Callable[[int], object]
    share: tuple[int, int] = (0, 1)

    def elements(self, spans: Spans, positions: np.ndarray | None = None) -> Elements:
        return Elements(self.read, spans, positions, self.read.image_shape)

    def name(self, position: int) -> str:
        return self.images.names[position]

    def mine(self, blocks: tuple[int, ...]) -> tuple[int, ...]:
        """Those of these blocks that this process does, whatever the others have done so far."""
        return tuple(block for block in blocks if block % self.share[1] == self.share[0])


def block_size(total: int, batch: int) -> int:
    """Images of a block: a few batches, so that there are at most ``MOST_BLOCKS`` blocks.

    Example:
      >>> block_size(250, 100), block_size(1_000_000, 100), block_size(1_000_000, 256)
      (100, 1000, 1024)
    """
    return batch * max(1, -(-total // (MOST_BLOCKS * batch)))


def predictions(job: Job, spans: Spans) -> Iterator[tuple[list[Prediction], list[Skipped]]]:
    """The predictions of every block, and its unreadable images."""
    rows: list[Prediction] = []
    skipped: list[Skipped] = []
    chosen = choose(job.adjustment, job.table.needed, job.table.several_labels)
    for number, seen in enumerate(outputs(job.network, job.elements(spans), job.workers, chosen)):
        begin, end = spans[number]
        skipped += _skipped(job, seen.faults)
        rows += _rows(job, np.flatnonzero(seen.mask), begin, seen.found)
        job.advance(end - begin)
        if (number + 1) % spans.each == 0:
            yield rows, skipped
            rows, skipped = [], []


def of_logits(job: Job, chosen: Any, logits: np.ndarray, begin: int) -> list[Prediction]:
    """The predictions of a block whose logits are there; NaN for its unreadable images."""
    readable = np.flatnonzero(~np.isnan(logits).all(axis=1))
    return _rows(job, readable, begin, jax.device_get(chosen(logits)))


def _rows(job: Job, places: np.ndarray, begin: int, found: Chosen) -> list[Prediction]:
    broken = places[~np.asarray(found.finite)[places]]
    if broken.size:
        raise _diverged(job.name(begin + int(broken[0])))
    labels, shares = np.asarray(found.labels)[places].tolist(), np.asarray(found.probabilities)[places].tolist()
    names = (job.name(begin + int(place)) for place in places)
    return [Prediction(*row) for row in zip(names, labels, shares, strict=True)]


def _diverged(name: str) -> FloatingPointError:
    return FloatingPointError(
        f"{name}: the network's logits are not finite, so its training diverged; train it again with a smaller "
        "config.optimizer.learning_rate"
    )


def _skipped(job: Job, faults: list[Fault]) -> list[Skipped]:
    """The unreadable images, each reported.

    Raises:
      InputError: for the first one, unless they are left out.
    """
    for fault in faults:
        line = f"{job.name(fault.index)} cannot be read: {fault.reason}"
        if not job.skip:
            raise InputError(f"{line}; --on-error=skip leaves such images out")
        print(f"left out: {escape.terminal(line)}", file=sys.stderr)
    return [(fault.index, job.name(fault.index), fault.reason) for fault in faults]


def write_all(job: Job, parts: Parts, how: Format) -> None:
    """Writes the rows of the blocks of this process that are not there yet."""
    spans = Spans(job.mine(parts.missing("rows")), parts.block, job.network.batch, len(job.images))
    job.advance(sum(_size(job, parts, block) for block in job.mine(tuple(range(parts.blocks)))) - _images(job, spans))
    for block, (rows, skipped) in zip(spans.blocks, predictions(job, spans), strict=True):
        parts.write_skipped(block, skipped)
        parts.write_rows(block, how.part(rows, job.table))


def write_from_logits(job: Job, parts: Parts, how: Format) -> None:
    """The same, where all logits are there already."""
    chosen = choose(
        job.adjustment, job.table.needed, job.table.several_labels
    )  # once: it is compiled for each shape of a block
    for block in job.mine(parts.missing("rows")):
        rows = of_logits(job, chosen, parts.logits(block), block * parts.block)
        parts.write_rows(block, how.part(rows, job.table))


def _size(job: Job, parts: Parts, block: int) -> int:
    return min(parts.block, len(job.images) - block * parts.block)


def _images(job: Job, spans: Spans) -> int:
    return sum(min(spans.block, spans.total - block * spans.block) for block in spans.blocks)


# ---------------------------------------------------------------------------------------- the class distribution


def sample_of(job: Job) -> np.ndarray | None:
    """int64 positions of the images that the class distribution is estimated from; None: all of them."""
    most = max(1, NUMBERS // len(job.table.class_names))
    if len(job.images) <= most:
        return None
    return np.linspace(0, len(job.images) - 1, most).astype(np.int64)


def logits_of_blocks(
    job: Job, spans: Spans, positions: np.ndarray | None
) -> Iterator[tuple[np.ndarray, list[Skipped]]]:
    """The logits [images of the block, C] of every block, NaN for its unreadable images, which come beside them."""
    whole: list[np.ndarray] = []
    skipped: list[Skipped] = []
    for number, seen in enumerate(outputs(job.network, job.elements(spans, positions), job.workers)):
        begin, end = spans[number]
        skipped += _skipped(job, seen.faults)
        found, readable = np.array(seen.found)[: end - begin], seen.mask[: end - begin]
        broken = np.flatnonzero(readable & ~np.isfinite(found.max(axis=1)))
        if broken.size:
            place = begin + int(broken[0])
            raise _diverged(job.name(place if positions is None else int(positions[place])))
        found[~readable] = np.nan
        whole.append(found)
        job.advance(end - begin)
        if (number + 1) % spans.each == 0:
            yield np.concatenate(whole), skipped
            whole, skipped = [], []


def estimated(job: Job, logits: np.ndarray) -> Adjustment:
    """The adjustment to the class distribution of the images with these logits.

    Raises:
      InputError: if none of the images can be read.
    """
    readable = logits[~np.isnan(logits).all(axis=1)]
    if not len(readable):
        raise InputError("--test-prior=estimate: none of the images can be read")
    return job.adjustment.with_estimate(readable)


def shown_estimate(adjustment: Adjustment, class_names: Sequence[str]) -> str:
    """What to print on an estimated distribution: the classes whose shares differ most from the network's, doubts."""
    before = adjustment.model_prior
    assert before is not None
    after = before * np.exp(adjustment.offset)
    after /= after.sum()
    most = np.argsort(-np.abs(after - before), kind="stable")[:SHOWN]
    shares = ", ".join(f"{class_names[i]} {after[i]:.1%} ({before[i]:.1%})" for i in most.tolist())
    doubts = [f"warning: {note}" for note in adjustment.notes if note.startswith("the estimate puts")]
    line = f"estimated class distribution, where it differs most from the network's (in brackets): {shares}"
    return "\n".join([line, *doubts])


def estimate_in_memory(job: Job) -> Adjustment:
    """The same, from the images themselves."""
    positions = sample_of(job)
    total = len(job.images) if positions is None else len(positions)
    spans = Spans((0,), total, job.network.batch, total)
    ((logits, _),) = logits_of_blocks(job, spans, positions)
    return estimated(job, logits)


def estimate_in_parts(job: Job, parts: Parts) -> tuple[Adjustment, bool]:
    """The same, of all processes together, restartable; and whether the logits of all images are in the parts."""
    positions, path = sample_of(job), parts.folder / "prior.json"
    total = len(job.images) if positions is None else len(positions)
    some = dataclasses.replace(parts, blocks=-(-total // parts.block))
    if not path.exists():
        spans = Spans(job.mine(some.missing("npy")), parts.block, job.network.batch, total)
        for block, (logits, skipped) in zip(spans.blocks, logits_of_blocks(job, spans, positions), strict=True):
            if positions is None:
                parts.write_skipped(block, skipped)
            some.write_logits(block, logits)
        some.wait_for("npy")
        if job.share[0] == 0:
            with parts.alive():
                made = estimated(job, np.concatenate([some.logits(block) for block in range(some.blocks)]))
            write_atomically(path, json.dumps(made.offset.tolist()))
        parts.wait_for_file(path)
    offset = np.array(json.loads(path.read_text()), np.float64)
    return dataclasses.replace(job.adjustment, offset=offset), positions is None


def fingerprint_of(variables: Any) -> str:
    """A checksum of the network's arrays."""
    total = 0
    for leaf in jax.tree.leaves(variables):
        total = zlib.crc32(np.ascontiguousarray(leaf.addressable_data(0)).tobytes(), total)
    return f"{total:08x}"


def _folders(images: Images) -> str:
    """The folders that the images' names are relative to."""
    return ", ".join(f"{folder} (from image {first})" if first else folder for first, folder in images.folders)


def about(job: Job, options: Any, fingerprint: str, form: str) -> dict[str, Any]:
    """All that the bytes of the output depend on, by a name for messages."""
    several = {"thresholds": list(job.table.thresholds or ())} if job.table.several_labels else {}
    return several | {
        "--run": f"{fingerprint}-{fingerprint_of(job.network.variables)}",
        "number of images": len(job.images),
        "list of images": job.images.names.sha256(),
        "folder of the images": _folders(job.images),
        "--format": form,
        "--top": job.table.top,
        "--threshold": job.table.threshold,
        "--tta": options.tta,
        "--temperature": job.adjustment.temperature,
        "--logit-adjustment": options.logit_adjustment,
        "--test-prior": options.test_prior,
        "--model-prior": options.model_prior,
        "class distribution": hashlib.sha256(job.adjustment.offset.tobytes()).hexdigest(),
        "--batch-size": options.batch_size,
    }
