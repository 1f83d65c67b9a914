"""A run's programs from shapes: the train and evaluation steps of the training loop, lowered for any mesh.

Nothing is trained, read or placed: the devices of the mesh need not exist here, and the data may be a placeholder.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.data import Data, Source
from ltjax.data.augment.registry import TRANSFORMS
from ltjax.data.augment.transform import Transforms
from ltjax.data.datasets.stand_in import with_few_images
from ltjax.data.loading.device_batches import Resident, image_bytes
from ltjax.methods.stage import AnyStage, Previous, Stage, Tree, trained
from ltjax.settings import Settings
from ltjax.training.evaluation import Evaluator
from ltjax.training.execution import mesh as meshes
from ltjax.training.execution.inputs import transforms_of
from ltjax.training.execution.placement import SHARE, decide, of_any_size
from ltjax.training.execution.programs import call_length, execution_of, resident_program, streamed_step
from ltjax.training.open_stage import shape_of_state
from ltjax.training.prepare import check_norm_group, make_stages, steps_per_epoch
from ltjax.training.step.state import TrainState
from ltjax.training.workdir.checkpoint import abstract
from ltjax.training.workdir.results import make_evaluator


class Plan(NamedTuple):
    """What a run compiles, as shapes."""

    config: Settings
    data: Data
    stages: list[AnyStage]
    mesh: Any
    shapes: list["StageShapes"]  # one a stage
    memory: int  # bytes per device
    on_device: bool  # whether the images are kept on the devices
    placement: str  # the logged line about it

    def trained(self, index: int) -> Stage:
        """Stage number ``index``, which must be a trained one."""
        stage = self.stages[index]
        assert isinstance(stage, Stage), f"stage '{stage.name}' is computed in closed form"
        return stage


class StageShapes(NamedTuple):
    """The arguments of a stage's step; several seeds have a leading axis."""

    state: TrainState
    constants: Tree
    tables: dict[str, Any]


class Lowered(NamedTuple):
    """A program before it is compiled."""

    lowered: Any  # jax.stages.Lowered
    jaxpr: Any  # what was traced
    steps: int  # training or evaluation steps of one call
    batch: int  # images of one step and stream, over all devices
    resident: int  # bytes on every device that are not part of the program


def make_plan(config: Settings, data: Data, mesh: Any, memory: int) -> Plan:
    """What a run of ``config`` on ``mesh`` would compile; ``memory`` is a device's, in bytes.

    Raises:
      InputError: for settings that a run would reject, except a batch larger than an epoch.
    """
    stages, mesh = make_stages(config, data), meshes.shared_by(mesh, config.fsdp)
    if trained(stages):
        meshes.check_batch(config.batch_size, config.batch_size, mesh, micro_batches=config.micro_batches)
        check_norm_group(config)
    on_device, placement = decide(config.data.on_device, data, memory, of_any_size(config, stages))
    # The shapes of sampler tables depend on the number of images, so all are needed if the device draws.
    drawn_there = on_device or any(stage.representation is not None for stage in trained(stages))
    small = data if drawn_there else with_few_images(data)
    shapes = stage_shapes(config, data, stages, small, make_stages(config, small) if small is not data else stages)
    return Plan(config, data, stages, mesh, shapes, memory, on_device, placement)


def stage_shapes(
    config: Settings, data: Data, stages: Sequence[AnyStage], small: Data, same: Sequence[AnyStage]
) -> list[StageShapes]:
    """Each stage's arguments. ``same`` are the stages for ``small``, data with the same classes; their init gives the
    shapes of frozen arrays."""
    found: list[StageShapes] = []
    previous: Previous | None = None
    for index, (stage, twin) in enumerate(zip(stages, same, strict=True)):
        if index == 0 and config.init_from:  # the last stage of another run with this network
            previous = Previous("", _variables(shape_of_state(data, stage, {})), {})
        network = twin.representation or same[max(index - 1, 0)].network
        frozen, extras, tables = _start(twin, previous, small, network)
        streams = stage.streams if isinstance(stage, Stage) else {}
        tables = {name: s.tables(small.train.labels, small.num_classes) for name, s in streams.items()} | tables
        state = shape_of_state(data, stage, extras)
        found.append(StageShapes(*(_for_seeds(tree, config.num_seeds) for tree in (state, frozen, tables))))
        previous = Previous(stage.name, _variables(state), extras)
    return found


