"""A stage's steps as compiled programs: batches from the host, or the data on the device and many steps a call.

Both run the one step of ``step.py``. At the same step they draw the same records and make the same pixels.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ltjax.data.augment.registry import TRANSFORMS
from ltjax.data.augment.transform import Transforms
from ltjax.data.loading.device_batches import Resident, train_batch
from ltjax.data.loading.host_batches import train_batches
from ltjax.data.loading.prefetch import Batches, Watch
from ltjax.data.sampling.sampler import Tables
from ltjax.methods.stage import Batch, Stage, Tree, missing
from ltjax.settings import Settings
from ltjax.training.execution import mesh as meshes
from ltjax.training.execution.compiler_options import Options, compiler_options
from ltjax.training.execution.inputs import Inputs
from ltjax.training.execution.packing import scan_packed, scan_steps
from ltjax.training.execution.seeds import (
    apart,
    check_seeds,
    join,
    of_part,
    over_seeds,
    seed_axis,
    split_seeds,
    stack_seeds,
)
from ltjax.training.step.state import TrainState
from ltjax.training.step.step import make_train_step

Metrics = dict[str, jax.Array]  # name -> [steps] or, with several seeds, [steps, seeds]
Inspect = Callable[[TrainState, Tree, Batch], dict[str, jax.Array]]
STAGE_SALT = 0x9E3779B9  # added to the seed once for each stage: every stage has another data order
PACKED = {"gpu": True}  # whether the loop over steps carries a packed state, by platform; not measured elsewhere
LONGEST_CALL = 256  # steps of one call on an accelerator: a signal to stop waits for the end of the call


@dataclasses.dataclass(frozen=True)
class Program:
    """The compiled steps of a stage, with the data where it lies.

    Attributes:
      length: the most steps of one call.
      advance: (state, count) -> (state, metrics of the next ``count`` steps).
      inspector: (a function of one seed's state, constants and batch) -> ((state, step) -> its result on that step's
        batch).
      close: ends the processes and threads that read.
      inspect: what an inspector made; None where nothing is inspected.
    """

    length: int
    advance: Callable[[TrainState, int], tuple[TrainState, Metrics]]
    inspector: Callable[[Inspect], Callable[[TrainState, int], dict[str, jax.Array]]]
    close: Callable[[], None] = lambda: None
    inspect: Callable[[TrainState, int], dict[str, jax.Array]] | None = None


@dataclasses.dataclass(frozen=True)
class Execution:
    """How a run executes the steps of a stage: all that its programs depend on beside the stage and the data.

    Attributes:
      steps_per_epoch, batch_size: of the whole run, over all devices.
      mesh: the devices.
      stage_index: the stage's position in the method; every stage has another data order.
      transform: the augmentation of batches that are made on the device, or one for each stream.
      first_seed: as in ``Inputs``.
      seeds: (number of seeds, "vmap" or "unroll"), as in ``over_seeds``.
      micro_batches: parts of a batch that a step takes one after the other.
      compiler_options: of the compiler, for all programs of training.
      packed: whether the loop over steps carries the state as ``packing.py`` stacks it; the state of a call does not
        change.
    """

    steps_per_epoch: int
    batch_size: int
    mesh: Any
    stage_index: int = 0
    transform: Transforms = TRANSFORMS["none"]
    first_seed: int | None = None
    seeds: tuple[int, str] = (1, "unroll")
    micro_batches: int = 1
    compiler_options: Options = dataclasses.field(default_factory=dict)
    packed: bool = False


def execution_of(
    config: Settings, index: int, per_epoch: int, mesh: Any, transform: Transforms, first_seed: int | None = None
) -> Execution:
    """How a run of this config executes its stage number ``index``.

    Raises:
      InputError: as ``check_seeds``.
    """
    platform = meshes.platform(mesh)
    check_seeds(config, platform)
    return Execution(
        per_epoch,
        config.batch_size,
        mesh,
        index,
        transform,
        first_seed,
        seed_axis(config, platform),
        config.micro_batches,
        compiler_options(mesh, config.cuda_graphs, spare_memory=config.model.remat),
        PACKED.get(platform, False) and not meshes.shares_state(mesh),
    )


def at_last(values: Mapping[str, jax.Array], count: int) -> Metrics:
    """Values of one step as metrics of ``count`` steps: at the last of them, ``missing`` at the others.

    Example:
      >>> at_last({"norm": jnp.float32(2)}, 3)["norm"][-1:].tolist()
      [2.0]
    """
    return {
        name: jnp.full((count, *value.shape), missing(value.dtype)).at[-1].set(value) for name, value in values.items()
    }


def data_seed(seed: Any, stage_index: int) -> Any:
    """The uint32 seed of a stage's data order and augmentation: the run's for the first stage, then others."""
    return (seed + STAGE_SALT * stage_index) % 2**32


def calls(first: int, steps: int, per_epoch: int, length: int) -> Iterator[tuple[int, int]]:
    """The calls (begin, end) from step ``first`` to ``steps``: at most ``length`` steps, never beyond an epoch's end.

    They end where they would end had the stage begun at step 0, so that a resumed run has the same calls.

    Example:
      >>> list(calls(3, 20, per_epoch=10, length=4))
      [(3, 4), (4, 8), (8, 10), (10, 14), (14, 18), (18, 20)]
    """
    begin = first
    while begin < steps:
        within = begin % per_epoch
        end = min(begin - within + min((within // length + 1) * length, per_epoch), steps)
        yield begin, end
        begin = end


def call_length(setting: int, per_epoch: int, backend: str) -> int:
    """Steps of one call. 0 is automatic: 1 on a CPU, where scanned weight gradients are slow; else the epoch divided
    into calls of (almost) equal length, so that one program serves them all.

    Example:
      >>> call_length(0, 84, "gpu"), call_length(0, 84, "cpu"), call_length(0, 900, "gpu"), call_length(0, 331, "gpu")
      (84, 1, 225, 166)
    """
    if setting:
        return min(setting, per_epoch)
    if backend == "cpu":
        return 1
    return -(-per_epoch // -(-per_epoch // LONGEST_CALL))


def resident_program(
    stage: Stage, execution: Execution, unroll: int = 1
) -> Callable[[TrainState, Tree, Mapping[str, Tables], Resident, int], tuple[TrainState, Metrics]]:
    """(state, constants, tables, resident, count) -> (state, metrics): ``count`` steps in one jitted program.

    Everything but ``count`` is an argument of the program: tables and constants may differ from seed to seed. The state
    is donated. ``unroll`` is the scan's.
    """
    step = meshes.within(make_train_step(stage, execution.steps_per_epoch, execution.micro_batches), execution.mesh)
    draw = resident_draw(stage, execution)

    def one(state: TrainState, constants: Tree, tables: Any, resident: Resident) -> tuple[TrainState, Metrics]:
        return step(state, constants, draw(state, tables, resident))

    axis = execution.seeds
    each_part = of_part(one, axis, (0, 0, 0, None))

    def several(state: TrainState, constants: Tree, tables: Any, resident: Resident, count: int) -> Any:
        states = apart(state, axis)  # once a call, not in every step
        fixed = list(zip(apart(constants, axis), apart(tables, axis), strict=True))

        def each(states: list[TrainState]) -> tuple[list[TrainState], list[Metrics]]:
            made = [each_part(state, *others, resident) for state, others in zip(states, fixed, strict=True)]
            return [state for state, _ in made], [metrics for _, metrics in made]

        if count == 1:  # no loop around the one step
            states, metrics = each(states)
            return join(states, axis), jax.tree.map(lambda x: x[None], join(metrics, axis))
        scan = scan_packed if execution.packed else scan_steps
        states, history = scan(each, states, count, min(unroll, count))
        return join(states, axis), join(history, axis, position=1)

    everywhere = meshes.replicated(execution.mesh)
    return jax.jit(
        several,
        static_argnums=4,
        donate_argnums=0,
        **_layout(execution.mesh, in_shardings=(everywhere,) * 4, out_shardings=everywhere),
        compiler_options=execution.compiler_options,
    )


def _layout(mesh: Any, **layout: Any) -> dict[str, Any]:
    """How a program's arguments and results lie on the devices; {} where they lie as they came (config.fsdp)."""
    return {} if meshes.shares_state(mesh) else layout


