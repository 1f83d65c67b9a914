"""What the variants of ``python -m ltjax.bench gpu`` measure, each a function that returns its JSON record."""

import importlib.metadata
import json
import pathlib
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.bench import measure, problems, scan, seeds
from ltjax.bench.gpu.random_images import FILE
from ltjax.data import build
from ltjax.data.loading.device_batches import read_all
from ltjax.methods.configure import resolve
from ltjax.models import norm as norms
from ltjax.settings import Settings
from ltjax.settings.command_line import load
from ltjax.training.execution.compiler_options import COMMANDS, IN_GRAPHS, LOOPS, Options, compiler_options

Record = dict[str, Any]
PACKAGES = (
    "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "torch", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13",
    "jax-cuda12-plugin", "jax-cuda13-plugin", "nvidia-cuda-runtime-cu12", "nvidia-cuda-runtime",
)  # fmt: skip
WARM_UP = 2  # calls: the first one warms up, the second one records the graph
REPEATS = 10
FLOAT32_TOLERANCE = 1e-3  # relative, for the losses of an epoch's first three steps
MODE = "xla_gpu_command_buffer_scheduling_mode"


class Setting(NamedTuple):
    """Where the images are (None: they are random), and whether sizes are a toy's."""

    data_dir: str | None
    tiny: bool


def recipe(setting: Setting, dtype: str) -> Settings:
    """configs/cifar100_ce.py in this dtype and on these images."""
    config = load("configs/cifar100_ce.py")
    config.dtype = dtype
    if setting.tiny:
        config.epochs, config.batch_size, config.model.backbone = 1, 8, "resnet8"
        config.optimizer.schedule.update(warmup_epochs=0, milestones=())
        config.evaluation.update(index_boundaries=(1, 2))
    if setting.data_dir and not setting.tiny:
        config.data.dir = setting.data_dir
    else:
        config.data.name = f"{FILE}:{'tiny' if setting.tiny else 'cifar100'}"
    return resolve(config)


def make_problem(setting: Setting, dtype: str) -> tuple[problems.Problem, np.ndarray, int]:
    """(the stage, all images uint8 [N, H, W, 3], steps of a call: an epoch's)."""
    config = recipe(setting, dtype)
    problem = problems.problem_of(config, build(config.data))
    images, _ = read_all(problem.data.train)
    return problem, images, problems.steps_per_epoch(problem)


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


def options_of(graphs: str) -> Options:
    """The compiler's options: "yes", "no", XLA's "default", or all but one kind of command."""
    mesh = problems.one_device()
    given = compiler_options(mesh, "no" if graphs == "no" else "auto")
    if graphs == "default":
        return {}
    left_out = {"no loop": LOOPS, "no convolutions": "CONVOLUTION"}.get(graphs)
    if given and left_out:
        given[COMMANDS] = ",".join(command for command in (*IN_GRAPHS, LOOPS) if command != left_out)
    return given


