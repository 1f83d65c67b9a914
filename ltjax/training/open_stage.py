"""Opens a stage: restores its last good checkpoint, or starts it with its init."""

import dataclasses
import json
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath

from ltjax.data import Data, Source
from ltjax.data.dataset import feature_source
from ltjax.data.digests import SplitDigests
from ltjax.data.loading.device_batches import Resident
from ltjax.data.loading.prefetch import Watch, to_stderr
from ltjax.data.storage.paths import write_atomically
from ltjax.methods.stage import AnyStage, Previous, Stage, Start, Tree
from ltjax.settings import Settings
from ltjax.training import out_of_memory
from ltjax.training.evaluation import Reading, extract_features
from ltjax.training.execution import mesh as meshes
from ltjax.training.execution.inputs import Inputs, of_features, of_images
from ltjax.training.execution.placement import Placed
from ltjax.training.execution.seeds import seeds_of, split_seeds, stack_seeds
from ltjax.training.features.store import FeatureStore
from ltjax.training.interrupt import Interrupt
from ltjax.training.prepare import Setup, stage_steps
from ltjax.training.progress import Progress
from ltjax.training.step.state import TrainState, create_state, frozen_part, variables_of
from ltjax.training.workdir.checkpoint import DAMAGED, Checkpoints, Owner, abstract
from ltjax.training.workdir.json_files import read_records
from ltjax.training.workdir.lock import Lock
from ltjax.training.workdir.metrics_log import MetricsLog, Record
from ltjax.training.workdir.pretrained import with_pretrained
from ltjax.training.workdir.text_tower import texts_of


class DataAccess(NamedTuple):
    """How a run gets at images and features."""

    placed: Placed | None  # the images on the device
    watch: Watch  # over the reading of images that are not
    store: FeatureStore
    digests: dict[str, SplitDigests]  # of the images that the run began with


class Run(NamedTuple):
    """What all stages of a run share."""

    config: Settings
    workdir: epath.Path
    setup: Setup
    access: DataAccess
    log: MetricsLog
    progress: Progress
    lock: Lock
    interrupt: Interrupt
    evaluated: Callable[[], None] = lambda: None


class Current(NamedTuple):
    """An opened stage; with several seeds all arrays have a leading seed axis."""

    state: TrainState
    constants: Tree
    tables: dict[str, Any]
    pending: list[dict[str, Any]]  # metrics of the last steps, not yet logged
    elapsed: float  # seconds that earlier processes took
    passed: bool  # all its steps are done, and a later stage has begun

    @property
    def step(self) -> int:
        """Finished steps."""
        return int(np.ravel(jax.device_get(self.state.step))[0])


def open_stage(run: Run, index: int, open_previous: Callable[[], Previous | None], saved: Checkpoints) -> Current:
    """The stage's last good checkpoint; without one, what its init makes, saved as step 0.

    ``open_previous`` gives the stage before; it is called only where init has to run.
    """
    (data, stages, mesh, fingerprint), stage = run.setup, run.setup.stages[index]
    owner = owner_of(run.workdir, fingerprint)
    start, made = saved.restore_start(owner), None
    if start is None:  # a new stage, or its step 0 cannot be read: init makes the same again
        made = _init_each(run, index, open_previous())
        start = stack_seeds([_on_host(run, stage, one) for one in made], "start")
    constants = meshes.put_replicated(start["frozen"], mesh)
    extras = split_seeds(start["extras"], len(seeds_of(run.config)))[0]
    shape = shape_of_state(data, stage, extras, run.config.num_seeds)
    if stage.updates.frozen_once:
        saved.keep_apart(stage.updates, meshes.put_state(start["weights"], mesh))
    restored = saved.restore(abstract(shape, meshes.of_state(shape, mesh)), owner)
    if restored is not None:
        begun = any(_saved_steps(checkpoint_folder(run, later)) for later in stages[index + 1 :])
        # If the last checkpoint is damaged the steps after the one before are trained again, with the same result.
        passed = begun and restored.step == stage_steps(stage, run.config, data)
        if restored.step and not passed:
            _note_resume(run, stage, restored.step)
        if made is not None and stage.updates.frozen_once:  # the finished run needs step 0
            saved.set_aside({0} & set(saved.steps()), DAMAGED)
            _save_start(run, stage, saved, made, start)
        meta, state = restored.meta, restored.state
        if meta["fingerprint"] != fingerprint:  # taken over: from here on the random numbers are this config's
            seeds = np.array(seeds_of(run.config), np.uint32)
            state = state.replace(seed=meshes.put_replicated(seeds.reshape(state.seed.shape), mesh))
        return Current(state, constants, start["tables"], meta["pending"], meta["elapsed"], passed)
    made = made or _init_each(run, index, open_previous())
    state = _save_start(run, stage, saved, made, start)
    return Current(state, constants, start["tables"], [], 0.0, False)


