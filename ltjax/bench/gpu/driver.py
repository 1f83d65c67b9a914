"""All that a GPU is borrowed for, in one command: each variant in a process of its own, with a time limit.

    python -m ltjax.bench gpu --seconds 400 --json gpu.json
    python -m ltjax.bench gpu --part 2 --seconds 400 --json gpu-2.json

The first part checks CUDA graphs and measures the program of training by variants and one whole run; the second
measures several seeds, a profile, and PyTorch. The most valuable come first. The JSON file is complete after each
variant, so that a command cut short leaves what it had. A variant that fails is one line, and the next one starts.

jax, flax, optax and numpy are enough; the whole run also needs orbax-checkpoint, the comparisons PyTorch. Without
--data-dir the images are random: times hold, accuracies mean nothing and are left out.

    python -m ltjax.bench gpu --compile-only --json compiled.json

compiles all of it for an H200 that is not there (pip install 'ltjax[gpu-compiler]'), before one is borrowed: what does
not compile shows, and what each program launches.
"""

import argparse
import contextlib
import dataclasses
import importlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ltjax.bench import measure
from ltjax.bench.gpu.table import VARIANTS, Variant
from ltjax.commands import cli, text_output
from ltjax.data import build
from ltjax.data.storage.paths import write_atomically
from ltjax.dryrun import devices
from ltjax.errors import InputError, choose
from ltjax.training.execution import cpu_flags

LEAST = 5.0  # seconds that must be left for a variant to begin
COMPILING = 900.0  # seconds that the programs of a variant may take to compile
Record = dict[str, Any]


