"""Decoding, augmenting and batching images, compared with a PyTorch DataLoader and torchvision's transforms.

    python -m ltjax.bench input --augment crop224_flip_jitter --batch 64 --workers 1 2
    python -m ltjax.bench input --format webp --size 1024x768
    python -m ltjax.bench input --size 4000x3000 --images 8 --batch 8 --fast-decode

All sides read the same files and make the same crops; their pixels are compared first. ltjax makes uint8 batches that
the network normalises on the device. PyTorch makes normalised float32 batches, as with torchvision's ToTensor and
Normalize, and uint8 batches in a second measurement: "torch" by the calls of Pillow behind torchvision's transforms,
"torchvision" by these themselves, where it is installed. "1 core" is one thread without workers; ``--workers``
processes start before the measurement. Several numbers of them take turns, too, and each is compared with the first
("to 1 worker"). The table has the memory that a worker holds: RSS, its peak, and PSS, in which pages that processes
have in common count by their share. The files are generated images, or those in ``--folder``.

    python -m ltjax.bench input --memory 2000

also makes this many ltjax batches in workers and prints the memory of all processes over time.
"""

import argparse
import functools
import os
import pathlib
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ltjax.bench import measure
from ltjax.bench.memory import Held, held_by_workers, memory_of_all_processes
from ltjax.bench.peers.input import CroppedImages, installed_ways, loader
from ltjax.commands import text_output
from ltjax.data.augment.registry import find_transform, output_size, with_fast_decode
from ltjax.data.dataset import Source
from ltjax.data.loading.host_batches import TrainElements, train_batches
from ltjax.data.sampling.counter_rng import name_id
from ltjax.data.sampling.epoch_shuffle import instance_balanced
from ltjax.errors import InputError
from ltjax.settings.user_paths import expanded

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TOLERANCE = 1.5  # allowed mean difference of the pixels, of 255, between the two resampling methods
FAST_TOLERANCE = 3.0  # with images decoded at as little as the output size
CHECKED = 32  # images
AHEAD = 4  # batches per worker before and after each measurement, so that workers have started and stay busy
SEED, EPOCH = 0, 0


