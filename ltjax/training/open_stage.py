"""A stage as it stands when a process comes to it: taken from its last good checkpoint, or made by its init."""

import dataclasses
import json
import time
import zlib
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath

from ltjax.data import Data, Source
from ltjax.data.loading.prefetch import Watch
from ltjax.methods.stage import Previous, Stage, Start, Tree
from ltjax.training.evaluation import Reading, extract_features
from ltjax.training.execution import mesh as meshes
from ltjax.training.execution.inputs import Inputs, of_features, of_images
from ltjax.training.execution.placement import Placed
from ltjax.training.execution.seeds import seeds_of, split_seeds, stack_seeds
from ltjax.training.features.store import FeatureStore
from ltjax.training.interrupt import Interrupt
from ltjax.training.progress import Progress
from ltjax.training.step.state import TrainState, create_state, variables_of
from ltjax.training.workdir.checkpoint import Checkpoints, abstract
from ltjax.training.workdir.metrics_log import MetricsLog, Record, write_atomically
from ltjax.training.workdir.pretrained import with_pretrained


class Run(NamedTuple):
    """What all stages of a run share."""

    config: Any
    data: Data
    stages: list[Stage]
    workdir: epath.Path
    mesh: Any
    fingerprint: str
    log: MetricsLog
    progress: Progress
    interrupt: Interrupt
    began: float  # time.monotonic() at the start of this process
    placed: Placed | None  # the images on the device
    watch: Watch  # over the reading of the others
    store: FeatureStore
    source: Previous | None = None  # the end of the run config.init_from, until the first stage has it


class Current(NamedTuple):
    """A stage as it stands; with several seeds all arrays have a leading seed axis."""

    state: TrainState
    constants: Tree
    tables: dict[str, Any]
    pending: list[dict[str, Any]]  # metrics of the last steps, not yet logged
    elapsed: float  # seconds that earlier processes spent
    passed: bool  # a later stage has begun

    @property
    def step(self) -> int:
        """Finished steps."""
        return int(np.ravel(jax.device_get(self.state.step))[0])


def open_stage(run: Run, index: int, previous: Previous | None, saved: Checkpoints) -> Current:
    """The stage's last good checkpoint; without one, what its init makes, saved as step 0."""
    stage = run.stages[index]
    start, made = saved.restore_start(), None
    if start is None:  # a new stage, or its step 0 cannot be read: init makes the same again
        made = _init_each(run, index, previous)
        start = stack_seeds([_on_host(run, stage, one) for one in made], "start")
    constants = meshes.put_replicated(start["frozen"], run.mesh)
    extras = split_seeds(start["extras"], len(seeds_of(run.config)))[0]
    shape = shape_of_state(run.data, stage, extras, run.config.num_seeds)
    restored = saved.restore(abstract(shape, meshes.replicated(run.mesh)), run.fingerprint)
    if restored is not None:
        passed = any(_saved_steps(checkpoint_folder(run, later)) for later in run.stages[index + 1 :])
        if restored.step and not passed:
            _note_resume(run, stage, restored.step)
        meta = restored.meta
        return Current(restored.state, constants, start["tables"], meta["pending"], meta["elapsed"], passed)
    made = made or _init_each(run, index, previous)
    states = [jax.device_get(create_state(stage, m, s)) for m, s in zip(made, seeds_of(run.config), strict=True)]
    state = meshes.put_replicated(stack_seeds(states, "state"), run.mesh)
    seconds = time.monotonic() - run.began
    saved.save(0, state, {"fingerprint": run.fingerprint, "pending": [], "elapsed": seconds}, start=start)
    return Current(state, constants, start["tables"], [], 0.0, False)


def _init_each(run: Run, index: int, previous: Previous | None) -> list[Start]:
    """What the stage's init makes of each seed."""
    stage, seeds = run.stages[index], seeds_of(run.config)
    before: list[Previous | None] = [None] * len(seeds)
    if previous is not None:
        variables, extras = (split_seeds(tree, len(seeds)) for tree in (previous.variables, previous.extras))
        before = [Previous(previous.name, v, e) for v, e in zip(variables, extras, strict=True)]
    features = _features(run, index)
    made = [stage.init(_init_key(seed, stage), one, features) for seed, one in zip(seeds, before, strict=True)]
    pretrained = run.config.model.pretrained
    if index == 0 and pretrained and not run.config.init_from:
        made = [start._replace(variables=with_pretrained(start.variables, pretrained)) for start in made]
    return made