def _save_start(run: Run, stage: AnyStage, saved: Checkpoints, made: list[Start], start: Tree) -> TrainState:
    """Saves step 0: the state before the first step, which is returned, and what init made."""
    states = [jax.device_get(create_state(stage, m, s)) for m, s in zip(made, seeds_of(run.config), strict=True)]
    state: TrainState = meshes.put_state(stack_seeds(states, "state"), run.setup.mesh)
    meta = {"fingerprint": run.setup.fingerprint, "pending": [], "elapsed": run.progress.seconds()}
    saved.save(0, state, meta, start=start)
    return state


def _init_each(run: Run, index: int, previous: Previous | None) -> list[Start]:
    """What the stage's init makes for each seed."""
    stage, seeds = run.setup.stages[index], seeds_of(run.config)
    before: list[Previous | None] = [None] * len(seeds)
    if previous is not None:
        variables, extras = (split_seeds(tree, len(seeds)) for tree in (previous.variables, previous.extras))
        before = [Previous(previous.name, v, e) for v, e in zip(variables, extras, strict=True)]
    features = _features(run, index)
    made = [stage.init(_init_key(seed, stage), one, features) for seed, one in zip(seeds, before, strict=True)]
    pretrained = run.config.model.pretrained
    if pretrained and (made[0].fresh or (index == 0 and not run.config.init_from)):
        reports = [run.progress.report, *[None] * (len(made) - 1)]  # every seed loads the same
        made = [
            start._replace(variables=with_pretrained(start.variables, pretrained, report))
            for start, report in zip(made, reports, strict=True)
        ]
    prepare = stage.prepare
    if prepare is None:
        return made
    texts = texts_of(run.config, stage.network)
    return [prepare(start, features, texts) for start in made]


def _on_host(run: Run, stage: AnyStage, made: Start) -> dict[str, Any]:
    """What step 0 keeps beside the state, as numpy arrays: the stage's constants, the samplers' tables, and the frozen
    parameters where the state has none.
    """
    data, streams = run.setup.data, stage.streams if isinstance(stage, Stage) else {}
    tables = {name: sampler.tables(data.train.labels, data.num_classes) for name, sampler in streams.items()}
    tables |= {name: dict(table) for name, table in made.tables.items()}
    start = {"frozen": dict(made.frozen), "tables": tables, "extras": dict(made.extras), "format": np.int32(1)}
    if stage.updates.frozen_once:
        start["weights"] = frozen_part(made.variables["params"], stage.updates)
    return jax.device_get(start)


def checkpoint_folder(run: Run, stage: AnyStage) -> epath.Path:
    return run.workdir / "checkpoints" / stage.name


def _saved_steps(folder: epath.Path) -> list[int]:
    return [int(p.name) for p in folder.iterdir() if p.name.isdigit()] if folder.exists() else []


def _init_key(seed: int, stage: AnyStage) -> jax.Array:
    return jax.random.fold_in(jax.random.key(seed), zlib.crc32(stage.name.encode()))


