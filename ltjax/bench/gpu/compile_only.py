"""The programs of the variants, compiled for a GPU that need not be there: does each compile, and what does it launch?

One function a measurement, of the same arguments, which lowers what that measurement runs at its full size.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from ltjax.bench import problems, scan
from ltjax.bench.gpu import programs
from ltjax.bench.gpu.programs import Record, Setting, Training
from ltjax.data import build
from ltjax.dryrun import compiled, lowering
from ltjax.dryrun.devices import Slice
from ltjax.dryrun.lowering import Lowered
from ltjax.training.execution.programs import streamed_step
from ltjax.training.open_stage import shape_of_state

Named = Iterator[tuple[str, str, Lowered]]  # name of a program, dtype, program


def compile_variant(
    setting: Setting, measurement: str, fields: Mapping[str, Any], keep: Callable[[Record], None]
) -> None:
    """Compiles all programs of a variant; ``keep`` gets the record after each of them."""
    assert setting.target is not None
    record: Record = {}
    for name, dtype, lowered in PROGRAMS[measurement](setting, **fields):
        record |= one_program(name, lowered, setting.target, dtype)
        keep(record)
    keep(record or {"compiles": "nothing"})


def one_program(name: str, lowered: Lowered, target: Slice, dtype: str) -> Record:
    """The record of a program, all its keys beginning with ``name``."""
    start = time.perf_counter()
    made = compiled.compile_program(lowered, target, dtype)
    found: Record = {"compiled_in_s": time.perf_counter() - start, "steps_per_call": lowered.steps}
    if isinstance(made, compiled.TooLarge):
        found |= {"failed": f"does not fit: {made.message}"}
    else:
        found |= {"MiB": made.memory.total / 2**20, "GFLOP_per_step": made.traced_flops / 1e9}
        if made.kernels is not None:
            found |= programs.launches_of(made.kernels) | {"kernels": dict(made.kernels.kernels)}
    return {f"{name}: {key}" if name else key: value for key, value in found.items()}


def lower_training(made: Training, setting: Setting) -> Lowered:
    """As ``scan.OnDevice`` runs it."""
    problem, seeds = made.problem, (made.seeds, "unroll")
    program = scan.program_of(problem, setting.mesh, seeds, made.unroll, **made.fields)
    traced = program.trace(*scan.arguments_of(problem, made.seeds), made.length)
    return Lowered(traced.lower(), traced.jaxpr, made.length, len(problem.labels), 0)


def of_program(setting: Setting, **ways: Any) -> Named:
    made = programs.training(setting, **ways)
    yield "", made.problem.config.dtype, lower_training(made, setting)


def of_graphs(setting: Setting) -> Named:
    small = programs.small_scan(setting)
    for name, graphs in {"with graphs": "yes", "without graphs": "no"}.items():
        # The argument's sharding says which device to compile for.
        where = jax.sharding.NamedSharding(setting.mesh, jax.sharding.PartitionSpec())
        x = jax.ShapeDtypeStruct((small.size, small.size), np.float32, sharding=where)
        traced = small.program(programs.options_of(graphs, setting.mesh)).trace(x)
        yield name, "float32", Lowered(traced.lower(), traced.jaxpr, small.steps, 1, 0)


def of_same_losses(setting: Setting) -> Named:
    for name, made in programs.same_losses(setting).items():
        with jax.default_matmul_precision("highest"):
            lowered = lower_training(made, setting)
        yield name, "float32", lowered


def of_whole_run(setting: Setting) -> Named:
    """Its training and evaluation steps; ``length`` and graphs are those of ``ltjax.main``."""
    assert setting.target is not None
    config = programs.recipe(setting, "bfloat16")
    plan = lowering.make_plan(config, build(config.data), setting.mesh, setting.target.memory)
    yield "train", config.dtype, lowering.lower_train(plan, 0)
    yield "evaluation", config.dtype, lowering.lower_evaluation(plan, 0)


def of_profile(setting: Setting) -> Named:
    yield from of_program(setting, graphs="no")


def of_torch_loop(setting: Setting) -> Named:
    options = scan.parse(programs.torch_loop_words(setting), setting.platform)
    problem = problems.chosen(options, options.dtype)
    for length in options.lengths:
        made = Training(problem, length, 1, options.unroll, {})
        yield f"{length} a call", options.dtype, lower_training(made, setting)
    check = Training(problems.chosen(options, "float32"), 1, 1, 1, {})
    yield "check", "float32", lower_training(check, setting)


def of_resnet50(setting: Setting) -> Named:
    from ltjax.bench import step

    options = step.parse(programs.resnet50_words(setting))
    for name, dtype in {"": options.dtype, "check": "float32"}.items():
        problem = problems.chosen(options, dtype)
        batch, size = len(problem.labels), problem.images.shape
        row = jax.ShapeDtypeStruct((batch,), np.int32)
        stream = {"image": jax.ShapeDtypeStruct(size, np.uint8), "label": row, "index": row}
        run: Any = streamed_step(problem.stage, problems.execution(problem, setting.mesh))
        traced = run.trace(shape_of_state(problem.data, problem.stage, {}), {}, {"image": stream})
        yield name, dtype, Lowered(traced.lower(), traced.jaxpr, 1, batch, 0)


def of_versions(setting: Setting) -> Named:
    del setting
    yield from ()


PROGRAMS: dict[str, Callable[..., Named]] = {
    "versions": of_versions,
    "graphs": of_graphs,
    "program": of_program,
    "same_losses": of_same_losses,
    "whole_run": of_whole_run,
    "profile": of_profile,
    "torch_loop": of_torch_loop,
    "resnet50": of_resnet50,
}
