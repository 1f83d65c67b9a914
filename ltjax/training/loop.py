"""One flat loop for every method: stages, steps, logs, checkpoints, evaluation."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath

from ltjax.data.loading.prefetch import to_stderr
from ltjax.data.storage.paths import write_atomically
from ltjax.methods.stage import AnyStage, Previous, Stage, Tree, trained
from ltjax.settings import Settings
from ltjax.settings.identity import to_json
from ltjax.training import out_of_memory, several_labels
from ltjax.training.evaluation import RESULT, Answers, Summary
from ltjax.training.execution import mesh as meshes
from ltjax.training.execution.placement import place
from ltjax.training.execution.programs import HostBatches, Program, at_last, calls, execution_of, from_host, on_device
from ltjax.training.execution.seeds import seeds_of
from ltjax.training.features.store import make_store
from ltjax.training.forced_resume import take_over
from ltjax.training.init_from import check_source, open_source
from ltjax.training.interrupt import Interrupt, Interrupted
from ltjax.training.open_stage import (
    Current,
    DataAccess,
    Run,
    checkpoint_folder,
    inputs_of,
    open_stage,
    resumes,
    shape_of_state,
    test_of,
)
from ltjax.training.prepare import Setup, prepare, stage_notes, stage_steps, steps_per_epoch
from ltjax.training.progress import Progress
from ltjax.training.step.batch_size_scaling import rate_notes
from ltjax.training.step.gradient_conflict import frequent_side, make_distortion
from ltjax.training.step.state import TrainState, variables_of
from ltjax.training.validation_fits import fit_temperature, fit_thresholds
from ltjax.training.workdir import multilabel_files
from ltjax.training.workdir.checkpoint import DIVERGED, Checkpoints, checkpoints
from ltjax.training.workdir.data_record import check_data_record, hashes, write_data_record
from ltjax.training.workdir.identity import absolute, config_is_damaged, has_begun, open_workdir, stored_difference
from ltjax.training.workdir.lock import Lock, locked
from ltjax.training.workdir.metrics_log import MetricsLog, Record, StageLines
from ltjax.training.workdir.model_record import write_model_record
from ltjax.training.workdir.predictions import discard_extras, each_seed, quality, write_gallery, write_predictions
from ltjax.training.workdir.pretrained import check_fit, check_pretrained
from ltjax.training.workdir.provenance import note_provenance, provenance
from ltjax.training.workdir.results import (
    AnyEvaluator,
    describe,
    evaluation_arrays,
    evaluator_of,
    results_over_seeds,
    stage_reports,
    summarize_seeds,
    write_results,
)
from ltjax.training.workdir.skipped import make_watch, skipped_records
from ltjax.training.workdir.tracking import check_tracker, open_tracker


def train(config: Settings, workdir: str, force: bool = False, evaluated: Callable[[], None] = lambda: None) -> Record:
    """Trains what is left to train, evaluates the last epoch, writes the results; returns results.json.

    With ``force`` (--resume=force) a workdir of another config or other data is continued where its state fits.
    ``evaluated`` is called when an evaluation has been logged; what it raises ends the run.

    Raises:
      InputError: bad settings or data, or a workdir that holds another run.
      Interrupted: after SIGTERM or Ctrl-C, once everything is saved.
      FloatingPointError: when the loss, the network or its logits are not finite, naming the last good step.
    """
    folder = absolute(workdir)
    notes: list[str] = []
    finished = open_workdir(folder, config, notes.append, force)
    if finished is not None:  # printed without the lock, also on a disk that is read-only
        for note in notes:
            _report(note)
        return finished
    with locked(folder) as lock:
        finished = open_workdir(folder, config, _report, force)  # again: another run may just have ended
        return _train_locked(config, folder, lock, force, evaluated) if finished is None else finished


def _train_locked(
    config: Settings, folder: epath.Path, lock: Lock, force: bool, evaluated: Callable[[], None]
) -> Record:
    check_source(config)
    check_tracker(config)
    begun = has_begun(folder)
    if not begun:  # a run that has begun has its weights
        check_pretrained(config)
    setup = prepare(config)
    if not begun and config.model.pretrained and not config.init_from:
        check_fit(variables_of(shape_of_state(setup.data, setup.stages[0], {})), config)
    source = open_source(config, setup, folder)
    lock.confirm()
    if force and begun:
        take_over(config, setup, folder, stored_difference(folder, config))
    if not config_is_damaged(folder):
        _write_config(folder, config)
    note_provenance(folder, begun)
    with Interrupt(lambda: lock.lost) as interrupt:
        run = _start(config, folder, setup, lock, interrupt, force)._replace(evaluated=evaluated)
        try:
            with out_of_memory.in_training(config):
                return _run_stages(run, source)
        finally:
            run.progress.end()
            run.log.close()


def _report(line: str) -> None:
    if jax.process_index() == 0:
        to_stderr(line)


def _write_config(folder: epath.Path, config: Settings) -> None:
    if jax.process_index() == 0:
        write_atomically(folder / "config.json", to_json(config))


def _start(config: Settings, folder: epath.Path, setup: Setup, lock: Lock, interrupt: Interrupt, force: bool) -> Run:
    """Places the data, and reports what a reader of the log should know before the first step."""
    data, stages, mesh, _ = setup
    total = sum(stage_steps(stage, config, data) for stage in stages)
    progress = Progress(total, config.batch_size * config.num_seeds)
    log = MetricsLog(folder, seeds_of(config), progress.report, open_tracker(config, folder, progress.report))
    for note in [*config.notes, *data.notes, *rate_notes(stages, config), *stage_notes(stages)]:
        progress.report(note)
    begun = not force and any(path.name.isdigit() for path in (folder / "checkpoints").glob("*/*"))
    stop = interrupt.raise_if_signalled
    digests = check_data_record(folder, data, config.data.verify, begun, progress.report, stop)
    with out_of_memory.in_placement():
        placed, why = place(config, data, mesh, stages)
    progress.report(why)
    watch = make_watch(config, folder, progress.report)
    store = make_store(config, folder, mesh, progress.report, stop)
    return Run(config, folder, setup, DataAccess(placed, watch, store, digests), log, progress, lock, interrupt)


def _run_stages(run: Run, source: Callable[[], Previous | None]) -> Record:
    """Every stage in turn: a finished one is only read, an unfinished one continues, the others start.

    ``source`` gives the end of the run config.init_from, for the first stage; it is called if the stage has to start.
    """
    (data, stages, _, _), config = run.setup, run.config
    open_previous, offset, before = source, 0, 0.0
    previous: Previous | None = None
    evaluators = [_evaluator(run, stage) for stage in stages]
    for index, stage in enumerate(stages):
        with checkpoints(checkpoint_folder(run, stage), config.checkpoint.keep) as saved:
            current = open_stage(run, index, open_previous, saved)
            write_data_record(run.workdir, run.access.digests)  # the checkpoint is of these images
            if config_is_damaged(run.workdir):  # the checkpoints have just shown that they are of this config
                _write_config(run.workdir, config)
            before = max(before, current.elapsed)
            if not current.passed:
                per_epoch = steps_per_epoch(stage, config, data)
                lines = StageLines(stage.name, offset, per_epoch, config.log_every_steps)
                run.log.rewind(offset + current.step, current.pending, lines)
                if isinstance(stage, Stage):
                    with _naming_last_good(saved):
                        current = _train_stage(run, stage, current, evaluators[index], lines, before, saved)
                else:
                    saved.wait()
        previous = Previous(
            stage.name, *meshes.whole((variables_of(current.state), current.state.extras), run.setup.mesh)
        )
        open_previous = functools.partial(_same, previous)
        offset += stage_steps(stage, config, data)
    assert previous is not None
    last = _evaluator(run, stages[-1], views=True) if stages[-1].views else evaluators[-1]
    try:
        return _finish(run, previous.variables, last, offset, before)
    except FloatingPointError:
        with checkpoints(checkpoint_folder(run, stages[-1]), config.checkpoint.keep) as saved, _naming_last_good(saved):
            saved.set_aside([stage_steps(stages[-1], config, data)], DIVERGED)
            raise


def _same(previous: Previous) -> Previous:
    return previous


@contextlib.contextmanager
def _naming_last_good(saved: Checkpoints) -> Iterator[None]:
    """Adds the last good step to the error of a training that diverged."""
    try:
        yield
    except FloatingPointError as error:
        saved.wait()
        steps = saved.steps()
        good = f"the last good step is {steps[0]}" if steps else "there is no good step"
        raise FloatingPointError(f"{error}; {good} of {saved.folder}") from None


def _evaluator(run: Run, stage: AnyStage, views: bool = False) -> AnyEvaluator:
    return evaluator_of(run.config, run.setup.data, stage, run.setup.mesh, run.access.watch, views)


def _train_stage(
    run: Run,
    stage: Stage,
    current: Current,
    evaluator: AnyEvaluator,
    lines: StageLines,
    before: float,
    saved: Checkpoints,
) -> Current:
    """The steps that are left, then the stage's last checkpoint."""
    config, log, progress, offset, per_epoch = run.config, run.log, run.progress, lines.offset, lines.per_epoch
    first, steps, state = current.step, stage.epochs * per_epoch, current.state
    if first >= steps:
        saved.wait()
        return current

    def meta(step: int) -> dict[str, Any]:
        run.lock.check()
        progress.show(log.settle(offset + step))  # a step with a bad loss must never become the last good one
        return {
            "fingerprint": run.setup.fingerprint,
            "pending": list(log.pending),  # a copy: it is written while steps are added
            "elapsed": before + progress.seconds(),
        }

    compiled: set[int] = set()
    with contextlib.closing(_program(run, stage, current, per_epoch, steps)) as program:
        for begin, end in calls(first, steps, per_epoch, program.length):
            if end - begin not in compiled:
                compiled.add(end - begin)
                jax.block_until_ready(state)
                with progress.compiling(offset + end):
                    state, metrics = jax.block_until_ready(program.advance(state, end - begin))
            else:
                with progress.host(end - begin):
                    state, metrics = program.advance(state, end - begin)
            if end < steps and program.inspect is not None and _passed(config.gradients.every_steps, begin, end):
                metrics |= at_last(program.inspect(state, end), end - begin)
            log.add(offset + end, metrics)
            if end < steps and _due(config.evaluation.every_epochs, end, per_epoch):
                jax.block_until_ready(state)
                with progress.clock.paused():
                    progress.show(log.write(offset + end, _test(run, stage, evaluator, state)))
                    run.evaluated()
            else:  # the lines before, while the device is busy with this call
                progress.show(log.write(offset + begin))
            if end < steps and _passed(config.checkpoint.every_steps, begin, end):
                jax.block_until_ready(state)
                with progress.clock.paused():
                    saved.save(end, state, meta(end))
                    log.sync()
            if end % per_epoch == 0 or _passed(AGREE_EVERY, begin, end) or jax.process_count() == 1:
                _stop_if_signalled(run, saved, end, state, meta)
    saved.save(steps, state, meta(steps))
    saved.wait()
    progress.clock.stop()
    log.to_events(offset + steps, {f"time/{name}": value for name, value in progress.clock.total().items()})
    return current._replace(state=state)