class Files:
    """Reads files; a class, so that it can be pickled for worker processes."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def __call__(self, record: int) -> bytes:
        with open(self.paths[record], "rb") as file:
            return file.read()


class Format(NamedTuple):
    """How generated images are stored."""

    endings: tuple[str, ...]  # of files in a folder; the first one for generated files
    save: dict[str, Any]  # Pillow's options


FORMATS = {
    "jpeg": Format((".jpg", ".jpeg"), {"quality": 90}),
    "png": Format((".png",), {}),
    "webp": Format((".webp",), {"quality": 90}),
}


class Problem(NamedTuple):
    """The input of both sides."""

    source: Source
    paths: list[str]
    augment: str
    batch: int
    format: str = "jpeg"
    fast_decode: bool = False


def make_photographs(folder: str, count: int, height: int = 375, width: int = 500, format: str = "jpeg") -> None:
    """Writes random images with a spectrum like that of photographs; a JPEG of 500 x 375 has about 60 kB."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(count):
        pixels = np.zeros((height, width, 3))
        for cell in (1, 2, 4, 8, 16, 32, 64, 128):
            coarse = rng.normal(size=(height // cell + 2, width // cell + 2, 3))
            grey = 0.7 * coarse.mean(-1, keepdims=True) * 3**0.5 + 0.3 * coarse
            scaled = [Image.fromarray(grey[..., c].astype(np.float32)) for c in range(3)]
            fine = [np.asarray(image.resize((width, height), Image.Resampling.BICUBIC)) for image in scaled]
            pixels += np.stack(fine, -1) * cell**0.45
        pixels = 120 + 50 * (pixels - pixels.mean()) / pixels.std()
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(
            f"{folder}/{i:05d}{FORMATS[format].endings[0]}", **FORMATS[format].save
        )


def make_problem(
    paths: list[str], augment: str, batch: int, format: str = "jpeg", fast_decode: bool = False
) -> Problem:
    read: Any = Files(paths)
    count = len(paths)
    source = Source(np.zeros(count, np.int32), np.arange(count), read, encoded=read, where=paths.__getitem__)
    return Problem(source, paths, augment, batch, format, fast_decode)


def ours(problem: Problem, workers: int, batches: int) -> Any:
    """The batches of ltjax, from worker processes as in training; without workers, made on demand."""
    sampler, transform = instance_balanced(), find_transform(problem.augment)
    common: dict[str, Any] = {
        "source": problem.source,
        "samplers": {"image": sampler},
        "tables": {"image": sampler.tables(problem.source.labels, 1)},
        "seed": SEED,
        "batch_size": problem.batch,
        "steps_per_epoch": batches,
        "start": 0,
        "stop": batches,
        "transform": with_fast_decode(transform) if problem.fast_decode else transform,
    }
    if workers:
        return train_batches(**common, workers=workers)
    elements = TrainElements(**common, shard=(0, 1))
    return (elements[i] for i in range(batches))


def theirs(problem: Problem, workers: int, batches: int, normalize: bool = True, by: str = "torch") -> Any:
    """The batches of PyTorch's DataLoader for the same draws; ``by`` as in ``CroppedImages``."""
    position = (SEED, name_id("image"), EPOCH, np.arange(batches * problem.batch))
    sampler, transform = instance_balanced(), find_transform(problem.augment)
    records = sampler.draw(sampler.tables(problem.source.labels, 1), *position)
    draws = transform.draw(*position)
    size, statistics = output_size(problem.augment), (MEAN, STD) if normalize else None
    images = CroppedImages(problem.paths, records, draws, size, statistics, problem.format.upper(), by)
    return iter(loader(images, problem.batch, workers))


def check(problem: Problem) -> float:
    """The largest mean difference of the pixels from a peer's, of 255, for the same draws.

    Raises:
      Disagreement: if it is above ``TOLERANCE``, or ``FAST_TOLERANCE`` with ``--fast-decode``.
    """
    few = problem._replace(batch=min(CHECKED, problem.batch))
    allowed = FAST_TOLERANCE if problem.fast_decode else TOLERANCE
    here = next(ours(few, 0, 1))["image"]["image"].astype(np.float32)
    largest = 0.0
    for by in installed_ways():
        tensor, _ = next(theirs(few, 0, 1, by=by))
        peer = (tensor.numpy().transpose(0, 2, 3, 1) * np.array(STD) + np.array(MEAN)) * 255
        difference = float(np.abs(here - peer).mean())
        if not difference <= allowed:
            raise measure.Disagreement(
                f"check: the pixels differ by {difference:.2f} of 255 from those of {by} (allowed {allowed})"
            )
        largest = max(largest, difference)
    return largest


def compare(
    problem: Problem, workers: Sequence[int], batches: int, repeats: int, alone: bool
) -> dict[int, tuple[measure.Times, dict[str, Held]]]:
    """Number of workers -> (side -> seconds for ``batches`` batches, side -> what its largest worker holds).

    A repetition is a turn of each number and, within it, of each side. Without workers the processor time of this
    process is measured, which other programs do not affect. With workers, each measurement starts new processes and is
    preceded and followed by ``AHEAD`` batches per worker: processes that outlive a measurement would prepare batches
    during that of the other side.
    """
    kinds: dict[str, Callable[[int, int], Any]] = {"ltjax": functools.partial(ours, problem)}
    if not alone:
        for by in installed_ways():
            kinds[by] = functools.partial(theirs, problem, by=by)
        kinds["torch, uint8"] = functools.partial(theirs, problem, normalize=False)
    found: dict[int, tuple[measure.Times, dict[str, Held]]] = {
        number: ({name: [] for name in kinds}, {}) for number in workers
    }
    for _ in range(repeats):
        for number, (times, held) in found.items():
            margin, clock = (AHEAD * number, time.perf_counter) if number else (1, time.process_time)
            for name, make in kinds.items():
                iterator = make(number, margin + batches + margin)
                _take(iterator, margin)
                start = clock()
                _take(iterator, batches)
                times[name].append(clock() - start)
                for one in held_by_workers(min(number, 1)):
                    held[name] = Held(*map(max, one, held.get(name, one)))
                _take(iterator, margin)
                assert next(iterator, None) is None  # which ends its processes
    return found


def _take(iterator: Any, batches: int) -> None:
    for _ in range(batches):
        next(iterator)


def memory_over_time(problem: Problem, workers: int, batches: int) -> list[tuple[int, float]]:
    """(batches made, megabytes of this process and its workers) at ten points of a long ltjax run."""
    iterator, found = ours(problem, workers, batches), []
    for made in range(1, batches + 1):
        next(iterator)
        if made % max(batches // 10, 1) == 0:
            found.append((made, memory_of_all_processes()))
            print(f"  after {made} batches: {found[-1][1]:,.0f} MB", flush=True)
    iterator.close()
    return found


def parse(arguments: list[str]) -> Any:
    parser = measure.Parser("input", __doc__, repeats=5)
    parser.add_argument("--folder", help="a folder with images, also in subfolders; default: generate images")
    parser.add_argument("--format", choices=sorted(FORMATS), default="jpeg", help="of the images")
    parser.add_argument("--images", type=measure.at_least(1), default=256, help="number of images to generate")
    parser.add_argument("--size", type=_size, default=(500, 375), metavar="WxH", help="pixels of generated images")
    parser.add_argument("--fast-decode", action="store_true", help="as with config.data.fast_decode")
    parser.add_argument("--augment", nargs="+", default=["crop224_flip", "crop224_flip_jitter"], metavar="NAME")
    parser.add_argument("--batch", type=measure.at_least(1), default=64)
    parser.add_argument("--batches", type=measure.at_least(1), default=8, help="batches per timed repetition")
    parser.add_argument(
        "--workers",
        type=measure.at_least(0),
        nargs="+",
        default=[len(os.sched_getaffinity(0))],
        help="worker processes, also several numbers in turns; 0: only without; default: number of cores",
    )
    parser.add_argument(
        "--memory", type=int, default=0, metavar="BATCHES", help="measure the memory over this number of batches"
    )
    options = parser.parse_args(arguments)
    for name in options.augment:
        if not output_size(name):
            find_transform(name, "--augment")
            raise InputError(f"--augment: '{name}' does not crop whole images; use one such as crop224_flip")
    return options


def _size(text: str) -> tuple[int, int]:
    """The argparse type of WIDTHxHEIGHT."""
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"impossible value '{text}'; write WIDTHxHEIGHT, such as 500x375")
    return int(match[1]), int(match[2])


def find_files(options: argparse.Namespace, made: str) -> list[str]:
    if options.folder is None:
        width, height = options.size
        make_photographs(made, options.images, height, width, options.format)
    endings = FORMATS[options.format].endings
    below = pathlib.Path(expanded(options.folder or made)).rglob("*")
    found = sorted(str(path) for path in below if path.suffix.lower() in endings)
    if not found:
        what = " or ".join(endings)
        raise InputError(f"--folder: no {what} file in '{options.folder}'; choose another folder, or --format")
    return found


def main(arguments: list[str]) -> None:
    """Checks, measures, prints, and writes the JSON."""
    options = parse(arguments)
    environment = measure.environment()
    print(measure.describe(environment), flush=True)
    alone = not measure.torch_installed()
    if not alone:
        import torch

        torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as made:
        paths = find_files(options, made)
        size = sum(os.path.getsize(path) for path in paths) / len(paths) / 1e3
        print(
            f"{len(paths)} files of {size:.0f} kB; batch {options.batch}; medians of {options.repeats} alternating runs"
        )
        problems = [
            make_problem(paths, name, options.batch, options.format, options.fast_decode) for name in options.augment
        ]
        results = [one_augment(options, problem, alone) for problem in problems]
        memory = []
        if options.memory:
            print(f"memory of all processes, {options.workers[-1]} workers, {options.augment[-1]}:")
            memory = memory_over_time(problems[-1], options.workers[-1], options.memory)
    named_options = {key: value for key, value in vars(options).items() if key != "json"}
    record = {"benchmark": "input", "environment": environment, "options": named_options, "file_kB": size}
    text_output.write_json(options.json, record | {"results": results, "memory_MB": memory})


def one_augment(options: argparse.Namespace, problem: Problem, alone: bool) -> dict[str, Any]:
    """Prints the table of one augmentation; returns its part of the JSON."""
    difference = None if alone else check(problem)
    if difference is not None:
        print(f"{problem.augment}: the pixels of both sides differ by {difference:.2f} of 255 on average", flush=True)
    images = options.batch * options.batches
    record: dict[str, Any] = {"augment": problem.augment, "pixel_difference": difference, "workers": {}}
    some = [number for number in dict.fromkeys(options.workers) if number]
    heading = [f"to {_workers(some[0])}"] if some[1:] else []
    rows = [[problem.augment, "images/s", "ltjax is", *heading, "MB a worker: RSS, peak, PSS"]]
    found = compare(problem, [0], options.batches, options.repeats, alone)
    found |= compare(problem, some, options.batches, options.repeats, alone)
    for number, (times, held) in found.items():
        block = measure.summary(times, images) | {"worker_MB": {name: one._asdict() for name, one in held.items()}}
        if number and number != some[0]:
            first = found[some[0]][0]
            block["speed_relative_to_first"] = {
                name: measure.median_ratio({"now": times[name], "first": first[name]}, "now", "first") for name in times
            }
        record["workers"][str(number)] = block
        for name, side in block["sides"].items():
            faster = block["speed_relative_to"].get(name)
            gain = block.get("speed_relative_to_first", {}).get(name)
            memory = ", ".join(f"{size:,.0f}" for size in held[name]) if name in held else ""
            ratios = [f"{ratio:.2f}x" if ratio else "" for ratio in (faster, *([gain] if heading else []))]
            rows.append([f"{_workers(number)}: {name}", f"{side['images_per_second']:.0f}", *ratios, memory])
    print(text_output.table(rows), flush=True)
    return record


def _workers(number: int) -> str:
    return f"{number} worker{'s' if number > 1 else ''}" if number else "1 core"
