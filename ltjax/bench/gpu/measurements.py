"""What the variants of ``python -m ltjax.bench gpu`` measure, each a function that returns its JSON record."""

import importlib.metadata
import json
import pathlib
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ltjax.bench import measure, scan, seeds
from ltjax.bench.gpu import programs
from ltjax.bench.gpu.programs import Record, Setting, Training, options_of, training
from ltjax.data.loading.device_batches import read_all
from ltjax.dryrun.kernels import dump_options, read_dump
from ltjax.hardware.chips import of_kind

PACKAGES = (
    "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "torch", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13",
    "jax-cuda12-plugin", "jax-cuda13-plugin", "nvidia-cuda-runtime-cu12", "nvidia-cuda-runtime",
)  # fmt: skip
WARM_UP = 2  # calls: the first one warms up, the second one records the graph
REPEATS = 10
FLOAT32_TOLERANCE = 1e-3  # relative, for the losses of an epoch's first three steps


def versions(setting: Setting) -> Record:
    """Of software, driver and device."""
    del setting
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    asked = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit", "--format=csv"]
    try:
        driver = subprocess.run(asked, capture_output=True, text=True, timeout=20).stdout.strip()
    except OSError:
        driver = "nvidia-smi is not installed"
    device = jax.devices()[0]
    names = ", ".join(f"{name} {version}" for name, version in found.items())
    return {
        "device": device.device_kind,
        "platform": device.platform,
        "cuda": " ".join(device.client.platform_version.split()),
        "driver": driver,
        "python": platform.python_version(),
        "packages": names,
        "environment": measure.environment(),
    }


def graphs(setting: Setting) -> Record:
    """A small scanned program with and without graphs; raises Disagreement if numbers differ.

    The host's time is that until a call returns: a graph is launched at once, kernels one by one.
    """
    small = programs.small_scan(setting)
    record: Record = {}
    results = {}
    for name, graph in {"with graphs": "yes", "without graphs": "no"}.items():
        x = small.argument()
        lowered = small.program(options_of(graph, setting.mesh)).lower(x)
        program, launches = compiled(lowered, small.steps, "float32")
        results[name] = jax.device_get(program(x))
        host, whole = times_of(lambda program=program, x=x: program(x), 5)  # type: ignore[misc]
        record |= {f"{name}: host ms": host, f"{name}: ms": whole} | (launches if graph == "yes" else {})
    first, second = results.values()
    difference = max(float(np.max(np.abs(a - b))) for a, b in zip(first, second, strict=True))
    if not difference <= 1e-3 * float(np.max(np.abs(first[1]))):
        raise measure.Disagreement(f"with and without CUDA graphs the numbers differ by {difference:.2e}")
    return {"difference": difference, **record}


def compiled(lowered: Any, steps: int, dtype: str) -> tuple[Any, Record]:
    """(the compiled program, what a step of it launches by the compiler's own output).

    ``captured`` is "no GPU" elsewhere, and "unknown" where the compiler wrote no sequence of launches.
    """
    device = jax.devices()[0]
    if device.platform != "gpu":
        return lowered.compile(), {"captured": "no GPU"}
    with tempfile.TemporaryDirectory() as folder:
        made = lowered.compile(compiler_options=dump_options(folder))
        launches = read_dump(folder, made.as_text(), steps, of_kind(device.device_kind), dtype)
    return made, {"captured": "unknown"} if launches is None else programs.launches_of(launches)