def _program(run: Run, stage: Stage, current: Current, per_epoch: int, steps: int) -> Program:
    """The stage's steps with the data where it lies."""
    config, setup, inputs = run.config, run.setup, inputs_of(run, stage, current)
    index = setup.stages.index(stage)
    execution = execution_of(config, index, per_epoch, setup.mesh, inputs.transform, inputs.first_seed)
    if inputs.resident is None:
        batches = HostBatches(inputs, seeds_of(config), current.step, steps, run.access.watch)
        program = from_host(stage, execution, current.constants, current.tables, batches)
    else:
        program = on_device(stage, execution, current.constants, current.tables, inputs.resident, config.steps_per_call)
    if not config.gradients.every_steps:
        return program
    frequent = frequent_side(config.gradients.frequent_classes, setup.data.class_counts)
    return dataclasses.replace(program, inspect=program.inspector(make_distortion(stage, per_epoch, frequent)))


AGREE_EVERY = 10  # steps between two exchanges, over all processes, of whether one of them got a signal to stop


def _passed(every: int, begin: int, end: int) -> bool:
    """Whether a multiple of ``every`` lies in begin + 1 .. end."""
    return end // every > begin // every


def _stop_if_signalled(run: Run, saved: Checkpoints, step: int, state: TrainState, meta: Any) -> None:
    signum = run.interrupt.agreed()
    if signum:
        saved.save(step, state, meta(step))
        saved.wait()
        raise Interrupted(signum)