def resident_draw(stage: Stage, execution: Execution) -> Callable[[TrainState, Any, Resident], Batch]:
    """(state, tables, resident) -> the batch of the state's step, drawn on the device."""
    steps_per_epoch, batch_size, first_seed = execution.steps_per_epoch, execution.batch_size, execution.first_seed

    def draw(seed: jax.Array, number: jax.Array, row: Any, tables: Any, resident: Resident, slots: jax.Array) -> Batch:
        epoch = (number // steps_per_epoch).astype(jnp.uint32)
        offset = (number % steps_per_epoch * batch_size).astype(jnp.uint32) + slots
        return train_batch(resident, stage.streams, tables, execution.transform, seed, epoch, offset, row)

    each_device_its_share = meshes.by_share(draw, execution.mesh, shared=5)

    def of_state(state: TrainState, tables: Any, resident: Resident) -> Batch:
        seed, row = state.seed + jnp.uint32(data_seed(0, execution.stage_index)), None
        if first_seed is not None:
            row = (state.seed - jnp.uint32(first_seed)).astype(jnp.int32) * len(resident.labels)
        slots = jnp.arange(batch_size, dtype=jnp.uint32)
        return each_device_its_share(seed, state.step, row, tables, resident, slots)

    return of_state


def streamed_step(
    stage: Stage, execution: Execution
) -> Callable[[TrainState, Tree, Batch], tuple[TrainState, Metrics]]:
    """(state, constants, batch) -> (state, metrics [1, ...]): one step on a batch that the host made."""
    step = meshes.within(make_train_step(stage, execution.steps_per_epoch, execution.micro_batches), execution.mesh)
    each = over_seeds(step, execution.seeds, (0, 0, 0))

    def one(state: TrainState, constants: Tree, batch: Batch) -> tuple[TrainState, Metrics]:
        state, metrics = each(state, constants, batch)
        return state, jax.tree.map(lambda x: x[None], metrics)

    everywhere = meshes.replicated(execution.mesh)
    return jax.jit(
        one,
        donate_argnums=0,
        **_layout(
            execution.mesh,
            in_shardings=(everywhere, everywhere, meshes.split(execution.mesh, leading=execution.seeds[0] > 1)),
            out_shardings=everywhere,
        ),
        compiler_options=execution.compiler_options,
    )


def on_device(
    stage: Stage, execution: Execution, constants: Tree, tables: Tree, resident: Resident, steps_per_call: int
) -> Program:
    """The program of a stage whose training images, or features, lie on the device."""
    several = resident_program(stage, execution)
    placed = meshes.put_replicated(tables, execution.mesh)
    length = call_length(steps_per_call, execution.steps_per_epoch, meshes.platform(execution.mesh))

    def inspector(inspect: Inspect) -> Callable[[TrainState, int], dict[str, jax.Array]]:
        draw = resident_draw(stage, execution)

        def one(state: TrainState, constants: Tree, tables: Any, resident: Resident) -> dict[str, jax.Array]:
            return inspect(state, constants, draw(state, tables, resident))

        each = jax.jit(over_seeds(one, execution.seeds, (0, 0, 0, None)), compiler_options=execution.compiler_options)
        return lambda state, step: each(state, constants, placed, resident)

    return Program(length, lambda state, count: several(state, constants, placed, resident, count), inspector)


class HostBatches(NamedTuple):
    """What the host makes batches from, and for which steps.

    Attributes:
      inputs: the sources, one for each seed, and their augmentation.
      seeds: seed, seed + 1, ...
      first, last: the steps to make batches for, ``last`` excluded.
      watch: over the reading of images.
    """

    inputs: Inputs
    seeds: Sequence[int]
    first: int
    last: int
    watch: Watch | None = None


def from_host(stage: Stage, execution: Execution, constants: Tree, tables: Tree, made: HostBatches) -> Program:
    """The program of a stage whose batches the host reads and makes.

    A call returns before the device is done; so the next batch is read, and put on the device, while it is busy.
    """
    step, mesh, seeds = streamed_step(stage, execution), execution.mesh, execution.seeds[0]

    def read(start: int, stop: int, workers: int) -> list[Batches]:
        return [
            train_batches(
                source,
                stage.streams,
                tables_of_seed,
                seed=data_seed(seed, execution.stage_index),
                batch_size=execution.batch_size,
                steps_per_epoch=execution.steps_per_epoch,
                start=start,
                stop=stop,
                transform=made.inputs.transform,
                shard=(jax.process_index(), jax.process_count()),
                workers=workers,
                watch=made.watch,
            )
            for seed, source, tables_of_seed in zip(
                made.seeds, made.inputs.sources, split_seeds(tables, seeds), strict=True
            )
        ]

    def placed(readers: list[Batches]) -> Any:
        batch = stack_seeds([next(reader) for reader in readers], "batch")
        return meshes.put_split(batch, mesh, leading=seeds > 1)

    readers = read(made.first, made.last, workers=-(-made.inputs.workers // seeds))  # shared between the seeds

    def advance(state: TrainState, count: int) -> tuple[TrainState, Metrics]:
        assert count == 1
        return step(state, constants, placed(readers))

    def inspector(inspect: Inspect) -> Callable[[TrainState, int], dict[str, jax.Array]]:
        each = jax.jit(over_seeds(inspect, execution.seeds, (0, 0, 0)), compiler_options=execution.compiler_options)

        def of_step(state: TrainState, number: int) -> dict[str, jax.Array]:
            again = read(number, number + 1, workers=0)
            metrics = each(state, constants, placed(again))
            for reader in again:
                reader.close()
            return metrics

        return of_step

    def close() -> None:
        for reader in readers:
            reader.close()

    return Program(1, advance, inspector, close)