def main(arguments: list[str]) -> None:
    """Runs the variants that the options choose; in the process of a variant, that one."""
    parser = cli.Parser("bench gpu", "ltjax.bench gpu", __doc__)
    parser.add_argument("--part", type=int, choices=(1, 2), help="which variants, unless they are named; default: 1")
    parser.add_argument("--variants", nargs="+", metavar="NAME", help=f"of {', '.join(VARIANTS)}")
    parser.add_argument("--seconds", type=measure.at_least(1), help="for all of them; then none begins; default: 400")
    parser.add_argument("--json", metavar="FILE", type=text_output.writable, help="complete after each variant")
    parser.add_argument("--data-dir", metavar="DIR", help="with the files of CIFAR-100; without it images are random")
    parser.add_argument("--tiny", action="store_true", help="toy sizes, to try the command itself")
    parser.add_argument(
        "--compile-only", nargs="?", const="h200:1", metavar="TOPOLOGY",
        help="run nothing: compile both parts for a GPU, which need not be there; default: h200:1",
    )  # fmt: skip
    parser.add_argument("--run", metavar="NAME", help=argparse.SUPPRESS)  # what the process of a variant gets
    parser.add_argument("--to", metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.run:
        run_variant(options)
        return
    topology = options.compile_only
    check(options)
    parts = (options.part,) if options.part else (1, 2) if topology else (1,)
    names = options.variants or [name for name, one in VARIANTS.items() if one.part in parts]
    chosen = {name: choose(VARIANTS, name, "--variants") for name in names}
    seconds = options.seconds or (COMPILING * len(chosen) if topology else 400)
    if topology or options.tiny:  # on a machine that is slow, or busy
        limit = COMPILING if topology else seconds
        chosen = {name: dataclasses.replace(one, seconds=limit) for name, one in chosen.items()}
    if options.data_dir is None and not topology:
        print("NO --data-dir: THE IMAGES ARE RANDOM; times hold, no accuracy is claimed", flush=True)
    shared = [*(["--tiny"] if options.tiny else []), *(["--data-dir", options.data_dir] if options.data_dir else [])]
    shared += ["--compile-only", topology] if topology else []
    about = {"benchmark": "gpu", "random_images": options.data_dir is None, "tiny": options.tiny}
    about |= {"compiled_for": topology} if topology else {}

    def command(name: str, to: pathlib.Path) -> list[str]:
        return [sys.executable, "-m", "ltjax.bench", "gpu", "--run", name, "--to", str(to), *shared]

    run_all(chosen, command, seconds, options.json, about)


def check(options: argparse.Namespace) -> None:
    """Raises InputError if there are no such data, or no such compiler, before each variant finds out by itself."""
    if options.data_dir:
        programs: Any = importlib.import_module("ltjax.bench.gpu.programs")
        build(programs.recipe(programs.Setting(options.data_dir, options.tiny), "float32").data)
    if options.compile_only:
        environment = dict(os.environ)
        try:
            devices.prepare(options.compile_only)
        except InputError as error:
            raise InputError(str(error).replace("--topology", "--compile-only", 1)) from None
        os.environ.clear()
        os.environ.update(environment)


def run_variant(options: argparse.Namespace) -> None:
    """Measures, or compiles, one variant in this process and writes its record."""
    variant = choose(VARIANTS, options.run, "--run")

    def keep(record: Record) -> None:
        write_atomically(options.to, json.dumps(record))

    if options.compile_only:
        devices.prepare(options.compile_only)
        compile_only: Any = importlib.import_module("ltjax.bench.gpu.compile_only")  # it imports jax
        setting = compile_only.Setting(options.data_dir, options.tiny, devices.open_slice(options.compile_only))
        compile_only.compile_variant(setting, variant.measurement, variant.fields, keep)
        return
    cpu_flags.prepare_cpu()
    measurements: Any = importlib.import_module("ltjax.bench.gpu.measurements")
    setting = measurements.Setting(options.data_dir, options.tiny)
    keep(getattr(measurements, variant.measurement)(setting, **variant.fields))


def run_all(
    variants: Mapping[str, Variant],
    command: Callable[[str, pathlib.Path], list[str]],
    seconds: float,
    path: pathlib.Path | None,
    about: Record,
) -> Record:
    """Runs the variants in order until the time is over; returns what is in the JSON file.

    Args:
      variants: name -> variant.
      command: (name, the file that it writes its record to) -> the command of its process.
      seconds: in all. A variant gets no more than what is left, and none begins with less than ``LEAST``.
      path: of the JSON file, written after each variant; None: none.
      about: what else is in it.
    """
    began, results = time.monotonic(), {name: {"skipped": "not reached"} for name in variants}
    record = {**about, "seconds": seconds, "variants": results}
    keep(path, record)
    with tempfile.TemporaryDirectory() as folder, ended_by_signals():
        for name, variant in variants.items():
            left = seconds - (time.monotonic() - began)
            if left < LEAST:
                results[name] = {"skipped": f"the {seconds:g} s of --seconds are over"}
            else:
                to = pathlib.Path(folder) / f"{name}.json"
                results[name] = run_one(command(name, to), to, min(variant.seconds, left), folder)
            print(f"{name:<16} {in_words(results[name])} ({variant.about})", flush=True)
            keep(path, record)
    return record


def run_one(command: list[str], to: pathlib.Path, seconds: float, folder: str) -> Record:
    """The record of one process; {"failed": one line} if it fails or takes longer. ``seconds`` it took in any case."""
    start = time.monotonic()
    # Autotuned kernels are shared, so that variants differ in nothing else; compiled programs are not.
    cache = {"JAX_COMPILATION_CACHE_DIR": f"{folder}/cache", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "1e9"}
    log = pathlib.Path(folder) / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=cache | dict(os.environ), start_new_session=True
        )
        try:
            status = process.wait(seconds)
            why = "" if status == 0 else f"exit status {status}: {last_line(log)}"
        except subprocess.TimeoutExpired:
            why = f"stopped after its {seconds:.0f} s; last line: {last_line(log)}"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    try:
        record = json.loads(to.read_text())
    except (OSError, ValueError):
        record = {}
        why = why or "wrote no record"
    return record | ({"failed": why} if why else {}) | {"seconds": round(time.monotonic() - start, 1)}


def last_line(log: pathlib.Path) -> str:
    """The last line of a process's output that says something."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Disagreement|Interrupt)\b|python -m", line)]
    return (errors or lines or ["no output"])[-1][:300]


def in_words(record: Mapping[str, Any]) -> str:
    """The numbers of a record in one line."""
    shown = {key: value for key, value in record.items() if isinstance(value, str | int | float)}
    words = (f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in shown.items())
    return ", ".join(words)


def keep(path: pathlib.Path | None, record: Record) -> None:
    """Replaces the JSON file as a whole."""
    if path is not None:
        write_atomically(path, json.dumps(record, indent=1) + "\n")


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM ends the running variant as Ctrl-C does, instead of leaving it on the GPU."""

    def stop(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