def _finish(run: Run, variables: Tree, evaluator: AnyEvaluator, step: int, before: float) -> Record:
    """Evaluates the last epoch and writes the results."""
    config, (data, stages, _, _), placed = run.config, run.setup, run.access.placed
    with out_of_memory.in_evaluation(config):
        by_view, answers = evaluator.with_answers(variables, *test_of(run, stages[-1], variables))
    counters = by_view.pop(RESULT)
    summaries = summarize_seeds(config, data, counters)
    network, labels = stages[-1].network, np.asarray(data.test.labels)
    if isinstance(answers, Answers):
        each, qualities = each_seed(answers), quality(answers, data, config.evaluation)
    else:
        each, qualities = [], several_labels.quality(answers)
    arrays = evaluation_arrays(counters, network, variables["params"], each, labels)
    views = {name: _view(run, counters) for name, counters in by_view.items()}
    reports = stage_reports(config, stages[-1], variables)
    run.progress.show(run.log.amend(step, _tests(run, summaries) | _by_name("report", reports)))
    for name in reports[0]:
        run.progress.report(f"{name}: {', '.join(f'{one[name]:.4g}' for one in reports)}")
    record = describe(config, data, variables["params"]) | {
        **hashes(run.access.digests, data),
        "epochs": sum(stage.epochs for stage in trained(stages)),
        "step": step,
        **provenance(run.workdir, run.progress.report),
        "resumes": resumes(run.workdir, run.progress.report),
        "skipped": skipped_records(run.workdir, run.progress.report),
        "wall_time_s": round(before + run.progress.seconds(), 1),
        "data_on_device": placed is not None,
        **run.progress.clock.total(),
        **results_over_seeds(config, summaries, _last_epoch_loss(run), reports, qualities),
        **({"views": views} if views else {}),
    }
    run.lock.check()
    thresholds = None
    if data.test.label_sets is None:
        fit_temperature(run, variables)
    else:
        thresholds = fit_thresholds(run, variables, evaluator)
    write_model_record(run.workdir, config, data, run.setup.fingerprint)
    if jax.process_index() == 0:
        _write_predictions(run, answers, thresholds)
        write_results(run.workdir, record, arrays)
        run.log.results(record)
    return record