def _on_host(run: Run, stage: Stage, made: Start) -> dict[str, Any]:
    """What step 0 keeps beside the state, as numpy arrays: all that stands still, and the samplers' tables."""
    labels, num_classes = run.data.train.labels, run.data.num_classes
    tables = {name: sampler.tables(labels, num_classes) for name, sampler in stage.streams.items()}
    tables |= {name: dict(table) for name, table in made.tables.items()}
    start = {"frozen": dict(made.frozen), "tables": tables, "extras": dict(made.extras), "format": np.int32(1)}
    return jax.device_get(start)


def checkpoint_folder(run: Run, stage: Stage) -> epath.Path:
    return run.workdir / "checkpoints" / stage.name


def _saved_steps(folder: epath.Path) -> list[int]:
    return [int(p.name) for p in folder.iterdir() if p.name.isdigit()] if folder.exists() else []


def _init_key(seed: int, stage: Stage) -> jax.Array:
    return jax.random.fold_in(jax.random.key(seed), zlib.crc32(stage.name.encode()))


def shape_of_state(data: Data, stage: Stage, extras: Tree, seeds: int = 1) -> TrainState:
    """The state's shapes and dtypes; ``extras`` is one seed's."""

    def make() -> TrainState:
        images = jax.numpy.zeros((1, *data.image_shape), np.uint8)
        return create_state(stage, Start(stage.network.init(jax.random.key(0), images, train=False), extras=extras), 0)

    shape = jax.eval_shape(make)
    return shape if seeds == 1 else jax.tree.map(lambda x: jax.ShapeDtypeStruct((seeds, *x.shape), x.dtype), shape)


def _features(run: Run, index: int) -> Any:
    """The loop's one service to a stage's init: features by what the stage says, or by the network before (or its own).

    Those of all records of a source are kept for the runs after this one; those of some are made anew.
    """
    network = run.stages[index].features or run.stages[max(index - 1, 0)].network

    def features(variables: Tree, records: np.ndarray, source: Source = run.data.train) -> np.ndarray:
        records = np.asarray(records)
        if np.array_equal(records, np.arange(len(source))):
            return run.store.features(network, variables, source, run.data.image_shape, reading(run, source))
        size = run.config.evaluation.batch_size
        return extract_features(network, variables, source, records, size, run.mesh, reading(run, source))

    return features


def inputs_of(run: Run, stage: Stage, current: Current) -> Inputs:
    """What the stage's streams draw from: the images, or each seed's features by what stands still of its network."""
    if stage.inputs == "images":
        return of_images(run.config, run.data, run.placed)
    each = split_seeds(variables_of(current.state), run.config.num_seeds)
    shape, how = run.data.image_shape, reading(run, run.data.train)
    arrays = [run.store.features(stage.features, one, run.data.train, shape, how) for one in each]
    inputs, why = of_features(run.config, arrays, run.data.train, run.mesh)
    run.progress.say(why)
    return inputs


def reading(run: Run, source: Source) -> Reading:
    """How the images of a source are read; none but those of the training set are ever skipped."""
    watch = run.watch if source is run.data.train else dataclasses.replace(run.watch, faults=None)
    return Reading(run.config.data.workers, watch)


def resumes(folder: epath.Path) -> list[Record]:
    path = folder / "resumes.json"
    return json.loads(path.read_text()) if path.exists() else []


def _note_resume(run: Run, stage: Stage, step: int) -> None:
    run.progress.say(f"resuming at step {step} of stage '{stage.name}'")
    if jax.process_index() == 0:
        notes = [*resumes(run.workdir), {"stage": stage.name, "step": step}]
        write_atomically(run.workdir / "resumes.json", json.dumps(notes) + "\n")