def shape_of_state(data: Data, stage: AnyStage, extras: Tree, seeds: int = 1) -> TrainState:
    """The state's shapes and dtypes; ``extras`` is one seed's."""

    def make() -> TrainState:
        images = jax.numpy.zeros((1, *data.image_shape), np.uint8)
        return create_state(stage, Start(stage.network.init(jax.random.key(0), images, train=False), extras=extras), 0)

    shape = jax.eval_shape(make)
    return shape if seeds == 1 else jax.tree.map(lambda x: jax.ShapeDtypeStruct((seeds, *x.shape), x.dtype), shape)


def _features(run: Run, index: int) -> Any:
    """The ``Features`` of a stage's init. Those of all records of a source are stored, and later runs find them."""
    data, stages, mesh, _ = run.setup
    usual = stages[index].representation or stages[max(index - 1, 0)].network

    def features(variables: Tree, records: np.ndarray, source: Source = data.train, network: Any = None) -> np.ndarray:
        records, network = np.asarray(records), network or usual
        size, shape, how = run.config.evaluation.batch_size, data.image_shape, reading(run, source)
        with out_of_memory.in_evaluation(run.config):
            if np.array_equal(records, np.arange(len(source))):
                return run.access.store.features(network, variables, source, shape, how)
            return extract_features(network, variables, source, records, size, mesh, how)

    return features


def inputs_of(run: Run, stage: Stage, current: Current) -> Inputs:
    """What the stage's streams draw from: the images, or each seed's features by the frozen representation."""
    data, store = run.setup.data, run.access.store
    if stage.representation is None:
        return of_images(run.config, data, run.access.placed, stage)
    each = split_seeds(meshes.whole(variables_of(current.state), run.setup.mesh), run.config.num_seeds)
    shape, how = data.image_shape, reading(run, data.train)
    with out_of_memory.in_evaluation(run.config):
        arrays = [store.features(stage.representation, one, data.train, shape, how) for one in each]
    inputs, why = of_features(run.config, arrays, data.train, run.setup.mesh)
    run.progress.report(why)
    return inputs


def test_of(run: Run, stage: AnyStage, variables: Tree) -> tuple[Source, Resident | None]:
    """What evaluation goes over: the test images and, if they are there, those on the device.

    With config.tuning.cached it is their features, which are stored like those of the training images.
    """
    data, placed = run.setup.data, run.access.placed
    if not run.config.tuning.cached or stage.representation is None or run.config.num_seeds > 1:
        return data.test, placed and placed.test
    how = reading(run, data.test)
    rows = run.access.store.features(stage.representation, variables, data.test, data.image_shape, how)
    return feature_source(rows, data.test), Resident(*meshes.put_replicated((rows, data.test.labels), run.setup.mesh))


def reading(run: Run, source: Source) -> Reading:
    """How the images of a source are read; only those of the training set may be skipped."""
    watch = run.access.watch
    if source is not run.setup.data.train:
        watch = dataclasses.replace(watch, on_faults=None)
    return Reading(run.config.data.workers, watch)


def resumes(folder: epath.Path, report: Callable[[str], None] = to_stderr) -> list[Record]:
    """{"stage", "step"} of each resume so far."""
    return read_records(folder / "resumes.json", ("stage", "step"), report)


def owner_of(folder: epath.Path, fingerprint: str) -> Owner:
    """The owner of this run's checkpoints: its fingerprint, and those that --resume=force took over."""
    notes = resumes(folder, lambda line: None)  # results report a damaged file
    return Owner(fingerprint, {one for note in notes for one in note.get("taken_over", ())})


def _note_resume(run: Run, stage: AnyStage, step: int) -> None:
    run.progress.report(f"resuming at step {step} of stage '{stage.name}'")
    if jax.process_index() == 0:
        notes = [*resumes(run.workdir, run.progress.report), {"stage": stage.name, "step": step}]
        write_atomically(run.workdir / "resumes.json", json.dumps(notes) + "\n")