def _variables(state: TrainState) -> Tree:
    return {"params": state.params, **state.model_state}


def _start(stage: AnyStage, previous: Previous | None, data: Data, usual: Any) -> tuple[Tree, Tree, dict[str, Any]]:
    """(frozen, extras, tables) of the stage's init as shapes, from zero features and, if needed, zero weights."""
    if not isinstance(stage, Stage):  # no compiled program takes them
        return {}, {}, {}

    def features(variables: Tree, records: np.ndarray, source: Source = data.train, network: Any = usual) -> np.ndarray:
        del source
        width = jax.eval_shape(
            lambda v: network.apply(v, jnp.zeros((1, *data.image_shape), jnp.uint8), train=False).features, variables
        ).shape[-1]
        return np.zeros((len(records), width), np.float32)

    def init(key: jax.Array, variables: Tree, extras: Tree) -> tuple[Tree, Tree, dict[str, Any]]:
        before = None if previous is None else Previous(previous.name, variables, extras)
        made = stage.init(key, before, features)
        return dict(made.frozen), dict(made.extras), {name: dict(table) for name, table in made.tables.items()}

    before_init = (None, None) if previous is None else (previous.variables, previous.extras)
    try:
        return jax.eval_shape(init, jax.random.key(0), *before_init)
    except Exception:  # the init may need concrete values; any other error is raised again by the next call
        zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), before_init)
        return jax.tree.map(_shape, init(jax.random.key(0), *zeros))


def _shape(x: Any) -> jax.ShapeDtypeStruct:
    dtype = x.dtype if hasattr(x, "dtype") else np.result_type(x)
    return jax.ShapeDtypeStruct(np.shape(x), jax.dtypes.canonicalize_dtype(dtype))


def _for_seeds(tree: Tree, seeds: int) -> Tree:
    leading = () if seeds == 1 else (seeds,)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((*leading, *np.shape(x)), _shape(x).dtype), tree)


class Drawn(NamedTuple):
    """The records that the streams of a stage draw, as in ``inputs.py``."""

    record: jax.ShapeDtypeStruct  # one image, or one record's features
    copies: int  # of all records: each seed has its features
    on_device: bool
    transform: Transforms
    first_seed: int | None


def drawn_by(plan: Plan, index: int) -> Drawn:
    """Images, or features for stages on a frozen representation."""
    config, stage = plan.config, plan.trained(index)
    if stage.representation is None:
        image = jax.ShapeDtypeStruct(plan.data.image_shape, jnp.uint8)
        return Drawn(image, 1, plan.on_device, transforms_of(config, stage), None)
    blank = jnp.zeros((1, *plan.data.image_shape), jnp.uint8)
    variables = _variables(shape_of_state(plan.data, stage, {}))
    made = jax.eval_shape(lambda v: stage.representation.apply(v, blank, train=False).features, variables)
    record = jax.ShapeDtypeStruct(made.shape[1:], made.dtype)
    fits = config.num_seeds * len(plan.data.train) * tree_bytes(record) <= SHARE * plan.memory
    first = config.seed if config.num_seeds > 1 else None
    return Drawn(record, config.num_seeds, fits and config.data.on_device != "no", TRANSFORMS["none"], first)


