"""Drawing class-balanced batches, compared with PyTorch's WeightedRandomSampler and a class-aware sampler.

    python -m ltjax.bench sampler --sizes 100000 1000000 10000000 100000000

For each number of records it prints the seconds to the first batch of an epoch, the megabytes kept, and then the
microseconds per batch of ``--batch``. Labels are long-tailed (class counts decrease geometrically by 100). First, with
the fewest records, every side must draw all classes equally often, and the class cycles must not repeat an image early.
WeightedRandomSampler draws a whole epoch at once; its epoch is set to ``--batches`` batches, not to all records.
"""

import argparse
import gc
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from ltjax.bench import measure
from ltjax.bench.memory import memory_of_all_processes
from ltjax.bench.peers.sampler import ClassAware, weighted
from ltjax.commands import text_output
from ltjax.data.sampling.class_cycle import class_cycle
from ltjax.data.sampling.counter_rng import name_id
from ltjax.data.sampling.independent import class_balanced
from ltjax.data.sampling.sampler import Sampler

SIZES = (10**5, 10**6, 10**7, 10**8)
VISIT = 4  # consecutive images of a class
LARGEST_LISTS = 10**7  # records; a list of ints takes about 40 bytes per record
CHECKED = 200  # draws per class


def long_tailed(size: int, num_classes: int) -> np.ndarray:
    """Shuffled labels, int32 [size]; class counts decrease geometrically, the first is about 100 times the last."""
    shares = 100.0 ** -(np.arange(num_classes) / max(num_classes - 1, 1))
    ends = np.rint(np.cumsum(shares) / shares.sum() * size).astype(np.int64)
    labels = np.repeat(np.arange(num_classes, dtype=np.int32), np.diff(ends, prepend=0))
    np.random.default_rng(0).shuffle(labels)
    return labels


def ours(sampler: Sampler, labels: np.ndarray, num_classes: int, batch: int) -> Iterator[np.ndarray]:
    """Batches of ltjax's sampler, each computed from its position."""
    tables, stream = sampler.tables(labels, num_classes), name_id("image")
    step = 0
    while True:
        yield sampler.draw(tables, 0, stream, 0, step * batch + np.arange(batch))
        step += 1


def batched(records: Any, batch: int) -> Iterator[np.ndarray]:
    iterator = iter(records)
    while chunk := list(islice(iterator, batch)):
        yield np.array(chunk)


def make_sides(labels: np.ndarray, classes: int, batch: int, batches: int) -> dict[str, Callable[[], Iterator]]:
    """name -> a function that builds the sampler and returns its batches."""
    sides: dict[str, Callable[[], Iterator]] = {
        "ltjax, class-balanced": lambda: ours(class_balanced(), labels, classes, batch),
        "ltjax, class cycle": lambda: ours(class_cycle(VISIT), labels, classes, batch),
    }
    if measure.torch_installed():
        sides["torch, WeightedRandomSampler"] = lambda: batched(weighted(labels, classes, batch * batches), batch)
    sides["class-aware, lists"] = lambda: batched(ClassAware(labels, classes, VISIT), batch)
    return sides


def check(size: int, classes: int) -> None:
    """Checks that the classes are drawn equally often, and that cycles visit all classes and repeat no image early.

    Raises:
      Disagreement: names the side.
    """
    labels, draws = long_tailed(size, classes), CHECKED * classes
    smallest = int(np.bincount(labels, minlength=classes).min())
    for name, make in make_sides(labels, classes, draws, 1).items():
        records = next(make())
        drawn = labels[records]
        apart = np.abs(np.bincount(drawn, minlength=classes) / draws * classes - 1).max()
        cycles = "class-balanced" not in name and "torch" not in name
        if apart > (1e-9 if cycles else 6 / CHECKED**0.5):
            raise measure.Disagreement(f"check: {name} draws a class {apart:.0%} more or less often than the mean")
        rounds = drawn.reshape(-1, classes, VISIT) if cycles else np.zeros((0, classes, VISIT))
        if cycles and not all(len(np.unique(visits[:, 0])) == classes for visits in rounds):
            raise measure.Disagreement(f"check: {name} revisits a class before it has visited all classes")
        early = records[drawn == classes - 1][:smallest] if cycles else np.arange(0)
        if len(np.unique(early)) < len(early):
            raise measure.Disagreement(f"check: {name} repeats an image before it has drawn all images of the class")


def measure_side(make: Callable[[], Iterator], batches: int) -> dict[str, float]:
    """Seconds to build and draw the first batch, megabytes kept, microseconds per further batch."""
    gc.collect()
    before, start = memory_of_all_processes(), time.perf_counter()
    iterator = make()
    next(iterator)
    first = time.perf_counter() - start
    held = memory_of_all_processes() - before
    start = time.perf_counter()
    for _ in range(batches - 1):
        next(iterator)
    return {
        "first_batch_s": first,
        "held_MB": held,
        "batch_us": (time.perf_counter() - start) / max(batches - 1, 1) * 1e6,
    }


def measure_size(size: int, options: argparse.Namespace) -> dict[str, Any]:
    """side -> its numbers, or why it was not measured."""
    labels, found = long_tailed(size, options.classes), dict[str, Any]()
    for name, make in make_sides(labels, options.classes, options.batch, options.batches).items():
        if name.startswith("class-aware") and size > options.largest_lists:
            found[name] = f"not run: lists of {size:,} records take about {40 * size / 1e9:.0f} GB"
            continue
        try:
            found[name] = measure_side(make, options.batches)
        except RuntimeError as error:
            found[name] = f"RuntimeError: {str(error).splitlines()[0]}"
    return found


def parse(arguments: list[str]) -> Any:
    parser = measure.Parser("sampler", __doc__, repeats=1)
    parser.add_argument("--sizes", type=measure.at_least(1000), nargs="+", default=list(SIZES), help="records")
    parser.add_argument("--classes", type=measure.at_least(2), default=1000)
    parser.add_argument("--batch", type=measure.at_least(1), default=256)
    parser.add_argument("--batches", type=measure.at_least(2), default=200, help="number of batches to draw")
    parser.add_argument(
        "--largest-lists",
        type=measure.at_least(1),
        default=LARGEST_LISTS,
        help="maximum number of records for the sampler that keeps lists",
    )
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    """Checks, measures, prints, and writes the JSON."""
    options = parse(arguments)
    environment = measure.environment()
    print(measure.describe(environment), flush=True)
    check(max(min(options.sizes), 100 * options.classes), options.classes)
    print(f"check: all sides draw the {options.classes} classes equally often; the cycles repeat no image early")
    rows, results = [["records", "first batch, s", f"batch of {options.batch}, us", "memory, MB"]], {}
    for size in options.sizes:
        results[size] = measure_size(size, options)
        for name, found in results[size].items():
            cells = [found, "", ""] if isinstance(found, str) else [
                f"{found['first_batch_s']:.3f}", f"{found['batch_us']:.0f}", f"{found['held_MB']:.0f}"
            ]  # fmt: skip
            rows.append([f"{size:,} {name}", *cells])
    print(text_output.table(rows), flush=True)
    named = {key: value for key, value in vars(options).items() if key != "json"}
    record = {"benchmark": "sampler", "environment": environment, "options": named, "results": results}
    text_output.write_json(options.json, record)
