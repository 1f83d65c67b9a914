"""One flat loop for every method: stages, steps, logs, checkpoints, evaluation."""

import json
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import jax

from ltjax.data import Data, build
from ltjax.data.pipeline import train_batches
from ltjax.data.transforms import TRANSFORMS
from ltjax.errors import choose
from ltjax.methods import METHODS
from ltjax.methods.stage import Previous, Stage, Tree
from ltjax.training import mesh as meshes
from ltjax.training.checkpoint import Checkpoints, checkpoints
from ltjax.training.evaluation import Evaluator, summarize
from ltjax.training.interrupt import Interrupt, Interrupted
from ltjax.training.logging import MetricsLog, Progress, Record, write_atomically
from ltjax.training.results import describe, evaluate_stage, summary_record, write_results
from ltjax.training.schedules import make_schedule
from ltjax.training.stages import Current, Run, checkpoint_folder, open_stage, resumes, stage_steps, steps_per_epoch
from ltjax.training.state import TrainState, variables_of
from ltjax.training.step import compile_train_step
from ltjax.training.workdir import absolute, identity, open_workdir, to_json


def train(config: Any, workdir: str) -> Record:
    """Trains what is left to train, evaluates the last epoch, writes the results; returns results.json.

    Raises:
      InputError: bad settings or data, or a workdir that holds another run.
      Interrupted: after SIGTERM or Ctrl-C, once everything is saved.
      FloatingPointError: when the loss is not finite, naming the steps.
    """
    folder = absolute(workdir)
    finished = open_workdir(folder, config)
    if finished is not None:
        return finished
    data, stages, mesh, fingerprint = prepare(config)
    if jax.process_index() == 0:
        write_atomically(folder / "config.json", to_json(config))
    total = sum(stage_steps(stage, config, data) for stage in stages)
    with Interrupt() as interrupt:
        run = Run(
            config, data, stages, folder, mesh, fingerprint,
            MetricsLog(folder), Progress(total, config.batch_size), interrupt, time.monotonic(),
        )  # fmt: skip
        try:
            return _run_stages(run)
        finally:
            run.progress.end()
            run.log.close()


def prepare(config: Any) -> tuple[Data, list[Stage], Any, str]:
    """The data, the method's stages, the mesh, and the fingerprint of data and config: nothing is written yet."""
    method = choose(METHODS, config.method, "config.method")
    choose(TRANSFORMS, config.data.augment, "config.data.augment")
    data = build(config.data)
    stages, mesh = method(config, data), meshes.data_mesh()
    for stage in stages:
        if stage.epochs:
            meshes.check_batch(config.batch_size, stage.epoch_size or len(data.train), mesh)
            make_schedule(stage.optimizer, stage.epochs, steps_per_epoch(stage, config, data))
    settings = json.dumps(identity(config), sort_keys=True)
    return data, stages, mesh, f"{data.fingerprint[:32]}-{zlib.crc32(settings.encode()):08x}"


def _run_stages(run: Run) -> Record:
    """Every stage in turn: a finished one is only read, the current one goes on, the others start."""
    previous, offset, before = None, 0, 0.0
    for index, stage in enumerate(run.stages):
        with checkpoints(checkpoint_folder(run, stage), run.config.checkpoint.keep) as saved:
            current = open_stage(run, index, previous, saved)
            before = max(before, current.elapsed)
            if not current.passed:
                run.log.rewind(offset + int(current.state.step), current.pending)
                current = _train_stage(run, stage, current, offset, before, saved)
        previous = Previous(stage.name, variables_of(current.state), current.state.extras)
        offset += stage_steps(stage, run.config, run.data)
    assert previous is not None
    return _finish(run, previous.variables, offset, before)


