"""A stage's steps as compiled programs: batches from the host, or the data on the device and many steps a call.

Both run the one step of ``step.py``, and draw the same records and make the same pixels at the same step.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from ltjax.data.augment.registry import Transform
from ltjax.data.loading.device_batches import Resident, train_batch
from ltjax.data.loading.host_batches import train_batches
from ltjax.data.loading.prefetch import Batches, Watch
from ltjax.data.sampling.sampler import Tables
from ltjax.methods.stage import Batch, Stage, Tree
from ltjax.training.execution import mesh as meshes
from ltjax.training.execution.inputs import Inputs
from ltjax.training.execution.seeds import over_seeds, seed_axis, seeds_of, split_seeds, stack_seeds
from ltjax.training.step.state import TrainState
from ltjax.training.step.step import make_train_step

Metrics = dict[str, jax.Array]  # name -> [steps] or, with several seeds, [steps, seeds]
Inspect = Callable[[TrainState, Tree, Batch], dict[str, jax.Array]]
STAGE_SALT = 0x9E3779B9  # added to the seed once a stage: every stage has another data order
LONGEST_CALL = 256  # steps of one call on an accelerator: what a signal to stop has to wait for


@dataclasses.dataclass(frozen=True)
class Program:
    """(state, count) -> (state, metrics of the next ``count`` steps); ``count`` is at most ``length``."""

    length: int
    advance: Callable[[TrainState, int], tuple[TrainState, Metrics]]
    # (function of one seed's state, constants and batch) -> (state, step) -> what it gives on the batch of that step
    inspector: Callable[[Inspect], Callable[[TrainState, int], dict[str, jax.Array]]]
    close: Callable[[], None] = lambda: None
    inspect: Callable[[TrainState, int], dict[str, jax.Array]] | None = None


def at_last(values: Mapping[str, jax.Array], count: int) -> Metrics:
    """Values of one moment as metrics of ``count`` steps: at the last of them, NaN (not there) at the others.

    Example:
      >>> at_last({"norm": jnp.float32(2)}, 3)["norm"].tolist()
      [nan, nan, 2.0]
    """
    return {
        name: jnp.full((count, *value.shape), jnp.nan, value.dtype).at[-1].set(value) for name, value in values.items()
    }


def data_seed(seed: Any, stage_index: int) -> Any:
    """The uint32 seed of a stage's data order and augmentation: the run's, and another one in every later stage."""
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
    """Steps of one call. 0 is automatic: on a CPU one, where scanned weight gradients are slow; else an even part of
    an epoch, so that one program serves all calls where the epoch divides.

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
    stage: Stage,
    *,
    stage_index: int,
    steps_per_epoch: int,
    batch_size: int,
    transform: Transform,
    mesh: Any,
    axis: tuple[int, str] = (1, "unroll"),
    unroll: int = 1,
    first_seed: int | None = None,
) -> Callable[[TrainState, Tree, Mapping[str, Tables], Resident, int], tuple[TrainState, Metrics]]:
    """(state, constants, tables, resident, count) -> (state, metrics): ``count`` steps in one jitted program.

    Everything but ``count`` is an argument of the program: tables and constants may differ from seed to seed. The state
    is donated. ``unroll`` is the scan's; ``first_seed`` as in ``Inputs``.
    """
    step = make_train_step(stage, steps_per_epoch)
    draw = resident_draw(
        stage, stage_index=stage_index, steps_per_epoch=steps_per_epoch, batch_size=batch_size, transform=transform,
        mesh=mesh, first_seed=first_seed,
    )  # fmt: skip

    def one(state: TrainState, constants: Tree, tables: Any, resident: Resident) -> tuple[TrainState, Metrics]:
        return step(state, constants, draw(state, tables, resident))

    each = over_seeds(one, axis, (0, 0, 0, None))

    def several(state: TrainState, constants: Tree, tables: Any, resident: Resident, count: int) -> Any:
        if count == 1:  # no loop around the one step
            state, metrics = each(state, constants, tables, resident)
            return state, jax.tree.map(lambda x: x[None], metrics)
        return jax.lax.scan(
            lambda state, _: each(state, constants, tables, resident), state, length=count, unroll=min(unroll, count)
        )

    everywhere = meshes.replicated(mesh)
    return jax.jit(
        several, static_argnums=4, donate_argnums=0, in_shardings=(everywhere,) * 4, out_shardings=everywhere
    )