def times_of(call: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Medians in ms: until the call returns, and until its results are computed."""
    host, whole = [], []
    for count in range(WARM_UP + repeats):
        start = time.perf_counter()
        made = call()
        returned = time.perf_counter()
        jax.block_until_ready(made)
        if count >= WARM_UP:
            host.append(1e3 * (returned - start))
            whole.append(1e3 * (time.perf_counter() - start))
    return statistics.median(host), statistics.median(whole)


def program(setting: Setting, **ways: Any) -> Record:
    """``training`` with these arguments, measured."""
    chosen = training(setting, **ways)
    side, length = make_side(chosen), chosen.length
    start = time.perf_counter()
    lowered = side.program.lower(side.state, {}, side.tables, side.resident, length)
    made, launches = compiled(lowered, length, chosen.problem.config.dtype)
    side.program = lambda *arguments: made(*arguments[:-1])  # the number of steps is part of the program
    first = side()
    ready = time.perf_counter() - start
    host, whole = times_of(lambda: advance(side), 2 if setting.tiny else REPEATS)
    rows = first.reshape(length, -1)[:3, 0].tolist()
    stats = jax.devices()[0].memory_stats() or {}
    return {
        "ms_per_step": whole / length,
        "host_ms_per_step": host / length,
        **launches,
        "steps_per_call": length,
        "images_per_second": chosen.seeds * len(chosen.problem.labels) * length / (1e-3 * whole),
        "first_call_s": ready,
        "peak_MiB": (stats.get("peak_bytes_in_use") or 0) / 2**20,
        "first_losses": rows,
        "compiler_options": chosen.fields["compiler_options"],
    }


def make_side(made: Training) -> scan.OnDevice:
    """The program on this device with its images; a call of the object is one of the program."""
    problem = made.problem
    images, _ = read_all(problem.data.train)
    variables = seeds.variables_of_seeds(problem, made.seeds)
    length = made.length
    return scan.OnDevice(problem, images, variables, steps=length, length=length, unroll=made.unroll, **made.fields)


def advance(side: scan.OnDevice) -> Any:
    """One call of the program; returns before the device is done."""
    side.state, metrics = side.program(side.state, {}, side.tables, side.resident, side.length)
    return side.state, metrics


def same_losses(setting: Setting) -> Record:
    """float32 with XLA's own options and as a run has it; raises Disagreement if the first losses differ."""
    ways = programs.same_losses(setting)
    length = ways["graphs"].length
    sides = {name: make_side(made) for name, made in ways.items()}
    with jax.default_matmul_precision("highest"):
        losses = {name: side() for name, side in sides.items()}
    a, b = (losses[name][:3] for name in ways)
    difference = float(np.max(np.abs(a - b) / np.abs(a)))
    if not difference <= FLOAT32_TOLERANCE:
        raise measure.Disagreement(
            f"float32 losses with XLA's default options {a.tolist()}, with graphs {b.tolist()}: relative difference "
            f"{difference:.1e}, allowed {FLOAT32_TOLERANCE:.0e}"
        )
    times = measure.interleaved(sides, 2 if setting.tiny else REPEATS, warmup=1)
    milliseconds = {f"{name}: ms_per_step": 1e3 * statistics.median(t) / length for name, t in times.items()}
    ratio = measure.median_ratio(times, "graphs", "default")
    return {**milliseconds, "graphs_are_faster_by": ratio, "loss_difference": difference, "steps": length}


def whole_run(setting: Setting) -> Record:
    """``ltjax.main`` on configs/cifar100_ce.py in bfloat16: seconds with compilation, evaluations and checkpoints."""
    from ltjax.training.loop import train

    config = programs.recipe(setting, "bfloat16")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as workdir:
        results = train(config, workdir)
    record: Record = {
        "wall_s": time.perf_counter() - start,
        "training_s": results["step"] * (results["step_ms"] or 0) / 1e3,
        "step_ms": results["step_ms"],
        "host_ms_per_step": results["host_ms_per_step"],
        "steps": results["step"],
        "epochs": results["epochs"],
    }
    if setting.data_dir:
        record["accuracy"] = results["accuracy"]["all"]
    return record


def profile(setting: Setting) -> Record:
    """The operations of an epoch without graphs (profiling disables them), by their share of the device's time."""
    made = training(setting, graphs="no")
    side = make_side(made)
    side()
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            side()
        (path,) = pathlib.Path(folder).rglob("*.xplane.pb")
        spent = by_operation(jax.profiler.ProfileData.from_file(str(path)))
    whole = sum(spent.values())
    return {
        "device_ms_per_step": whole / 1e6 / made.length,
        "operations": {name: round(ns / 1e3 / made.length, 3) for name, ns in list(spent.items())[:40]},  # us a step
    }


def by_operation(data: Any) -> dict[str, float]:
    """Nanoseconds on the device by name, the longest first."""
    spent: dict[str, float] = {}
    for plane in data.planes:
        if not plane.name.startswith("/device:GPU"):
            continue
        for line in plane.lines:
            if line.name.startswith("Stream"):
                for event in line.events:
                    spent[event.name] = spent.get(event.name, 0.0) + event.duration_ns
    return dict(sorted(spent.items(), key=lambda item: -item[1]))


def torch_loop(setting: Setting) -> Record:
    """``python -m ltjax.bench scan`` in bfloat16."""
    return of_benchmark(scan.main, programs.torch_loop_words(setting))


def resnet50(setting: Setting) -> Record:
    """``python -m ltjax.bench step`` for ResNet-50 at 224 pixels in bfloat16, beside torch.compile."""
    from ltjax.bench import step

    on_gpu = jax.devices()[0].platform == "gpu" and measure.torch_installed()
    return of_benchmark(step.main, [*programs.resnet50_words(setting), *(["--compile"] if on_gpu else [])])


def of_benchmark(run: Callable[[list[str]], None], words: list[str]) -> Record:
    """The record that a benchmark writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "record.json"
        run([*words, "--json", str(path)])
        record: Record = json.loads(path.read_text())
    medians = {f"{name}: ms": side["median_ms"] for name, side in record["sides"].items()}
    return medians | record