def _train_stage(run: Run, stage: Stage, current: Current, offset: int, before: float, saved: Checkpoints) -> Current:
    """The steps that are left, then the stage's last checkpoint."""
    config, log, per_epoch = run.config, run.log, steps_per_epoch(stage, run.config, run.data)
    steps, state = stage.epochs * per_epoch, current.state
    first = int(state.step)

    def meta(step: int) -> dict[str, Any]:
        return {
            "fingerprint": run.fingerprint,
            "pending": log.settle(offset + step),  # a step with a bad loss must never become the last good one
            "elapsed": before + time.monotonic() - run.began,
        }

    train_step = compile_train_step(stage, per_epoch, run.mesh) if first < steps else None
    evaluator = _evaluator(run, stage)
    for step, batch in enumerate(_batches(run, stage, current.tables, first, steps), first + 1):
        assert train_step is not None
        state, metrics = train_step(state, current.constants, meshes.put_split(batch, run.mesh))
        log.add(metrics)
        run.progress.step(offset + step)
        epoch_ends = step % per_epoch == 0
        tests = _due(config.evaluation.every_epochs, step, per_epoch) and step < steps
        if epoch_ends or step % config.log_every_steps == 0:
            extra = evaluator(state) if tests else None
            run.progress.show(log.flush(offset + step, step / per_epoch, stage.name, extra))
        if step % config.checkpoint.every_steps == 0 and step < steps:
            saved.save(step, state, meta(step))
            log.sync()
        if epoch_ends or step % AGREE_EVERY == 0 or jax.process_count() == 1:
            _stop_if_told(run, saved, step, state, meta)
    if steps and steps > first:
        saved.save(steps, state, meta(steps))
    saved.wait()
    return current._replace(state=state)


AGREE_EVERY = 10  # steps between two looks, over all processes, whether one was told to stop


def _stop_if_told(run: Run, saved: Checkpoints, step: int, state: TrainState, meta: Any) -> None:
    signum = run.interrupt.agreed()
    if signum:
        saved.save(step, state, meta(step))
        saved.wait()
        raise Interrupted(signum)


def _finish(run: Run, variables: Tree, step: int, before: float) -> Record:
    """Evaluates the last epoch and writes what the run leaves."""
    config, stage = run.config, run.stages[-1]
    summary, arrays = evaluate_stage(config, run.data, stage, variables, run.mesh)
    epochs = sum(stage.epochs for stage in run.stages)
    tests = {f"{run.data.split}/{name}": value for name, value in summary.accuracy.items() if value is not None}
    run.progress.show(run.log.amend(tests))
    record = describe(config, run.data, variables["params"]) | {
        "epochs": epochs,
        "step": step,
        "train_loss_last_epoch": _last_epoch_loss(run),
        "resumes": resumes(run.workdir),
        "wall_time_s": round(before + time.monotonic() - run.began, 1),
        **summary_record(summary, config.evaluation.shots),
    }
    if jax.process_index() == 0:
        write_results(run.workdir, record, arrays)
    return record


def _batches(run: Run, stage: Stage, tables: dict[str, Any], first: int, steps: int) -> Iterator[Any]:
    if first >= steps:
        return iter(())
    transform = TRANSFORMS[run.config.data.augment]
    return train_batches(
        run.data.train,
        stage.streams,
        tables,
        seed=_data_seed(run, stage),
        batch_size=run.config.batch_size,
        steps_per_epoch=steps_per_epoch(stage, run.config, run.data),
        start=first,
        stop=steps,
        transform=transform,
        shard=(jax.process_index(), jax.process_count()),
        workers=run.config.data.workers,
    )


def _data_seed(run: Run, stage: Stage) -> int:
    """The seed of a stage's data order and augmentation: the config's, and another one in every later stage."""
    return (run.config.seed + 0x9E3779B9 * run.stages.index(stage)) % 2**32


def _evaluator(run: Run, stage: Stage) -> Callable[[TrainState], Record]:
    """state -> {"test/all": ..., ...}"""
    settings = run.config.evaluation
    evaluator = Evaluator(stage.predict, run.data.num_classes, settings.batch_size, run.mesh)

    def evaluate(state: TrainState) -> Record:
        counters = evaluator(variables_of(state), run.data.test)
        accuracy = summarize(counters, run.data, settings.shots, settings.index_boundaries).accuracy
        return {f"{run.data.split}/{name}": value for name, value in accuracy.items() if value is not None}

    return evaluate


def _due(every_epochs: int, step: int, per_epoch: int) -> bool:
    return every_epochs > 0 and step % (every_epochs * per_epoch) == 0


def _last_epoch_loss(run: Run) -> float | None:
    """Mean training loss over the steps of the last epoch."""
    trained = [stage for stage in run.stages if stage.epochs]
    return run.log.mean_of_last("loss", steps_per_epoch(trained[-1], run.config, run.data)) if trained else None