def graphs(setting: Setting) -> Record:
    """A small scanned program with and without graphs; raises Disagreement if numbers differ.

    The host's time is that until a call returns: a graph is launched at once, kernels one by one.
    """
    steps, size = (4, 8) if setting.tiny else (200, 256)
    weights = jnp.eye(size) + 0.01

    def run(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        def body(x: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
            y = jnp.tanh(x @ weights)
            return y - y.mean(0), jnp.square(y).sum()

        return jax.lax.scan(body, x, length=steps)

    record: Record = {}
    results = {}
    for name, graph in {"with graphs": "yes", "without graphs": "no"}.items():
        program = jax.jit(run, compiler_options=options_of(graph))
        x = jnp.linspace(-1, 1, size * size).reshape(size, size)
        results[name] = jax.device_get(program(x))
        host, whole = times_of(lambda program=program, x=x: program(x), 5)  # type: ignore[misc]
        record |= {f"{name}: host ms": host, f"{name}: ms": whole}
    first, second = results.values()
    difference = max(float(np.max(np.abs(a - b))) for a, b in zip(first, second, strict=True))
    if not difference <= 1e-3 * float(np.max(np.abs(first[1]))):
        raise measure.Disagreement(f"with and without CUDA graphs the numbers differ by {difference:.2e}")
    captured = record["with graphs: host ms"] < 0.5 * record["without graphs: host ms"]
    on_gpu = bool(options_of("yes"))
    return {"captured": str(captured).lower() if on_gpu else "no GPU", "difference": difference, **record}


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


def _unfused(x: Any, scale: Any, bias: Any, axes: Any, epsilon: float, dtype: Any) -> Any:
    return NORMALIZED(x, scale, bias, axes, epsilon, dtype, False)


NORMALIZED = norms.normalized


def program(
    setting: Setting,
    *,
    dtype: str = "bfloat16",
    graphs: str = "yes",
    norm: str = "fused",
    packed: bool | None = None,
    options: Mapping[str, str] | None = None,
    unroll: int = 1,
    length: int | None = None,
    seeds: int = 1,
) -> Record:
    """An epoch of training in a call, or ``length`` steps of it; graphs as in ``options_of``."""
    problem, images, per_epoch = make_problem(setting, dtype)
    length = min(length or per_epoch, per_epoch)
    fields: Record = {"compiler_options": options_of(graphs)}
    if options and fields["compiler_options"]:
        fields["compiler_options"][MODE] = options["mode"]
    if packed is not None:
        fields["packed"] = packed
    with mock.patch.object(norms, "normalized", _unfused if norm == "unfused" else NORMALIZED):
        side = make_side(problem, images, length, unroll, seeds, fields)
        start = time.perf_counter()
        first = side()
        compiled = time.perf_counter() - start
    host, whole = times_of(lambda: advance(side), 2 if setting.tiny else REPEATS)
    rows = first.reshape(length, -1)[:3, 0].tolist()
    stats = jax.devices()[0].memory_stats() or {}
    return {
        "ms_per_step": whole / length,
        "host_ms_per_step": host / length,
        "steps_per_call": length,
        "images_per_second": seeds * len(problem.labels) * length / (1e-3 * whole),
        "first_call_s": compiled,
        "peak_MiB": (stats.get("peak_bytes_in_use") or 0) / 2**20,
        "first_losses": rows,
        "compiler_options": fields["compiler_options"],
    }


def make_side(
    problem: problems.Problem, images: np.ndarray, length: int, unroll: int, number: int, fields: Record
) -> scan.OnDevice:
    """``length`` steps a call of this number of seeds; a call of the object makes as many."""
    variables = seeds.variables_of_seeds(problem, number)
    return scan.OnDevice(problem, images, variables, steps=length, length=length, unroll=unroll, **fields)


def advance(side: scan.OnDevice) -> Any:
    """One call of the program; returns before the device is done."""
    side.state, metrics = side.program(side.state, {}, side.tables, side.resident, side.length)
    return side.state, metrics


def same_losses(setting: Setting) -> Record:
    """float32 with XLA's own options and as a run has it; raises Disagreement if the first losses differ."""
    problem, images, length = make_problem(setting, "float32")
    ways: dict[str, Record] = {
        "default": {"compiler_options": {}, "packed": False},
        "graphs": {"compiler_options": options_of("yes"), "packed": True},
    }
    sides = {name: make_side(problem, images, length, 1, 1, fields) for name, fields in ways.items()}
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

    config = recipe(setting, "bfloat16")
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
    if setting.data_dir and not setting.tiny:
        record["accuracy"] = results["accuracy"]["all"]
    return record


def profile(setting: Setting) -> Record:
    """The operations of an epoch without graphs (profiling disables them), by their share of the device's time."""
    problem, images, length = make_problem(setting, "bfloat16")
    side = make_side(problem, images, length, 1, 1, {"compiler_options": options_of("no")})
    side()
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            side()
        (path,) = pathlib.Path(folder).rglob("*.xplane.pb")
        spent = by_operation(jax.profiler.ProfileData.from_file(str(path)))
    whole = sum(spent.values())
    return {
        "device_ms_per_step": whole / 1e6 / length,
        "operations": {name: round(ns / 1e3 / length, 3) for name, ns in list(spent.items())[:40]},  # us a step
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
    words = "--network resnet8 --batch 8 --size 8 --repeats 1 --steps 2" if setting.tiny else "--dtype bfloat16"
    return of_benchmark(scan.main, words)


def resnet50(setting: Setting) -> Record:
    """``python -m ltjax.bench step`` for ResNet-50 at 224 pixels in bfloat16, beside torch.compile."""
    from ltjax.bench import step

    full = "--network resnet50 --classes 1000 --batch 256 --dtype bfloat16 --cost"
    words = "--network resnet8 --batch 8 --size 8 --repeats 1 --classes 10" if setting.tiny else full
    on_gpu = jax.devices()[0].platform == "gpu" and measure.torch_installed()
    return of_benchmark(step.main, words + (" --compile" if on_gpu else ""))


def of_benchmark(run: Callable[[list[str]], None], words: str) -> Record:
    """The record that a benchmark writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "record.json"
        run([*words.split(), "--json", str(path)])
        record: Record = json.loads(path.read_text())
    medians = {f"{name}: ms": side["median_ms"] for name, side in record["sides"].items()}
    return medians | record
