"""Compiles every program of a run, and searches for the largest batch that fits."""

import dataclasses
import functools
import math
import time
from collections.abc import Callable
from typing import NamedTuple

from ltjax.data import DATASETS, Data, build
from ltjax.data.datasets.stand_in import BALANCED, SIZES, stand_in
from ltjax.dryrun.compiled import Compiled, TooLarge, compile_program
from ltjax.dryrun.devices import Slice
from ltjax.dryrun.largest import Try, largest_batch
from ltjax.dryrun.lowering import Lowered, Plan, lower_evaluation, lower_train, make_plan, tree_bytes
from ltjax.dryrun.progress import Log, reported
from ltjax.dryrun.roofline import Phase, evaluations, times
from ltjax.errors import InputError, choose
from ltjax.methods.stage import Stage, trained
from ltjax.settings import DataSettings, Settings
from ltjax.settings.user_code import lookup
from ltjax.training.execution import mesh as meshes
from ltjax.training.prepare import stage_steps


class Program(NamedTuple):
    """One program of the run."""

    kind: str  # train or evaluation
    stage: str
    several_stages: bool
    made: Compiled | TooLarge
    steps: int  # of the whole run
    streams: int  # batches of images that a step takes

    @property
    def name(self) -> str:
        return f"{self.kind} ({self.stage})" if self.several_stages else self.kind

    @property
    def needed(self) -> int:
        """Bytes per chip; 0 if the compiler reports none."""
        return self.made.needed if isinstance(self.made, TooLarge) else self.made.memory.total

    def fits(self, memory: int) -> bool:
        return isinstance(self.made, Compiled) and self.made.memory.total <= memory


def find_data(settings: DataSettings) -> Data:
    """The data set if it is on this machine, otherwise a placeholder with the same sizes.

    Raises:
      InputError: if ``config.data.dir`` is set but cannot be read, or if the sizes of the data set are only known from
        its files.
    """
    lookup(DATASETS, settings.name, "config.data.name")
    if settings.dir or settings.name not in (*BALANCED, *SIZES):
        data = build(settings)
        if data.train.label_sets is not None:
            raise InputError(
                f"config.data.name: {settings.name} has images with several labels, whose programs a dry run does not "
                "know; take a list with one label an image of the same size (config.data.name=list, config.method=bce)"
            )
        return data
    try:
        return build(settings)
    except InputError:
        return stand_in(settings)  # which also rejects impossible settings


def plan_for(config: Settings, target: Slice) -> Plan:
    """What the run compiles on the slice.

    Raises:
      InputError: for settings that the run would reject, or a dtype without a known peak rate.
    """
    if target.chip is not None and config.dtype not in target.chip.flops:
        allowed = ", ".join(target.chip.flops)
        raise InputError(f"config.dtype: the peak rate of {config.dtype} is unknown for {target.name}; use {allowed}")
    return make_plan(config, find_data(config.data), target.mesh, target.memory)


def chosen_stages(plan: Plan, wanted: str | None) -> list[int]:
    """The trained stages, or the one of that name."""
    indices = {stage.name: index for index, stage in enumerate(plan.stages) if isinstance(stage, Stage)}
    return [choose(indices, wanted, "--stage")] if wanted else list(indices.values())