def lower_train(plan: Plan, index: int) -> Lowered:
    """The train step of a stage; with inputs on the device, the program of several steps."""
    config, stage, mesh, shapes = plan.config, plan.trained(index), plan.mesh, plan.shapes[index]
    per_epoch = max(
        steps_per_epoch(stage, config, plan.data), 1
    )  # a batch larger than an epoch is compiled for its memory only
    drawn = drawn_by(plan, index)
    execution = execution_of(config, index, per_epoch, mesh, drawn.transform, drawn.first_seed)
    resident = sum(_bytes(plan.data, source) for source in (plan.data.train, plan.data.test)) if plan.on_device else 0
    if drawn.on_device:
        length = call_length(config.steps_per_call, per_epoch, meshes.platform(mesh))
        step: Any = resident_program(stage, execution)
        records = _resident(plan.data.train, drawn.record, drawn.copies)
        traced = step.trace(*_placed(mesh, shapes.state, shapes.constants, shapes.tables, records), length)
        counted = tree_bytes(records) if stage.representation is None else 0  # images are an argument of the program
        return Lowered(traced.lower(), traced.jaxpr, length, config.batch_size, resident - counted)
    batch = {name: _batch_shapes(drawn.record, config.batch_size, "index") for name in stage.streams}
    batch = _for_seeds(batch, config.num_seeds)
    one: Any = streamed_step(stage, execution)
    if meshes.shares_state(mesh):
        batch = abstract(batch, meshes.split(mesh))
    traced = one.trace(*_placed(mesh, shapes.state, shapes.constants), batch)
    # The host transfers the next batch while the devices process this one.
    return Lowered(traced.lower(), traced.jaxpr, 1, config.batch_size, resident + tree_bytes(batch) // mesh.size)


def lower_evaluation(plan: Plan, index: int, views: bool = False) -> Lowered:
    """The evaluation step of a stage; with views it is the one after the last epoch.

    The traced program is always the one without views: views share the network's forward pass, which the compiler
    detects but a trace does not.
    """
    stage, shapes = plan.stages[index], plan.shapes[index]
    evaluator = make_evaluator(plan.config, plan.data, stage, plan.mesh, views=views)
    alone = make_evaluator(plan.config, plan.data, stage, plan.mesh)
    variables, image = _variables(shapes.state), jax.ShapeDtypeStruct(plan.data.image_shape, jnp.uint8)
    # What training keeps besides the network: the optimizer's state, a teacher, and the images.
    resident = tree_bytes(shapes.state) + tree_bytes(shapes.constants) - tree_bytes(variables)
    if meshes.shares_state(plan.mesh):  # a device keeps its pieces while it has the whole network
        resident = piece_bytes(shapes.state, plan.mesh) + tree_bytes(shapes.constants)
    if plan.on_device:
        _, at_once = evaluator.calls(len(plan.data.test))
        test = _resident(plan.data.test, image)
        resident += _bytes(plan.data, plan.data.train)

        def trace(one: Evaluator) -> Any:
            carry = (jax.tree.map(_shape, one.empty), jax.ShapeDtypeStruct((), jnp.int32))
            return one.count_resident.trace(carry, variables, test, at_once)
    else:
        at_once, batch = 1, _batch_shapes(image, evaluator.batch_size, "mask")
        resident += tree_bytes(batch) // plan.mesh.size

        def trace(one: Evaluator) -> Any:
            return one.count.trace(jax.tree.map(_shape, one.empty), variables, batch)

    return Lowered(trace(evaluator).lower(), trace(alone).jaxpr, at_once, evaluator.batch_size, resident)


def _batch_shapes(record: jax.ShapeDtypeStruct, size: int, last: str) -> dict[str, jax.ShapeDtypeStruct]:
    """A batch as in ``host_batches.py``: image, label, and the record ("index") or whether it counts ("mask")."""
    row = jax.ShapeDtypeStruct((size,), jnp.int32)
    rest = jax.ShapeDtypeStruct((size,), jnp.bool_) if last == "mask" else row
    return {"image": jax.ShapeDtypeStruct((size, *record.shape), record.dtype), "label": row, last: rest}


def _placed(mesh: Any, state: Tree, *others: Tree) -> tuple[Tree, ...]:
    """The arguments of a step, where they lie on the devices if these share the state; as they are otherwise."""
    if not meshes.shares_state(mesh):
        return (state, *others)
    return (abstract(state, meshes.of_state(state, mesh)), *(abstract(one, meshes.replicated(mesh)) for one in others))


def piece_bytes(state: Tree, mesh: Any) -> int:
    """The bytes of a state on one device."""
    pieces = jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(s.shard_shape(x.shape), x.dtype), state, meshes.of_state(state, mesh)
    )
    return tree_bytes(pieces)


def _resident(source: Source, record: jax.ShapeDtypeStruct, copies: int = 1) -> Resident:
    records = jax.ShapeDtypeStruct((copies * len(source), *record.shape), record.dtype)
    return Resident(records, jax.ShapeDtypeStruct((len(source),), jnp.int32))


def _bytes(data: Data, source: Source) -> int:
    return image_bytes(source, data.image_shape) + 4 * len(source)


def tree_bytes(tree: Tree) -> int:
    """The bytes of all arrays in a tree of shapes."""
    return sum(int(np.prod(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(tree))