def _write_predictions(run: Run, answers: Any, thresholds: np.ndarray | None = None) -> None:
    """predictions.csv and the pictures of the report; the result does not depend on them."""
    data, seeds = run.setup.data, seeds_of(run.config)
    discard_extras(run.workdir)
    written: dict[str, Callable[[], None]] = {
        "predictions.csv": lambda: write_predictions(run.workdir, data, answers, seeds),
        "pictures of test images": lambda: write_gallery(run.workdir, data, answers),
    }
    if data.test.label_sets is not None:
        of_several = functools.partial(
            multilabel_files.write_predictions, run.workdir, data, answers, seeds, thresholds
        )
        pictures = functools.partial(multilabel_files.write_gallery, run.workdir, data, answers, thresholds)
        written = {"predictions.csv": of_several, "pictures of test images": pictures}
    for name, write in written.items():
        try:
            write()
        except Exception as error:  # a data set of the user's raises anything
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            run.progress.report(f"the report has no {name}: {reason}")


def _view(run: Run, counters: Sequence[Any]) -> Record:
    """{"accuracy": ..., "std": ...} of a view of the last stage."""
    record = results_over_seeds(run.config, summarize_seeds(run.config, run.setup.data, counters), None)
    std = {"std": {"accuracy": record["std"]["accuracy"]}} if "std" in record else {}
    return {"accuracy": record["accuracy"]} | std


def _test(run: Run, stage: Stage, evaluator: AnyEvaluator, state: TrainState) -> Record:
    """{"test/all": ..., ...} of the state; with several seeds a list of numbers for each."""
    variables = variables_of(state)
    with out_of_memory.in_evaluation(run.config):
        counters = evaluator(meshes.whole(variables, run.setup.mesh), *test_of(run, stage, variables), strict=False)
    return _tests(run, summarize_seeds(run.config, run.setup.data, counters))


def _tests(run: Run, summaries: list[Summary]) -> Record:
    return _by_name(run.setup.data.split, [summary.accuracy for summary in summaries])


def _by_name(prefix: str, each: Sequence[Record]) -> Record:
    """{"prefix/name": number}; with several seeds a list of numbers for each name. Missing values are left out."""
    return {
        f"{prefix}/{name}": [one[name] for one in each] if len(each) > 1 else value
        for name, value in each[0].items()
        if value is not None
    }


def _due(every_epochs: int, step: int, per_epoch: int) -> bool:
    return every_epochs > 0 and step % (every_epochs * per_epoch) == 0


def _last_epoch_loss(run: Run) -> list[float] | None:
    """Mean training loss over the steps of the last epoch, for each seed; None if lines of a damaged log are lost."""
    config, data, stages = run.config, run.setup.data, trained(run.setup.stages)
    if not stages:
        return None
    per_epoch = steps_per_epoch(stages[-1], config, data)
    end = sum(stage_steps(stage, config, data) for stage in stages)
    begin = end - per_epoch
    lines = StageLines(stages[-1].name, end - stage_steps(stages[-1], config, data), per_epoch, config.log_every_steps)
    forced = any("forced" in note for note in resumes(run.workdir, lambda line: None))
    # Of a run that --resume=force went on with, lines may be at the multiples of another config.log_every_steps.
    ends = [step for step in range(begin + 1, end + 1) if lines.end_at(step)] if not forced else [end]
    whole = run.log.has(*ends, *([begin] if begin else []))
    return run.log.mean_of_last("loss", per_epoch) if whole else None