def compile_all(plan: Plan, stages: list[int], target: Slice, log: Log) -> list[Program]:
    """Compiles the train step of each stage and, if these fit, each evaluation step of the run."""
    programs, config, last = [], plan.config, len(plan.stages) - 1
    single = len(trained(plan.stages)) == 1
    for index in stages:
        one = plan.trained(index)
        steps = stage_steps(one, config, plan.data)
        what = f"train step of stage '{one.name}'"
        _, made = _compiled(what, log, functools.partial(lower_train, plan, index), target, config.dtype)
        programs.append(Program("train", one.name, not single, made, steps, len(one.streams)))
    if any(isinstance(program.made, TooLarge) for program in programs):
        log("evaluation steps are not compiled: the train step does not fit")
        return programs
    for index, stage in enumerate(plan.stages):
        within = evaluations(plan.trained(index).epochs, config.evaluation.every_epochs) if index in stages else 0
        # views are evaluated only after the last epoch; without views that evaluation is like the earlier ones
        last_too = index == last and not stage.views
        for views, count in ((False, within + last_too), (True, int(index == last and not last_too))):
            if not count:
                continue
            what = f"evaluation step of stage '{stage.name}'" + (" with its views" if views else "")
            lower = functools.partial(lower_evaluation, plan, index, views)
            lowered, made = _compiled(what, log, lower, target, config.dtype)
            batches = -(-len(plan.data.test) // lowered.batch)
            programs.append(Program("evaluation", stage.name, not single, made, count * batches, 1))
    return programs


def _compiled(
    what: str, log: Log, lower: Callable[[], Lowered], target: Slice, dtype: str
) -> tuple[Lowered, Compiled | TooLarge]:
    began = time.monotonic()
    with reported(f"compiling the {what}", log):
        lowered = lower()
        made = compile_program(lowered, target, dtype)
    verdict = "it does not fit" if isinstance(made, TooLarge) else "done"
    log(f"  {verdict} after {time.monotonic() - began:.0f} s")
    return lowered, made


def phases(plan: Plan, programs: list[Program], target: Slice) -> list[Phase]:
    """The run as times on the chip; nothing for a program that does not fit."""
    if target.chip is None:
        return []
    found = []
    for program in programs:
        if isinstance(program.made, Compiled):
            step = times(program.made, target.chip, plan.config.dtype).step
            found.append(Phase(program.kind, program.stage, program.steps, step, program.made.batch * program.streams))
    return found


def find_largest(plan: Plan, index: int, first: Program, target: Slice, log: Log) -> list[Try]:
    """Compiles larger (or, if it does not fit, smaller) batches for the train step of a stage."""
    chips, config = target.chips, plan.config
    group = config.model.norm_group
    step = config.micro_batches * (
        group // math.gcd(group, chips) if group else 1
    )  # images per chip that must stay together

    def as_try(images: int, made: Compiled | TooLarge) -> Try:
        needed = made.needed if isinstance(made, TooLarge) else made.memory.total
        fits, speed = isinstance(made, Compiled) and needed <= target.memory, 0.0
        if isinstance(made, Compiled) and target.chip is not None:
            speed = made.batch * first.streams / times(made, target.chip, config.dtype).step
        least = f", {speed:,.0f} images/s at most" if speed else ""
        log(f"  {images} images per chip, batch {images * chips}: {_need(needed, target.memory)}{least}")
        return Try(images // step, needed, fits, speed)

    def measure(times: int) -> Try:
        images = times * step
        other = make_plan(dataclasses.replace(config, batch_size=images * chips), plan.data, plan.mesh, target.memory)
        lower = functools.partial(lower_train, other, index)
        _, made = _compiled(f"train step with batch {images * chips}", log, lower, target, config.dtype)
        return as_try(images, made)

    log("searching for the largest batch that fits")
    stage = plan.trained(index)
    most = (stage.epoch_size or len(plan.data.train)) // chips
    begun = as_try(plan.config.batch_size // chips, first.made)
    shapes = plan.shapes[index]
    fixed = tree_bytes(shapes.state) + tree_bytes(shapes.constants)  # independent of the batch
    tries = largest_batch(measure, begun, fixed, target.memory, most // step)
    return [one._replace(images=one.images * step) for one in tries]


def _need(needed: int, limit: int) -> str:
    if not needed:
        return "does not fit"
    verdict = "fits" if needed <= limit else "does not fit"
    return f"{verdict}, {needed / 2**20:,.0f} of {limit / 2**20:,.0f} MiB"


def check_epoch(plan: Plan, stages: list[int]) -> None:
    """Raises InputError for a batch larger than an epoch: it may fit, but no run can use it."""
    for index in stages:
        stage = plan.trained(index)
        images, parts = stage.epoch_size or len(plan.data.train), plan.config.micro_batches
        meshes.check_batch(plan.config.batch_size, images, plan.mesh, micro_batches=parts)