def resident_draw(
    stage: Stage,
    *,
    stage_index: int,
    steps_per_epoch: int,
    batch_size: int,
    transform: Transform,
    mesh: Any,
    first_seed: int | None = None,
) -> Callable[[TrainState, Any, Resident], Batch]:
    """(state, tables, resident) -> the batch of the state's step, drawn on the device."""

    def draw(seed: jax.Array, number: jax.Array, row: Any, tables: Any, resident: Resident, slots: jax.Array) -> Batch:
        epoch = (number // steps_per_epoch).astype(jnp.uint32)
        offset = (number % steps_per_epoch * batch_size).astype(jnp.uint32) + slots
        return train_batch(resident, stage.streams, tables, transform, seed, epoch, offset, row)

    each_device_its_share = meshes.by_share(draw, mesh, shared=5)

    def of_state(state: TrainState, tables: Any, resident: Resident) -> Batch:
        seed, row = state.seed + jnp.uint32(data_seed(0, stage_index)), None
        if first_seed is not None:
            row = (state.seed - jnp.uint32(first_seed)).astype(jnp.int32) * len(resident.labels)
        slots = jnp.arange(batch_size, dtype=jnp.uint32)
        return each_device_its_share(seed, state.step, row, tables, resident, slots)

    return of_state


def streamed_step(
    stage: Stage, *, steps_per_epoch: int, mesh: Any, axis: tuple[int, str] = (1, "unroll")
) -> Callable[[TrainState, Tree, Batch], tuple[TrainState, Metrics]]:
    """(state, constants, batch) -> (state, metrics [1, ...]): one step on a batch that the host made."""
    each = over_seeds(make_train_step(stage, steps_per_epoch), axis, (0, 0, 0))

    def one(state: TrainState, constants: Tree, batch: Batch) -> tuple[TrainState, Metrics]:
        state, metrics = each(state, constants, batch)
        return state, jax.tree.map(lambda x: x[None], metrics)

    everywhere = meshes.replicated(mesh)
    return jax.jit(
        one,
        donate_argnums=0,
        in_shardings=(everywhere, everywhere, meshes.split(mesh, leading=axis[0] > 1)),
        out_shardings=everywhere,
    )


def resident_frame(
    config: Any, index: int, per_epoch: int, mesh: Any, transform: Transform, first_seed: int | None = None
) -> dict[str, Any]:
    """What ``resident_program`` and ``resident_draw`` take beside the stage."""
    return {
        "stage_index": index,
        "steps_per_epoch": per_epoch,
        "batch_size": config.batch_size,
        "transform": transform,
        "mesh": mesh,
        "first_seed": first_seed,
    }


def on_device(
    config: Any, stage: Stage, index: int, per_epoch: int, mesh: Any, constants: Tree, tables: Tree, inputs: Inputs
) -> Program:
    """The program of a stage whose training images, or features, lie on the device."""
    resident = inputs.resident
    assert resident is not None
    frame = resident_frame(config, index, per_epoch, mesh, inputs.transform, inputs.first_seed)
    axis = seed_axis(config, meshes.platform(mesh))
    several = resident_program(stage, axis=axis, **frame)
    placed = meshes.put_replicated(tables, mesh)
    length = call_length(config.steps_per_call, per_epoch, meshes.platform(mesh))

    def inspector(inspect: Inspect) -> Callable[[TrainState, int], dict[str, jax.Array]]:
        draw = resident_draw(stage, **frame)

        def one(state: TrainState, constants: Tree, tables: Any, resident: Resident) -> dict[str, jax.Array]:
            return inspect(state, constants, draw(state, tables, resident))

        each = jax.jit(over_seeds(one, axis, (0, 0, 0, None)))
        return lambda state, step: each(state, constants, placed, resident)

    return Program(length, lambda state, count: several(state, constants, placed, resident, count), inspector)


def from_host(
    config: Any, stage: Stage, index: int, per_epoch: int, mesh: Any, constants: Tree, tables: Tree, inputs: Inputs,
    span: tuple[int, int], watch: Watch | None = None,
) -> Program:  # fmt: skip
    """The program of a stage whose batches the host reads and makes, for the steps ``span`` = (first, last).

    A call returns before the device is done; so the next batch is read, and put on the device, while it is busy.
    """
    axis = seed_axis(config, meshes.platform(mesh))
    step = streamed_step(stage, steps_per_epoch=per_epoch, mesh=mesh, axis=axis)

    def read(start: int, stop: int, workers: int) -> list[Batches]:
        return [
            train_batches(
                source,
                stage.streams,
                own,
                seed=data_seed(seed, index),
                batch_size=config.batch_size,
                steps_per_epoch=per_epoch,
                start=start,
                stop=stop,
                transform=inputs.transform,
                shard=(jax.process_index(), jax.process_count()),
                workers=workers,
                watch=watch,
            )
            for seed, source, own in zip(seeds_of(config), inputs.sources, split_seeds(tables, axis[0]), strict=True)
        ]

    def placed(readers: list[Batches]) -> Any:
        batch = stack_seeds([next(reader) for reader in readers], "batch")
        return meshes.put_split(batch, mesh, leading=axis[0] > 1)

    readers = read(*span, workers=-(-inputs.workers // axis[0]))  # shared between the seeds

    def advance(state: TrainState, count: int) -> tuple[TrainState, Metrics]:
        assert count == 1
        return step(state, constants, placed(readers))

    def inspector(inspect: Inspect) -> Callable[[TrainState, int], dict[str, jax.Array]]:
        each = jax.jit(over_seeds(inspect, axis, (0, 0, 0)))

        def of_step(state: TrainState, number: int) -> dict[str, jax.Array]:
            own = read(number, number + 1, workers=0)
            metrics = each(state, constants, placed(own))
            for reader in own:
                reader.close()
            return metrics

        return of_step

    def close() -> None:
        for reader in readers:
            reader.close()

    return Program(1, advance, inspector, close)
